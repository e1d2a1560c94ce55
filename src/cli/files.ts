/**
 * Writing files so that a failure leaves nothing behind.
 *
 * @module
 */

import {
  chmod,
  open,
  readlink,
  realpath,
  rename,
  rm,
  stat,
} from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { EvenkeelError, FormatError } from "../errors.ts";

/** What the usual error codes mean for an output file. */
const WRITE_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: "its folder does not exist, make it first",
  ENOTDIR: "what should be its folder is a file",
  EISDIR: "it is a folder",
  ENOTEMPTY: "it is a folder",
  EACCES: "its folder does not allow it",
  EROFS: "its file system is read-only",
  ENOSPC: "its file system is full",
};

/** The error for what cannot be written, in words; one of ours as it is. */
export function writeError(path: string, cause: Error): EvenkeelError {
  if (cause instanceof EvenkeelError) return cause;
  const { code, message } = cause as Error & { code?: string };
  return new FormatError(
    `Cannot write "${path}": ${WRITE_ERRORS[code ?? ""] ?? message}`,
    { cause },
  );
}

/** Whether two paths lead to one file; false where one does not exist. */
export async function isSameFile(a: string, b: string): Promise<boolean> {
  try {
    return await realpath(a) === await realpath(b);
  } catch {
    return false;
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as { code?: string }).code;
}

/**
 * Where a path leads, links followed: to a file that is there, or to where it
 * would come to be.
 */
export async function followLinks(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
  const parent = dirname(path);
  // The working folder, if it was removed.
  if (parent === path) return resolve(path);
  const folder = await followLinks(parent);
  let link: string;
  try {
    link = await readlink(path);
  } catch (error) {
    // EINVAL: it has come meanwhile, and is no link.
    if (!["ENOENT", "EINVAL"].includes(codeOf(error) ?? "")) throw error;
    return join(folder, basename(path));
  }
  return await followLinks(resolve(folder, link));
}

/** The content of a file, in one or several pieces. */
export type Content =
  | Uint8Array
  | Iterable<Uint8Array>
  | AsyncIterable<Uint8Array>;

/**
 * The permissions of a file that is to be replaced; undefined if there is
 * none.
 *
 * @throws {FormatError} If it is a folder, a device or a pipe.
 */
async function modeOf(path: string): Promise<number | undefined> {
  try {
    const found = await stat(path);
    if (found.isFile()) return found.mode & 0o777;
    throw new FormatError(
      `Cannot write "${path}": it is ${
        found.isDirectory() ? "a folder" : "no regular file"
      }`,
    );
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Writes all pieces; one that the system takes in parts too. */
async function writePieces(
  path: string,
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  mode: number | undefined,
): Promise<void> {
  const file = await open(path, "wx", mode);
  try {
    for await (const piece of pieces) {
      for (let at = 0; at < piece.length;) {
        // Linux writes at most 2 GB at once.
        const part = piece.subarray(at, at + 2 ** 26);
        at += (await file.write(part)).bytesWritten;
      }
    }
  } finally {
    await file.close();
  }
}

/** Where a file goes that is to be written. */
export interface Target {
  /** The path, links followed. */
  readonly path: string;
  /** The permissions of the file that is there; undefined if there is none. */
  readonly mode: number | undefined;
}

/**
 * Checks that a file can be at a path, before there is work done for it.
 *
 * @throws {EvenkeelError} If its folder is not there, or it is something else.
 */
export async function checkTarget(path: string): Promise<Target> {
  // Else what is meant as a folder's name would become a file's.
  if (/[/\\]$/.test(path)) {
    throw new FormatError(
      `Cannot write "${path}": expected the name of a file, got a folder's`,
    );
  }
  try {
    const target = await followLinks(path);
    const mode = await modeOf(target);
    await stat(dirname(target));
    return { path: target, mode };
  } catch (cause) {
    throw writeError(path, cause as Error);
  }
}

/** A file that is written whole under a temporary name. */
export interface StagedFile {
  /** Gives it its name. */
  commit(): Promise<void>;
  /** Removes it, unless it has its name. */
  discard(): Promise<void>;
}

/**
 * Writes a file under a temporary name beside the one that its path leads to,
 * with that one's permissions.
 *
 * @param path The file.
 * @param content Its bytes.
 *
 * @throws {EvenkeelError} If it cannot be written; then nothing is.
 */
export async function stageFile(
  path: string,
  content: Content,
): Promise<StagedFile> {
  const { path: target, mode } = await checkTarget(path);
  const temporary = `${target}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  const discard = () => rm(temporary, { force: true }).catch(() => {});
  try {
    const pieces = content instanceof Uint8Array ? [content] : content;
    await writePieces(temporary, pieces, mode);
    // The system takes what its mask forbids from a new file.
    if (mode !== undefined) await chmod(temporary, mode);
  } catch (cause) {
    await discard();
    throw writeError(path, cause as Error);
  }
  return {
    async commit() {
      try {
        await rename(temporary, target);
      } catch (cause) {
        throw writeError(path, cause as Error);
      }
    },
    discard,
  };
}

/**
 * Writes a file under a temporary name, and renames it when it is whole:
 * readers see the old file or the new one, never a part. A link stays one, and
 * a file that is replaced passes its permissions on.
 *
 * @param path The file.
 * @param content Its bytes, in one or several pieces.
 *
 * @throws {EvenkeelError} If it cannot be written; then nothing is.
 */
export async function writeWhole(
  path: string,
  content: Content,
): Promise<void> {
  const staged = await stageFile(path, content);
  try {
    await staged.commit();
  } catch (error) {
    await staged.discard();
    throw error;
  }
}
