/**
 * A training call's forward pass: measure the batch and normalize it.
 *
 * @module
 */

import type { Kernels } from "../kernels/types.ts";
import type { Tensor, TensorData } from "../tensor.ts";
import {
  canSweep,
  measure,
  normalizeBatch,
  sweepBatch,
  type TapeVectors,
  type TrainingInputs,
  type TrainingLayer,
  type TrainingTape,
} from "./forward.ts";
import { renormCorrection } from "./renorm.ts";
import { deviationOf, type MovingVariables } from "./updates.ts";

/**
 * Normalizes a batch by its own statistics; changes nothing but the output.
 *
 * @param layer The built layer and its moving statistics.
 * @param kernels What to run on.
 * @param x The input, in the type that the layer computes in.
 * @param y Receives the output; shares no memory with the input.
 * @param inputs Mask and merged moments.
 * @param spare Vectors of a tape that is not needed any more.
 * @returns The measured batch, to move the averages and for the gradients.
 *
 * @throws {ShapeError} If the batch, the mask or the moments do not fit.
 * @throws {UnsupportedError} If ghost batches come with a mask or moments.
 */
export function normalizeByBatch(
  layer: TrainingLayer & MovingVariables,
  kernels: Kernels,
  x: Tensor,
  y: TensorData,
  inputs: TrainingInputs,
  spare?: TapeVectors,
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
  if (canSweep(layer, inputs)) return sweepBatch(layer, kernels, x, y, spare);
  const tape = measure(layer, kernels, x, inputs, correct);
  normalizeBatch(layer, kernels, tape, y);
  return tape;
}
