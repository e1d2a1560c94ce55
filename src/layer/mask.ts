/**
 * Keras' mask: positions that do not count for the batch's statistics.
 *
 * @module
 */

import { OptionError, ShapeError } from "../errors.ts";
import { forEachBlock, type Layout } from "../kernels/layout.ts";
import { elementCount, type Tensor } from "../tensor.ts";
import { broadcast } from "./broadcast.ts";
import { checkTensor } from "./input_spec.ts";
import type { KerasVersion } from "./keras_version.ts";

/** A mask as `call` takes it. */
export type Mask = Tensor | Uint8Array;

/**
 * One weight per position: per run of the input's last dimension, which the
 * mask has not. Keras 3 takes any value but 0 for 1; Keras 2 weighs with the
 * values themselves.
 *
 * @throws {ShapeError} If the mask does not fit the input.
 * @throws {OptionError} If the input has no dimension to leave out.
 */
export function maskWeights(
  mask: Mask,
  dims: readonly number[],
  layer: string,
  kerasVersion: KerasVersion,
): Float64Array {
  if (dims.length < 2) {
    throw new OptionError(
      `Cannot use a mask in layer "${layer}": expected an input of rank 2 or more, got rank ${dims.length}`,
    );
  }
  const positions = dims.slice(0, -1);
  const weigh = (values: Float64Array): Float64Array =>
    kerasVersion === "3" ? values.map((v) => (v === 0 ? 0 : 1)) : values;
  if (mask instanceof Uint8Array) {
    const count = elementCount(positions);
    if (mask.length !== count) {
      throw new ShapeError(
        `Cannot use a mask in layer "${layer}": expected ${count} values for an input of shape [${
          dims.join(", ")
        }], got ${mask.length}`,
      );
    }
    return weigh(Float64Array.from(mask));
  }
  checkTensor(mask, `the mask of layer "${layer}"`);
  if (mask.dims.length !== positions.length) {
    throw new ShapeError(
      `Cannot use a mask in layer "${layer}": expected one dimension less than the input of shape [${
        dims.join(", ")
      }], got shape [${mask.dims.join(", ")}]`,
    );
  }
  return weigh(broadcast(mask, positions, `the mask of layer "${layer}"`));
}

/** What a masked batch has in the place of a count. */
export interface MaskedMoments {
  /** The mean of each channel. */
  readonly mean: Float64Array;
  /** The population variance of each channel. */
  readonly variance: Float64Array;
  /** What each channel's sums were divided by; 0 where nothing counts. */
  readonly divisor: Float64Array;
  /** The sum of weighted deviations: 0 but for what the divisor is off. */
  readonly residual: Float64Array;
}

/** Keras 3 adds `keras.config.epsilon()` to the count, in the compute type. */
const KERAS_EPSILON = 1e-7;

/** Visits every element with its channel; the slow path of odd requests. */
export function forEachElement(
  layout: Layout,
  visit: (element: number, channel: number) => void,
): void {
  forEachBlock(layout, (first, parameter, { outer, channels, inner }) => {
    let element = first;
    for (let o = 0; o < outer; o++) {
      for (let c = 0; c < channels; c++) {
        for (let i = 0; i < inner; i++) visit(element++, parameter + c);
      }
    }
  });
}

/**
 * The moments of the positions that count.
 *
 * From 2.12 on as `tf.nn.weighted_moments` (a masked NaN stays one, as it is
 * multiplied by 0), in Keras 3 over the positions alone, with 1e-7 added to
 * the count. With `synchronized`, tf-keras squares x * w instead, which is
 * another variance for weights that are neither 0 nor 1; we do not.
 *
 * @param x The elements, widened to float64.
 * @param layout How elements map to channels.
 * @param weights One weight per run of `last` elements.
 * @param last The extent of the input's last dimension.
 * @param kerasVersion Whose formula.
 * @param double Whether the layer computes in float64.
 */
export function maskedMoments(
  x: Float64Array,
  layout: Layout,
  weights: Float64Array,
  last: number,
  kerasVersion: KerasVersion,
  double: boolean,
): MaskedMoments {
  const { channels } = layout;
  const mean = new Float64Array(channels);
  const variance = new Float64Array(channels);
  const divisor = new Float64Array(channels);
  const residual = new Float64Array(channels);
  const skips = kerasVersion === "3";
  const weigh = (i: number, value: number): number => {
    const weight = weights[Math.floor(i / last)]!;
    return weight === 0 && skips ? 0 : value * weight;
  };
  forEachElement(layout, (i, c) => {
    mean[c]! += weigh(i, x[i]!);
    divisor[c]! += weights[Math.floor(i / last)]!;
  });
  for (let c = 0; c < channels; c++) {
    if (skips) {
      const sum = divisor[c]! + KERAS_EPSILON;
      divisor[c] = double ? sum : Math.fround(sum);
    }
    // tf.math.divide_no_nan
    mean[c] = divisor[c] === 0 ? 0 : mean[c]! / divisor[c]!;
  }
  forEachElement(layout, (i, c) => {
    const deviation = x[i]! - mean[c]!;
    variance[c]! += weigh(i, deviation * deviation);
    residual[c]! += weigh(i, deviation);
  });
  for (let c = 0; c < channels; c++) {
    variance[c] = divisor[c] === 0 ? 0 : variance[c]! / divisor[c]!;
  }
  return { mean, variance, divisor, residual };
}
