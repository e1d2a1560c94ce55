/**
 * A writer of the protobuf wire format, as far as ONNX needs it.
 *
 * Our own, because `buildOnnx` is synchronous and part of `mod.ts`: what it
 * needs is loaded by every import of Evenkeel, and `protobufjs/minimal` adds
 * 35 ms to the 15 ms in which Deno starts an empty script.
 *
 * @see https://protobuf.dev/programming-guides/encoding/
 *
 * @module
 */

import { joinBytes } from "../bytes.ts";

// Wire types.
const VARINT = 0;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

const encoder = /* @__PURE__ */ new TextEncoder();

/**
 * Collects the fields of one message, in the order in which they are written.
 *
 * Byte arrays are kept by reference until {@linkcode WireWriter.finish}, so
 * that weights are copied once however deep their message is nested.
 */
export class WireWriter {
  readonly #chunks: Uint8Array[] = [];
  /** Bytes after the last chunk: tags, lengths and numbers. */
  #tail: number[] = [];
  #length = 0;

  /** Writes an `int32`, `int64` or enum field; the value is a safe integer. */
  integer(field: number, value: number): void {
    this.#tag(field, VARINT);
    this.#varint(value);
  }

  /** Writes a packed repeated integer field; nothing for an empty list. */
  integers(field: number, values: readonly number[]): void {
    if (values.length === 0) return;
    this.message(field, (inner) => {
      for (const value of values) inner.#varint(value);
    });
  }

  /** Writes a `float` field, the value rounded to float32. */
  float(field: number, value: number): void {
    this.#tag(field, FIXED32);
    const bytes = new DataView(new ArrayBuffer(4));
    bytes.setFloat32(0, value, true);
    for (let i = 0; i < 4; i++) this.#tail.push(bytes.getUint8(i));
  }

  /** Writes a `string` field, in UTF-8. */
  string(field: number, value: string): void {
    this.bytes(field, encoder.encode(value));
  }

  /** Writes a `bytes` field; the array must not change until `finish`. */
  bytes(field: number, value: Uint8Array): void {
    this.#tag(field, LENGTH_DELIMITED);
    this.#varint(value.length);
    this.#chunk(value);
  }

  /** Writes a field that is a message, which `write` fills. */
  message(field: number, write: (writer: WireWriter) => void): void {
    const inner = new WireWriter();
    write(inner);
    this.#tag(field, LENGTH_DELIMITED);
    this.#varint(inner.#length + inner.#tail.length);
    for (const chunk of inner.#chunks) this.#chunk(chunk);
    for (const byte of inner.#tail) this.#tail.push(byte);
  }

  /** All that was written, in a new array. */
  finish(): Uint8Array<ArrayBuffer> {
    return joinBytes([...this.#chunks, Uint8Array.from(this.#tail)]);
  }

  #chunk(chunk: Uint8Array): void {
    for (const part of [Uint8Array.from(this.#tail), chunk]) {
      if (part.length === 0) continue;
      this.#chunks.push(part);
      this.#length += part.length;
    }
    this.#tail = [];
  }

  #tag(field: number, wireType: number): void {
    // Multiplied, not shifted: field numbers go up to 2^29 - 1.
    this.#varint(field * 8 + wireType);
  }

  /** Seven bits per byte, the lowest first; negatives as 64 bit, 10 bytes. */
  #varint(value: number): void {
    if (value < 0) {
      let rest = BigInt.asUintN(64, BigInt(value));
      for (; rest >= 0x80n; rest >>= 7n) {
        this.#tail.push(Number(rest & 0x7fn) | 0x80);
      }
      this.#tail.push(Number(rest));
      return;
    }
    // No shifts: they would cut the value to 32 bits.
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) {
      this.#tail.push(rest % 0x80 | 0x80);
    }
    this.#tail.push(rest);
  }
}
