/**
 * A reader of the protobuf wire format that knows where every field stands.
 *
 * Edits of a user's file replace bytes of single fields and keep all others,
 * so that a field is its place in the file first, and its value only when
 * someone asks. Nothing is copied. Our own for the reason that
 * `wire.ts` gives: `openOnnx` is synchronous and part of
 * `mod.ts`.
 *
 * @see https://protobuf.dev/programming-guides/encoding/
 *
 * @module
 */

import { FormatError } from "../errors.ts";

/** The wire types. */
export const WireType = {
  varint: 0,
  fixed64: 1,
  lengthDelimited: 2,
  startGroup: 3,
  endGroup: 4,
  fixed32: 5,
} as const;

/**
 * How deep messages may stand in each other: protobuf's own limit. It keeps a
 * crafted file from exhausting the stack.
 */
export const DEEPEST = 100;

// A name may begin with U+FEFF, which is no mark here.
const decoder = /* @__PURE__ */ new TextDecoder("utf-8", {
  fatal: true,
  ignoreBOM: true,
});

function fail(at: number, problem: string): never {
  throw new FormatError(
    `Cannot read the protobuf message at byte ${at}: ${problem}; the file is truncated or damaged`,
  );
}

/** A varint's value modulo 2^64, and where it ends. */
function readVarint(
  bytes: Uint8Array,
  at: number,
  end: number,
): { low: number; high: number; next: number } {
  let low = 0;
  let high = 0;
  for (let i = 0; i < 10; i++) {
    if (at + i >= end) fail(at, "a number is cut off");
    const byte = bytes[at + i]!;
    const bits = byte & 0x7f;
    // Two halves of 32 bits; the fifth byte has bits of both.
    if (i < 4) low |= bits << (7 * i);
    else if (i === 4) {
      low |= bits << 28;
      high |= bits >>> 4;
    } else high |= bits << (7 * i - 32);
    if (byte < 0x80) {
      return { low: low >>> 0, high: high >>> 0, next: at + i + 1 };
    }
  }
  return fail(at, "a number has more than 10 bytes");
}

/** Seven bits at a time, as {@linkcode readVarint}, for lengths and tags. */
function readSize(
  bytes: Uint8Array,
  at: number,
  end: number,
): { value: number; next: number } {
  const { low, high, next } = readVarint(bytes, at, end);
  return { value: high * 2 ** 32 + low, next };
}

/** One field of a message: a number, and where its value stands. */
export class WireField {
  /** The file. */
  readonly bytes: Uint8Array;
  /** The field's number in the schema. */
  readonly number: number;
  /** One of {@linkcode WireType}. */
  readonly wireType: number;
  /** Where its tag begins. */
  readonly start: number;
  /** Where its value begins: behind the tag, and behind the length if any. */
  readonly from: number;
  /** Where its value, and the field, ends. */
  readonly to: number;

  /** Made by {@linkcode readFields}. */
  constructor(
    bytes: Uint8Array,
    number: number,
    wireType: number,
    start: number,
    from: number,
    to: number,
  ) {
    this.bytes = bytes;
    this.number = number;
    this.wireType = wireType;
    this.start = start;
    this.from = from;
    this.to = to;
  }

  #expect(wireType: number, what: string): void {
    if (this.wireType !== wireType) {
      fail(
        this.start,
        `expected ${what} in field ${this.number}, found wire type ${this.wireType}`,
      );
    }
  }

  #view(): DataView {
    const { buffer, byteOffset } = this.bytes;
    return new DataView(buffer, byteOffset + this.from, this.to - this.from);
  }

  /** The value of an `int32`, `int64`, `bool` or enum field, as two's complement. */
  bigint(): bigint {
    this.#expect(WireType.varint, "an integer");
    return this.#bigintAt(this.from).value;
  }

  #bigintAt(at: number): { value: bigint; next: number } {
    const { low, high, next } = readVarint(this.bytes, at, this.to);
    const value = BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low));
    return { value, next };
  }

  #integerAt(at: number): { value: number; next: number } {
    const { low, high, next } = readVarint(this.bytes, at, this.to);
    // Negative ones are sign-extended to 64 bits.
    const value = (high | 0) * 2 ** 32 + low;
    if (!Number.isSafeInteger(value)) {
      fail(at, `expected an integer below 2^53 in field ${this.number}`);
    }
    return { value, next };
  }

  /** The value of an integer field; a FormatError from 2^53 on. */
  integer(): number {
    this.#expect(WireType.varint, "an integer");
    return this.#integerAt(this.from).value;
  }

  /** The values of a repeated integer field, packed or one. */
  integers(): number[] {
    if (this.wireType === WireType.varint) return [this.integer()];
    this.#expect(WireType.lengthDelimited, "integers");
    const values: number[] = [];
    for (let at = this.from; at < this.to;) {
      const { value, next } = this.#integerAt(at);
      values.push(value);
      at = next;
    }
    return values;
  }

  /** As {@linkcode integers}, of any size. */
  bigints(): bigint[] {
    if (this.wireType === WireType.varint) return [this.bigint()];
    this.#expect(WireType.lengthDelimited, "integers");
    const values: bigint[] = [];
    for (let at = this.from; at < this.to;) {
      const { value, next } = this.#bigintAt(at);
      values.push(value);
      at = next;
    }
    return values;
  }

  /** The value of a `float` field. */
  float(): number {
    this.#expect(WireType.fixed32, "a float");
    return this.#view().getFloat32(0, true);
  }

  /** The value of a `fixed32` field. */
  fixed32(): number {
    this.#expect(WireType.fixed32, "a fixed32");
    return this.#view().getUint32(0, true);
  }

  /** The values of a repeated `float` field, packed or one. */
  floats(): Float32Array {
    if (this.wireType === WireType.fixed32) {
      return Float32Array.of(this.float());
    }
    return Float32Array.from(
      this.#packed(4, (view, at) => view.getFloat32(at, true)),
    );
  }

  /** The values of a repeated `double` field, packed or one. */
  doubles(): Float64Array {
    const read = (view: DataView, at: number) => view.getFloat64(at, true);
    if (this.wireType === WireType.fixed64) {
      return Float64Array.of(read(this.#view(), 0));
    }
    return Float64Array.from(this.#packed(8, read));
  }

  *#packed(
    size: number,
    read: (view: DataView, at: number) => number,
  ): Generator<number> {
    this.#expect(WireType.lengthDelimited, "numbers");
    const view = this.#view();
    if (view.byteLength % size !== 0) {
      fail(this.start, `field ${this.number} ends within a number`);
    }
    for (let at = 0; at < view.byteLength; at += size) yield read(view, at);
  }

  /** The value of a `bytes` field: a view of the file. */
  data(): Uint8Array {
    this.#expect(WireType.lengthDelimited, "bytes");
    return this.bytes.subarray(this.from, this.to);
  }

  /** The value of a `string` field. */
  string(): string {
    const data = this.data();
    try {
      return decoder.decode(data);
    } catch {
      return fail(this.start, `expected UTF-8 text in field ${this.number}`);
    }
  }

  /** The fields of a field that is a message. */
  fields(): Generator<WireField> {
    this.#expect(WireType.lengthDelimited, "a message");
    return readFields(this.bytes, this.from, this.to);
  }
}

/** Where a group ends; groups are deprecated, but an unknown field may be one. */
function endOfGroup(
  bytes: Uint8Array,
  number: number,
  from: number,
  end: number,
): { to: number; next: number } {
  const open = [number];
  let at = from;
  while (at < end) {
    const field = readField(bytes, at, end);
    if (field.wireType === WireType.startGroup) {
      if (open.length === DEEPEST) fail(at, "groups are nested too deep");
      open.push(field.number);
    } else if (field.wireType === WireType.endGroup) {
      if (open.pop() !== field.number) break;
      if (open.length === 0) return { to: at, next: field.to };
    }
    at = field.to;
  }
  return fail(from, "a group is not closed");
}

/** The field at a place; of a group, its tag alone. */
function readField(bytes: Uint8Array, start: number, end: number): WireField {
  const { value: tag, next } = readSize(bytes, start, end);
  const number = Math.floor(tag / 8);
  const wireType = tag % 8;
  if (number < 1 || tag >= 2 ** 32) fail(start, `field number ${number}`);
  let from = next;
  let to = next;
  switch (wireType) {
    case WireType.varint:
      to = readSize(bytes, from, end).next;
      break;
    case WireType.fixed64:
      to = from + 8;
      break;
    case WireType.fixed32:
      to = from + 4;
      break;
    case WireType.lengthDelimited: {
      const length = readSize(bytes, from, end);
      from = length.next;
      to = from + length.value;
      break;
    }
    case WireType.startGroup:
    case WireType.endGroup:
      break;
    default:
      fail(start, `there is no wire type ${wireType}`);
  }
  if (to > end) {
    fail(
      start,
      `field ${number} needs ${to - from} bytes, ${end - from} are left`,
    );
  }
  return new WireField(bytes, number, wireType, start, from, to);
}

/**
 * The fields of a message, in the order in which they stand in the file.
 *
 * @param bytes The file.
 * @param from Where the message begins.
 * @param end Where it ends.
 * @returns The fields; together they cover the message.
 *
 * @throws {FormatError} If the message is cut off or is no protobuf.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { readFields } from "./wire_reader.ts";
 *
 * const [field] = readFields(Uint8Array.of(0x08, 0x96, 0x01));
 * assertEquals(field!.number, 1);
 * assertEquals(field!.integer(), 150);
 * ```
 */
export function* readFields(
  bytes: Uint8Array,
  from = 0,
  end = bytes.length,
): Generator<WireField> {
  for (let at = from; at < end;) {
    const field = readField(bytes, at, end);
    if (field.wireType === WireType.endGroup) {
      fail(at, "a group ends that did not begin");
    }
    if (field.wireType === WireType.startGroup) {
      const { to, next } = endOfGroup(bytes, field.number, field.from, end);
      yield new WireField(
        bytes,
        field.number,
        field.wireType,
        field.start,
        field.from,
        to,
      );
      at = next;
    } else {
      yield field;
      at = field.to;
    }
  }
}
