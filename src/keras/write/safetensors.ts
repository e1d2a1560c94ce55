/**
 * Layers as safetensors, byte for byte as the reference writes the same
 * tensors and metadata.
 *
 * @module
 */

import { joinBytes } from "../../bytes.ts";
import type { ElementType, Tensor } from "../../tensor.ts";
import { littleEndianBytes } from "../files/raw_tensor.ts";
import { CONFIG_KEY, VERSION_KEY } from "../formats/safetensors_format.ts";
import type { WritableLayer } from "./writable.ts";

const DTYPES: Readonly<Record<ElementType, string>> = {
  float16: "F16",
  bfloat16: "BF16",
  float32: "F32",
  float64: "F64",
};

/** The header's end is a multiple of this. */
const ALIGNMENT = 8;

/** The reference's order of types, the widest first so that all are aligned. */
const ORDER: readonly ElementType[] = [
  "float64",
  "float32",
  "bfloat16",
  "float16",
];

interface NamedTensor {
  readonly name: string;
  readonly tensor: Tensor;
  readonly bytes: Uint8Array;
}

function compare(a: string, b: string): number {
  // By bytes of UTF-8, as the reference, which code points give too.
  const [first, second] = [[...a], [...b]];
  const at = first.findIndex((char, i) => char !== second[i]);
  if (at < 0) return first.length - second.length;
  return second[at] === undefined
    ? 1
    : first[at]!.codePointAt(0)! - second[at].codePointAt(0)!;
}

function inOrder(tensors: readonly NamedTensor[]): NamedTensor[] {
  return [...tensors].sort((a, b) =>
    ORDER.indexOf(a.tensor.type) - ORDER.indexOf(b.tensor.type) ||
    compare(a.name, b.name)
  );
}

/**
 * The bytes of a safetensors file.
 *
 * @param tensors The tensors by name.
 * @param metadata What is said about them.
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const ordered = inOrder(
    [...tensors].map(([name, tensor]) => ({
      name,
      tensor,
      bytes: littleEndianBytes(tensor),
    })),
  );
  const entries: string[] = [];
  if (Object.keys(metadata).length > 0) {
    entries.push(`"__metadata__":${JSON.stringify(metadata)}`);
  }
  let at = 0;
  for (const { name, tensor: { type, dims }, bytes } of ordered) {
    const entry = {
      dtype: DTYPES[type],
      shape: dims,
      data_offsets: [at, at += bytes.length],
    };
    entries.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
  }
  const text = new TextEncoder().encode(`{${entries.join(",")}}`);
  const length = Math.ceil(text.length / ALIGNMENT) * ALIGNMENT;
  const header = new Uint8Array(ALIGNMENT + length);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(text, ALIGNMENT);
  header.fill(0x20, ALIGNMENT + text.length);
  return joinBytes([header, ...ordered.map(({ bytes }) => bytes)]);
}

/**
 * The layers' configurations as a model's, each under the name that it has in
 * the file; the layer's own name stays in its configuration.
 */
function configOf(layers: readonly WritableLayer[]): string {
  return JSON.stringify({
    class_name: "Sequential",
    config: {
      name: "layers",
      layers: layers.map(({ key, layer }) => ({
        class_name: "BatchNormalization",
        name: key,
        config: layer.getConfig(),
      })),
    },
  });
}

/**
 * The bytes of a file with all variables, and in its metadata what the
 * variables do not tell: each layer's configuration and, if it is the same
 * for all, the release that they follow.
 */
export function writeSafetensors(
  layers: readonly WritableLayer[],
): Uint8Array {
  const tensors = new Map<string, Tensor>();
  for (const { key, weights } of layers) {
    for (const [name, tensor] of weights) tensors.set(`${key}/${name}`, tensor);
  }
  const [version, ...others] = new Set(
    layers.map(({ layer }) => layer.options.kerasVersion),
  );
  return encodeSafetensors(tensors, {
    [CONFIG_KEY]: configOf(layers),
    ...(version !== undefined && others.length === 0
      ? { [VERSION_KEY]: version }
      : {}),
  });
}
