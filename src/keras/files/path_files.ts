/**
 * Files by path, through Node's modules, which Deno, Node and Bun all have.
 *
 * @module
 */

import type { readSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { FormatError } from "../../errors.ts";
import {
  BytesFile,
  checkPart,
  MissingFileError,
  newBytes,
  type SourceFile,
} from "./source_file.ts";

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EISDIR: "it is a directory, expected a file",
  ENOTDIR: "a part of the path is not a directory",
  EACCES: "permission denied",
};

/** What went wrong, in words: Node's code, or Deno's missing permission. */
export function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const { code } = cause as { code?: unknown };
  return typeof code === "string" && Object.hasOwn(REASONS, code)
    ? REASONS[code]!
    : cause.message;
}

/** Node reads less than 2 GiB at once. */
const MAX_READ = 2 ** 30;

/** A regular file, open until it is closed. */
class PathFile implements SourceFile {
  readonly name: string;
  readonly size: number;
  readonly #handle: FileHandle;
  readonly #readSync: typeof readSync;

  constructor(
    name: string,
    size: number,
    handle: FileHandle,
    read: typeof readSync,
  ) {
    this.name = name;
    this.size = size;
    this.#handle = handle;
    this.#readSync = read;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    checkPart(this, offset, length);
    const bytes = newBytes(this.name, length);
    for (let done = 0; done < length;) {
      const wanted = Math.min(MAX_READ, length - done);
      const { bytesRead } = await this.#handle
        .read(bytes, done, wanted, offset + done)
        .catch((cause) => {
          throw unreadable(this.name, cause);
        });
      if (bytesRead === 0) throw becameShorter(this.name);
      done += bytesRead;
    }
    return bytes;
  }

  readSync(offset: number, length: number): Uint8Array {
    checkPart(this, offset, length);
    const bytes = newBytes(this.name, length);
    const read = this.#readSync;
    for (let done = 0; done < length;) {
      const wanted = Math.min(MAX_READ, length - done);
      let count: number;
      try {
        count = read(this.#handle.fd, bytes, done, wanted, offset + done);
      } catch (cause) {
        throw unreadable(this.name, cause);
      }
      if (count === 0) throw becameShorter(this.name);
      done += count;
    }
    return bytes;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

function becameShorter(name: string): FormatError {
  return new FormatError(
    `Cannot read ${name}: it became shorter while it was read`,
  );
}

function unreadable(name: string, cause: unknown): FormatError {
  const { code } = cause as { code?: unknown };
  const isMissing = code === "ENOENT" || code === "ENOTDIR";
  return new (isMissing ? MissingFileError : FormatError)(
    `Cannot read ${name}: ${reasonOf(cause)}`,
    { cause },
  );
}

/** Paths below one place, of which the opened files can be closed together. */
export class PathFiles {
  readonly #open: PathFile[] = [];

  /** Whether there is a folder at a path. */
  async isFolder(path: string | URL): Promise<boolean> {
    const { stat } = await import("node:fs/promises");
    try {
      return (await stat(path)).isDirectory();
    } catch {
      // Opening it tells what is wrong.
      return false;
    }
  }

  /**
   * Opens a file. What is no regular file, such as a pipe, is read at once,
   * since parts of it cannot be.
   *
   * @throws {MissingFileError} If there is none.
   * @throws {FormatError} If it cannot be read.
   */
  async open(path: string | URL): Promise<SourceFile> {
    const name = nameOf(path);
    const { open, readFile, stat } = await import("node:fs/promises");
    const { readSync } = await import("node:fs");
    try {
      // Before it is opened, since opening a pipe waits for its other end.
      const found = await stat(path);
      if (!found.isFile()) return new BytesFile(name, await readFile(path));
      const handle = await open(path, "r");
      const file = new PathFile(name, found.size, handle, readSync);
      this.#open.push(file);
      return file;
    } catch (cause) {
      throw unreadable(name, cause);
    }
  }

  /**
   * Opens a file that another one names, which may come from anyone: a pipe or
   * a device would hold its reader for ever.
   *
   * @throws {MissingFileError} If there is none.
   * @throws {FormatError} If it is no regular file, or cannot be read.
   */
  async openRegular(path: string | URL): Promise<SourceFile> {
    const name = nameOf(path);
    const { stat } = await import("node:fs/promises");
    let isRegular: boolean;
    try {
      isRegular = (await stat(path)).isFile();
    } catch (cause) {
      throw unreadable(name, cause);
    }
    if (isRegular) return await this.open(path);
    throw new FormatError(`Cannot read ${name}: it is no regular file`);
  }

  /** Closes all files; they must not be read afterwards. */
  async close(): Promise<void> {
    await Promise.all(this.#open.splice(0).map((file) => file.close()));
  }
}

function nameOf(path: string | URL): string {
  return path instanceof URL ? path.href : path;
}
