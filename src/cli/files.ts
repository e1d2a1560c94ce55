/**
 * Writing files so that a failure leaves nothing behind.
 *
 * @module
 */

import { open, realpath, rename, rm } from "node:fs/promises";
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

/** Whether two paths lead to one file; false where one does not exist. */
export async function isSameFile(a: string, b: string): Promise<boolean> {
  try {
    return await realpath(a) === await realpath(b);
  } catch {
    return false;
  }
}

/** Writes all pieces; one that the system takes in parts too. */
async function writePieces(
  path: string,
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  const file = await open(path, "wx");
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

/**
 * Writes a file under a temporary name beside it, and renames it when it is
 * whole: readers see the old file or the new one, never a part.
 *
 * @param path The file.
 * @param content Its bytes, in one or several pieces.
 *
 * @throws {EvenkeelError} If it cannot be written; then nothing is.
 */
export async function writeWhole(
  path: string,
  content:
    | Uint8Array
    | Iterable<Uint8Array>
    | AsyncIterable<Uint8Array>,
): Promise<void> {
  const temporary = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  try {
    await writePieces(
      temporary,
      content instanceof Uint8Array ? [content] : content,
    );
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {});
    if (cause instanceof EvenkeelError) throw cause;
    const { code, message } = cause as Error & { code?: string };
    throw new FormatError(
      `Cannot write "${path}": ${WRITE_ERRORS[code ?? ""] ?? message}`,
      { cause },
    );
  }
}
