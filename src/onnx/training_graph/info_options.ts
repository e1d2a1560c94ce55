/**
 * The options of `buildOnnxTraining`, checked and completed.
 *
 * @module
 */

import { UnsupportedError } from "../../errors.ts";
import type { BatchNormalization } from "../../layer/batch_normalization.ts";
import {
  type BuildOnnxOptions,
  checkFlag,
  checkNames,
  checkOpset,
  failOption,
} from "../build_options.ts";
import {
  DEFAULT_OPSET,
  NEWEST_OPSET,
  TRAINING_INFO_OPSET,
} from "../versions.ts";

/** Where a step gets the gradient by the layer's output from. */
export type OnnxLoss = "gradient" | "meanSquaredError";

/** The options of {@linkcode buildOnnxTraining}. */
export interface BuildOnnxTrainingOptions {
  /** The shape of the layer's input, as in `buildOnnx`. */
  readonly inputShape: BuildOnnxOptions["inputShape"];
  /** The version of ONNX' operators, 12 to 26; default 15. */
  readonly opset?: number;
  /**
   * `"gradient"` (default) for an input `dy`, the gradient of the caller's
   * loss by the output; `"meanSquaredError"` for an input `target` and the
   * loss `average((training_y - target)^2)`.
   */
  readonly loss?: OnnxLoss;
  /** How far a step of gamma and beta goes; default 0.01. */
  readonly learningRate?: number;
  /** The share of the last step that goes into the next; default 0. */
  readonly momentum?: number;
  /** Whether to look ahead along the momentum; default false. */
  readonly nesterov?: boolean;
  /** Whether a step takes an input `mask`; default false. */
  readonly mask?: boolean;
}

// A Record, so that the compiler notices an option that is missing here.
const KNOWN: Readonly<Record<keyof BuildOnnxTrainingOptions, true>> = {
  inputShape: true,
  opset: true,
  loss: true,
  learningRate: true,
  momentum: true,
  nesterov: true,
  mask: true,
};

/** {@linkcode BuildOnnxTrainingOptions}, checked and complete. */
export interface TrainingPlan {
  readonly opset: number;
  readonly irVersion: number;
  readonly loss: OnnxLoss;
  readonly learningRate: number;
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly mask: boolean;
}

/**
 * Checks and completes the options, all but the shape.
 *
 * @throws {OptionError} If one is unknown or has a value that it cannot have,
 * or the layer is frozen.
 */
export function checkTrainingOptions(
  layer: BatchNormalization,
  options: BuildOnnxTrainingOptions,
): TrainingPlan {
  checkNames(layer, options, KNOWN);
  const {
    opset = DEFAULT_OPSET,
    loss = "gradient",
    learningRate = 0.01,
    momentum = 0,
  } = options;
  const irVersion = checkOpset(layer, opset);
  if (opset < TRAINING_INFO_OPSET) {
    throw failOption(
      layer,
      `expected an opset from ${TRAINING_INFO_OPSET} to ${NEWEST_OPSET} for training, got ${opset}`,
    );
  }
  if (loss !== "gradient" && loss !== "meanSquaredError") {
    throw failOption(
      layer,
      `expected loss "gradient" or "meanSquaredError", got ${String(loss)}`,
    );
  }
  if (!Number.isFinite(learningRate)) {
    throw failOption(
      layer,
      `expected learningRate to be a finite number, got ${learningRate}`,
    );
  }
  // As in Keras.
  if (!(momentum >= 0 && momentum <= 1)) {
    throw failOption(
      layer,
      `expected momentum to be from 0 to 1, got ${momentum}`,
    );
  }
  const nesterov = checkFlag(layer, "nesterov", options.nesterov ?? false);
  const mask = checkFlag(layer, "mask", options.mask ?? false);
  if (!layer.trainable) {
    throw failOption(layer, "it is frozen and learns nothing, set trainable");
  }
  return { opset, irVersion, loss, learningRate, momentum, nesterov, mask };
}

/**
 * Checks that a layer's learning can be written: regularizers and constraints
 * can be any function.
 *
 * @throws {UnsupportedError} If it has some.
 */
export function checkLearning({ name, options }: BatchNormalization): void {
  for (
    const option of [
      "gammaRegularizer",
      "betaRegularizer",
      "activityRegularizer",
      "gammaConstraint",
      "betaConstraint",
    ] as const
  ) {
    if (options[option] === null) continue;
    throw new UnsupportedError(
      `Cannot write the training of layer "${name}" as ONNX: it has a ${option}, which is not written; train it with trainStep, or write a copy of the layer without it`,
    );
  }
}
