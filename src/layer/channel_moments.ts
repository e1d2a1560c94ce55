/**
 * Count, mean and squared deviations per channel, and their merging.
 *
 * @module
 */

import { ShapeError } from "../errors.ts";

/** The moments of a batch, or of many: one mean and M2 per channel. */
export interface ChannelMoments {
  /** How many elements each channel has. */
  readonly count: number;
  /** The mean of each channel. */
  readonly mean: Float64Array;
  /** The sum of squared deviations from the mean; the variance times `count`. */
  readonly m2: Float64Array;
}

/**
 * The moments of two sets of elements together.
 *
 * With d = mean_b - mean_a and n = n_a + n_b, the mean is
 * mean_a + d * n_b / n, and M2 = M2_a + M2_b + d^2 * n_a * n_b / n: Chan,
 * Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing
 * sample variances", 1979. Commutative, and associative up to rounding.
 *
 * @param a The moments of one set.
 * @param b The moments of the other, of as many channels.
 * @returns The moments of both; neither is changed.
 *
 * @throws {ShapeError} If the numbers of channels differ.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { mergeMoments } from "@evenkeel/evenkeel";
 *
 * const of = (count: number, mean: number, m2: number) => ({
 *   count,
 *   mean: new Float64Array([mean]),
 *   m2: new Float64Array([m2]),
 * });
 * // {1, 3} and {5}: the mean of {1, 3, 5} is 3, its M2 is 8.
 * assertEquals(mergeMoments(of(2, 2, 2), of(1, 5, 0)), of(3, 3, 8));
 * ```
 */
export function mergeMoments(
  a: ChannelMoments,
  b: ChannelMoments,
): ChannelMoments {
  if (a.mean.length !== b.mean.length) {
    throw new ShapeError(
      `Cannot merge moments of ${a.mean.length} and ${b.mean.length} channels: expected as many`,
    );
  }
  const count = a.count + b.count;
  const mean = new Float64Array(a.mean.length);
  const m2 = new Float64Array(a.mean.length);
  for (let c = 0; c < mean.length; c++) {
    // An empty side has no mean, whatever it holds.
    if (a.count === 0 || b.count === 0) {
      const only = a.count === 0 ? b : a;
      mean[c] = only.mean[c]!;
      m2[c] = only.m2[c]!;
      continue;
    }
    const delta = b.mean[c]! - a.mean[c]!;
    // Symmetric in a and b to the last bit.
    mean[c] = (a.mean[c]! * a.count + b.mean[c]! * b.count) / count;
    m2[c] = a.m2[c]! + b.m2[c]! +
      delta * delta * (a.count * b.count / count);
  }
  return { count, mean, m2 };
}
