/**
 * One NumPy array with a layer's variables as its rows:
 * `np.save("bn.npy", layer.get_weights())`.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { elementCount, type Tensor } from "../../tensor.ts";
import type { Contents, FileVariable } from "../contents/contents.ts";
import type { FormatReader } from "../contents/format_reader.ts";
import { rawType } from "../files/raw_tensor.ts";
import { readAll, type SourceFile, stemOf } from "../files/source_file.ts";
import {
  descrName,
  isNpy,
  type NpyHeader,
  parseNpyHeader,
  tensorOfStored,
} from "./npy.ts";

/** The most rows that can be a layer's variables. */
const MAX_ROWS = 7;

async function headerOf(file: SourceFile): Promise<NpyHeader> {
  const head = await file.read(0, Math.min(file.size, 4096));
  const header = parseNpyHeader(head, file.name) ??
    parseNpyHeader(await readAll(file), file.name);
  if (header) return header;
  throw new FormatError(
    `Cannot read ${file.name}: expected a .npy header, it is truncated`,
  );
}

/** A row of a tensor, or of one without rows the tensor itself. */
function rowOf({ type, dims, data }: Tensor, row: number): Tensor {
  const rowDims = dims.slice(1);
  const length = elementCount(rowDims);
  return {
    type,
    dims: rowDims,
    data: data.slice(row * length, (row + 1) * length),
  };
}

function rowsOf(file: SourceFile, header: NpyHeader): FileVariable[] {
  const { dataOffset, dims, ...layout } = header;
  let whole: Promise<Tensor> | undefined;
  const readWhole = (): Promise<Tensor> =>
    whole ??= file.read(dataOffset, file.size - dataOffset)
      .then((data) => tensorOfStored({ ...layout, dims, data }, file.name));
  const [rows = 0, ...rowDims] = dims;
  const common = { type: descrName(layout.descr) };
  if (rows === 0 || rows > MAX_ROWS || rowDims.length === 0) {
    return [{ ...common, name: "0", location: "0", dims, read: readWhole }];
  }
  return Array.from({ length: rows }, (_, row) => ({
    ...common,
    name: String(row),
    location: String(row),
    dims: rowDims,
    read: async () => rowOf(await readWhole(), row),
  }));
}

/** Checks that the file has what its header declares, before anything is read. */
function checkSize(
  file: SourceFile,
  { descr, dims, dataOffset }: NpyHeader,
): void {
  const raw = rawType(descrName(descr));
  if (!raw) {
    throw new FormatError(
      `Cannot read ${file.name}: expected float elements, found ${descr}${
        descr.endsWith("O")
          ? ", which are pickled; save the arrays with np.savez"
          : ""
      }`,
    );
  }
  const declared = dims.reduce(
    (product, extent) => product * extent,
    raw.bytes,
  );
  if (dataOffset + declared !== file.size) {
    throw new FormatError(
      `Cannot read ${file.name}: expected ${declared} bytes for ${descr} of shape [${
        dims.join(", ")
      }], got ${file.size - dataOffset}`,
    );
  }
}

async function open(file: SourceFile): Promise<Contents> {
  const header = await headerOf(file);
  checkSize(file, header);
  const variables = rowsOf(file, header);
  return {
    format: "npy",
    kerasVersion: undefined,
    config: undefined,
    weights: { kind: "flat", name: stemOf(file), variables },
    close: () => {},
  };
}

/** One array. */
export const NPY_FORMAT: FormatReader = {
  what: "a NumPy array (.npy)",
  rank: 1,
  detect: (probe) => isNpy(probe.head),
  open,
};
