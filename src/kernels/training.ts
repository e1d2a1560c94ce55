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
 * the data. A slot has at most 8192 elements. Of a run of l of them, l / 4 are
 * added in a row, then up to 9 more, and the sums of 8192 / l runs to each
 * other: at most 2056 additions in a row, as runs are of 16 elements or more,
 * or no more numerous than long; a column has 256. Even if k is an outlier and
 * all roundings add up, M2 is then within 3 * 2058 * 8193 * u < 2^-27 of its
 * value: 1/8 ULP of float32. For usual data, with k a few deviations from the
 * mean, it is a few u. Merging adds terms that are not negative, each within a
 * few u, and takes differences of nearby numbers only, so that the size of the
 * mean does not enter. Nothing overflows as long as elements are below 1e150,
 * and a NaN or an infinity stays in its channel.
 *
 * Gradient sums are the plain sums of the slots, added to their channel in the
 * same order: within 2058 + (number of slots) times u of the sum of the
 * magnitudes.
 *
 * Passes over memory: sums read all inputs once, x for the moments, x and dy for
 * the gradients, and every element of the output depends on them, so that the
 * inputs have to be read again while it is written. That is two passes for
 * either mode, and cannot be fewer. Where the channels come in ranges
 * (`rangesOf`), the second pass reads from a cache, and the memory sees each
 * input and each output once, as a copy would; `finished` lets the caller write
 * the output of each range. Columns have no such ranges: a range would have to
 * be whole cache lines, 16 channels of float32, and those of all rows are
 * beyond the cache as soon as the tensor is.
 *
 * What bounds the speed is arithmetic, not memory. Widening, two operations
 * where float32 has one, and rounding: on elements in a cache, moments and
 * output together take as long per element as 2.2 to 2.9 memory copies of 6 MB,
 * and with both sums and the gradient of the backward pass as long as 7. A
 * whole forward pass of channels first takes 2.7 to 3.1 copies, both passes 8.5
 * (the rows of `scripts/bench/RESULTS.md` say it again): little is left beside
 * the arithmetic. Ten times as fast as onnxruntime-web, which takes 7 to 12
 * copies for the forward pass, would be about one copy, less than reading the
 * input and writing the output with nothing computed in between.
 *
 * Why float64 throughout: an output in float32, with coefficients from float64,
 * took 0.6 to 0.85 of the time of the forward pass, but was further from the
 * truth than onnxruntime's in 1 of 20 random batches (by up to 27 %), and a
 * gradient likewise. Correcting float32 by the errors of its own operations
 * takes 14 of them on four lanes where float64 takes 12. A value that is rounded
 * once is never further from the truth than another one by more than float64's
 * own error: that is the promise.
 *
 * @module
 */

import { bfloat16ToNumber, float16ToNumber } from "../half_float.ts";
import { type ElementType, halfBits, type TensorData } from "../tensor.ts";
import type { ChannelRange } from "./layout.ts";
import {
  type BindPieces,
  type Group,
  type GroupVisitor,
  type PieceRunner,
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
      const visitor = new MomentsVisitor(
        runner,
        type,
        x,
        layout.channels,
        mean,
        m2,
      );
      for (const range of rangesOf(layout, runner.sharing?.threads)) {
        runGroups(layout, runner, visitor, range);
        visitor.finish(range);
        finished?.(range);
      }
    },

    normalize(type, layout, x, y, mean, factor, summand, range): void {
      const runner = bind("normalize", type, { x, output: y });
      runGroups(layout, runner, {
        enter(slots): void {
          gather(runner.vectors[0], mean, slots);
          gather(runner.vectors[1], factor, slots);
          gather(runner.vectors[2], summand, slots);
        },
      }, range);
    },

    gradientSums(type, layout, x, dy, mean, sum, product, finished): void {
      const runner = bind("gradientSums", type, { x, dy });
      sum.fill(0);
      product.fill(0);
      const visitor: GroupVisitor = {
        enter: (slots) => gather(runner.vectors[0], mean, slots),
        begin: (group) => clearSums(runner.vectors, group),
        end({ slots, channel, channels }): void {
          const [, sums, products] = runner.vectors;
          for (let s = 0; s < slots; s++) {
            const c = channels ? channels[s]! : channel + s;
            sum[c]! += sums[s]!;
            product[c]! += products[s]!;
          }
        },
      };
      for (const range of rangesOf(layout, runner.sharing?.threads)) {
        runGroups(layout, runner, visitor, range);
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
        enter(slots): void {
          gather(runner.vectors[0], mean, slots);
          gather(runner.vectors[1], shift, slots);
          gather(runner.vectors[2], slope, slots);
          gather(runner.vectors[3], factor, slots);
        },
      }, range);
    },
  };
}

/** Copies the value of each slot's channel. */
function gather(
  vector: Float64Array,
  values: Float64Array,
  { slots, channel, channels }: Group,
): void {
  if (channels) {
    for (let s = 0; s < slots; s++) vector[s] = values[channels[s]!]!;
  } else {
    for (let s = 0; s < slots; s++) vector[s] = values[channel + s]!;
  }
}

/** Sets the sums to zero. */
function clearSums(
  [, sums, products]: SlotVectors,
  { slots }: Group,
): void {
  // A loop: `fill` takes longer to begin than most groups take.
  for (let s = 0; s < slots; s++) {
    sums[s] = 0;
    products[s] = 0;
  }
}

/** Two values per channel, of the moments that are being merged. */
interface Merging {
  /** The elements that each channel has so far. */
  readonly counts: Float64Array;
  /** What the means are differences from until the end. */
  readonly origins: Float64Array;
}

/** Up to so many channels, these two are the same arrays for all calls. */
const KEPT_CHANNELS = 4096;
let kept: Merging | undefined;

function mergingOf(channels: number): Merging {
  const create = (length: number): Merging => ({
    counts: new Float64Array(length),
    origins: new Float64Array(length),
  });
  if (channels > KEPT_CHANNELS) return create(channels);
  kept ??= create(KEPT_CHANNELS);
  kept.counts.fill(0, 0, channels);
  kept.origins.fill(0, 0, channels);
  return kept;
}

/**
 * The moments of groups, and Chan's formula, slot by slot, into one mean and M2
 * per channel.
 */
class MomentsVisitor implements GroupVisitor {
  readonly #runner: PieceRunner;
  readonly #type: ElementType;
  /** The elements, or their bits. */
  readonly #x: TensorData;
  readonly #mean: Float64Array;
  readonly #m2: Float64Array;
  readonly #merging: Merging;

  constructor(
    runner: PieceRunner,
    type: ElementType,
    x: TensorData,
    channels: number,
    mean: Float64Array,
    m2: Float64Array,
  ) {
    this.#runner = runner;
    this.#type = type;
    this.#x = type === "float16" || type === "bfloat16" ? halfBits(x) : x;
    this.#mean = mean.fill(0);
    this.#m2 = m2.fill(0);
    this.#merging = mergingOf(channels);
  }

  begin(group: Group): void {
    const type = this.#type;
    const x = this.#x;
    const [shifts] = this.#runner.vectors;
    const { slots, element, step } = group;
    for (let s = 0; s < slots; s++) {
      const first = x[element + s * step]!;
      const value = type === "float16"
        ? float16ToNumber(first)
        : type === "bfloat16"
        ? bfloat16ToNumber(first)
        : first;
      // A shift that is no number would spoil the mean's sign or its infinity.
      shifts[s] = value - value === 0 ? value : 0;
    }
    clearSums(this.#runner.vectors, group);
  }

  end({ slots, channel, channels, count }: Group): void {
    const [shifts, sums, products] = this.#runner.vectors;
    const { counts, origins } = this.#merging;
    const mean = this.#mean;
    const m2 = this.#m2;
    for (let s = 0; s < slots; s++) {
      const c = channels ? channels[s]! : channel + s;
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

  /** Makes the means of channels whole. */
  finish({ first, count }: ChannelRange): void {
    const mean = this.#mean;
    const { origins } = this.#merging;
    for (let c = first; c < first + count; c++) mean[c]! += origins[c]!;
  }
}
