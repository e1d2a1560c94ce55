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
  if (a instanceof Float32Array) foldSingle(a, b, statistics);
  else foldDouble(a, b, statistics);
}

// Two functions, as V8 makes the fastest code where it sees one array class
// only; and two loops in the first (measured: three quarters of the time).

function foldSingle(
  a: Parameters,
  b: Parameters,
  { gamma, beta, mean, variance, epsilon }: Statistics,
): void {
  const { fround } = Math;
  const added = fround(epsilon);
  for (let c = 0; c < a.length; c++) {
    const inverse = fround(1 / fround(Math.sqrt(fround(variance[c]! + added))));
    a[c] = gamma ? fround(inverse * gamma[c]!) : inverse;
  }
  for (let c = 0; c < a.length; c++) {
    b[c] = (beta ? beta[c]! : 0) - fround(mean[c]! * a[c]!);
  }
}

function foldDouble(
  a: Parameters,
  b: Parameters,
  { gamma, beta, mean, variance, epsilon }: Statistics,
): void {
  for (let c = 0; c < a.length; c++) {
    const inverse = 1 / Math.sqrt(variance[c]! + epsilon);
    const factor = gamma ? inverse * gamma[c]! : inverse;
    a[c] = factor;
    b[c] = (beta ? beta[c]! : 0) - mean[c]! * factor;
  }
}
