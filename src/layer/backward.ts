/**
 * The layer's gradients.
 *
 * With g = dy, N elements per statistic and xhat = (x - mean) * inverse:
 *
 * - h = g * gamma (times r of renormalization, times the adjustment's scale)
 * - dx = inverse * (h - mean(h) - xhat * mean(h * xhat))
 * - dgamma = sum(g * ((xhat * r + d) * as + ab)), dbeta = sum(g)
 *
 * where means are over each ghost batch and sums over all of them; r, d and
 * the moving averages are constants, as in Keras. In inference,
 * dx = g * gamma * inverse with the moving statistics.
 *
 * @module
 */

import { ShapeError } from "../errors.ts";
import { type ChannelRange, layoutOf } from "../kernels/layout.ts";
import type { Kernels } from "../kernels/types.ts";
import {
  createData,
  encodeInto,
  type Tensor,
  type TensorData,
  widen,
} from "../tensor.ts";
import { type MaskState, sumOverGroups, type TrainingTape } from "./forward.ts";
import { forEachElement } from "./mask.ts";
import { inferenceStatistics, type InferenceVariables } from "./inference.ts";
import { scratchVector } from "./scratch.ts";

/**
 * Gradients in float64, one value per channel where they are parameters'; those
 * are good until the next call, of any layer.
 */
export interface RawGradients {
  /** By the input, in its computed type. */
  readonly dx: Tensor;
  /** By gamma, as if there were one. */
  readonly dgamma: Float64Array;
  /** By beta, as if there were one. */
  readonly dbeta: Float64Array;
}

/** Two sums per channel over a batch; replicas add theirs. */
export interface GradientSums {
  /** The sum of dy. */
  readonly sum: Float64Array;
  /** The sum of dy * (x - mean). */
  readonly product: Float64Array;
}

/**
 * The sums of a batch's gradients that dx depends on, in `sums` if that is
 * given; `finished` hears of every range of channels whose sums are there.
 */
export function gradientSumsOf(
  kernels: Kernels,
  { x, layout, mean }: Pick<TrainingTape, "x" | "layout" | "mean">,
  dy: Tensor,
  finished?: (sums: GradientSums, range: ChannelRange) => void,
  sums: GradientSums = {
    sum: new Float64Array(layout.channels),
    product: new Float64Array(layout.channels),
  },
): GradientSums {
  const { sum, product } = sums;
  kernels.gradientSums(
    x.type,
    layout,
    x.data,
    dy.data,
    mean,
    sum,
    product,
    finished && ((range) => finished(sums, range)),
  );
  return sums;
}

/** Checks sums that came from elsewhere. */
function checkSums({ sum, product }: GradientSums, channels: number): void {
  if (sum?.length !== channels || product?.length !== channels) {
    throw new ShapeError(
      `Cannot use sums of ${sum?.length} and ${product?.length} channels: expected ${channels} of each`,
    );
  }
}

/**
 * The gradients of a training call.
 *
 * @param kernels What to run on.
 * @param tape What the call left.
 * @param dy The gradient by the output, in the type of `tape.x`.
 * @param merged The sums of all replicas where the batch's moments were
 * merged; by default this batch's own.
 * @param dx Receives the gradient by the input; neither that nor `dy`.
 *
 * @throws {ShapeError} If the merged sums have another number of channels.
 */
export function trainingGradients(
  kernels: Kernels,
  tape: TrainingTape,
  dy: Tensor,
  merged?: GradientSums,
  dx: TensorData = createData(tape.x.type, tape.x.data.length),
): RawGradients {
  const { x, layout, channels, count, mean, inverse, correction } = tape;
  const scale = tape.gamma;
  // An adjusted output passes its factor on; float64 keeps the product exact
  // enough not to be rounded twice.
  const passed = tape.adjustment ? multiplied(dy, tape.adjustment.scale) : dy;
  const seen = passed === dy ? tape : {
    ...tape,
    x: { type: "float64" as const, dims: x.dims, data: widen(x) },
  };
  if (merged) checkSums(merged, layout.channels);
  const factor = scratchVector("factor", layout.channels);
  for (let i = 0, c = 0; i < inverse.length; i++) {
    factor[i] = inverse[i]! * (scale ? scale[c]! : 1) *
      (correction ? correction.r[c]! : 1);
    if (++c === channels) c = 0;
  }
  const target = passed === dy ? dx : new Float64Array(dx.length);
  const shift = scratchVector("shift", layout.channels);
  const slope = scratchVector("slope", layout.channels);
  // dx of a range follows its sums, so that both read it from memory once.
  const writeRange = (
    { sum, product }: GradientSums,
    range: ChannelRange,
  ): void => {
    for (let i = range.first; i < range.first + range.count; i++) {
      shift[i] = sum[i]! / count;
      slope[i] = product[i]! * inverse[i]! * inverse[i]! / count;
    }
    kernels.inputGradient(
      seen.x.type,
      layout,
      seen.x.data,
      passed.data,
      target,
      mean,
      shift,
      slope,
      factor,
      range,
    );
  };
  const own = gradientSumsOf(
    kernels,
    seen,
    passed,
    tape.mask || merged ? undefined : writeRange,
    {
      sum: scratchVector("sum", layout.channels).subarray(0, layout.channels),
      product: scratchVector("product", layout.channels)
        .subarray(0, layout.channels),
    },
  );
  if (tape.mask) {
    maskedInputGradient(tape, tape.mask, passed, factor, own, dx);
  } else {
    if (merged) writeRange(merged, { first: 0, count: layout.channels });
    if (target !== dx) encodeInto(x.type, dx, target);
  }
  // In the place of the products, which nothing needs any more.
  const dgamma = own.product;
  for (let i = 0, c = 0; i < dgamma.length; i++) {
    dgamma[i] = dgamma[i]! * inverse[i]! * (correction ? correction.r[c]! : 1) +
      own.sum[i]! * (correction ? correction.d[c]! : 0);
    if (++c === channels) c = 0;
  }
  let dbeta = own.sum;
  if (tape.adjustment) {
    const shifted = multiplied(dy, tape.adjustment.bias);
    const bias = gradientSumsOf(kernels, seen, shifted).sum;
    dgamma.forEach((_, i) => dgamma[i]! += bias[i]!);
    dbeta = gradientSumsOf(kernels, tape, dy).sum;
  }
  return {
    dx: { type: x.type, dims: x.dims, data: dx },
    dgamma: sumOverGroups(dgamma, tape),
    dbeta: sumOverGroups(dbeta, tape),
  };
}

/** What an inference call leaves behind. */
export interface InferenceTape {
  /** The input, in the type that the layer computes in. */
  readonly x: Tensor;
  /** The kept axes. */
  readonly axes: readonly number[];
}

/**
 * The gradients of an inference call, by the layer's variables as they are
 * now.
 *
 * @param kernels What to run on.
 * @param tape What the call left.
 * @param layer The layer.
 * @param dy The gradient by the output, in the type of `tape.x`.
 * @param dx Receives the gradient by the input; neither that nor `dy`.
 */
export function inferenceGradients(
  kernels: Kernels,
  { x, axes }: InferenceTape,
  layer: InferenceVariables,
  dy: Tensor,
  dx: TensorData = createData(x.type, x.data.length),
): RawGradients {
  const layout = layoutOf(x.dims, axes);
  const statistics = inferenceStatistics(layer, true);
  const { gamma, epsilon } = statistics;
  const mean = Float64Array.from(statistics.mean);
  const inverse = Float64Array.from(
    statistics.variance,
    (v) => 1 / Math.sqrt(v + epsilon),
  );
  kernels.normalize(
    x.type,
    layout,
    dy.data,
    dx,
    new Float64Array(inverse.length),
    inverse.map((inv, c) => inv * (gamma?.[c] ?? 1)),
    new Float64Array(inverse.length),
  );
  const { sum, product } = gradientSumsOf(kernels, { x, layout, mean }, dy);
  return {
    dx: { type: x.type, dims: x.dims, data: dx },
    dgamma: product.map((p, c) => p * inverse[c]!),
    dbeta: sum,
  };
}

function multiplied(dy: Tensor, by: Float64Array): Tensor {
  const data = widen(dy);
  for (let i = 0; i < data.length; i++) data[i]! *= by[i]!;
  return { type: "float64", dims: dy.dims, data };
}

/**
 * dx where only some positions made the statistics, but all are normalized:
 * every position's gradient reaches those that count through the mean and the
 * variance. `residual` is 0 unless the divisor is not the sum of the weights.
 */
function maskedInputGradient(
  { x, layout, mean, inverse }: TrainingTape,
  { weights, last, divisor, residual }: MaskState,
  dy: Tensor,
  factor: Float64Array,
  { sum, product }: GradientSums,
  dx: Tensor["data"],
): void {
  const byVariance = product.map((p, c) =>
    -0.5 * p * factor[c]! * inverse[c]! * inverse[c]!
  );
  const byMean = sum.map((s, c) =>
    divisor[c] === 0 ? 0 : -s * factor[c]! -
      2 * byVariance[c]! * residual[c]! / divisor[c]!
  );
  const values = widen(x);
  const gradient = widen(dy);
  forEachElement(layout, (i, c) => {
    const weight = weights[Math.floor(i / last)]!;
    const through = weight === 0 || divisor[c] === 0
      ? 0
      : weight * (byMean[c]! + 2 * byVariance[c]! * (values[i]! - mean[c]!)) /
        divisor[c]!;
    gradient[i] = gradient[i]! * factor[c]! + through;
  });
  encodeInto(x.type, dx, gradient);
}
