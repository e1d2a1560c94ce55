/**
 * A check of HDF5's global heaps, where variable-length strings are kept.
 *
 * libhdf5 2.0.0 (in h5wasm 0.10.3) runs for ever on a collection in which an
 * object's size was damaged; a loop inside WASM cannot be interrupted, so the
 * sizes are checked before libhdf5 sees them.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";

/** "GCOL", version 1 and three zeros: the four letters alone can occur in a weight. */
const SIGNATURE = [0x47, 0x43, 0x4f, 0x4c, 1, 0, 0, 0];
/** The signature, and the size of the collection. */
const COLLECTION_HEADER = 16;
/** Index, reference count, reserved, and the size of the object. */
const OBJECT_HEADER = 16;
/** What is read at once: the least size of a collection. */
const PAGE = 4096;

/** A file of which parts can be read at once. */
export interface HeapFile {
  /** Its length in bytes. */
  readonly size: number;
  /** Reads a part that is in the file. */
  read(offset: number, length: number): Uint8Array;
}

function damaged(offset: number): FormatError {
  return new FormatError(
    `Cannot read the HDF5 file: the global heap at byte ${offset} is damaged or truncated`,
  );
}

/** Gives the headers in a part of a file, which stand in order; reads it by pages. */
function headersOf(
  file: HeapFile,
  end: number,
): (offset: number) => DataView {
  let pageStart = 0;
  let page = new Uint8Array(0);
  return (offset) => {
    if (
      offset < pageStart || offset + OBJECT_HEADER > pageStart + page.length
    ) {
      pageStart = offset;
      page = file.read(offset, Math.min(PAGE, end - offset)) as typeof page;
    }
    const start = page.byteOffset + offset - pageStart;
    return new DataView(page.buffer, start, OBJECT_HEADER);
  };
}

/** The global heaps of a file, each of which is checked before it is used. */
export class GlobalHeaps {
  readonly #file: HeapFile;
  /** Where heaps end that were checked, by where they begin. */
  readonly #checked = new Map<number, number>();

  constructor(file: HeapFile) {
    this.#file = file;
  }

  /**
   * Checks the heaps that begin in a part of the file: that their objects fill
   * them exactly.
   *
   * A heap is read in the order of its bytes, in however many parts, so that
   * it is checked before libhdf5 knows its first byte.
   *
   * Sizes are taken to be 8 bytes wide, which h5py always writes.
   *
   * @param offset Where the part begins.
   * @param bytes The part.
   *
   * @throws {FormatError} If the sizes of a heap do not add up.
   */
  check(offset: number, bytes: Uint8Array): void {
    const [first] = SIGNATURE;
    for (
      let at = bytes.indexOf(first!);
      at >= 0;
      at = bytes.indexOf(first!, at + 1)
    ) {
      // Of one that goes on behind the part, as much as there is.
      const isOne = SIGNATURE.every((byte, i) =>
        at + i >= bytes.length || bytes[at + i] === byte
      );
      if (isOne) this.#checkAt(offset + at);
    }
  }

  #checkAt(start: number): void {
    const { size } = this.#file;
    if (this.#checked.has(start) || start + COLLECTION_HEADER > size) return;
    const header = this.#file.read(start, COLLECTION_HEADER);
    if (SIGNATURE.every((byte, i) => header[i] === byte)) {
      const view = new DataView(header.buffer, header.byteOffset);
      const end = start + Number(view.getBigUint64(8, true));
      if (end > size) throw damaged(start);
      this.#checkObjects(start, end);
      this.#checked.set(start, end);
    } else {
      this.#checked.set(start, start + COLLECTION_HEADER);
    }
  }

  /** Lets heaps be checked again that lie, in part, in a part of the file. */
  forget(from: number, to: number): void {
    for (const [start, end] of this.#checked) {
      if (start < to && end > from) this.#checked.delete(start);
    }
  }

  #checkObjects(start: number, end: number): void {
    const headerAt = headersOf(this.#file, end);
    let at = start + COLLECTION_HEADER;
    while (at + OBJECT_HEADER <= end) {
      const header = headerAt(at);
      const index = header.getUint16(0, true);
      const size = Number(header.getBigUint64(8, true));
      // Index 0 is the free space, up to the end, its header included.
      const next = index === 0
        ? at + size
        : at + OBJECT_HEADER + 8 * Math.ceil(size / 8);
      if (index === 0 && next !== end || next > end) throw damaged(start);
      at = next;
    }
  }
}

/**
 * Checks all global heaps of a file that is in memory.
 *
 * @throws {FormatError} If the sizes of a heap do not add up.
 */
export function checkGlobalHeaps(bytes: Uint8Array): void {
  const file: HeapFile = {
    size: bytes.length,
    read: (offset, length) => bytes.subarray(offset, offset + length),
  };
  new GlobalHeaps(file).check(0, bytes);
}
