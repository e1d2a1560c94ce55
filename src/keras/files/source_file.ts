/**
 * Files of which parts can be read, wherever they are.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";

/** A file of which parts can be read. */
export interface SourceFile {
  /** What to call it in messages. */
  readonly name: string;
  /** Its length in bytes. */
  readonly size: number;
  /**
   * Reads a part of it.
   *
   * The bytes may be a view of what others read as well: they must not be
   * changed.
   *
   * @param offset Where it begins, in bytes.
   * @param length How many bytes; exactly so many are returned.
   *
   * @throws {FormatError} If the part is not within the file, or reading
   * fails. Nothing is allocated for a part that the file does not have.
   */
  read(offset: number, length: number): Promise<Uint8Array>;
  /**
   * Reads a part of it at once, as {@linkcode SourceFile.read} does; of files
   * in memory and behind paths, for which nobody has to wait.
   */
  readSync?(offset: number, length: number): Uint8Array;
}

/** The files beside a file, such as the shards of its weights. */
export interface SourceFolder {
  /**
   * Opens a file.
   *
   * @param relativeName Its name as seen from the folder, with `/` between
   * parts, as in `variables/variables.index`.
   * @returns The file; undefined if there is none of that name.
   *
   * @throws {FormatError} If the name leaves the folder, or the file is there
   * and cannot be read.
   */
  open(relativeName: string): Promise<SourceFile | undefined>;
}

/** A folder of nothing, for bytes that came alone. */
export const NO_FOLDER: SourceFolder = {
  open(relativeName) {
    relativeParts(relativeName);
    return Promise.resolve(undefined);
  },
};

/**
 * Checks that a part is within a file.
 *
 * @throws {FormatError} If it is not.
 */
export function checkPart(
  { name, size }: Pick<SourceFile, "name" | "size">,
  offset: number,
  length: number,
): void {
  const isCount = (value: number) => Number.isSafeInteger(value) && value >= 0;
  if (isCount(offset) && isCount(length) && offset + length <= size) return;
  throw new FormatError(
    `Cannot read ${length} bytes from offset ${offset} of ${name}: it has ${size} bytes; it is truncated or damaged`,
  );
}

/** All bytes of a file; see {@linkcode SourceFile.read}. */
export function readAll(file: SourceFile): Promise<Uint8Array> {
  return file.read(0, file.size);
}

/**
 * There is no such file: the one failure that leaves a caller something else
 * to try.
 */
export class MissingFileError extends FormatError {}

/** What opening a file gives; undefined if there is none. */
export async function ifThere<T>(opening: Promise<T>): Promise<T | undefined> {
  try {
    return await opening;
  } catch (error) {
    if (error instanceof MissingFileError) return undefined;
    throw error;
  }
}

/**
 * A zeroed array for a part of a file.
 *
 * @throws {FormatError} If the engine has no room for that many bytes.
 */
export function newBytes(
  name: string,
  length: number,
): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    throw new FormatError(
      `Cannot read ${length} bytes of ${name}: there is no memory for them`,
      { cause },
    );
  }
}

/** The longest name of another file that is looked for. */
const MAX_NAME = 1024;

/**
 * The parts of a name that a file gives for another one beside it.
 *
 * @throws {FormatError} If the name is absolute, has a part `..` or is
 * otherwise one that could leave the folder on some system: with `\`, a colon
 * (drives, URLs, streams) or a character that no name has.
 */
export function relativeParts(relativeName: string): string[] {
  const parts = relativeName.split("/").filter((part) => part !== ".");
  const isPlain = (part: string) =>
    // deno-lint-ignore no-control-regex
    part !== "" && part !== ".." && !/[\\:\0-\x1f\x7f]/.test(part);
  if (
    relativeName.length > MAX_NAME || parts.length === 0 ||
    !parts.every(isPlain)
  ) {
    throw new FormatError(
      `Cannot open ${
        JSON.stringify(relativeName.slice(0, 80))
      }: expected the name of a file in the same folder, or in one below it`,
    );
  }
  return parts;
}

/** What files are called that have no name. */
export const NAMELESS = { bytes: "the bytes", blob: "the blob" } as const;

/**
 * A file's name without folder and ending, for the layer of a file that has no
 * other name for it; `layer` for a file without a name.
 */
export function stemOf({ name }: Pick<SourceFile, "name">): string {
  if (Object.values<string>(NAMELESS).includes(name)) return "layer";
  const path = /^https?:/.test(name) ? new URL(name).pathname : name;
  const last = path.slice(
    Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1,
  );
  return /^\.*[^.]+/.exec(last)?.[0] ?? "layer";
}

/** A file that is in memory. */
export class BytesFile implements SourceFile {
  readonly name: string;
  readonly #bytes: Uint8Array;

  constructor(name: string, bytes: Uint8Array) {
    this.name = name;
    this.#bytes = bytes;
  }

  get size(): number {
    return this.#bytes.length;
  }

  // Async, so that what it throws is a rejection as everywhere else.
  // deno-lint-ignore require-await
  async read(offset: number, length: number): Promise<Uint8Array> {
    return this.readSync(offset, length);
  }

  readSync(offset: number, length: number): Uint8Array {
    checkPart(this, offset, length);
    return this.#bytes.subarray(offset, offset + length);
  }
}

/** A file that is a part of another one, such as a member of an archive. */
export class PartFile implements SourceFile {
  readonly name: string;
  readonly size: number;
  readonly readSync?: (offset: number, length: number) => Uint8Array;
  readonly #whole: SourceFile;
  readonly #start: number;

  /**
   * @param name What to call it.
   * @param whole The file that it is in.
   * @param start Where it begins there.
   * @param size Its length.
   *
   * @throws {FormatError} If it is not within that file.
   */
  constructor(name: string, whole: SourceFile, start: number, size: number) {
    checkPart(whole, start, size);
    this.name = name;
    this.size = size;
    this.#whole = whole;
    this.#start = start;
    if (whole.readSync) {
      this.readSync = (offset, length) => {
        checkPart(this, offset, length);
        return whole.readSync!(start + offset, length);
      };
    }
  }

  // deno-lint-ignore require-await
  async read(offset: number, length: number): Promise<Uint8Array> {
    checkPart(this, offset, length);
    return this.#whole.read(this.#start + offset, length);
  }
}

/** A `Blob`, or a `File` that a user chose in a browser. */
export class BlobFile implements SourceFile {
  readonly name: string;
  readonly #blob: Blob;

  constructor(name: string, blob: Blob) {
    this.name = name;
    this.#blob = blob;
  }

  get size(): number {
    return this.#blob.size;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    checkPart(this, offset, length);
    const part = this.#blob.slice(offset, offset + length);
    let bytes: Uint8Array;
    try {
      bytes = new Uint8Array(await part.arrayBuffer());
    } catch (cause) {
      // A chosen file that has changed since cannot be read any more.
      throw new FormatError(`Cannot read ${this.name}: ${String(cause)}`, {
        cause,
      });
    }
    if (bytes.length !== length) {
      throw new FormatError(
        `Cannot read ${this.name}: it became shorter while it was read`,
      );
    }
    return bytes;
  }
}
