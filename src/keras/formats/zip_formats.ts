/**
 * The formats that are zip archives, told apart.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { Contents } from "../contents/contents.ts";
import type { FormatReader } from "../contents/format_reader.ts";
import { readAll, type SourceFile, stemOf } from "../files/source_file.ts";
import { readNpz } from "../numpy/npz.ts";
import {
  arrayMembers,
  hasObjects,
  readNpzArrays,
} from "../numpy/npz_arrays.ts";
import { openZip, openZipFile, type ZipFile } from "../zip/zip.ts";
import { readArchive } from "./keras_archive.ts";

/** A member's header, and the end of an archive without members. */
const SIGNATURES = [[0x50, 0x4b, 0x03, 0x04], [0x50, 0x4b, 0x05, 0x06]];

const CONFIG = "config.json";

async function openArrays(
  file: SourceFile,
  archive: ZipFile,
): Promise<Contents> {
  const common = {
    format: "npz",
    kerasVersion: undefined,
    config: undefined,
    close: () => {},
  } as const;
  if (await hasObjects(archive)) {
    // What else stands in a .keras archive, alone.
    const root = readNpz(await openZip(await readAll(file)));
    return { ...common, weights: { kind: "objects", root } };
  }
  const variables = await readNpzArrays(archive);
  const name = stemOf(file);
  return { ...common, weights: { kind: "flat", name, variables } };
}

async function open(file: SourceFile): Promise<Contents> {
  const archive = await openZipFile(file);
  if (archive.names.includes(CONFIG)) return await readArchive(archive);
  if (arrayMembers(archive).length > 0) return await openArrays(file, archive);
  throw new FormatError(
    `Cannot read the zip archive: expected a Keras archive with ${CONFIG}, or NumPy arrays, found ${
      archive.names.slice(0, 8).join(", ") || "nothing"
    }`,
  );
}

/** Keras' archives, and NumPy's. */
export const ZIP_FORMAT: FormatReader = {
  what: "a zip archive (.keras, .npz)",
  rank: 1,
  detect: (probe) => SIGNATURES.some((bytes) => probe.startsWith(bytes)),
  open,
};
