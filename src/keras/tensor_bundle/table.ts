/**
 * The sorted table of keys and values that the index of a TensorFlow
 * checkpoint is: LevelDB's, with its own footer.
 *
 * @see https://github.com/google/leveldb/blob/main/doc/table_format.md
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { crc32c, maskedCrc } from "./crc32c.ts";
import { Cursor } from "./cursor.ts";
import { expandSnappy } from "./snappy.ts";

/** The last 8 bytes of a table. */
const MAGIC = [0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb];
/** Two places, padded to 40 bytes, and the magic. */
const FOOTER_BYTES = 48;
/** Behind each block: how it is compressed, and a checksum. */
const TRAILER_BYTES = 5;
const UNCOMPRESSED = 0;
const SNAPPY = 1;

/**
 * As many characters as all keys together may have. A key that shares its
 * beginning with the one before it takes three bytes, however long it is, so
 * that the file's size does not bound it; this is a million variables with
 * names of 64 characters.
 */
const MAX_KEY_CHARACTERS = 2 ** 26;
/**
 * No variable's name is longer. Of strings beyond 16383 characters, V8 hashes
 * the length alone, so that many of one length in a map take quadratic time.
 */
const LONGEST_KEY = 4096;

/** Where a block is. */
interface BlockHandle {
  readonly offset: number;
  readonly size: number;
}

/** An entry; the key's bytes as characters. */
type Entry = readonly [key: string, value: Uint8Array];

/**
 * Whether a file ends as a table does.
 *
 * @param tail At least its last 8 bytes.
 */
export function isTableIndex(tail: Uint8Array): boolean {
  const start = tail.length - MAGIC.length;
  return start >= 0 && MAGIC.every((byte, i) => tail[start + i] === byte);
}

/** Bytes as characters of the same numbers, which compare and hash as they do. */
export function byteString(bytes: Uint8Array): string {
  let text = "";
  // In parts, since an argument list has its limits.
  for (let at = 0; at < bytes.length; at += 0x2000) {
    text += String.fromCharCode(...bytes.subarray(at, at + 0x2000));
  }
  return text;
}

function readHandle(cursor: Cursor): BlockHandle {
  return { offset: cursor.varint(), size: cursor.varint() };
}

class TableReader {
  readonly #bytes: Uint8Array;
  readonly #name: string;
  #keyCharacters = 0;
  #lastKey: string | undefined;

  constructor(bytes: Uint8Array, name: string) {
    this.#bytes = bytes;
    this.#name = name;
  }

  #fail(problem: string): never {
    throw new FormatError(
      `Cannot read ${this.#name}: ${problem}; it is truncated or damaged`,
    );
  }

  /** A block's contents, checked and expanded. */
  #block({ offset, size }: BlockHandle): Uint8Array {
    const last = this.#bytes.length - FOOTER_BYTES - TRAILER_BYTES;
    if (offset > last || size > last - offset) {
      this.#fail(
        `expected a block of ${size} bytes at byte ${offset}, the file has ${this.#bytes.length}`,
      );
    }
    const end = offset + size;
    const trailer = new Cursor(this.#bytes, this.#name, end);
    const [compression] = trailer.take(1);
    const stored = trailer.uint32();
    // The checksum includes how the block is compressed.
    if (maskedCrc(crc32c(this.#bytes.subarray(offset, end + 1))) !== stored) {
      this.#fail(`the checksum of the block at byte ${offset} is wrong`);
    }
    const contents = this.#bytes.subarray(offset, end);
    if (compression === UNCOMPRESSED) return contents;
    if (compression === SNAPPY) return expandSnappy(contents, this.#name);
    return this.#fail(
      `the block at byte ${offset} has the compression ${compression}, expected 0 (none) or 1 (snappy)`,
    );
  }

  /** The entries of a block, whose keys are stored as what differs from the one before. */
  *#entries(block: Uint8Array): Generator<Entry> {
    const tail = block.length - 4;
    if (tail < 0) this.#fail("a block has no restart points");
    const count = new Cursor(block, this.#name, tail).uint32();
    const end = tail - 4 * count;
    if (count === 0 || end < 0) {
      this.#fail(
        `a block of ${block.length} bytes has ${count} restart points`,
      );
    }
    const restarts = new Cursor(block, this.#name, end, tail);
    let restart = restarts.uint32();
    if (restart !== 0) this.#fail("a block's first restart point is not 0");
    const cursor = new Cursor(block, this.#name, 0, end);
    let key = "";
    while (!cursor.isAtEnd) {
      const { at } = cursor;
      const shared = cursor.varint();
      const unshared = cursor.varint();
      const valueBytes = cursor.varint();
      if (at === restart) {
        if (shared !== 0) this.#fail("a restart point has no whole key");
        restart = restarts.isAtEnd ? Infinity : restarts.uint32();
      }
      if (shared > key.length) {
        this.#fail(
          `a key shares ${shared} bytes with the one before it, which has ${key.length}`,
        );
      }
      if (shared + unshared > LONGEST_KEY) {
        this.#fail(
          `a key has ${
            shared + unshared
          } bytes, more than the ${LONGEST_KEY} that a name can have`,
        );
      }
      this.#keyCharacters += shared + unshared;
      if (this.#keyCharacters > MAX_KEY_CHARACTERS) {
        this.#fail(`its keys have more than ${MAX_KEY_CHARACTERS} bytes`);
      }
      key = key.slice(0, shared) + byteString(cursor.take(unshared));
      yield [key, cursor.take(valueBytes)];
    }
    if (restart !== Infinity && restart !== 0 || !restarts.isAtEnd) {
      this.#fail("a block has restart points that are no entries");
    }
  }

  /** The places of the blocks with the table's entries, one behind the other. */
  #dataBlocks(): BlockHandle[] {
    const size = this.#bytes.length;
    if (size < FOOTER_BYTES || !isTableIndex(this.#bytes)) {
      this.#fail("it does not end as the index of a checkpoint does");
    }
    const footer = new Cursor(this.#bytes, this.#name, size - FOOTER_BYTES);
    // Of filters, which checkpoints do not have.
    readHandle(footer);
    const index = this.#block(readHandle(footer));
    let end = 0;
    return [...this.#entries(index)].map(([, value]) => {
      const handle = readHandle(new Cursor(value, this.#name));
      // Blocks that overlap could make a small file endless.
      if (handle.offset < end) this.#fail("its blocks overlap");
      end = handle.offset + handle.size + TRAILER_BYTES;
      return handle;
    });
  }

  *entries(): Generator<Entry> {
    for (const handle of this.#dataBlocks()) {
      for (const entry of this.#entries(this.#block(handle))) {
        const [key] = entry;
        if (this.#lastKey !== undefined && key <= this.#lastKey) {
          this.#fail("its keys are not in order");
        }
        this.#lastKey = key;
        yield entry;
      }
    }
  }
}

/**
 * Reads a table.
 *
 * @param bytes The whole file.
 * @param name The file's name, for messages.
 * @returns The values by key, whose bytes are characters of the same numbers;
 * views of the file where it is not compressed.
 *
 * @throws {FormatError} If it is truncated or damaged.
 */
export function readTable(
  bytes: Uint8Array,
  name: string,
): Map<string, Uint8Array> {
  return new Map(new TableReader(bytes, name).entries());
}
