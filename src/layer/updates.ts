/**
 * What a training call changes in the layer: the moving statistics.
 *
 * @module
 */

import type { Tensor } from "../tensor.ts";
import {
  averageOverGroups,
  type TrainingLayer,
  type TrainingTape,
} from "./forward.ts";
import { type AverageRule, moveAverage } from "./moving_average.ts";
import {
  type RenormVariables,
  updateCorrections,
  updateMovingStddev,
} from "./renorm.ts";

/** The variables that training moves. */
export interface MovingVariables extends RenormVariables {
  readonly movingMean: Tensor;
}

/** `sqrt(variance + epsilon)` of each channel. */
export function deviationOf(
  variance: Float64Array,
  epsilon: number,
): Float64Array {
  return variance.map((v) => Math.sqrt(v + epsilon));
}

/**
 * Moves the averages by a measured batch, once, with the plain average over
 * ghost batches. An empty batch moves nothing: Keras does so under a
 * distribution strategy, and elsewhere fills the averages with NaN.
 *
 * On the fused path the variance is Bessel-corrected first:
 * `variance * N / max(N - 1, 1)`.
 *
 * @param layer The layer.
 * @param variables Its moving statistics.
 * @param tape The measured batch.
 * @param frozen Whether to move only what a frozen layer of TF 1's class
 * moves: renormalization's own averages.
 */
export function updateMovingStatistics(
  layer: TrainingLayer,
  variables: MovingVariables,
  tape: TrainingTape,
  frozen: boolean,
): void {
  if (tape.count === 0 || tape.groups === 0) return;
  const { options, fused, effectiveEpsilon: epsilon } = layer;
  const { momentum, renormMomentum, renorm, kerasVersion } = options;
  const rule: AverageRule = fused
    ? "fused"
    : kerasVersion === "3"
    ? "product"
    : "difference";
  const mean = averageOverGroups(tape.mean, tape);
  const variance = averageOverGroups(tape.variance, tape);
  const deviation = renorm ? deviationOf(variance, epsilon) : undefined;
  if (deviation) {
    updateCorrections(mean, deviation, variables, renormMomentum, rule);
  }
  if (frozen) return;
  moveAverage(variables.movingMean, mean, momentum, rule);
  if (deviation) {
    updateMovingStddev(deviation, variables, epsilon, momentum, rule);
    return;
  }
  const bessel = fused ? tape.count / Math.max(tape.count - 1, 1) : 1;
  moveAverage(variables.movingVariance, variance, momentum, rule, bessel);
}
