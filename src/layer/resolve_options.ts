/**
 * The constructor's arguments, checked and completed as Keras does.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import { KERNELS } from "../kernels/dispatch.ts";
import { checkKernelChoice } from "../kernels/dispatcher.ts";
import { checkAxis, whyNotFused } from "./axis.ts";
import { resolveConstraint } from "./constraints.ts";
import { resolveDtype } from "./dtype_policy.ts";
import { type Initializer, resolveInitializer } from "./initializers.ts";
import { checkKerasVersion } from "./keras_version.ts";
import {
  checkBoolean,
  checkClipping,
  checkName,
  checkNumber,
  checkShape,
} from "./option_checks.ts";
import type { BatchNormalizationOptions, ResolvedOptions } from "./options.ts";
import { resolveRegularizer } from "./regularizers.ts";

// A Record, so that the compiler notices an option that is missing here.
const KNOWN: Readonly<Record<keyof BatchNormalizationOptions, true>> = {
  axis: true,
  momentum: true,
  epsilon: true,
  center: true,
  scale: true,
  betaInitializer: true,
  gammaInitializer: true,
  movingMeanInitializer: true,
  movingVarianceInitializer: true,
  betaRegularizer: true,
  gammaRegularizer: true,
  betaConstraint: true,
  gammaConstraint: true,
  renorm: true,
  renormClipping: true,
  renormMomentum: true,
  fused: true,
  trainable: true,
  virtualBatchSize: true,
  adjustment: true,
  synchronized: true,
  name: true,
  dtype: true,
  inputShape: true,
  batchInputShape: true,
  batchSize: true,
  inputDim: true,
  weights: true,
  activityRegularizer: true,
  autocast: true,
  dynamic: true,
  implementation: true,
  kerasVersion: true,
  kernels: true,
};

/** Arguments that Keras 3 does not have. */
const NOT_IN_KERAS_3 = [
  "fused",
  "virtualBatchSize",
  "adjustment",
  "dynamic",
  "batchInputShape",
  "batchSize",
  "implementation",
  "weights",
] as const;

function resolveInputShape(
  options: BatchNormalizationOptions,
): readonly (number | null)[] | null {
  const { batchInputShape, inputShape, inputDim, batchSize } = options;
  if (batchInputShape) return checkShape("batchInputShape", batchInputShape);
  if (inputShape == null && inputDim == null) return null;
  return [
    ...checkShape("batchSize", [batchSize ?? null]),
    ...inputShape != null
      ? checkShape("inputShape", inputShape)
      : checkShape("inputDim", [inputDim]),
  ];
}

function resolveFusedOption(
  options: BatchNormalizationOptions,
  conditions: Parameters<typeof whyNotFused>[0],
): boolean | null {
  const { synchronized = false } = options;
  const fused = options.fused == null
    ? null
    : checkBoolean("fused", options.fused, false);
  if (synchronized && fused) {
    throw new OptionError(
      "Cannot use fused: true with synchronized: true, pass one of them only",
    );
  }
  if (synchronized || fused === false) return false;
  const reason = whyNotFused(conditions);
  if (fused && reason !== undefined) {
    throw new OptionError(`Cannot use fused: true: ${reason}`);
  }
  return reason === undefined ? fused : false;
}

/**
 * Checks the constructor's arguments in Keras' order and fills in its
 * defaults.
 *
 * Beyond Keras, a `momentum` or `epsilon` that is not a finite number is an
 * error.
 *
 * @throws {OptionError} If an argument is unknown or has a value that Keras
 * refuses.
 */
export function resolveOptions(
  options: BatchNormalizationOptions,
): ResolvedOptions {
  for (const key of Object.keys(options)) {
    if (!Object.hasOwn(KNOWN, key)) {
      throw new OptionError(
        `Cannot use the option "${key}": keyword argument not understood, expected one of ${
          Object.keys(KNOWN).join(", ")
        }`,
      );
    }
  }
  const kerasVersion = options.kerasVersion ?? "2.4";
  checkKerasVersion(kerasVersion);
  if (kerasVersion === "3") {
    const unknown = NOT_IN_KERAS_3.find((key) => options[key] != null);
    if (unknown !== undefined) {
      throw new OptionError(
        `Cannot use ${unknown} with kerasVersion "3": Keras 3 does not have it, use "2.4", "2.6" or "2.12"`,
      );
    }
  }
  const { kernels } = options;
  if (kernels !== undefined) checkKernelChoice(kernels, KERNELS);
  const dtype = resolveDtype(options.dtype, kerasVersion);
  const { axis: givenAxis = -1 } = options;
  const axis = checkAxis(givenAxis, kerasVersion);
  const identify = { kerasVersion };
  const initializer = (
    key: `${"beta" | "gamma" | "movingMean" | "movingVariance"}Initializer`,
    fallback: string,
  ): Initializer => {
    const given = options[key];
    return resolveInitializer(given === undefined ? fallback : given, identify);
  };
  const renorm = checkBoolean("renorm", options.renorm, false);
  const virtualBatchSize = options.virtualBatchSize ?? null;
  const adjustment = options.adjustment ?? null;
  if (adjustment !== null && typeof adjustment !== "function") {
    throw new OptionError(
      `Cannot use adjustment ${
        JSON.stringify(adjustment)
      }: expected a function of the shape that returns [scale, bias]`,
    );
  }
  return {
    axis,
    momentum: checkNumber("momentum", options.momentum, 0.99),
    epsilon: checkNumber("epsilon", options.epsilon, 1e-3),
    center: checkBoolean("center", options.center, true),
    scale: checkBoolean("scale", options.scale, true),
    betaInitializer: initializer("betaInitializer", "zeros"),
    gammaInitializer: initializer("gammaInitializer", "ones"),
    movingMeanInitializer: initializer("movingMeanInitializer", "zeros"),
    movingVarianceInitializer: initializer(
      "movingVarianceInitializer",
      "ones",
    ),
    betaRegularizer: resolveRegularizer(options.betaRegularizer, identify),
    gammaRegularizer: resolveRegularizer(options.gammaRegularizer, identify),
    betaConstraint: resolveConstraint(options.betaConstraint, identify),
    gammaConstraint: resolveConstraint(options.gammaConstraint, identify),
    renorm,
    fused: resolveFusedOption(options, {
      axis,
      renorm,
      virtualBatchSize,
      hasAdjustment: adjustment !== null,
      compute: dtype.compute,
      kerasVersion,
    }),
    trainable: checkBoolean("trainable", options.trainable, true),
    // Keras looks at these two only when renorm is on.
    renormClipping: renorm
      ? checkClipping(options.renormClipping ?? {}, kerasVersion)
      : {},
    renormMomentum: renorm
      ? checkNumber("renormMomentum", options.renormMomentum, 0.99)
      : 0.99,
    virtualBatchSize,
    adjustment,
    synchronized: checkBoolean("synchronized", options.synchronized, false),
    name: checkName(options.name, kerasVersion),
    dtype,
    batchInputShape: resolveInputShape(options),
    weights: options.weights ?? null,
    activityRegularizer: resolveRegularizer(
      options.activityRegularizer,
      identify,
    ),
    autocast: checkBoolean("autocast", options.autocast, true),
    dynamic: checkBoolean("dynamic", options.dynamic, false),
    kerasVersion,
    kernels,
  };
}
