/**
 * Inference's four vectors folded to the two that the kernels apply.
 *
 * @module
 */

import type { Parameters } from "./types.ts";

/** The vectors of a layer in inference, all of one length and precision. */
export interface Statistics {
  /** The factor; 1 where missing. */
  readonly gamma: Parameters | undefined;
  /** The summand; 0 where missing. */
  readonly beta: Parameters | undefined;
  /** The mean. */
  readonly mean: Parameters;
  /** The variance. */
  readonly variance: Parameters;
  /** What is added to the variance. */
  readonly epsilon: number;
}

/**
 * Fills `a` and `b` such that the layer is `y = x * a + b`.
 *
 * In the order of onnxruntime's CPU kernel (`batch_norm.h`), with a rounding
 * to the precision of `a` after every operation:
 *
 *     inv = 1 / sqrt(variance + epsilon)
 *     a   = inv * gamma
 *     b   = beta - mean * a
 *
 * This is in TypeScript for both kernels, since it touches one value per
 * channel only. Float32 results are exact although JavaScript computes in
 * float64: for +, *, / and sqrt, 53 bits are at least 2 * 24 + 2, so that
 * rounding twice equals rounding once (Figueroa, "When is double rounding
 * innocuous?", 1995).
 *
 * @param a Receives the factors.
 * @param b Receives the summands.
 * @param statistics The layer's vectors.
 */
export function foldStatistics(
  a: Parameters,
  b: Parameters,
  statistics: Statistics,
): void {
  const { gamma, beta, mean, variance } = statistics;
  const single = a instanceof Float32Array;
  const epsilon = single ? Math.fround(statistics.epsilon) : statistics.epsilon;
  for (let c = 0; c < a.length; c++) {
    if (single) {
      const deviation = Math.fround(
        Math.sqrt(Math.fround(variance[c]! + epsilon)),
      );
      const inverse = Math.fround(1 / deviation);
      const factor = gamma ? Math.fround(inverse * gamma[c]!) : inverse;
      a[c] = factor;
      b[c] = (beta ? beta[c]! : 0) - Math.fround(mean[c]! * factor);
    } else {
      const inverse = 1 / Math.sqrt(variance[c]! + epsilon);
      const factor = gamma ? inverse * gamma[c]! : inverse;
      a[c] = factor;
      b[c] = (beta ? beta[c]! : 0) - mean[c]! * factor;
    }
  }
}
