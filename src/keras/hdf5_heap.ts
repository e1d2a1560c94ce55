/**
 * A check of HDF5's global heaps, where variable-length strings are kept.
 *
 * libhdf5 2.0.0 (in h5wasm 0.10.3) runs for ever on a collection in which an
 * object's size was damaged; a loop inside WASM cannot be interrupted, so the
 * sizes are checked first.
 *
 * @module
 */

import { FormatError } from "../errors.ts";

/** "GCOL", as a little-endian number. */
const SIGNATURE = 0x4c4f4347;
/** Signature, version, reserved, and the size of the collection. */
const COLLECTION_HEADER = 16;
/** Index, reference count, reserved, and the size of the object. */
const OBJECT_HEADER = 16;

function damaged(offset: number): FormatError {
  return new FormatError(
    `Cannot read the HDF5 file: the global heap at byte ${offset} is damaged or truncated`,
  );
}

function checkCollection(view: DataView, start: number): void {
  const end = start + Number(view.getBigUint64(start + 8, true));
  if (end > view.byteLength) throw damaged(start);
  let at = start + COLLECTION_HEADER;
  while (at + OBJECT_HEADER <= end) {
    const index = view.getUint16(at, true);
    const size = Number(view.getBigUint64(at + 8, true));
    // Index 0 is the free space, up to the end, its header included.
    const next = index === 0
      ? at + size
      : at + OBJECT_HEADER + 8 * Math.ceil(size / 8);
    if (index === 0 && next !== end || next > end) throw damaged(start);
    at = next;
  }
}

/**
 * Checks that the objects of every global heap of a file fill it exactly.
 *
 * Sizes are taken to be 8 bytes wide, which h5py always writes.
 *
 * @throws {FormatError} If the sizes of a heap do not add up.
 */
export function checkGlobalHeaps(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // libhdf5 aligns what it allocates to 8 bytes.
  for (let at = 0; at + COLLECTION_HEADER <= bytes.length; at += 8) {
    if (view.getUint32(at, true) !== SIGNATURE) continue;
    // The same four letters can occur in a weight; a collection goes on with
    // version 1 and three zeros.
    if (view.getUint32(at + 4, true) === 1) checkCollection(view, at);
  }
}
