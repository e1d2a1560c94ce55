/**
 * Edits of a protobuf file that leave every other byte as it is.
 *
 * An edit replaces bytes within one message. The lengths of the messages
 * around it are the only other bytes that change, and only if the edit makes
 * a message longer or shorter. Nothing is copied before the result is written,
 * so that a file of any size costs a few edits and, if wanted in one piece,
 * the result.
 *
 * @module
 */

import { joinBytes, totalLength } from "../bytes.ts";
import { readFields } from "./wire_reader.ts";
import { WireWriter } from "./wire.ts";
import type { Place } from "./view.ts";

interface Change {
  readonly from: number;
  readonly to: number;
  readonly content: readonly Uint8Array[];
}

/** A message with changes in it or below. */
interface Touched {
  readonly place: Place;
  readonly changes: Change[];
  readonly below: Set<Touched>;
}

/** The varint of a length, in its shortest form. */
function encodeLength(length: number): Uint8Array {
  const bytes: number[] = [];
  let rest = length;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) {
    bytes.push(rest % 0x80 | 0x80);
  }
  bytes.push(rest);
  return Uint8Array.from(bytes);
}

/** The bytes of fields that `write` writes. */
export function encodeFields(
  write: (writer: WireWriter) => void,
): Uint8Array<ArrayBuffer> {
  const writer = new WireWriter();
  write(writer);
  return writer.finish();
}

/** Changes of one file, applied all at once. */
export class Edits {
  readonly #bytes: Uint8Array;
  readonly #touched = new Map<Place, Touched>();
  #root: Touched | undefined;

  /**
   * Begins without changes.
   *
   * @param bytes The file.
   */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Whether nothing would change. */
  get isEmpty(): boolean {
    return this.#root === undefined;
  }

  #touch(place: Place): Touched {
    const known = this.#touched.get(place);
    if (known) return known;
    const touched: Touched = { place, changes: [], below: new Set() };
    this.#touched.set(place, touched);
    if (place.parent) this.#touch(place.parent).below.add(touched);
    else this.#root = touched;
    return touched;
  }

  /**
   * Replaces bytes of a message by others.
   *
   * Ranges must not overlap, except that several insertions at one place
   * follow each other in the order of the calls.
   *
   * @param place The message: the innermost that holds the range.
   * @param from The first byte.
   * @param to Behind the last byte; the same as `from` to insert.
   * @param content What comes instead: whole fields.
   */
  replace(
    place: Place,
    from: number,
    to: number,
    ...content: readonly Uint8Array[]
  ): void {
    this.#touch(place).changes.push({ from, to, content });
  }

  /** Adds fields at the end of a message. */
  append(place: Place, ...content: readonly Uint8Array[]): void {
    this.replace(place, place.to, place.to, ...content);
  }

  /** Removes a message, with its tag, from the one that it stands in. */
  remove(place: Place): void {
    this.replace(place.parent!, place.start, place.to);
  }

  /** Adds fields right before a message, in the one that it stands in. */
  insertBefore(place: Place, ...content: readonly Uint8Array[]): void {
    this.replace(place.parent!, place.start, place.start, ...content);
  }

  /**
   * Gives a field that may be there once, or not at all, a new value. If it is
   * there several times, readers take the last one, which is replaced.
   *
   * @param place The message.
   * @param number The field's number.
   * @param content The new field.
   */
  set(place: Place, number: number, content: Uint8Array): void {
    let last: { start: number; to: number } | undefined;
    for (const field of readFields(this.#bytes, place.from, place.to)) {
      if (field.number === number) last = field;
    }
    if (last) this.replace(place, last.start, last.to, content);
    else this.append(place, content);
  }

  /**
   * The edited file in pieces: views of the old file, and what is new.
   *
   * @returns The pieces in order.
   */
  pieces(): Uint8Array[] {
    return this.#root ? this.#body(this.#root) : [this.#bytes];
  }

  /** The edited file. */
  finish(): Uint8Array<ArrayBuffer> {
    return joinBytes(this.pieces());
  }

  #body({ place, changes, below }: Touched): Uint8Array[] {
    const all: Change[] = [
      ...changes,
      ...[...below].map((inner) => ({
        from: inner.place.start,
        to: inner.place.to,
        content: this.#message(inner),
      })),
    ];
    // Insertions come before what begins at the same place; the sort is stable.
    all.sort((a, b) =>
      a.from - b.from || Number(a.to > a.from) - Number(b.to > b.from)
    );
    const pieces: Uint8Array[] = [];
    let at = place.from;
    for (const { from, to, content } of all) {
      if (from < at || to > place.to) {
        throw new Error(`edits overlap at byte ${from}`);
      }
      if (from > at) pieces.push(this.#bytes.subarray(at, from));
      for (const piece of content) if (piece.length > 0) pieces.push(piece);
      at = to;
    }
    if (place.to > at) pieces.push(this.#bytes.subarray(at, place.to));
    return pieces;
  }

  /** A changed message with its tag and its new length. */
  #message(touched: Touched): Uint8Array[] {
    const { start, from, to } = touched.place;
    const body = this.#body(touched);
    const length = totalLength(body);
    if (length === to - from) {
      return [this.#bytes.subarray(start, from), ...body];
    }
    // The last byte of a tag is the first without the highest bit.
    let end = start;
    while (this.#bytes[end]! >= 0x80) end++;
    return [
      this.#bytes.subarray(start, end + 1),
      encodeLength(length),
      ...body,
    ];
  }
}
