/**
 * The bytes of an HDF5 file as libhdf5 asks for them: only the parts that it
 * needs, in blocks that are kept.
 *
 * libhdf5 cannot wait. Of a file that can only be read by waiting, such as one
 * behind a URL, what it does with a block that is not there yet fails, and is
 * done again when the block is.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { newBytes, type SourceFile } from "../files/source_file.ts";
import { GlobalHeaps } from "./heap.ts";

/**
 * What is read at least. libhdf5 puts what describes several layers together
 * and asks for some hundred bytes of it at a time.
 */
export const BLOCK_BYTES = 2 ** 16;

/** How many blocks are kept: 16 MiB. */
const MAX_BLOCKS = 256;

/** Of more blocks at once, 1 MiB, none is kept: nobody reads a large dataset twice. */
const MAX_KEPT_RUN = 16;

/** A part of the file that is not there yet. */
class MissingPart extends Error {
  readonly offset: number;
  readonly length: number;

  constructor(offset: number, length: number) {
    super(`${length} bytes at ${offset} are not there yet`);
    this.offset = offset;
    this.length = length;
  }
}

/** An open HDF5 file's bytes. */
export class Hdf5Bytes {
  /** Its length in bytes. */
  readonly size: number;
  readonly #file: SourceFile;
  readonly #heaps: GlobalHeaps;
  /** By number. */
  readonly #blocks = new Map<number, Uint8Array>();
  /** What was waited for last. */
  #loaded = { offset: 0, end: 0 };
  /** How many bytes were waited for in all. */
  #total = 0;

  constructor(file: SourceFile) {
    this.#file = file;
    this.size = file.size;
    this.#heaps = new GlobalHeaps({
      size: file.size,
      read: (offset, length) => this.#part(offset, length),
    });
  }

  /** Whether everything can be read without waiting. */
  get isAtHand(): boolean {
    return this.#file.readSync !== undefined;
  }

  /**
   * Reads a part for libhdf5, as far as the file goes.
   *
   * @throws {FormatError} If a heap that begins in it is damaged, on which
   * libhdf5 would run for ever, or the file cannot be read.
   * @throws {Error} If it is not there yet; see {@linkcode Hdf5Bytes.settled}.
   */
  read(offset: number, length: number): Uint8Array {
    const end = Math.min(this.size, offset + length);
    const bytes = this.#part(offset, Math.max(0, end - offset));
    this.#heaps.check(offset, bytes);
    return bytes;
  }

  /**
   * Calls something that reads, again and again until all that it reads is
   * there.
   *
   * @param call What is called; it must not change anything.
   * @param ahead How many bytes are read ahead at most, where one part is
   * missing after the other.
   *
   * @throws {FormatError} If the file cannot be read; what the call throws.
   */
  async settled<T>(call: () => T, ahead = 0): Promise<T> {
    const most = Math.max(MAX_KEPT_RUN * BLOCK_BYTES, ahead);
    const passing: number[] = [];
    try {
      for (;;) {
        try {
          return call();
        } catch (error) {
          if (!(error instanceof MissingPart)) throw error;
          const blocks = await this.#load(error, most);
          if (blocks.length > MAX_KEPT_RUN) passing.push(...blocks);
        }
      }
    } finally {
      for (const block of passing) this.#blocks.delete(block);
      this.#forget();
    }
  }

  #part(offset: number, length: number): Uint8Array {
    if (this.#file.readSync && length > MAX_KEPT_RUN * BLOCK_BYTES) {
      return this.#file.readSync(offset, length);
    }
    const end = offset + length;
    const first = Math.floor(offset / BLOCK_BYTES);
    const last = Math.ceil(end / BLOCK_BYTES);
    if (last - first === 1) {
      const start = offset - first * BLOCK_BYTES;
      return this.#block(first, end).subarray(start, start + length);
    }
    const bytes = newBytes(this.#file.name, length);
    for (let block = first; block < last; block++) {
      const at = block * BLOCK_BYTES - offset;
      const skipped = Math.max(0, -at);
      bytes.set(
        this.#block(block, end).subarray(skipped, length - at),
        at + skipped,
      );
    }
    return bytes;
  }

  /** A block that belongs to what is read up to some place. */
  #block(block: number, end: number): Uint8Array {
    const known = this.#blocks.get(block);
    if (known) return known;
    const from = block * BLOCK_BYTES;
    if (!this.#file.readSync) throw new MissingPart(from, end - from);
    const length = Math.min(BLOCK_BYTES, this.size - from);
    const bytes = this.#file.readSync(from, length);
    this.#blocks.set(block, bytes);
    this.#forget();
    return bytes;
  }

  /** Forgets the oldest blocks of too many. */
  #forget(): void {
    for (const oldest of this.#blocks.keys()) {
      if (this.#blocks.size <= MAX_BLOCKS) break;
      this.#blocks.delete(oldest);
      // What comes when it is read again may be something else.
      const from = oldest * BLOCK_BYTES;
      this.#heaps.forget(from, from + BLOCK_BYTES);
    }
  }

  /** Reads the blocks of a missing part, and gives their numbers. */
  async #load(
    { offset, length }: MissingPart,
    most: number,
  ): Promise<number[]> {
    // Twice as much as before, where that was a little in front; elsewhere a
    // part of what was needed so far, as libhdf5 follows its trees in no order
    // of the file: so do the many small groups of a deep model take few turns,
    // for at most a quarter more bytes.
    const before = this.#loaded;
    const isNext = offset >= before.end &&
      offset < before.end + before.end - before.offset;
    const next = isNext ? 2 * (before.end - before.offset) : 0;
    const ahead = Math.min(most, Math.max(next, this.#total / 4));
    const last = Math.min(this.size, offset + Math.max(length, ahead));
    const blocks: number[] = [];
    let end = offset;
    do {
      blocks.push(end / BLOCK_BYTES);
      end += BLOCK_BYTES;
    } while (end < last && !this.#blocks.has(end / BLOCK_BYTES));
    end = Math.min(this.size, end);
    this.#loaded = { offset, end };
    this.#total += end - offset;
    const bytes = await this.#file.read(offset, end - offset);
    if (bytes.length !== end - offset) {
      throw new FormatError(
        `Cannot read ${this.#file.name}: expected ${
          end - offset
        } bytes at ${offset}, got ${bytes.length}`,
      );
    }
    // Copies, so that a block that stays does not keep its whole run.
    const isKept = blocks.length <= MAX_KEPT_RUN;
    blocks.forEach((block, i) => {
      const at = i * BLOCK_BYTES;
      const part = bytes.subarray(at, at + BLOCK_BYTES);
      this.#blocks.set(block, isKept ? part.slice() : part);
    });
    return blocks;
  }
}
