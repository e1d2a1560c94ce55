/**
 * The arithmetic of training over whole tensors, on an implementation's
 * pieces: what the slots of a group (see `pieces.ts`) start with, and how
 * their sums come to the channels.
 *
 * Moments, in one pass over memory. With k the first element of a slot (0 if
 * that is not finite), the slot's n elements give the sums S of x - k and Q of
 * (x - k)^2, and from these its mean k + S / n and its squared deviations
 * M2 = Q - S * (S / n). Slots are merged into their channel in the order of
 * groups and slots by Chan's formula, means held as differences from the k of
 * the channel's first slot:
 *
 *     delta = mean_slot - mean
 *     mean += delta * n_slot / n
 *     M2   += M2_slot + delta^2 * n_before * n_slot / n
 *
 * The error, with u = 2^-53: the subtraction in M2 loses little, since k is
 * itself an element. Its own squared deviation is part of M2, so
 * (k - mean)^2 <= M2, and Q = M2 + n * (k - mean)^2 <= (1 + n) * M2, whatever
 * the data. A slot has at most 8192 elements in four partial sums, which is
 * 2055 additions in a row, or 256 in one. Even if k is an outlier and all
 * roundings add up, M2 is then within 3 * 2057 * 8193 * u < 2^-27 of its
 * value: 1/8 ULP of float32. For usual data, with k a few deviations from the
 * mean, it is a few u. Merging adds terms that are not negative, each within a
 * few u, and takes differences of nearby numbers only, so that the size of the
 * mean does not enter. Nothing overflows as long as elements are below 1e150,
 * and a NaN or an infinity stays in its channel.
 *
 * Gradient sums are the plain sums of the slots, added to their channel in the
 * same order: within 2057 + (number of slots) times u of the sum of the
 * magnitudes.
 *
 * Passes over memory: sums read everything once, and the output depends on all
 * of them, so that its inputs have to be read again. That is two passes, of
 * which the second reads from a cache where the channels come in ranges
 * (`rangesOf`); `finished` lets the caller write the output of each range.
 *
 * Why float64 throughout: what it costs is arithmetic, not memory. Widening,
 * two operations where float32 has one, and rounding come to 0.6 ns per element
 * for the moments and as much for the output, where a memory copy takes 0.45
 * (6 MB, on the machine of `scripts/bench/RESULTS.md`). An output in float32,
 * with coefficients from float64, took 0.6 to 0.85 of the time of the forward
 * pass, but was further from the truth than onnxruntime's in 1 of 20 random
 * batches (by up to 27 %), and a gradient likewise. A value that is rounded
 * once is never further from it than another one by more than float64's own
 * error: that is the promise.
 *
 * @module
 */

import { bfloat16ToNumber, float16ToNumber } from "../half_float.ts";
import { type ElementType, halfBits, type TensorData } from "../tensor.ts";
import type { ChannelRange } from "./layout.ts";
import {
  type BindPieces,
  type Group,
  rangesOf,
  runGroups,
  type SlotVectors,
} from "./pieces.ts";
import type { TrainingKernels } from "./types.ts";

/**
 * Makes the kernels of training from what runs on pieces.
 *
 * @param bind An implementation's pieces.
 */
export function createTrainingKernels(bind: BindPieces): TrainingKernels {
  return {
    moments(type, layout, x, mean, m2, finished): void {
      const runner = bind("moments", type, { x });
      const merging = new MomentsMerging(layout.channels, mean, m2);
      for (const range of rangesOf(layout, runner.sharing?.threads)) {
        runGroups(layout, runner, {
          begin(group): void {
            const [shift] = runner.vectors;
            readFirst(type, x, group, shift);
            clearSums(runner.vectors, group);
          },
          end: (group) => merging.merge(runner.vectors, group),
        }, range);
        merging.finish(range);
        finished?.(range);
      }
    },

    normalize(type, layout, x, y, mean, factor, summand, range): void {
      const runner = bind("normalize", type, { x, output: y });
      runGroups(layout, runner, {
        begin(group): void {
          gather(runner.vectors[0], mean, group);
          gather(runner.vectors[1], factor, group);
          gather(runner.vectors[2], summand, group);
        },
      }, range);
    },

    gradientSums(type, layout, x, dy, mean, sum, product, finished): void {
      const runner = bind("gradientSums", type, { x, dy });
      sum.fill(0);
      product.fill(0);
      for (const range of rangesOf(layout, runner.sharing?.threads)) {
        runGroups(layout, runner, {
          begin(group): void {
            gather(runner.vectors[0], mean, group);
            clearSums(runner.vectors, group);
          },
          end({ slots, channels }): void {
            const [, sums, products] = runner.vectors;
            for (let s = 0; s < slots; s++) {
              const c = channels[s]!;
              sum[c]! += sums[s]!;
              product[c]! += products[s]!;
            }
          },
        }, range);
        finished?.(range);
      }
    },

    inputGradient(
      type,
      layout,
      x,
      dy,
      dx,
      mean,
      shift,
      slope,
      factor,
      range,
    ): void {
      const runner = bind("inputGradient", type, { x, dy, output: dx });
      runGroups(layout, runner, {
        begin(group): void {
          gather(runner.vectors[0], mean, group);
          gather(runner.vectors[1], shift, group);
          gather(runner.vectors[2], slope, group);
          gather(runner.vectors[3], factor, group);
        },
      }, range);
    },
  };
}

/** Copies the value of each slot's channel. */
function gather(
  vector: Float64Array,
  values: Float64Array,
  { slots, channels }: Group,
): void {
  for (let s = 0; s < slots; s++) vector[s] = values[channels[s]!]!;
}

/** Sets the sums to zero. */
function clearSums([, sums, products]: SlotVectors, { slots }: Group): void {
  sums.fill(0, 0, slots);
  products.fill(0, 0, slots);
}

/** Reads the first element of each slot, or 0 where that is not finite. */
function readFirst(
  type: ElementType,
  x: TensorData,
  { slots, element, step }: Group,
  shift: Float64Array,
): void {
  const bits = type === "float16" || type === "bfloat16" ? halfBits(x) : x;
  for (let s = 0; s < slots; s++) {
    const first = bits[element + s * step]!;
    const value = type === "float16"
      ? float16ToNumber(first)
      : type === "bfloat16"
      ? bfloat16ToNumber(first)
      : first;
    // A shift that is no number would spoil the mean's sign or its infinity.
    shift[s] = value - value === 0 ? value : 0;
  }
}

/** Chan's formula, slot by slot, into one mean and M2 per channel. */
class MomentsMerging {
  readonly #mean: Float64Array;
  readonly #m2: Float64Array;
  /** The elements that each channel has so far. */
  readonly #counts: Float64Array;
  /** What the means are differences from until the end. */
  readonly #origins: Float64Array;

  constructor(channels: number, mean: Float64Array, m2: Float64Array) {
    this.#mean = mean.fill(0);
    this.#m2 = m2.fill(0);
    this.#counts = new Float64Array(channels);
    this.#origins = new Float64Array(channels);
  }

  merge(
    [shifts, sums, products]: SlotVectors,
    { slots, channels, count }: Group,
  ): void {
    const mean = this.#mean;
    const m2 = this.#m2;
    const counts = this.#counts;
    const origins = this.#origins;
    for (let s = 0; s < slots; s++) {
      const c = channels[s]!;
      const before = counts[c]!;
      const after = before + count;
      counts[c] = after;
      if (before === 0) origins[c] = shifts[s]!;
      const average = sums[s]! / count;
      const slotMean = shifts[s]! - origins[c]! + average;
      const slotM2 = products[s]! - sums[s]! * average;
      const delta = slotMean - mean[c]!;
      const share = count / after;
      // An infinite mean stays one, as in a plain sum; M2 is NaN by then.
      mean[c]! += delta - delta === 0 ? delta * share : slotMean;
      m2[c]! += slotM2 + delta * delta * (before * share);
    }
  }

  finish({ first, count }: ChannelRange): void {
    const mean = this.#mean;
    for (let c = first; c < first + count; c++) mean[c]! += this.#origins[c]!;
  }
}
