/**
 * Writes NumPy's `.npy`, byte for byte as NumPy does.
 *
 * @module
 */

import type { ElementType, Tensor } from "../../tensor.ts";
import { littleEndianBytes } from "../files/raw_tensor.ts";

/** NumPy has no bfloat16; ml_dtypes' arrays are saved as two opaque bytes. */
const DESCR: Readonly<Record<ElementType, string>> = {
  float16: "<f2",
  float32: "<f4",
  float64: "<f8",
  bfloat16: "<V2",
};

/** Where the elements begin is a multiple of this. */
const ALIGNMENT = 64;
/** NumPy leaves room for the first extent to grow to so many digits. */
const GROWTH_DIGITS = 21;
/** The signature, version 1.0. */
const PREFIX = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0];

/** A tuple as Python writes it. */
function tuple(dims: readonly number[]): string {
  return dims.length === 1 ? `(${dims[0]},)` : `(${dims.join(", ")})`;
}

/** The bytes of a `.npy` file with one array. */
export function encodeNpy(tensor: Tensor): Uint8Array<ArrayBuffer> {
  const { type, dims } = tensor;
  const growth = dims.length > 0 ? GROWTH_DIGITS - String(dims[0]).length : 0;
  const header = `{'descr': '${
    DESCR[type]
  }', 'fortran_order': False, 'shape': ${tuple(dims)}, }${" ".repeat(growth)}`;
  const start = PREFIX.length + 2;
  const end = Math.ceil((start + header.length + 1) / ALIGNMENT) * ALIGNMENT;
  const data = littleEndianBytes(tensor);
  const bytes = new Uint8Array(end + data.length);
  bytes.set(PREFIX);
  new DataView(bytes.buffer).setUint16(PREFIX.length, end - start, true);
  bytes.set(
    new TextEncoder().encode(`${header.padEnd(end - start - 1)}\n`),
    start,
  );
  bytes.set(data, end);
  return bytes;
}
