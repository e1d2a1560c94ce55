/**
 * The few bytes of a file that tell its format.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { parseNumbers } from "../files/json.ts";
import { readAll, type SourceFile } from "../files/source_file.ts";

/** As much as the formats need that begin with a text. */
const HEAD_BYTES = 4096;

/**
 * The longest JSON that is parsed: what it describes takes a few times as much
 * memory, and the longest text that engines have is not much longer.
 */
const MAX_JSON = 2 ** 28;

/** The text of a JSON file, parsed. */
async function parseFile(file: SourceFile): Promise<unknown> {
  const { name, size } = file;
  if (size > MAX_JSON) {
    throw new FormatError(
      `Cannot read ${name}: expected JSON of at most ${MAX_JSON} bytes, got ${size}`,
    );
  }
  const bytes = await readAll(file);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FormatError(`Cannot read ${name}: expected UTF-8 text`, {
      cause,
    });
  }
  return parseNumbers(text, name);
}

/** A file whose format is to be told. */
export class Probe {
  readonly file: SourceFile;
  /** Its first bytes: 4096, or all of a shorter file. */
  readonly head: Uint8Array;
  #json: Promise<unknown> | undefined;

  private constructor(file: SourceFile, head: Uint8Array) {
    this.file = file;
    this.head = head;
  }

  /** Reads the first bytes of a file. */
  static async of(file: SourceFile): Promise<Probe> {
    return new Probe(
      file,
      await file.read(0, Math.min(HEAD_BYTES, file.size)),
    );
  }

  /** Whether the file begins with some bytes. */
  startsWith(signature: readonly number[]): boolean {
    return signature.every((byte, i) => this.head[i] === byte);
  }

  /** Whether some bytes are at a place; counted from the end if negative. */
  async has(signature: readonly number[], offset: number): Promise<boolean> {
    const { size } = this.file;
    const start = offset < 0 ? size + offset : offset;
    if (start < 0 || start + signature.length > size) return false;
    const bytes = await this.file.read(start, signature.length);
    return signature.every((byte, i) => bytes[i] === byte);
  }

  /** Whether it begins as an object or a list in JSON does, perhaps behind white space. */
  get looksLikeJson(): boolean {
    return /^\s*[[{]/.test(new TextDecoder().decode(this.head));
  }

  /**
   * The value of a JSON file, which is parsed once; NaN is what `NAN_TEXT` in
   * `files/json.ts` is.
   *
   * @throws {FormatError} If it is no JSON, or larger or deeper than any.
   */
  json(): Promise<unknown> {
    return this.#json ??= parseFile(this.file);
  }
}
