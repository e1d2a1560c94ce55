/**
 * NumPy's `.npy`: one array, of any float type, byte order and memory order.
 *
 * Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 *
 * @module
 */

import { FormatError, ShapeError } from "../../errors.ts";
import { elementCount, type Tensor } from "../../tensor.ts";
import {
  fromLittleEndian,
  type RawType,
  rawType,
  swapBytes,
} from "../files/raw_tensor.ts";

/** An array as NumPy stores it. */
export interface StoredArray {
  /** The element type, such as `<f4` or `|O`. */
  readonly descr: string;
  /** Whether the first index changes fastest. */
  readonly fortranOrder: boolean;
  readonly dims: readonly number[];
  /** The elements, not copied; for objects, a pickle. */
  readonly data: Uint8Array;
}

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // \x93NUMPY

/** Whether bytes start as a `.npy` file does. */
export function isNpy(bytes: Uint8Array): boolean {
  return MAGIC.every((byte, i) => bytes[i] === byte);
}

/** The float types of NumPy; ml_dtypes stores bfloat16 as two opaque bytes. */
const DESCR_TYPES: Readonly<Record<string, string>> = {
  f2: "float16",
  f4: "float32",
  f8: "float64",
  V2: "bfloat16",
};

/**
 * The name of an element type: `float32` for `<f4`; others as NumPy has them.
 */
export function descrName(descr: string): string {
  return DESCR_TYPES[descr.replace(/^[<>=|]/, "")] ?? descr;
}

/** What stands in front of an array's elements. */
export interface NpyHeader extends Omit<StoredArray, "data"> {
  /** Where the elements begin, in bytes. */
  readonly dataOffset: number;
}

/** NumPy's own headers have 128 bytes, or a little more for many dimensions. */
const MAX_HEADER = 2 ** 20;

/** How many bytes are in front of the elements; undefined, if too few were given to tell. */
function headerBytes(head: Uint8Array, what: string): number | undefined {
  const wide = head[6]! >= 2;
  const start = wide ? 12 : 10;
  if (head.length < start) return undefined;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const length = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  if (length > MAX_HEADER) {
    throw new FormatError(
      `Cannot read ${what}: its header declares ${length} bytes`,
    );
  }
  return start + length;
}

/**
 * Reads the header of a `.npy` file.
 *
 * @param head The first bytes of the file, or all.
 * @param what What it is, for messages.
 * @returns The header; undefined if it is longer than the bytes.
 *
 * @throws {FormatError} If it is none, or damaged.
 */
export function parseNpyHeader(
  head: Uint8Array,
  what: string,
): NpyHeader | undefined {
  if (!isNpy(head)) {
    throw new FormatError(`Cannot read ${what}: expected a .npy array`);
  }
  const dataOffset = headerBytes(head, what);
  if (dataOffset === undefined || dataOffset > head.length) return undefined;
  const header = new TextDecoder().decode(
    head.subarray(head[6]! >= 2 ? 12 : 10, dataOffset),
  );
  const descr = /'descr':\s*'([^']*)'/.exec(header)?.[1];
  const order = /'fortran_order':\s*(True|False)/.exec(header)?.[1];
  // Python 2 writes its long integers with an L.
  const shape = /'shape':\s*\(([\dL,\s]*)\)/.exec(header)?.[1];
  if (descr === undefined || order === undefined || shape === undefined) {
    throw new FormatError(
      `Cannot read ${what}: expected a .npy header of one plain type, got "${
        header.slice(0, 80).trim()
      }"`,
    );
  }
  return {
    descr,
    fortranOrder: order === "True",
    dims: shape.split(",").map((extent) => extent.trim().replace(/L$/, ""))
      .filter((extent) => extent !== "").map(Number),
    dataOffset,
  };
}

/**
 * Takes a `.npy` file apart.
 *
 * @param bytes The whole file.
 * @param what What it is, for messages.
 *
 * @throws {FormatError} If it is none, or its header is damaged.
 */
export function parseNpy(bytes: Uint8Array, what: string): StoredArray {
  const header = parseNpyHeader(bytes, what);
  if (!header) {
    throw new FormatError(
      `Cannot read ${what}: expected a .npy header, it is truncated`,
    );
  }
  const { dataOffset, ...array } = header;
  return { ...array, data: bytes.subarray(dataOffset) };
}

/** Elements in row-major order, from column-major ones. */
function transposed(
  bytes: Uint8Array,
  size: number,
  dims: readonly number[],
): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(bytes.length);
  const index = dims.map(() => 0);
  // The step in the source when an index of a dimension goes up by one.
  const steps: number[] = [];
  dims.reduce((step, extent) => (steps.push(step), step * extent), size);
  let from = 0;
  for (let to = 0; to < bytes.length; to += size) {
    result.set(bytes.subarray(from, from + size), to);
    for (let d = dims.length - 1; d >= 0; d--) {
      from += steps[d]!;
      if (++index[d]! < dims[d]!) break;
      from -= steps[d]! * dims[d]!;
      index[d] = 0;
    }
  }
  return result;
}

function countElements(dims: readonly number[], what: string): number {
  try {
    return elementCount(dims);
  } catch (cause) {
    if (!(cause instanceof ShapeError)) throw cause;
    throw new FormatError(
      `Cannot read ${what}: it has the shape [${dims.join(", ")}]`,
      { cause },
    );
  }
}

/**
 * The tensor of a stored array; the elements are copied.
 *
 * @param array The array.
 * @param what What it is, for messages.
 *
 * @throws {FormatError} If it is not of a float type, or its bytes do not fit
 * its shape.
 */
export function tensorOfStored(array: StoredArray, what: string): Tensor {
  const { descr, dims, data, fortranOrder } = array;
  const raw: RawType | undefined = rawType(descrName(descr));
  if (raw === undefined) {
    throw new FormatError(
      `Cannot read ${what}: expected float elements, found ${descr}`,
    );
  }
  const expected = countElements(dims, what) * raw.bytes;
  if (data.length !== expected) {
    throw new FormatError(
      `Cannot read ${what}: expected ${expected} bytes for ${descr} of shape [${
        dims.join(", ")
      }], got ${data.length}`,
    );
  }
  const bytes = fortranOrder && dims.length > 1
    ? transposed(data, raw.bytes, dims)
    : new Uint8Array(data);
  if (descr.startsWith(">")) swapBytes(bytes, raw.bytes);
  return {
    type: raw.type,
    dims: [...dims],
    data: fromLittleEndian(raw, bytes),
  };
}
