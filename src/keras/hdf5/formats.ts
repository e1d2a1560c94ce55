/**
 * The formats that are HDF5 inside, told apart.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { Contents } from "../contents/contents.ts";
import type { FormatReader } from "../contents/format_reader.ts";
import type { SourceFile } from "../files/source_file.ts";
import { describeVariables } from "./describe_variables.ts";
import { type Hdf5File, openHdf5 } from "./file.ts";
import { isLegacyHdf5, readLegacyHdf5 } from "./legacy.ts";
import { isVariablesHdf5, readVariablesHdf5 } from "./variables.ts";

const SIGNATURE = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a];
/** The least block of the user's that can stand in front; others are twice as long, and so on. */
const USER_BLOCK = 512;

function contentsOf(file: Hdf5File, fileBytes: number): Contents {
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

async function open(file: SourceFile): Promise<Contents> {
  const hdf5 = await openHdf5(file);
  try {
    const contents = await hdf5.settled(() => contentsOf(hdf5, file.size));
    await describeVariables(hdf5, contents.weights);
    return contents;
  } catch (error) {
    hdf5.close();
    throw error;
  }
}

/** HDF5 as Keras writes it. */
export const HDF5_FORMAT: FormatReader = {
  what: "HDF5",
  rank: 1,
  detect: (probe) => probe.startsWith(SIGNATURE),
  open,
};

/** HDF5 behind a block of somebody else's, which can be anything. */
export const HDF5_WITH_USER_BLOCK: FormatReader = {
  what: "HDF5",
  rank: 1,
  async detect(probe) {
    for (let at = USER_BLOCK; at < probe.file.size; at *= 2) {
      if (await probe.has(SIGNATURE, at)) return true;
    }
    return false;
  },
  open,
};
