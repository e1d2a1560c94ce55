/**
 * Writing files so that a failure leaves nothing behind.
 *
 * @module
 */

import { rename, rm, writeFile } from "node:fs/promises";
import { EvenkeelError, FormatError } from "../errors.ts";

/**
 * Writes a file under a temporary name beside it, and renames it when it is
 * whole: readers see the old file or the new one, never a part.
 *
 * @throws {EvenkeelError} If it cannot be written; then nothing is.
 */
export async function writeWhole(
  path: string,
  bytes: Uint8Array,
): Promise<void> {
  const temporary = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  try {
    await writeFile(temporary, bytes, { flag: "wx" });
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {});
    if (cause instanceof EvenkeelError) throw cause;
    throw new FormatError(
      `Cannot write "${path}": ${(cause as Error).message}`,
      { cause },
    );
  }
}
