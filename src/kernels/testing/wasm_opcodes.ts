/**
 * Lists the instructions of a WASM module, to see what is not among them.
 *
 * @module
 */

/** Opcodes with a prefix are `prefix * 0x10000 + code`. */
export const SIMD_PREFIX = 0xfd;

/** Reads little-endian base-128 numbers and skips what is not of interest. */
class Reader {
  position: number;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, position: number) {
    this.#bytes = bytes;
    this.position = position;
  }

  byte(): number {
    return this.#bytes[this.position++]!;
  }

  unsigned(): number {
    let value = 0;
    for (let weight = 1;; weight *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * weight;
      if (byte < 0x80) return value;
    }
  }
}

/** Skips the immediates of a SIMD instruction. */
function skipSimd(reader: Reader, code: number): void {
  const isMemory = code <= 0x0b || (code >= 0x54 && code <= 0x5d);
  if (isMemory) {
    reader.unsigned();
    reader.unsigned();
  }
  if (code === 0x0c || code === 0x0d) reader.position += 16;
  const hasLane = (code >= 0x15 && code <= 0x22) ||
    (code >= 0x54 && code <= 0x5b);
  if (hasLane) reader.byte();
}

/** Skips the immediates of an instruction without a prefix. */
function skipPlain(reader: Reader, code: number): void {
  if (code >= 0x02 && code <= 0x04) reader.unsigned(); // block type
  else if (code >= 0x0c && code <= 0x0d) reader.unsigned(); // branch
  else if (code === 0x10) reader.unsigned(); // call
  else if (code >= 0x20 && code <= 0x24) reader.unsigned(); // variable
  else if (code >= 0x28 && code <= 0x3e) { // load, store
    reader.unsigned();
    reader.unsigned();
  } else if (code === 0x41 || code === 0x42) reader.unsigned(); // integer
  else if (code === 0x43) reader.position += 4;
  else if (code === 0x44) reader.position += 8;
  else if (
    !(code <= 0x01 || code === 0x05 || code === 0x0b || code === 0x0f ||
      code === 0x1a || code === 0x1b || (code >= 0x45 && code <= 0xc4))
  ) {
    throw new Error(`Unknown opcode 0x${code.toString(16)}`);
  }
}

/** The distinct opcodes of a module's functions. */
export function opcodesOf(bytes: Uint8Array): Set<number> {
  const opcodes = new Set<number>();
  const reader = new Reader(bytes, 8); // after magic and version
  while (reader.position < bytes.length) {
    const section = reader.byte();
    const size = reader.unsigned();
    const end = reader.position + size;
    if (section !== 10) { // not code
      reader.position = end;
      continue;
    }
    for (let functions = reader.unsigned(); functions > 0; functions--) {
      const bodySize = reader.unsigned();
      const bodyEnd = reader.position + bodySize;
      for (let groups = reader.unsigned(); groups > 0; groups--) {
        reader.unsigned(); // how many locals
        reader.byte(); // of which type
      }
      while (reader.position < bodyEnd) {
        const code = reader.byte();
        if (code === SIMD_PREFIX) {
          const simd = reader.unsigned();
          opcodes.add(SIMD_PREFIX * 0x10000 + simd);
          skipSimd(reader, simd);
        } else {
          opcodes.add(code);
          skipPlain(reader, code);
        }
      }
      if (reader.position !== bodyEnd) throw new Error("Misread a function");
    }
  }
  return opcodes;
}
