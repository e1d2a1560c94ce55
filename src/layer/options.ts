/**
 * The constructor's arguments, checked and completed as Keras does.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import { type KernelChoice, KERNELS } from "../kernels/dispatch.ts";
import type { Tensor } from "../tensor.ts";
import { type Axis, checkAxis, whyNotFused } from "./axis.ts";
import {
  type Constraint,
  type ConstraintIdentifier,
  resolveConstraint,
} from "./constraints.ts";
import { type DtypePolicy, resolveDtype } from "./dtype_policy.ts";
import {
  type Initializer,
  type InitializerIdentifier,
  resolveInitializer,
} from "./initializers.ts";
import { KERAS_VERSIONS, type KerasVersion } from "./keras_version.ts";
import type { KerasObject } from "./keras_object.ts";
import {
  type Regularizer,
  type RegularizerIdentifier,
  resolveRegularizer,
} from "./regularizers.ts";

/** The bounds of batch renormalization's corrections; a missing one is off. */
export interface RenormClipping {
  /** The largest factor r. */
  readonly rmax?: number;
  /** The smallest factor r. */
  readonly rmin?: number;
  /** The largest magnitude of the summand d. */
  readonly dmax?: number;
}

/**
 * Keras' `adjustment`: gets the shape of the input and returns the factor and
 * the summand for the normalized values, broadcastable to the input; used in
 * training only.
 */
export type Adjustment = (
  shape: readonly number[],
) => readonly [scale: Tensor, bias: Tensor];

/**
 * The arguments of `tf.keras.layers.BatchNormalization`, in camelCase, and
 * two of our own: `kerasVersion` and `kernels`.
 */
export interface BatchNormalizationOptions {
  /** The axis, or axes, that keep their own statistics; default -1. */
  readonly axis?: Axis;
  /** The weight of the old value in the moving averages; default 0.99. */
  readonly momentum?: number;
  /** Added to the variance; default 0.001. */
  readonly epsilon?: number;
  /** Whether there is a beta; default true. */
  readonly center?: boolean;
  /** Whether there is a gamma; default true. */
  readonly scale?: boolean;
  /** Default `"zeros"`. */
  readonly betaInitializer?: InitializerIdentifier;
  /** Default `"ones"`. */
  readonly gammaInitializer?: InitializerIdentifier;
  /** Default `"zeros"`. */
  readonly movingMeanInitializer?: InitializerIdentifier;
  /** Default `"ones"`. */
  readonly movingVarianceInitializer?: InitializerIdentifier;
  /** Default none. */
  readonly betaRegularizer?: RegularizerIdentifier;
  /** Default none. */
  readonly gammaRegularizer?: RegularizerIdentifier;
  /** Default none. */
  readonly betaConstraint?: ConstraintIdentifier;
  /** Default none. */
  readonly gammaConstraint?: ConstraintIdentifier;
  /** Batch renormalization (Ioffe, 2017); default false. */
  readonly renorm?: boolean;
  /** The bounds of renormalization; default none. */
  readonly renormClipping?: RenormClipping | null;
  /** The momentum of renormalization's own averages; default 0.99. */
  readonly renormMomentum?: number;
  /** TensorFlow's fused path: true, false, or null (default) to let it choose. */
  readonly fused?: boolean | null;
  /** Whether the layer learns; a frozen one always runs inference. */
  readonly trainable?: boolean;
  /** The size of a ghost batch; default null, for none. */
  readonly virtualBatchSize?: number | null;
  /** A correction in training; default null, for none. */
  readonly adjustment?: Adjustment | null;
  /** Merge the moments of all replicas (TF 2.12 and later); default false. */
  readonly synchronized?: boolean;
  /** The layer's name; by default `"batch_normalization"` and a counter. */
  readonly name?: string | null;
  /**
   * What the layer computes in: `"float32"` (default), `"float64"`,
   * `"float16"`, `"bfloat16"`, `"mixed_float16"`, `"mixed_bfloat16"`, or
   * Keras' JSON of such a policy.
   */
  readonly dtype?: string | KerasObject | null;
  /** The input's shape without the batch; kept for the configuration. */
  readonly inputShape?: readonly (number | null)[] | null;
  /** The input's shape with the batch; kept for the configuration. */
  readonly batchInputShape?: readonly (number | null)[] | null;
  /** With `inputShape`, the size of the batch; default null. */
  readonly batchSize?: number | null;
  /** Short for `inputShape: [inputDim]`. */
  readonly inputDim?: number | null;
  /** Weights to set when the layer is built, in Keras' order. */
  readonly weights?: readonly Tensor[] | null;
  /** Adds a loss of the output, divided by the batch size; default none. */
  readonly activityRegularizer?: RegularizerIdentifier;
  /** Whether inputs are cast to the compute type; default true. */
  readonly autocast?: boolean;
  /** Kept for the configuration. */
  readonly dynamic?: boolean;
  /** Accepted for Keras 1 files; without effect. */
  readonly implementation?: number | null;
  /** Which Keras to follow where releases differ; default `"2.4"`. */
  readonly kerasVersion?: KerasVersion;
  /** Which kernels this layer runs on; default: what `setKernels` chose. */
  readonly kernels?: KernelChoice;
}

/**
 * {@linkcode BatchNormalizationOptions}, checked and complete.
 *
 * `fused` is after the constructor's rules: null means "if the rank allows".
 */
export interface ResolvedOptions extends
  Readonly<
    Required<
      Pick<
        BatchNormalizationOptions,
        | "axis"
        | "momentum"
        | "epsilon"
        | "center"
        | "scale"
        | "renorm"
        | "renormMomentum"
        | "fused"
        | "trainable"
        | "virtualBatchSize"
        | "adjustment"
        | "synchronized"
        | "name"
        | "batchInputShape"
        | "weights"
        | "autocast"
        | "dynamic"
        | "kerasVersion"
      >
    >
  > {
  /** What fills a new beta. */
  readonly betaInitializer: Initializer;
  /** What fills a new gamma. */
  readonly gammaInitializer: Initializer;
  /** What fills a new moving mean. */
  readonly movingMeanInitializer: Initializer;
  /** What fills a new moving variance. */
  readonly movingVarianceInitializer: Initializer;
  /** The penalty on beta, or null. */
  readonly betaRegularizer: Regularizer | null;
  /** The penalty on gamma, or null. */
  readonly gammaRegularizer: Regularizer | null;
  /** The projection of beta after updates, or null. */
  readonly betaConstraint: Constraint | null;
  /** The projection of gamma after updates, or null. */
  readonly gammaConstraint: Constraint | null;
  /** The penalty on the output, or null. */
  readonly activityRegularizer: Regularizer | null;
  /** The bounds of renormalization; empty without `renorm`. */
  readonly renormClipping: RenormClipping;
  /** What the layer computes in, and what its variables are. */
  readonly dtype: DtypePolicy;
  /** The layer's own choice of kernels, if it has one. */
  readonly kernels: KernelChoice | undefined;
}

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
const NOT_IN_KERAS_3 = ["fused", "virtualBatchSize", "adjustment"] as const;

function checkNumber(option: string, value: unknown): number {
  // Keras stores what it is given; a NaN would only show in every output.
  if (typeof value !== "number" || !Number.isFinite(value)) {
    throw new OptionError(
      `Cannot use ${option} ${String(value)}: expected a finite number`,
    );
  }
  return value;
}

function checkBoolean(option: string, value: unknown): boolean {
  // Configurations of Keras 1 and numpy users carry 0 and 1.
  if (value === 0 || value === 1) return value === 1;
  if (typeof value !== "boolean") {
    throw new OptionError(
      `Cannot use ${option} ${
        JSON.stringify(value) ?? String(value)
      }: expected true or false`,
    );
  }
  return value;
}

function checkClipping(
  clipping: unknown,
  version: KerasVersion,
): RenormClipping {
  if (typeof clipping !== "object" || clipping === null) {
    throw new OptionError(
      `Cannot use renormClipping ${
        JSON.stringify(clipping) ?? String(clipping)
      }: expected an object with rmax, rmin and dmax, each optional`,
    );
  }
  const result: { rmax?: number; rmin?: number; dmax?: number } = {};
  for (const [key, value] of Object.entries(clipping)) {
    if (key !== "rmax" && key !== "rmin" && key !== "dmax") {
      throw new OptionError(
        `Cannot use renormClipping with the key "${key}": expected rmax, rmin and dmax only`,
      );
    }
    // In Python, None is a value like any other and means "no bound".
    if (value === null || value === undefined) continue;
    result[key] = checkNumber(`renormClipping.${key}`, value);
  }
  if (version === "3") {
    const { rmax, rmin, dmax } = result;
    if (rmax !== undefined && rmin !== undefined && rmax < rmin) {
      throw new OptionError(
        `Cannot use renormClipping: rmax ${rmax} is below rmin ${rmin}`,
      );
    }
    if (dmax !== undefined && dmax < 0) {
      throw new OptionError(
        `Cannot use renormClipping: dmax ${dmax} is negative`,
      );
    }
  }
  return result;
}

function resolveInputShape(
  options: BatchNormalizationOptions,
): readonly (number | null)[] | null {
  if (options.batchInputShape) return [...options.batchInputShape];
  const inner = options.inputShape ??
    (options.inputDim ? [options.inputDim] : null);
  return inner ? [options.batchSize ?? null, ...inner] : null;
}

function resolveFusedOption(
  options: BatchNormalizationOptions,
  conditions: Parameters<typeof whyNotFused>[0],
): boolean | null {
  const { fused = null, synchronized = false } = options;
  if (fused !== null && typeof fused !== "boolean") {
    throw new OptionError(
      `Cannot use fused ${String(fused)}: expected true, false or null`,
    );
  }
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
  if (!KERAS_VERSIONS.includes(kerasVersion)) {
    throw new OptionError(
      `Cannot use kerasVersion "${kerasVersion}": expected ${
        KERAS_VERSIONS.map((version) => `"${version}"`).join(", ")
      }`,
    );
  }
  if (kerasVersion === "3") {
    const unknown = NOT_IN_KERAS_3.find((key) => options[key] != null);
    if (unknown !== undefined) {
      throw new OptionError(
        `Cannot use ${unknown} with kerasVersion "3": Keras 3 does not have it, use "2.4" or "2.6"`,
      );
    }
  }
  const choices = ["auto", ...KERNELS.map(({ name }) => name)];
  const { kernels } = options;
  if (kernels !== undefined && !choices.includes(kernels)) {
    throw new OptionError(
      `Cannot use kernels "${kernels}": expected ${
        choices.map((choice) => `"${choice}"`).join(", ")
      }`,
    );
  }
  const dtype = resolveDtype(options.dtype, kerasVersion);
  const axis = checkAxis(options.axis ?? -1, kerasVersion);
  const identify = { kerasVersion };
  const initializer = (
    key: `${"beta" | "gamma" | "movingMean" | "movingVariance"}Initializer`,
    fallback: string,
  ): Initializer => {
    const given = options[key];
    return resolveInitializer(given === undefined ? fallback : given, identify);
  };
  const renorm = checkBoolean("renorm", options.renorm ?? false);
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
    momentum: checkNumber("momentum", options.momentum ?? 0.99),
    epsilon: checkNumber("epsilon", options.epsilon ?? 1e-3),
    center: checkBoolean("center", options.center ?? true),
    scale: checkBoolean("scale", options.scale ?? true),
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
    trainable: checkBoolean("trainable", options.trainable ?? true),
    // Keras looks at these two only when renorm is on.
    renormClipping: renorm
      ? checkClipping(options.renormClipping ?? {}, kerasVersion)
      : {},
    renormMomentum: renorm
      ? checkNumber("renormMomentum", options.renormMomentum ?? 0.99)
      : 0.99,
    virtualBatchSize,
    adjustment,
    synchronized: checkBoolean("synchronized", options.synchronized ?? false),
    name: options.name ?? null,
    dtype,
    batchInputShape: resolveInputShape(options),
    weights: options.weights ?? null,
    activityRegularizer: resolveRegularizer(
      options.activityRegularizer,
      identify,
    ),
    autocast: checkBoolean("autocast", options.autocast ?? true),
    dynamic: checkBoolean("dynamic", options.dynamic ?? false),
    kerasVersion,
    kernels,
  };
}
