/**
 * One training call: measure the batch, normalize it, move the averages.
 *
 * @module
 */

import type { Kernels } from "../kernels/types.ts";
import type { Tensor, TensorData } from "../tensor.ts";
import {
  measure,
  normalizeBatch,
  type TrainingInputs,
  type TrainingLayer,
  type TrainingTape,
} from "./forward.ts";
import { renormCorrection } from "./renorm.ts";
import {
  deviationOf,
  type MovingVariables,
  updateMovingStatistics,
} from "./updates.ts";

/**
 * Trains a layer on a batch.
 *
 * All of the output depends on the averages before this batch only.
 *
 * @param layer The built layer and its moving statistics, which change.
 * @param kernels What to run on.
 * @param x The input, in the type that the layer computes in.
 * @param y Receives the output; not the input.
 * @param inputs Mask and merged moments.
 * @param frozen Whether a layer of TF 1's class is frozen.
 * @returns What the backward pass needs.
 *
 * @throws {ShapeError} If the batch, the mask or the moments do not fit; then
 * nothing changes.
 * @throws {UnsupportedError} If ghost batches come with a mask or moments.
 */
export function trainBatch(
  layer: TrainingLayer & MovingVariables,
  kernels: Kernels,
  x: Tensor,
  y: TensorData,
  inputs: TrainingInputs,
  frozen: boolean,
): TrainingTape {
  const { options, effectiveEpsilon: epsilon } = layer;
  const correct = (mean: Float64Array, variance: Float64Array) =>
    options.renorm
      ? renormCorrection(
        mean,
        deviationOf(variance, epsilon),
        layer,
        epsilon,
        options.renormClipping,
      )
      : undefined;
  const tape = measure(layer, kernels, x, inputs, correct);
  normalizeBatch(layer, kernels, tape, y);
  updateMovingStatistics(layer, layer, tape, frozen);
  return tape;
}
