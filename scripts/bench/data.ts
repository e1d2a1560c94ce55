/**
 * What the benchmarks compute on: the same numbers for all candidates.
 *
 * @module
 */

import { RandomGenerator } from "../../src/layer/random.ts";
import { BatchNormalization, tensor } from "../../mod.ts";
import type { KernelName } from "../../mod.ts";
import { type BenchShape, channelsOf, countOf } from "./shapes.ts";

/** The epsilon of every layer and model. */
export const EPSILON = Math.fround(1e-3);

/** A layer's four vectors. */
export interface BenchWeights {
  readonly gamma: Float32Array;
  readonly beta: Float32Array;
  readonly mean: Float32Array;
  readonly variance: Float32Array;
}

/** Usual activations: normally distributed, each about a quarter off zero. */
export function makeValues(shape: BenchShape, seed: number): Float32Array {
  const random = new RandomGenerator(seed, 0);
  const values = new Float32Array(countOf(shape));
  // Drawing all of them takes longer than measuring.
  const drawn = Math.min(values.length, 65_537);
  for (let i = 0; i < drawn; i++) values[i] = 0.25 + random.normal();
  for (let filled = drawn; filled < values.length; filled *= 2) {
    values.copyWithin(filled, 0, Math.min(filled, values.length - filled));
  }
  return values;
}

/** Usual weights. */
export function makeWeights(shape: BenchShape): BenchWeights {
  const random = new RandomGenerator(99, 0);
  const vector = (of: () => number): Float32Array =>
    Float32Array.from({ length: channelsOf(shape) }, of);
  return {
    gamma: vector(() => 1 + random.normal() / 4),
    beta: vector(() => random.normal()),
    mean: vector(() => random.normal()),
    variance: vector(() => 0.5 + random.uniform()),
  };
}

/** A layer with these weights. */
export function makeLayer(
  shape: BenchShape,
  weights: BenchWeights,
  kernels: KernelName,
): BatchNormalization {
  const layer = new BatchNormalization({
    axis: shape.axis,
    epsilon: EPSILON,
    kernels,
  });
  const { gamma, beta, mean, variance } = weights;
  layer.setWeights(
    [gamma, beta, mean, variance].map((vector) =>
      tensor(vector.slice(), [vector.length])
    ),
  );
  return layer;
}
