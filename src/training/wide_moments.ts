/**
 * Moments of many batches that lose nothing where the mean is far larger than
 * the deviation.
 *
 * @module
 */

import { forEachBlock, type Layout } from "../kernels/layout.ts";
import type { Kernels } from "../kernels/types.ts";
import { type ChannelMoments, mergeMoments } from "../layer/channel_moments.ts";
import { type Tensor, widen } from "../tensor.ts";

/**
 * Moments with a mean of about 106 bits.
 *
 * A float64 mean of 1e6 deviations is off by up to 1e-10 deviations, and so
 * would be the difference of two such means, of which Chan's formula takes the
 * square: merging single elements would give a variance with ten correct
 * digits only.
 */
export interface WideMoments extends ChannelMoments {
  /** What rounding took off `mean`: the mean is `mean + low`. */
  readonly low: Float64Array;
}

/** Moments relative to an origin, with the origin: `origin + mean`. */
function fromOrigin(
  origin: Float64Array,
  { count, mean, m2 }: ChannelMoments,
): WideMoments {
  const high = origin.map((o, c) => o + mean[c]!);
  const low = high.map((sum, c) => {
    const o = origin[c]!;
    const d = mean[c]!;
    // Knuth's TwoSum: the rounding error of o + d, exactly. There is none to
    // speak of in an infinite or undefined mean.
    const part = sum - o;
    const error = (o - (sum - part)) + (d - part);
    return Number.isFinite(sum) ? error : 0;
  });
  return { count, mean: high, low, m2 };
}

/** Finite origins near the data; 0 where it is not finite. */
function finiteOrigin(values: Float64Array): Float64Array {
  return values.map((value) => Number.isFinite(value) ? value : 0);
}

/**
 * The moments of one batch.
 *
 * They are those of the differences from one element of each channel, which
 * float64 holds with a rounding error relative to the difference.
 *
 * @param kernels What to run on.
 * @param x The batch, of one element or more per channel.
 * @param layout How its elements map to channels.
 */
export function measureMoments(
  kernels: Kernels,
  x: Tensor,
  layout: Layout,
): WideMoments {
  const values = widen(x);
  const some = new Float64Array(layout.channels);
  forEachBlock(layout, (element, parameter, { channels, inner }) => {
    for (let c = 0; c < channels; c++) {
      some[parameter + c] = values[element + c * inner]!;
    }
  });
  const origin = finiteOrigin(some);
  forEachBlock(layout, (element, parameter, { outer, channels, inner }) => {
    let i = element;
    for (let o = 0; o < outer; o++) {
      for (let c = 0; c < channels; c++) {
        const from = origin[parameter + c]!;
        for (const end = i + inner; i < end; i++) values[i]! -= from;
      }
    }
  });
  const mean = new Float64Array(layout.channels);
  const m2 = new Float64Array(layout.channels);
  kernels.moments("float64", layout, values, mean, m2);
  return fromOrigin(origin, { count: layout.reduced, mean, m2 });
}

/**
 * The moments of two sets of elements together, by {@linkcode mergeMoments}
 * relative to the mean of the first.
 *
 * @throws {ShapeError} If the numbers of channels differ.
 */
export function mergeWideMoments(a: WideMoments, b: WideMoments): WideMoments {
  // An empty side has no mean to be near to.
  const origin = finiteOrigin(a.count === 0 ? b.mean : a.mean);
  const relative = ({ count, mean, low, m2 }: WideMoments): ChannelMoments => ({
    count,
    mean: mean.map((high, c) => (high - (origin[c] ?? 0)) + low[c]!),
    m2,
  });
  return fromOrigin(origin, mergeMoments(relative(a), relative(b)));
}
