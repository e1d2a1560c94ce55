/**
 * Elements that an ONNX model keeps in other files.
 *
 * @see https://github.com/onnx/onnx/blob/main/docs/ExternalData.md
 *
 * @module
 */

import { FormatError, OptionError } from "../errors.ts";

/**
 * Reads a part of a file that a model names.
 *
 * @param location The file, relative to the model's folder.
 * @param offset The first byte.
 * @param length The number of bytes.
 * @returns The bytes.
 */
export type ExternalData = (
  location: string,
  offset: number,
  length: number,
) => Uint8Array;

/** The files of a model's external data, by their location in it. */
export type ExternalDataSource = ReadonlyMap<string, Uint8Array> | ExternalData;

/**
 * Checks that a location names a file in the model's folder or below, and
 * nothing else: a model may come from anyone.
 *
 * A backslash separates on every system, as it does where models that have
 * one were written; also where it could be part of a name.
 *
 * @param location What the model says.
 * @returns The parts of the path.
 *
 * @throws {FormatError} If it is absolute, has `..`, or is no path.
 */
export function checkLocation(location: string): string[] {
  const parts = location.split(/[/\\]/).filter((part) => part !== ".");
  const leaves = parts.length === 0 || parts.includes("..") ||
    parts.includes("") || /^[a-z]:/i.test(location) ||
    // deno-lint-ignore no-control-regex
    /[\u0000-\u001f]/.test(location);
  if (leaves) {
    throw new FormatError(
      `its external data is in "${
        location.slice(0, 200)
      }", expected a file in the model's folder`,
    );
  }
  return parts;
}

/** Reads from whole files in memory. */
function fromMap(files: ReadonlyMap<string, Uint8Array>): ExternalData {
  return (location, offset, length) => {
    const bytes = files.get(location);
    if (!bytes) {
      throw new FormatError(
        `its elements are in the file "${location}", which the option externalData does not have`,
      );
    }
    if (offset + length > bytes.length) {
      throw new FormatError(
        `expected ${length} bytes at ${offset} of "${location}", which has ${bytes.length}`,
      );
    }
    return bytes.subarray(offset, offset + length);
  };
}

/**
 * A reader of external data with its checks.
 *
 * @param source The files, or what reads them; undefined if there are none.
 * @returns The reader.
 *
 * @throws {OptionError} If it is neither.
 */
export function externalDataOf(
  source: ExternalDataSource | undefined,
): ExternalData | undefined {
  if (source === undefined) return undefined;
  if (!(source instanceof Map) && typeof source !== "function") {
    throw new OptionError(
      "Cannot use the option externalData: expected a Map of locations to bytes, or a function",
    );
  }
  const read = typeof source === "function" ? source : fromMap(source);
  return (location, offset, length) => {
    checkLocation(location);
    return read(location, offset, length);
  };
}
