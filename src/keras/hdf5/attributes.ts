/**
 * The strings of HDF5 attributes.
 *
 * h5wasm's own reader frees what it takes for strings also when reading them
 * failed, and reads UTF-8 as ASCII where it is told to be.
 *
 * @module
 */

import { fail, type H5Metadata, type H5Module } from "./h5wasm.ts";

/** `H5T_STRING` of `H5T_class_t`. */
const STRING = 3;

/** The bytes of an attribute's strings, each of which may end before its bytes do. */
function* stringBytes(
  module: H5Module,
  { size, total_size, vlen }: H5Metadata,
  pointer: number,
): Generator<Uint8Array> {
  const { HEAPU8: memory } = module;
  const view = new DataView(memory.buffer, memory.byteOffset);
  for (let i = 0; i < total_size; i++) {
    const at = pointer + i * size;
    const start = vlen ? view.getUint32(at, true) : at;
    // A null pointer is an empty string.
    const end = vlen ? start && memory.indexOf(0, start) : at + size;
    yield memory.subarray(start, end);
  }
}

/**
 * What bytes say up to the first zero. Keras writes UTF-8 into strings that
 * HDF5 is told to be ASCII; what is none has one character per byte.
 */
function textOf(bytes: Uint8Array): string {
  const zero = bytes.indexOf(0);
  const text = bytes.slice(0, zero < 0 ? undefined : zero);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
      .decode(text);
  } catch {
    return Array.from(text, (byte) => String.fromCharCode(byte)).join("");
  }
}

/**
 * Reads the strings of an attribute: one for a scalar, none for an empty array
 * of any type.
 *
 * @param module The WASM module.
 * @param file The file's id.
 * @param path Whose attribute it is.
 * @param name The attribute, which must be there.
 *
 * @throws {Error} If it is not of strings, or cannot be read.
 */
export function readStrings(
  module: H5Module,
  file: bigint,
  path: string,
  name: string,
): string[] {
  const metadata = module.get_attribute_metadata(file, path, name);
  const { shape, type, size, total_size, vlen } = metadata;
  if (shape === null || shape.includes(0)) return [];
  if (type !== STRING) fail();
  const length = size * total_size;
  const pointer = module._malloc(length);
  if (pointer === 0) fail();
  try {
    const at = BigInt(pointer);
    if (module.get_attribute_data(file, path, name, at) < 0) fail();
    try {
      return [...stringBytes(module, metadata, pointer)].map(textOf);
    } finally {
      if (vlen) module.reclaim_vlen_memory(file, path, name, at);
    }
  } finally {
    module._free(pointer);
  }
}
