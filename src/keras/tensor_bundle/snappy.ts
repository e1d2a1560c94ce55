/**
 * Expands snappy's raw format, in which a table's blocks may be compressed.
 *
 * Our own, since TensorFlow itself has never compressed the index of a
 * checkpoint: a package would be asked for once in a thousand files, on
 * machines that may have no network.
 *
 * @see https://github.com/google/snappy/blob/main/format_description.txt
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { Cursor } from "./cursor.ts";

/** The most bytes that one can stand for: 64, copied by an element of three. */
const MAX_EXPANSION = 64 / 3;

/** The last two bits of an element's first byte. */
const LITERAL = 0;
const COPY_WITH_1_BYTE = 1;
const COPY_WITH_2_BYTES = 2;

function littleEndian(bytes: Uint8Array): number {
  return bytes.reduceRight((value, byte) => value * 0x100 + byte, 0);
}

/** How far back a copy begins, and its length. */
function copyOf(tag: number, input: Cursor): { back: number; length: number } {
  switch (tag & 3) {
    case COPY_WITH_1_BYTE:
      return {
        back: (tag >> 5) * 0x100 + littleEndian(input.take(1)),
        length: (tag >> 2 & 7) + 4,
      };
    case COPY_WITH_2_BYTES:
      return { back: littleEndian(input.take(2)), length: (tag >> 2) + 1 };
    default:
      return { back: littleEndian(input.take(4)), length: (tag >> 2) + 1 };
  }
}

/**
 * Expands a block.
 *
 * @param bytes The compressed block.
 * @param what What it is, for messages.
 *
 * @throws {FormatError} If it is damaged, or declares more than can be in it.
 */
export function expandSnappy(
  bytes: Uint8Array,
  what: string,
): Uint8Array<ArrayBuffer> {
  const fail = (problem: string): never => {
    throw new FormatError(
      `Cannot expand a snappy block of ${what}: ${problem}; it is damaged`,
    );
  };
  const input = new Cursor(bytes, what);
  const declared = input.varint();
  if (declared > bytes.length * MAX_EXPANSION) {
    fail(
      `it declares ${declared} bytes, more than can be in ${bytes.length}`,
    );
  }
  const output = new Uint8Array(declared);
  let at = 0;
  while (!input.isAtEnd) {
    const [tag] = input.take(1) as unknown as [number];
    if ((tag & 3) === LITERAL) {
      const short = tag >> 2;
      // From 60 on, that many bytes less 59 hold the length less one.
      const length = 1 +
        (short < 60 ? short : littleEndian(input.take(short - 59)));
      const literal = input.take(length);
      if (length > declared - at) fail(`it has more than ${declared} bytes`);
      output.set(literal, at);
      at += length;
      continue;
    }
    const { back, length } = copyOf(tag, input);
    if (back === 0 || back > at) fail(`a copy from ${back} bytes before ${at}`);
    if (length > declared - at) fail(`it has more than ${declared} bytes`);
    // One by one: a copy may run into what it writes.
    for (const end = at + length; at < end; at++) {
      output[at] = output[at - back]!;
    }
  }
  if (at !== declared) fail(`expected ${declared} bytes, got ${at}`);
  return output;
}
