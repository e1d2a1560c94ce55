/**
 * Which format a file has, by its content; names and extensions say nothing
 * (Keras 2.12 writes HDF5 into `x.keras`).
 *
 * @module
 */

import { FormatError } from "../errors.ts";
import { readArchive } from "./archive.ts";
import type { Contents } from "./contents.ts";
import { type Hdf5File, openHdf5 } from "./hdf5.ts";
import { isLegacyHdf5, readLegacyHdf5 } from "./legacy_h5.ts";
import { isNpy } from "./npy.ts";
import type { SourceFile } from "./source.ts";
import { isVariablesHdf5, readVariablesHdf5 } from "./variables_h5.ts";

function startsWith(
  bytes: Uint8Array,
  signature: readonly number[],
  offset = 0,
): boolean {
  return signature.every((byte, i) => bytes[offset + i] === byte);
}

const HDF5_SIGNATURE = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a];

/** HDF5 may stand behind a block of the user's, of 512 bytes or a power of two more. */
function isHdf5(bytes: Uint8Array): boolean {
  if (startsWith(bytes, HDF5_SIGNATURE)) return true;
  for (let at = 512; at < bytes.length; at *= 2) {
    if (startsWith(bytes, HDF5_SIGNATURE, at)) return true;
  }
  return false;
}

/** A member's header, or the end of an archive without members. */
function isZip(bytes: Uint8Array): boolean {
  return startsWith(bytes, [0x50, 0x4b, 0x03, 0x04]) ||
    startsWith(bytes, [0x50, 0x4b, 0x05, 0x06]);
}

/** What a file that is none of ours seems to be. */
function describe(bytes: Uint8Array): string {
  const head = bytes.subarray(0, 16);
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, 64));
  const hex = [...head].map((byte) => byte.toString(16).padStart(2, "0"));
  const looks = isNpy(bytes)
    ? ", a NumPy array"
    : text.startsWith("version https://git-lfs")
    ? ", a Git LFS pointer: fetch the file itself"
    : /^\s*<(!doctype|html)/i.test(text)
    ? ", a web page"
    : /^\s*[{[]/.test(text)
    ? ", JSON"
    : "";
  return `bytes ${hex.join(" ")} (${
    JSON.stringify(text.slice(0, 16).replace(/[^\x20-\x7e]/g, "."))
  }${looks})`;
}

function readHdf5(file: Hdf5File, fileBytes: number): Contents {
  const { root } = file;
  if (isLegacyHdf5(root)) return readLegacyHdf5(file);
  if (isVariablesHdf5(root, fileBytes)) {
    return {
      format: "weights.h5",
      kerasVersion: undefined,
      config: undefined,
      weights: { kind: "objects", root: readVariablesHdf5(root, fileBytes) },
      close: () => file.close(),
    };
  }
  throw new FormatError(
    `Cannot read the HDF5 file: expected a Keras model or weights, found the members ${
      root.keys().slice(0, 8).join(", ") || "(none)"
    }`,
  );
}

function isKnown({ bytes }: SourceFile): boolean {
  return isHdf5(bytes) || isZip(bytes);
}

/**
 * Opens the file that is a Keras file.
 *
 * @param files One, or several of which one is recognizable.
 * @returns What is in it; must be closed.
 *
 * @throws {FormatError} If none or several are Keras files, or it is damaged.
 */
export async function openContents(
  files: readonly SourceFile[],
): Promise<Contents> {
  const known = files.filter(isKnown);
  const [file = files[0]] = known;
  if (!file) {
    throw new FormatError("Cannot load a Keras model: the map has no files");
  }
  const { name, bytes } = file;
  if (known.length > 1) {
    throw new FormatError(
      `Cannot load a Keras model: expected one file, got ${known.length} (${
        known.map((one) => one.name).join(", ")
      })`,
    );
  }
  if (bytes.length === 0) {
    throw new FormatError(
      `Cannot load a Keras model from ${name}: it is empty`,
    );
  }
  if (isZip(bytes)) return await readArchive(bytes);
  if (!isHdf5(bytes)) {
    throw new FormatError(
      `Cannot load a Keras model from ${name}: expected HDF5 or a .keras archive, found ${
        describe(bytes)
      }`,
    );
  }
  const hdf5 = await openHdf5(bytes);
  try {
    return readHdf5(hdf5, bytes.length);
  } catch (error) {
    hdf5.close();
    throw error;
  }
}
