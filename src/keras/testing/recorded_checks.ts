/**
 * What must hold for a layer that was loaded from a recorded case.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { BatchNormalization } from "../../layer/batch_normalization.ts";
import { type ElementType, type Tensor, toFloats } from "../../tensor.ts";
import type { KerasLayer } from "../load/types.ts";
import { type RecordedLayer, recordedTensor } from "./fixtures.ts";

/** The largest relative error of one rounding. */
const UNIT_ROUNDOFF: Readonly<Record<ElementType, number>> = {
  float64: 2 ** -53,
  float32: 2 ** -24,
  float16: 2 ** -11,
  bfloat16: 2 ** -8,
};

/**
 * How far two correct inferences can be apart, in units of
 * u * (|x * a| + |mean * a| + |beta|), with u the unit roundoff of the type
 * that Keras computes in and a = gamma / sqrt(variance + epsilon).
 *
 * Ours: a is off by 3.5 u (the sum under the root counts half, root, quotient
 * and product one each), x * a and mean * a by 4.5 u of themselves, and the
 * two sums add u of b and u of y, each at most the sum of the terms: 6.5.
 * Keras computes x * a + b or (x - mean) * a + beta, with no more roundings
 * than that but for a reciprocal root that Eigen gets from an estimate, good
 * to 2 u instead of 1: 7.5. Together 14.
 */
const TOLERANCE = 14;

function bits({ data }: Tensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function floats(tensor: Tensor): Float64Array {
  return toFloats(tensor, new Float64Array(tensor.data.length));
}

/** A value per channel, spread over the elements of an input. */
function perElement(
  weight: Tensor | undefined,
  { dims }: Tensor,
  axes: readonly number[],
  fallback: number,
): (index: number) => number {
  if (!weight) return () => fallback;
  const values = floats(weight);
  return (index) => {
    let rest = index;
    let channel = 0;
    let step = 1;
    for (let d = dims.length - 1; d >= 0; d--) {
      const at = rest % dims[d]!;
      rest = Math.floor(rest / dims[d]!);
      if (!axes.includes(d)) continue;
      channel += at * step;
      step *= dims[d]!;
    }
    return values[channel]!;
  };
}

/** The output's largest distance from Keras', in the units of TOLERANCE. */
function distance(
  layer: BatchNormalization,
  recorded: RecordedLayer,
  output: Tensor,
): number {
  const x = recordedTensor(recorded.input);
  const expected = floats(recordedTensor(recorded.output));
  const actual = floats(output);
  const inputs = floats(x);
  const at = (weight: Tensor | undefined, fallback: number) =>
    perElement(weight, x, recorded.axis, fallback);
  const gamma = at(layer.gamma, 1);
  const beta = at(layer.beta, 0);
  const mean = at(layer.movingMean, 0);
  const variance = at(layer.movingVariance, 1);
  const unit = UNIT_ROUNDOFF[output.type];
  let largest = 0;
  expected.forEach((value, i) => {
    const a = gamma(i) / Math.sqrt(variance(i) + recorded.usedEpsilon);
    const terms = Math.abs(inputs[i]! * a) + Math.abs(mean(i) * a) +
      Math.abs(beta(i));
    largest = Math.max(
      largest,
      Math.abs(actual[i]! - value) / (unit * terms),
    );
  });
  return largest;
}

/** Asserts that a layer has the weights that Keras had. */
export function checkWeights(
  layer: BatchNormalization,
  recorded: RecordedLayer,
): void {
  let weights = Object.values(recorded.weights).map(recordedTensor);
  if ("renorm_mean" in recorded.weights && weights.length === 6) {
    // TensorFlow 1.13 has other variables for renormalization, which are
    // converted: see load/old_renorm_test.ts.
    weights = weights.slice(0, 4);
  } else assertEquals(layer.weights.length, weights.length);
  weights.forEach((expected, i) => {
    const weight = layer.weights[i]!;
    assertEquals(weight.dims, expected.dims);
    assertEquals(weight.type, expected.type);
    assertEquals(bits(weight), bits(expected));
  });
}

/** Asserts that a layer computes what Keras did. */
export function checkOutput(
  layer: BatchNormalization,
  recorded: RecordedLayer,
): void {
  const output = layer.call(recordedTensor(recorded.input));
  assertEquals(output.type, recorded.output.dtype);
  assertEquals(output.dims, recorded.output.shape);
  assertEquals(layer.axes, recorded.axis);
  // Keras does not save `fused: false`, and runs the fused path after loading as well.
  if (recorded.fused === false && layer.fused) return;
  assertEquals(layer.effectiveEpsilon, recorded.usedEpsilon);
  const apart = distance(layer, recorded, output);
  assert(apart <= TOLERANCE, `${recorded.name} is ${apart} apart`);
}

/** What a layer's configuration was in the file, as it must come back. */
function configInFile({ config }: KerasLayer): KerasLayer["config"] {
  // Keras' shifted axes of ghost batches are not written again.
  const { axis: _, ...rest } = config!;
  return config!.virtual_batch_size == null ? config : rest;
}

/** Asserts that a layer gives back the configuration that the file has. */
export function checkConfig(
  layer: BatchNormalization,
  described: KerasLayer,
): void {
  const config = layer.getConfig();
  if (config.virtual_batch_size != null) delete config.axis;
  assertEquals(config, configInFile(described));
}
