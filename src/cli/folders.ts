/**
 * Writing folders so that a failure leaves nothing behind.
 *
 * @module
 */

import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FormatError } from "../errors.ts";
import { writeError } from "./files.ts";

/**
 * The folder that an output names, by itself or by the main file in it.
 *
 * @param output The output.
 * @param main The name of the main file.
 */
export function folderOf(output: string, main: string): string {
  const bare = output.replace(/[/\\]+$/, "");
  const isMain = bare === main || bare.endsWith(`/${main}`) ||
    bare.endsWith(`\\${main}`);
  return bare === output && isMain ? dirname(bare) : bare || output;
}

/**
 * Checks that a folder is not there yet, or is empty.
 *
 * @throws {FormatError} If something is there.
 */
export async function checkNewFolder(folder: string): Promise<void> {
  let there: string[];
  try {
    there = await readdir(folder);
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "ENOENT") return;
    throw writeError(folder, error as Error);
  }
  if (there.length > 0) {
    throw new FormatError(
      `Cannot write the folder "${folder}": it is there already, with ${
        there.length === 1 ? "a file" : `${there.length} files`
      }; choose a new one, or remove it`,
    );
  }
}

/**
 * Writes a folder under a temporary name beside it, and renames it when all
 * files are there.
 *
 * @param folder The folder, which must not be there or be empty.
 * @param files The content of its files by name, with `/` between the parts.
 *
 * @throws {EvenkeelError} If it cannot be written; then nothing is.
 */
export async function writeFolder(
  folder: string,
  files: ReadonlyMap<string, Uint8Array>,
): Promise<void> {
  await checkNewFolder(folder);
  const temporary = `${folder}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  try {
    await mkdir(temporary);
    for (const [name, content] of files) {
      const path = join(temporary, name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content, { flag: "wx" });
    }
    // Fails where another folder with files has come meanwhile.
    await rename(temporary, folder);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => {});
    throw writeError(folder, error as Error);
  }
}
