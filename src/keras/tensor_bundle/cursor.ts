/**
 * Reads numbers and bytes one after the other.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";

/** A place in some bytes that moves on with what is read. */
export class Cursor {
  readonly #bytes: Uint8Array;
  readonly #what: string;
  #at: number;
  readonly #end: number;

  /**
   * @param bytes The bytes.
   * @param what What they are, for messages: `ckpt.index`.
   * @param from Where to begin.
   * @param end Where they end.
   */
  constructor(
    bytes: Uint8Array,
    what: string,
    from = 0,
    end: number = bytes.length,
  ) {
    this.#bytes = bytes;
    this.#what = what;
    this.#at = from;
    this.#end = end;
  }

  /** Where the next number begins. */
  get at(): number {
    return this.#at;
  }

  /** Whether all is read. */
  get isAtEnd(): boolean {
    return this.#at >= this.#end;
  }

  /**
   * Reads an unsigned integer, seven bits per byte.
   *
   * @throws {FormatError} If it is cut off, or 2^53 or more.
   */
  varint(): number {
    const start = this.#at;
    let value = 0;
    for (let scale = 1; this.#at < this.#end; scale *= 0x80) {
      const byte = this.#bytes[this.#at++]!;
      value += (byte & 0x7f) * scale;
      // Before adding goes on it is known that no digit was lost.
      if (value > Number.MAX_SAFE_INTEGER || scale > 2 ** 56) break;
      if (byte < 0x80) return value;
    }
    throw new FormatError(
      `Cannot read ${this.#what}: expected a number below 2^53 at byte ${start}; it is truncated or damaged`,
    );
  }

  /**
   * Reads 32 bits, the lowest byte first.
   *
   * @throws {FormatError} If they are cut off.
   */
  uint32(): number {
    const [a, b, c, d] = this.take(4);
    return (a! | b! << 8 | c! << 16 | d! << 24) >>> 0;
  }

  /**
   * Reads some bytes, as a view.
   *
   * @throws {FormatError} If there are not so many.
   */
  take(length: number): Uint8Array {
    const start = this.#at;
    if (length > this.#end - start) {
      throw new FormatError(
        `Cannot read ${this.#what}: expected ${length} bytes at byte ${start}, ${
          this.#end - start
        } are left; it is truncated or damaged`,
      );
    }
    this.#at += length;
    return this.#bytes.subarray(start, this.#at);
  }
}
