/**
 * The cases of `testdata/keras/*.json`: layers of real Keras with their
 * configuration, weights, input and output.
 *
 * @module
 */

import { type ElementType, type Tensor, tensor } from "../../tensor.ts";
import type { KerasConfig } from "../config.ts";
import { weightNames } from "../weights.ts";

/** A tensor in the fixtures: little-endian bytes in base64. */
export interface EncodedTensor {
  readonly dtype: ElementType | "uint8";
  readonly shape: readonly number[];
  readonly data: string;
}

/** One BatchNormalization layer as Keras ran it. */
export interface LayerCase {
  readonly name: string;
  readonly path: readonly string[];
  readonly config: KerasConfig;
  readonly className: string;
  readonly inputShape: readonly (number | null)[];
  /** Resolved and ascending; not shifted for ghost batches. */
  readonly axis: readonly number[];
  readonly usedEpsilon: number;
  readonly fused: boolean | null;
  readonly weights: Readonly<Record<string, EncodedTensor>>;
  readonly input: EncodedTensor;
  readonly output: EncodedTensor;
}

/** One file and what Keras made of it. */
export interface KerasCase {
  readonly case: string;
  readonly file: string;
  readonly format: string;
  readonly kerasVersion: string | null;
  readonly madeWith: Readonly<Record<string, string>>;
  readonly layers: readonly LayerCase[];
}

const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
} as const;

/** Decodes a tensor of the fixtures; a bool mask becomes 0 and 1. */
export function decodeTensor({ dtype, shape, data }: EncodedTensor): Tensor {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  if (dtype === "uint8") return tensor(Float32Array.from(bytes), shape);
  return tensor(new ARRAYS[dtype](bytes.buffer), shape, dtype);
}

/** Named tensors of the fixtures in Keras' order of weights. */
export function inKerasOrder(
  weights: Readonly<Record<string, EncodedTensor>>,
): Tensor[] {
  return weightNames({ scale: true, center: true, renorm: true })
    .filter((name) => weights[name] !== undefined)
    .map((name) => decodeTensor(weights[name]!));
}

/** The weights of a case in Keras' order. */
export function weightsOf(layer: LayerCase): Tensor[] {
  return inKerasOrder(layer.weights);
}

/** All cases, by name. */
export function kerasCases(): KerasCase[] {
  const folder = new URL("../../../testdata/keras/", import.meta.url);
  return [...Deno.readDirSync(folder)]
    .map(({ name }) => name)
    .filter((name) => name.endsWith(".json"))
    .sort()
    .map((name) => JSON.parse(Deno.readTextFileSync(new URL(name, folder))));
}
