/**
 * One step of training.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import { checkTensor } from "../layer/input_spec.ts";
import type { Regularizer } from "../layer/regularizers.ts";
import { type Tensor, tensorLike, widen } from "../tensor.ts";
import type { Optimizer, OptimizerVariable } from "./optimizer.ts";

/** What {@linkcode trainStep} needs besides the layer and its input. */
export interface TrainStepOptions {
  /** Changes gamma and beta; keeps its state from step to step. */
  readonly optimizer: Optimizer;
  /**
   * The gradient of the caller's loss by the output, of the output's shape, or
   * a function of the output that gives it.
   */
  readonly gradient: Tensor | ((y: Tensor) => Tensor);
  /** The caller's loss, if it is wanted in the result. */
  readonly loss?: (y: Tensor) => number;
  /** Keras' mask, as `call` takes it. */
  readonly mask?: Tensor | Uint8Array;
}

/** What {@linkcode trainStep} gives. */
export interface TrainStepResult {
  /** The layer's output. */
  readonly y: Tensor;
  /** The gradient of the whole loss by the input. */
  readonly dx: Tensor;
  /** That by gamma, regularizer included; absent if gamma does not learn. */
  readonly dgamma?: Tensor;
  /** That by beta, regularizer included; absent if beta does not learn. */
  readonly dbeta?: Tensor;
  /** The sum of the layer's own losses, before the update. */
  readonly losses: number;
  /** `options.loss` of the output plus `losses`; absent without it. */
  readonly loss?: number;
}

/** The gradient of the output, with that of the activity regularizer. */
function withActivity(
  dy: Tensor,
  y: Tensor,
  regularizer: Regularizer | null,
): Tensor {
  if (!regularizer) return dy;
  const added = new Float64Array(y.data.length);
  regularizer.gradient(widen(y), added, y.dims);
  // Keras divides the penalty of activities by the batch size.
  const batch = y.dims[0] || 1;
  const values = widen(dy);
  for (let i = 0; i < values.length; i++) values[i]! += added[i]! / batch;
  return tensorLike(y, values);
}

/** A parameter's gradient in its type, with that of its regularizer. */
function withPenalty(
  gradient: Tensor,
  variable: Tensor,
  regularizer: Regularizer | null,
): Tensor {
  const values = widen(gradient);
  regularizer?.gradient(widen(variable), values, variable.dims);
  return tensorLike(variable, values);
}

function runStep(
  layer: BatchNormalization,
  x: Tensor,
  options: TrainStepOptions,
): TrainStepResult {
  const { optimizer, gradient, loss, mask } = options;
  const y = layer.call(x, { training: true, ...(mask ? { mask } : {}) });
  const losses = layer.losses();
  const given = typeof gradient === "function" ? gradient(y) : gradient;
  checkTensor(given, `the gradient of layer "${layer.name}"`);
  const own = layer.options;
  const back = layer.backward(withActivity(given, y, own.activityRegularizer));
  const total = loss && { loss: loss(y) + losses };
  const variables: OptimizerVariable[] = [];
  const gradients: { dgamma?: Tensor; dbeta?: Tensor } = {};
  // Keras' order of variables; a frozen layer has none that learn.
  if (layer.trainable && layer.gamma && back.dgamma) {
    const { gamma: value } = layer;
    const dgamma = withPenalty(back.dgamma, value, own.gammaRegularizer);
    gradients.dgamma = dgamma;
    const constraint = own.gammaConstraint;
    variables.push({ name: "gamma", value, gradient: dgamma, constraint });
  }
  if (layer.trainable && layer.beta && back.dbeta) {
    const { beta: value } = layer;
    const dbeta = withPenalty(back.dbeta, value, own.betaRegularizer);
    gradients.dbeta = dbeta;
    const constraint = own.betaConstraint;
    variables.push({ name: "beta", value, gradient: dbeta, constraint });
  }
  optimizer.apply(variables);
  return { y, dx: back.dx, ...gradients, losses, ...total };
}

/**
 * Trains a layer on one batch, as Keras' `fit` does: runs it in training,
 * which moves the statistics; takes the gradient of the loss and of the
 * regularizers back; lets the optimizer change gamma and beta, and applies
 * their constraints.
 *
 * A frozen layer runs inference and learns nothing; the optimizer then makes
 * no step.
 *
 * @param layer The layer; built by the first step, if it was not.
 * @param x The batch.
 * @param options The optimizer and the loss's gradient.
 * @returns Output, gradients and losses.
 *
 * @throws {ShapeError} If the batch, the gradient or the mask does not fit.
 * @throws {OptionError} If a tensor is malformed. After any error, those of
 * the given functions included, the layer's weights and the optimizer are as
 * they were.
 *
 * @example Learn to double the normalized input
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { BatchNormalization, SGD, type Tensor, tensor, trainStep } from "@evenkeel/evenkeel";
 *
 * const layer = new BatchNormalization({ epsilon: 0 });
 * const optimizer = new SGD({ learningRate: 0.25 });
 * const x = tensor([1, 3, 5, 7], [4, 1]);
 * const target = tensor([-3, -1, 1, 3].map((v) => 2 * v / Math.sqrt(5)), [4, 1]);
 * // The loss is the mean of (y - target)^2.
 * const gradient = (y: Tensor) =>
 *   tensor([...y.data].map((v, i) => (v - target.data[i]!) * 2 / 4), [4, 1]);
 * for (let step = 0; step < 30; step++) trainStep(layer, x, { optimizer, gradient });
 * assertAlmostEquals(layer.gamma!.data[0]!, 2, 1e-5);
 * assertAlmostEquals(layer.beta!.data[0]!, 0, 1e-5);
 * ```
 */
export function trainStep(
  layer: BatchNormalization,
  x: Tensor,
  options: TrainStepOptions,
): TrainStepResult {
  checkTensor(x, `the input of layer "${layer.name}"`);
  const optimizer: unknown = options?.optimizer;
  if (typeof (optimizer as { apply?: unknown } | null)?.apply !== "function") {
    throw new OptionError(
      `Cannot train layer "${layer.name}": expected an optimizer such as new Adam(), or resolveOptimizer of its name, made once and kept for all steps, got ${
        typeof optimizer === "string" ? `"${optimizer}"` : typeof optimizer
      }`,
    );
  }
  layer.build(x.dims);
  const before = layer.weights.map(({ data }) => data.slice());
  try {
    return runStep(layer, x, options);
  } catch (error) {
    layer.weights.forEach(({ data }, i) => data.set(before[i]!));
    throw error;
  }
}
