/**
 * Layers and inputs with reproducible random values.
 *
 * @module
 */

import { BatchNormalization } from "../../layer/batch_normalization.ts";
import type { BatchNormalizationOptions } from "../../layer/options.ts";
import {
  elementCount,
  type ElementType,
  type Tensor,
  tensor,
} from "../../tensor.ts";

/** Mulberry32: numbers from 0 (inclusive) to 1 (exclusive). */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A tensor of numbers from `low` to `high`. */
export function randomTensor(
  next: () => number,
  dims: readonly number[],
  { type = "float32", low = -3, high = 3 }: {
    type?: ElementType;
    low?: number;
    high?: number;
  } = {},
): Tensor {
  const values = Float64Array.from(
    { length: elementCount(dims) },
    () => low + (high - low) * next(),
  );
  return tensor([...values], dims, type);
}

/** A built layer with random weights, unlike any initial value. */
export function randomLayer(
  next: () => number,
  options: BatchNormalizationOptions,
  inputShape: readonly (number | null)[],
): BatchNormalization {
  const layer = new BatchNormalization({ name: "bn", ...options });
  layer.build(inputShape);
  const { scale, center } = layer.options;
  const ranges = [
    ...(scale ? [[-2, 2]] : []),
    ...(center ? [[-1, 1]] : []),
    [-2, 2], // mean
    [0.01, 4], // variance
    ...layer.weights.slice(2 + Number(scale) + Number(center)).map(
      () => [1, 2],
    ),
  ];
  layer.setWeights(
    layer.weights.map(({ type, dims }, i) => {
      const [low, high] = ranges[i]!;
      return randomTensor(next, dims, { type, low: low!, high: high! });
    }),
  );
  return layer;
}
