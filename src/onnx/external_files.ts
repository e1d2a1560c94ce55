/**
 * External data from the files beside a model.
 *
 * @module
 */

import { FormatError } from "../errors.ts";
import { checkLocation, type ExternalData } from "./external_data.ts";

/** Whether a path is in a folder or below; both without links. */
export function isBelow(
  path: string,
  folder: string,
  separator: string,
): boolean {
  return path.startsWith(
    folder.endsWith(separator) ? folder : folder + separator,
  );
}

/**
 * Finds files of external data by location.
 *
 * @param location What the model says.
 * @returns The path, links followed; undefined if there is no such file.
 *
 * @throws {FormatError} If it is not in the model's folder, or no regular
 * file: to open a pipe would wait for its other end.
 */
export type ExternalFinder = (location: string) => string | undefined;

function isMissing(error: unknown): boolean {
  return ["ENOENT", "ENOTDIR"].includes((error as { code?: string }).code!);
}

/**
 * What finds the files of external data in a model's folder.
 *
 * @param folder The model's folder.
 *
 * @throws {FormatError} If it does not exist.
 */
export async function externalFinder(
  folder: string | URL,
): Promise<ExternalFinder> {
  // Node's modules, since Deno, Node and Bun all have them.
  const fs = await import("node:fs");
  const { join, sep } = await import("node:path");
  let root: string;
  try {
    root = fs.realpathSync(folder);
  } catch (cause) {
    throw new FormatError(
      `Cannot read external data from ${folder}: ${(cause as Error).message}`,
      { cause },
    );
  }
  return (location) => {
    const named = join(root, ...checkLocation(location));
    let path: string;
    let isFile: boolean;
    try {
      path = fs.realpathSync(named);
      isFile = fs.statSync(path).isFile();
    } catch (cause) {
      if (isMissing(cause)) return undefined;
      throw new FormatError(
        `its external data in "${location}" cannot be read: ${
          (cause as Error).message
        }`,
        { cause },
      );
    }
    if (!isBelow(path, root, sep)) {
      throw new FormatError(
        `its external data is in "${location}", a link that leads out of the model's folder`,
      );
    }
    if (!isFile) {
      throw new FormatError(
        `its external data is in "${location}", expected a regular file, got a folder, a device or a pipe`,
      );
    }
    return path;
  };
}

/**
 * Reads external data from a model's folder.
 *
 * Only the bytes that are asked for are read. A model may come from anyone:
 * files outside of the folder are refused, whether by `..`, an absolute path
 * or a link. Needs the permission to read the folder.
 *
 * @param folder The model's folder.
 * @returns What `openOnnx` takes as its option `externalData`.
 *
 * @throws {FormatError} If the folder does not exist; and, when reading, if a
 * file does not exist, is outside of the folder, is no regular file, or is too
 * short.
 *
 * @example Usage
 * ```ts
 * import { assertEquals, assertThrows } from "@std/assert";
 * import { externalFiles } from "@evenkeel/evenkeel";
 *
 * const external = await externalFiles("testdata");
 * assertEquals(external("README.md", 0, 2), new TextEncoder().encode("# "));
 * assertThrows(() => external("../README.md", 0, 2), Error, "expected a file in the model's folder");
 * ```
 */
export async function externalFiles(
  folder: string | URL,
): Promise<ExternalData> {
  const fs = await import("node:fs");
  const find = await externalFinder(folder);
  return (location, offset, length) => {
    const path = find(location);
    if (path === undefined) {
      throw new FormatError(
        `its external data is in "${location}", which is not there`,
      );
    }
    let file: number | undefined;
    try {
      file = fs.openSync(path, "r");
      const stat = fs.fstatSync(file);
      // Before anything is allocated: the model may claim any length.
      if (!stat.isFile() || offset + length > stat.size) {
        throw new FormatError(
          `expected ${length} bytes at ${offset} of "${location}", which has ${stat.size}`,
        );
      }
      const bytes = new Uint8Array(length);
      for (let at = 0; at < length;) {
        const read = fs.readSync(file, bytes, at, length - at, offset + at);
        if (read === 0) {
          throw new FormatError(`the file "${location}" became shorter`);
        }
        at += read;
      }
      return bytes;
    } catch (cause) {
      if (cause instanceof FormatError) throw cause;
      throw new FormatError(
        `its external data in "${location}" cannot be read: ${
          (cause as Error).message
        }`,
        { cause },
      );
    } finally {
      if (file !== undefined) fs.closeSync(file);
    }
  };
}
