/**
 * The layer in training: the batch's statistics, the output, and what the
 * backward pass needs of them.
 *
 * @module
 */

import { OptionError, ShapeError, UnsupportedError } from "../errors.ts";
import { type Layout, layoutOf } from "../kernels/layout.ts";
import type { Kernels } from "../kernels/types.ts";
import {
  encodeInto,
  type Tensor,
  type TensorData,
  toFloats,
  widen,
} from "../tensor.ts";
import { broadcast } from "./broadcast.ts";
import type { ChannelMoments } from "./channel_moments.ts";
import {
  forEachElement,
  type Mask,
  type MaskedMoments,
  maskedMoments,
  maskWeights,
} from "./mask.ts";
import type { ResolvedOptions } from "./options.ts";
import type { Correction } from "./renorm.ts";
import { scratchVector } from "./scratch.ts";

/** What of a built layer the training pass depends on. */
export interface TrainingLayer {
  /** The layer's name for messages. */
  readonly name: string;
  /** The checked options. */
  readonly options: ResolvedOptions;
  /** The kept axes, ascending. */
  readonly axes: readonly number[];
  /** Whether TensorFlow would run its fused operator. */
  readonly fused: boolean;
  /** What is added to the variance. */
  readonly effectiveEpsilon: number;
  /** The factor of each channel, if there is one. */
  readonly gamma: Tensor | undefined;
  /** The summand of each channel, if there is one. */
  readonly beta: Tensor | undefined;
  /** How the elements of an input map to its channels. */
  layoutFor(dims: readonly number[]): Layout;
}

/**
 * How a batch maps to statistics. With ghost batches, each of the `groups`
 * has its own: statistic `g * channels + c` belongs to ghost batch g.
 */
export interface StatisticsLayout {
  /** How elements map to statistics. */
  readonly layout: Layout;
  /** The number of ghost batches; 1 without them. */
  readonly groups: number;
  /** The number of channels. */
  readonly channels: number;
}

/**
 * The layout of a batch's statistics.
 *
 * Keras reshapes the batch to `[v, B / v, ...]` with v = virtualBatchSize, so
 * that row i is in ghost batch `i mod (B / v)`: the second dimension is one
 * more kept axis.
 *
 * @throws {ShapeError} If v does not divide the batch.
 */
export function statisticsLayout(
  layer: Pick<TrainingLayer, "name" | "options" | "axes" | "layoutFor">,
  dims: readonly number[],
): StatisticsLayout {
  const { name, options, axes } = layer;
  const { virtualBatchSize } = options;
  if (virtualBatchSize === null) {
    const layout = layer.layoutFor(dims);
    return { layout, groups: 1, channels: layout.channels };
  }
  const [batch = 0, ...rest] = dims;
  if (batch % virtualBatchSize !== 0) {
    throw new ShapeError(
      `Cannot train layer "${name}" on a batch of ${batch}: it is not divisible by virtualBatchSize ${virtualBatchSize}`,
    );
  }
  const groups = batch / virtualBatchSize;
  const layout = layoutOf(
    [virtualBatchSize, groups, ...rest],
    [1, ...axes.map((axis) => axis + 1)],
  );
  return {
    layout,
    groups,
    channels: groups === 0
      ? axes.reduce((product, axis) => product * dims[axis]!, 1)
      : layout.channels / groups,
  };
}

/** Factor and summand of an adjustment, as large as the input. */
export interface BroadcastAdjustment {
  readonly scale: Float64Array;
  readonly bias: Float64Array;
}

/** The weights of a masked batch and the moments that they led to. */
export interface MaskState extends MaskedMoments {
  /** One weight per run of `last` elements. */
  readonly weights: Float64Array;
  /** The extent of the input's last dimension. */
  readonly last: number;
}

/** The vectors of a tape, which a later call can have once it is not needed. */
export interface TapeVectors {
  /** The factor of each channel, as it was in the call. */
  readonly gamma: Float64Array | undefined;
  /** The mean of each statistic. */
  readonly mean: Float64Array;
  /** The population variance of each statistic. */
  readonly variance: Float64Array;
  /** `1 / sqrt(variance + epsilon)` of each statistic. */
  readonly inverse: Float64Array;
}

/** What the backward pass of a training call needs. */
export interface TrainingTape extends StatisticsLayout, TapeVectors {
  /** The input, in the type that the layer computes in. */
  readonly x: Tensor;
  /** The number of elements behind each statistic. */
  readonly count: number;
  /** Renormalization's correction of each channel. */
  readonly correction: Correction | undefined;
  /** The adjustment. */
  readonly adjustment: BroadcastAdjustment | undefined;
  /** The mask. */
  readonly mask: MaskState | undefined;
}

/** What comes from outside of a training call. */
export interface TrainingInputs {
  /** Positions that do not count. */
  readonly mask?: Mask | undefined;
  /** Merged moments of all replicas, in the place of the batch's own. */
  readonly moments?: ChannelMoments | undefined;
}

/** Whether the release, on this path, lets a mask count. */
function usesMask({ options, fused }: TrainingLayer): boolean {
  const { kerasVersion } = options;
  return kerasVersion === "3" || (kerasVersion === "2.12" && !fused);
}

/** Checks moments that came from elsewhere. */
function checkMoments(
  { count, mean, m2 }: ChannelMoments,
  channels: number,
  layer: string,
): void {
  if (mean?.length !== channels || m2?.length !== channels) {
    throw new ShapeError(
      `Cannot train layer "${layer}" with moments of ${mean?.length} means and ${m2?.length} squared deviations: expected ${channels} of each`,
    );
  }
  if (!(Number.isFinite(count) && count >= 0)) {
    throw new OptionError(
      `Cannot train layer "${layer}" with moments of ${count} elements: expected a count`,
    );
  }
}

/**
 * Measures a batch.
 *
 * @param layer The built layer.
 * @param kernels What to run on.
 * @param x The input, in the type that the layer computes in.
 * @param inputs Mask and merged moments.
 * @param correct Gives renormalization's correction, from the averages over
 * ghost batches and the averages before this batch.
 *
 * @throws {ShapeError} If the batch, the mask or the moments do not fit.
 * @throws {UnsupportedError} If ghost batches come with a mask or with merged
 * moments.
 */
export function measure(
  layer: TrainingLayer,
  kernels: Kernels,
  x: Tensor,
  inputs: TrainingInputs,
  correct: (mean: Float64Array, variance: Float64Array) =>
    | Correction
    | undefined,
): TrainingTape {
  const { name, options } = layer;
  const statistics = statisticsLayout(layer, x.dims);
  const { layout } = statistics;
  const moments = inputs.moments;
  const masked = inputs.mask !== undefined && usesMask(layer);
  if (statistics.groups !== 1 && (masked || moments)) {
    throw new UnsupportedError(
      `Cannot train layer "${name}" with virtualBatchSize and ${
        masked ? "a mask" : "merged moments"
      }: each ghost batch has statistics of its own`,
    );
  }
  if (moments) checkMoments(moments, layout.channels, name);
  let mask: MaskState | undefined;
  let mean: Float64Array;
  let variance: Float64Array;
  let count = layout.reduced;
  if (moments) {
    count = moments.count;
    // In float64 whatever array came: later calls compute in these.
    mean = Float64Array.from(moments.mean);
    variance = Float64Array.from(moments.m2, (m2) => m2 / count);
  } else if (masked) {
    const weights = maskWeights(
      inputs.mask!,
      x.dims,
      name,
      options.kerasVersion,
    );
    const last = x.dims[x.dims.length - 1]!;
    const found = maskedMoments(
      widen(x),
      layout,
      weights,
      last,
      options.kerasVersion,
      options.dtype.compute === "float64",
    );
    mask = { ...found, weights, last };
    ({ mean, variance } = found);
  } else {
    mean = new Float64Array(layout.channels);
    variance = new Float64Array(layout.channels);
    kernels.moments(x.type, layout, x.data, mean, variance);
    // An empty batch has no variance; 0 keeps it out of the gradients.
    const divisor = Math.max(count, 1);
    for (let c = 0; c < variance.length; c++) variance[c]! /= divisor;
  }
  const correction = correct(
    averageOverGroups(mean, statistics),
    averageOverGroups(variance, statistics),
  );
  return {
    ...statistics,
    x,
    gamma: layer.gamma && widen(layer.gamma),
    count,
    mean,
    variance,
    inverse: variance.map((v) => 1 / Math.sqrt(v + layer.effectiveEpsilon)),
    correction,
    adjustment: adjustmentFor(layer, x),
    mask,
  };
}

/**
 * Measures a batch and writes its output in one sweep: range by range of
 * channels, so that a range is normalized while it is still in a cache.
 *
 * @param layer The built layer, without renormalization and adjustment.
 * @param kernels What to run on.
 * @param x The input, in the type that the layer computes in.
 * @param y Receives the output; not the input.
 * @param spare Vectors that the tape may have.
 *
 * @throws {ShapeError} If the batch does not fit.
 */
export function sweepBatch(
  layer: TrainingLayer,
  kernels: Kernels,
  x: Tensor,
  y: TensorData,
  spare: TapeVectors | undefined,
): TrainingTape {
  const statistics = statisticsLayout(layer, x.dims);
  const { layout, channels } = statistics;
  const { mean, variance, inverse } = spare?.mean.length === layout.channels
    ? spare
    : newVectors(layout.channels);
  const gamma = layer.gamma && toFloats(
    layer.gamma,
    spare?.gamma?.length === channels
      ? spare.gamma
      : new Float64Array(channels),
  );
  const beta = layer.beta && floatsOf(layer.beta);
  const factor = scratchVector("factor", layout.channels);
  const summand = scratchVector("summand", layout.channels);
  const { effectiveEpsilon } = layer;
  // An empty batch has no variance; 0 keeps it out of the gradients.
  const divisor = Math.max(layout.reduced, 1);
  kernels.moments(x.type, layout, x.data, mean, variance, (range) => {
    const { first, count } = range;
    for (let i = first, c = first % channels; i < first + count; i++) {
      variance[i]! /= divisor;
      inverse[i] = 1 / Math.sqrt(variance[i]! + effectiveEpsilon);
      factor[i] = inverse[i]! * (gamma ? gamma[c]! : 1);
      summand[i] = beta ? beta[c]! : 0;
      if (++c === channels) c = 0;
    }
    kernels.normalize(x.type, layout, x.data, y, mean, factor, summand, range);
  });
  return {
    ...statistics,
    x,
    gamma,
    count: layout.reduced,
    mean,
    variance,
    inverse,
    correction: undefined,
    adjustment: undefined,
    mask: undefined,
  };
}

function newVectors(
  length: number,
): Pick<TapeVectors, "mean" | "variance" | "inverse"> {
  return {
    mean: new Float64Array(length),
    variance: new Float64Array(length),
    inverse: new Float64Array(length),
  };
}

/** The values of a tensor, in its own array where those are numbers. */
function floatsOf(tensor: Tensor): ArrayLike<number> {
  return tensor.type === "float32" || tensor.type === "float64"
    ? tensor.data
    : widen(tensor);
}

/** Whether a call can be computed by {@linkcode sweepBatch}. */
export function canSweep(
  layer: TrainingLayer,
  { mask, moments }: TrainingInputs,
): boolean {
  const { renorm, adjustment } = layer.options;
  return !renorm && !adjustment && !moments &&
    (mask === undefined || !usesMask(layer));
}

/** The sum of each channel over the ghost batches. */
export function sumOverGroups(
  values: Float64Array,
  { groups, channels }: StatisticsLayout,
): Float64Array {
  if (groups === 1) return values;
  const result = new Float64Array(channels);
  values.forEach((value, i) => result[i % channels]! += value);
  return result;
}

/** The plain average of each channel over the ghost batches. */
export function averageOverGroups(
  values: Float64Array,
  statistics: StatisticsLayout,
): Float64Array {
  const { groups } = statistics;
  if (groups <= 1) return sumOverGroups(values, statistics);
  return sumOverGroups(values, statistics).map((sum) => sum / groups);
}

function adjustmentFor(
  { name, options }: TrainingLayer,
  { dims }: Tensor,
): BroadcastAdjustment | undefined {
  if (!options.adjustment) return undefined;
  const pair: unknown = options.adjustment([...dims]);
  if (!Array.isArray(pair) || pair.length !== 2) {
    throw new OptionError(
      `Cannot use the adjustment of layer "${name}": expected it to return [scale, bias], two tensors`,
    );
  }
  const [scale, bias] = pair as [Tensor, Tensor];
  return {
    scale: broadcast(scale, dims, `the adjustment's scale`),
    bias: broadcast(bias, dims, `the adjustment's bias`),
  };
}

/**
 * Writes the output of a measured batch:
 * `y = ((xhat * r + d) * as + ab) * gamma + beta`, where r and d come from
 * renormalization and as and ab from the adjustment.
 *
 * @param layer The layer.
 * @param kernels What to run on.
 * @param tape The measured batch.
 * @param y Receives the output; not the input.
 */
export function normalizeBatch(
  layer: TrainingLayer,
  kernels: Kernels,
  tape: TrainingTape,
  y: TensorData,
): void {
  const { x, layout, channels, mean, inverse, correction, adjustment } = tape;
  const { gamma } = tape;
  const beta = layer.beta && widen(layer.beta);
  const factor = inverse.map((inv, i) =>
    inv * (correction?.r[i % channels] ?? 1)
  );
  const summand = inverse.map((_, i) => correction?.d[i % channels] ?? 0);
  if (!adjustment) {
    for (let i = 0; i < factor.length; i++) {
      const c = i % channels;
      factor[i]! *= gamma?.[c] ?? 1;
      summand[i] = summand[i]! * (gamma?.[c] ?? 1) + (beta?.[c] ?? 0);
    }
    kernels.normalize(x.type, layout, x.data, y, mean, factor, summand);
    return;
  }
  const values = widen(x);
  kernels.normalize("float64", layout, values, values, mean, factor, summand);
  const { scale, bias } = adjustment;
  forEachElement(layout, (i, s) => {
    const c = s % channels;
    values[i] = (values[i]! * scale[i]! + bias[i]!) * (gamma?.[c] ?? 1) +
      (beta?.[c] ?? 0);
  });
  encodeInto(x.type, y, values);
}
