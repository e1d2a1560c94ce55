/**
 * Element types as files name them, and tensors from a file's bytes.
 *
 * @module
 */

import { HOST_IS_LITTLE_ENDIAN } from "../../bytes.ts";
import { byteView, type ElementType, type TensorData } from "../../tensor.ts";

/** An element type of ours with the size of an element. */
export interface RawType {
  readonly type: ElementType;
  /** The bytes per element. */
  readonly bytes: 2 | 4 | 8;
}

const RAW_TYPES: Readonly<Record<ElementType, RawType>> = {
  float16: { type: "float16", bytes: 2 },
  bfloat16: { type: "bfloat16", bytes: 2 },
  float32: { type: "float32", bytes: 4 },
  float64: { type: "float64", bytes: 8 },
};

/** The element type that numpy calls so, if it is one of ours. */
export function rawType(name: string): RawType | undefined {
  return Object.hasOwn(RAW_TYPES, name)
    ? RAW_TYPES[name as ElementType]
    : undefined;
}

/** Reverses the bytes of every element, in place. */
export function swapBytes(bytes: Uint8Array, size: number): void {
  for (let start = 0; start + size <= bytes.length; start += size) {
    bytes.subarray(start, start + size).reverse();
  }
}

/**
 * The array of an element type over little-endian bytes, which become part of
 * it: their buffer must be theirs alone and start with them.
 */
export function fromLittleEndian(
  { type, bytes: size }: RawType,
  bytes: Uint8Array<ArrayBuffer>,
): TensorData {
  if (!HOST_IS_LITTLE_ENDIAN) swapBytes(bytes, size);
  const length = bytes.length / size;
  if (type === "float32") return new Float32Array(bytes.buffer, 0, length);
  if (type === "float64") return new Float64Array(bytes.buffer, 0, length);
  return new Uint16Array(bytes.buffer, 0, length);
}

/** The little-endian bytes of a tensor's elements; its own memory where that is how it is. */
export function littleEndianBytes(
  { type, data }: { type: ElementType; data: TensorData },
): Uint8Array {
  const bytes = byteView(data);
  if (HOST_IS_LITTLE_ENDIAN) return bytes;
  const swapped = bytes.slice();
  swapBytes(swapped, RAW_TYPES[type].bytes);
  return swapped;
}
