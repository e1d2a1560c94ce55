/**
 * The `.keras` archive: a zip of `config.json`, `metadata.json` and the
 * weights, as HDF5 or npz.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { Contents, ObjectNode } from "../contents/contents.ts";
import { parseJsonObject } from "../files/json.ts";
import { describeVariables } from "../hdf5/describe_variables.ts";
import { openHdf5 } from "../hdf5/file.ts";
import { readVariablesHdf5 } from "../hdf5/variables.ts";
import { readNpz } from "../numpy/npz.ts";
import { openZip, type ZipFile } from "../zip/zip.ts";

/** Keras' name of the weights, and that of the first release that had archives. */
const HDF5_MEMBERS = ["model.weights.h5", "variables.h5"];
const NPZ_MEMBER = "model.weights.npz";

async function readText(archive: ZipFile, name: string): Promise<string> {
  const bytes = await archive.read(name);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FormatError(`Cannot read ${name}: expected UTF-8 text`, {
      cause,
    });
  }
}

async function readWeights(
  archive: ZipFile,
): Promise<{ root: ObjectNode; close(): void }> {
  const member = HDF5_MEMBERS.find((name) => archive.names.includes(name));
  if (member !== undefined) {
    const weights = await archive.open(member);
    const file = await openHdf5(weights);
    try {
      const root = await file.settled(() =>
        readVariablesHdf5(file.root, weights.size)
      );
      await describeVariables(file, { kind: "objects", root });
      return { root, close: () => file.close() };
    } catch (error) {
      file.close();
      throw error;
    }
  }
  if (archive.names.includes(NPZ_MEMBER)) {
    const npz = await openZip(await archive.read(NPZ_MEMBER));
    return { root: readNpz(npz), close: () => {} };
  }
  throw new FormatError(
    `Cannot read the Keras archive: expected ${
      HDF5_MEMBERS[0]
    } or ${NPZ_MEMBER} in it, found ${archive.names.join(", ") || "nothing"}`,
  );
}

/**
 * Reads a `.keras` archive. Of weights in HDF5, which Keras does not compress,
 * only what is needed is read.
 *
 * @throws {FormatError} If the archive, or a member that is needed, is
 * damaged or missing.
 */
export async function readArchive(archive: ZipFile): Promise<Contents> {
  if (!archive.names.includes("config.json")) {
    throw new FormatError(
      `Cannot read the zip archive: expected a Keras archive with config.json, found ${
        archive.names.slice(0, 8).join(", ") || "nothing"
      }`,
    );
  }
  const config = parseJsonObject(
    await readText(archive, "config.json"),
    "config.json",
  );
  const metadata = archive.names.includes("metadata.json")
    ? parseJsonObject(
      await readText(archive, "metadata.json"),
      "metadata.json",
    )
    : {};
  const { keras_version } = metadata;
  const { root, close } = await readWeights(archive);
  return {
    format: "keras",
    kerasVersion: typeof keras_version === "string" ? keras_version : undefined,
    config,
    weights: { kind: "objects", root },
    close,
  };
}
