/**
 * How far our output may be from Keras', which computes the same formula in
 * another order.
 *
 * @module
 */

import { assert } from "@std/assert";
import { layoutOf } from "../../kernels/layout.ts";
import { type Tensor, toFloats } from "../../tensor.ts";
import type { BatchNormalization } from "../batch_normalization.ts";

/** Half a unit in the last place of 1: the largest relative rounding error. */
const UNIT_ROUNDOFF = {
  float32: 2 ** -24,
  float64: 2 ** -53,
  float16: 2 ** -11,
  bfloat16: 2 ** -8,
} as const;

/**
 * The roundings of one output element, ours and Keras' together.
 *
 * Ours: variance + epsilon, sqrt, 1 / s, * gamma, mean * a, beta - ., x * a,
 * + b: 8, of which the first two count half (under the root). Keras' order
 * (`x * inv + (beta - mean * inv)` or `(x - mean) * inv + beta`) has as many,
 * with an rsqrt of up to 2 units on vector units. Each is at most one unit
 * roundoff of a term that |x a| + |mean a| + |beta| bounds.
 */
const ROUNDINGS = 8 + 8 + 2;

/** Asserts that an output is Keras', within what rounding explains. */
export function assertNearKeras(
  layer: BatchNormalization,
  x: Tensor,
  actual: Tensor,
  expected: Tensor,
): void {
  assert(actual.type === expected.type, `${actual.type}, ${expected.type}`);
  const floats = (t: Tensor) => toFloats(t, new Float64Array(t.data.length));
  const input = floats(x);
  const ours = floats(actual);
  const theirs = floats(expected);
  const mean = floats(layer.movingMean);
  const variance = floats(layer.movingVariance);
  const gamma = layer.gamma && floats(layer.gamma);
  const beta = layer.beta && floats(layer.beta);
  const channelOf = channels(x.dims, layer.axes!);
  // 16-bit layers compute in float32 and round the result once.
  const half = x.type === "float16" || x.type === "bfloat16";
  const unit = UNIT_ROUNDOFF[half ? "float32" : x.type];
  for (let i = 0; i < input.length; i++) {
    const c = channelOf[i]!;
    const a = (gamma?.[c] ?? 1) /
      Math.sqrt(variance[c]! + layer.effectiveEpsilon);
    const size = Math.abs(input[i]! * a) + Math.abs(mean[c]! * a) +
      Math.abs(beta?.[c] ?? 0);
    let bound = ROUNDINGS * unit * size;
    // Two results on either side of a rounding boundary are one unit apart.
    if (half) bound += 2 * UNIT_ROUNDOFF[x.type] * Math.abs(theirs[i]!);
    assert(
      Math.abs(ours[i]! - theirs[i]!) <= bound,
      `element ${i} of channel ${c}: ${ours[i]} is not Keras' ${
        theirs[i]
      } within ${bound}`,
    );
  }
}

/** The channel of every element, by counting: independent of the kernels. */
function channels(dims: readonly number[], axes: readonly number[]): number[] {
  const { channels, reduced } = layoutOf(dims, axes);
  const result: number[] = [];
  const index = dims.map(() => 0);
  for (let i = 0; i < channels * reduced; i++) {
    result.push(axes.reduce((c, axis) => c * dims[axis]! + index[axis]!, 0));
    for (let d = dims.length - 1; d >= 0 && ++index[d]! === dims[d]; d--) {
      index[d] = 0;
    }
  }
  return result;
}
