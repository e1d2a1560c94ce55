/**
 * Batch renormalization: Ioffe, "Batch Renormalization: Towards Reducing
 * Minibatch Dependence in Batch-Normalized Models", 2017, as Keras does it.
 *
 * @module
 */

import { encodeInto, type Tensor, widen } from "../tensor.ts";
import { type AverageRule, moveAverage } from "./moving_average.ts";
import type { RenormClipping } from "./options.ts";

/** The correction of each channel: `xhat * r + d`; constants in gradients. */
export interface Correction {
  readonly r: Float64Array;
  readonly d: Float64Array;
}

/** The variables that renormalization moves in its own way. */
export interface RenormVariables {
  readonly movingVariance: Tensor;
  readonly movingStddev: Tensor;
  readonly renormMean: Tensor;
  readonly renormStddev: Tensor;
}

function clip(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}

/**
 * The corrections of a batch, from the averages before it:
 * `r = s / rs` and `d = (mean - renormMean) / rs` with
 * `s = sqrt(variance + epsilon)` and `rs = max(renormStddev, sqrt(epsilon))`,
 * each within the bounds that are given.
 */
export function renormCorrection(
  mean: Float64Array,
  deviation: Float64Array,
  variables: RenormVariables,
  epsilon: number,
  { rmin = -Infinity, rmax = Infinity, dmax = Infinity }: RenormClipping,
): Correction {
  const renormMean = widen(variables.renormMean);
  const renormStddev = widen(variables.renormStddev)
    .map((stddev) => Math.max(stddev, Math.sqrt(epsilon)));
  return {
    r: deviation.map((s, c) => clip(s / renormStddev[c]!, rmin, rmax)),
    d: mean.map((m, c) =>
      clip((m - renormMean[c]!) / renormStddev[c]!, -dmax, dmax)
    ),
  };
}

/**
 * Moves the averages that only renormalization has.
 *
 * @param mean The mean of each channel.
 * @param deviation `sqrt(variance + epsilon)` of each channel.
 */
export function updateCorrections(
  mean: Float64Array,
  deviation: Float64Array,
  { renormMean, renormStddev }: RenormVariables,
  renormMomentum: number,
  rule: AverageRule,
): void {
  moveAverage(renormMean, mean, renormMomentum, rule);
  moveAverage(renormStddev, deviation, renormMomentum, rule);
}

/**
 * Moves the averages of inference: with renormalization, deviations are
 * averaged, epsilon included, and
 * `movingVariance = max(movingStddev^2 - epsilon, 0)`.
 */
export function updateMovingStddev(
  deviation: Float64Array,
  { movingVariance, movingStddev }: RenormVariables,
  epsilon: number,
  momentum: number,
  rule: AverageRule,
): void {
  moveAverage(movingStddev, deviation, momentum, rule);
  const round = movingVariance.type === "float64"
    ? (value: number) => value
    : Math.fround;
  const stddev = widen(movingStddev);
  encodeInto(
    movingVariance.type,
    movingVariance.data,
    stddev.map((s) => Math.max(round(s * s) - epsilon, 0)),
  );
}
