/**
 * The one table of cases that every kernel implementation must pass.
 *
 * @module
 */

import {
  createData,
  type ElementType,
  encodeInto,
  type TensorData,
} from "../../tensor.ts";
import type { Parameters } from "../types.ts";
import { randomUint32 } from "./random.ts";

/** All element types. */
export const ELEMENT_TYPES: readonly ElementType[] = [
  "float32",
  "float64",
  "float16",
  "bfloat16",
];

/** A shape and the axes that have parameters. */
export interface ShapeCase {
  /** What the case is there for. */
  readonly what: string;
  readonly dims: readonly number[];
  readonly axes: readonly number[];
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** All lists of axes of a rank, but the empty one. */
function axisLists(rank: number): number[][] {
  return range(1, 2 ** rank - 1).map((mask) =>
    range(0, rank - 1).filter((axis) => mask & (1 << axis))
  );
}

/** The shapes, at least two turns of every loop and every remainder. */
export const SHAPE_CASES: readonly ShapeCase[] = [
  ...range(1, 5).flatMap((rank) =>
    axisLists(rank).map((axes) => ({
      what: "every list of axes",
      dims: [3, 4, 2, 5, 3].slice(0, rank),
      axes,
    }))
  ),
  ...range(1, 33).flatMap((channels) => [
    { what: "channels, few rows", dims: [3, channels], axes: [1] },
    { what: "channels, joined rows", dims: [149, channels], axes: [1] },
  ]),
  ...range(1, 33).flatMap((inner) => [
    { what: "planes, few rows", dims: [3, 5, inner], axes: [1] },
    { what: "planes, joined rows", dims: [27, 5, inner], axes: [1] },
  ]),
  { what: "planes of 63", dims: [9, 5, 63], axes: [1] },
  { what: "planes of 64", dims: [9, 5, 64], axes: [1] },
  { what: "wide odd rows", dims: [41, 2047], axes: [1] },
  { what: "one channel", dims: [100_003, 1], axes: [1] },
  { what: "extents of 1", dims: [1, 7, 1, 1], axes: [1] },
  { what: "an empty tensor", dims: [4, 0, 3], axes: [1] },
  { what: "an empty tensor", dims: [0, 3], axes: [1] },
  // Staging is 64 KB: 8192 float64 to 32768 half elements per chunk.
  { what: "chunks of rows", dims: [30_011, 3], axes: [1] },
  { what: "chunks of rows", dims: [31, 3001], axes: [1] },
  { what: "chunks of planes", dims: [3, 11, 5003], axes: [1] },
  { what: "chunks of parts of planes", dims: [2, 2, 70_001], axes: [1] },
  { what: "chunks in blocks", dims: [2, 3, 5, 7, 501], axes: [1, 3] },
  // Parameters have 32 KB: 4096 float64 or 8192 float32.
  { what: "slices of channels", dims: [3, 20_003], axes: [1] },
  { what: "slices of one row", dims: [50_001], axes: [0] },
  { what: "slices of short planes", dims: [5, 8195, 3], axes: [1] },
  { what: "slices of planes", dims: [2, 8193, 17], axes: [1] },
];

/** More shapes, for the groups of training; see `pieces.ts`. */
export const TRAINING_CASES: readonly ShapeCase[] = [
  ...SHAPE_CASES,
  { what: "rank 6", dims: [2, 3, 4, 2, 3, 5], axes: [1, 3, 5] },
  { what: "rank 6", dims: [2, 3, 4, 2, 3, 5], axes: [0, 2, 4] },
  ...range(1, 33).flatMap((inner) => [
    { what: "runs or columns", dims: [34, 2, inner], axes: [1] },
    { what: "joined columns", dims: [523, 2, inner], axes: [1] },
  ]),
  // Slots have up to 8192 elements, and so have rows and what is copied.
  ...[8191, 8192, 8193, 24_581].map((inner) => (
    { what: "parts of runs", dims: [2, 2, inner], axes: [1] }
  )),
  // Slots go through up to 8192 elements: 62 runs, and 512 of the shortest.
  { what: "groups of rows", dims: [64, 7, 131], axes: [1] },
  { what: "groups of short rows", dims: [515, 2, 16], axes: [1] },
  { what: "pieces of rows", dims: [5, 70, 131], axes: [1] },
  { what: "slices of rows", dims: [3, 2051, 5], axes: [1] },
  { what: "rows of a ghost batch", dims: [3, 4, 5, 6, 70], axes: [1, 3] },
  // Columns go through 256 rows, what is copied has 32 at this width.
  ...[255, 256, 257, 545].map((rows) => (
    { what: "bands of rows", dims: [rows, 255], axes: [1] }
  )),
  { what: "columns of a ghost batch", dims: [3, 4, 290, 7], axes: [1, 3] },
  // Slices are of 2048 columns, what is copied of 4 rows.
  { what: "one slice", dims: [9, 2048], axes: [1] },
  { what: "slices of columns", dims: [267, 2051], axes: [1] },
  { what: "slices across runs", dims: [11, 821, 5], axes: [1] },
];

const SPECIAL = [
  ...[0, -0, NaN, Infinity, -Infinity, 1, -1],
  ...[5e-324, 1e-310, 1.401298464324817e-45, -1e-40, 1.1754943508222875e-38],
  ...[3.4028234663852886e38, -3.4028234663852886e38, 1.7976931348623157e308],
  ...[65504, 65519, 65520, -65536, 5.960464477539063e-8, 6.103515625e-5],
  ...[3.3895313892515355e38, 9.183549615799121e-41],
];

/** Numbers around 1, of which about one in `rarity` is a special value. */
function mixedNumbers(seed: number, rarity: number): () => number {
  const next = randomUint32(seed);
  return () =>
    next() % rarity === 0
      ? SPECIAL[next() % SPECIAL.length]!
      : next() / 2 ** 30 - 2;
}

/** The input of a case. */
export function makeInput(
  type: ElementType,
  length: number,
  seed: number,
): TensorData {
  const data = createData(type, length);
  const next = mixedNumbers(seed, 8);
  encodeInto(type, data, Float64Array.from({ length }, next));
  return data;
}

/** The factors or summands of a case. */
export function makeParameters(
  type: ElementType,
  length: number,
  seed: number,
): Parameters {
  const next = mixedNumbers(seed, 16);
  return type === "float64"
    ? Float64Array.from({ length }, next)
    : Float32Array.from({ length }, next);
}

/**
 * An input without special values, of magnitudes that differ so much that
 * sums in float64 are not exact and depend on their order.
 */
export function makeUsualInput(
  type: ElementType,
  length: number,
  seed: number,
): TensorData {
  const data = createData(type, length);
  const next = randomUint32(seed);
  const value = (): number =>
    (next() / 2 ** 31 - 1 + next() / 2 ** 63) * 2 ** (next() % 34 - 20);
  encodeInto(type, data, Float64Array.from({ length }, value));
  return data;
}

/** Float64 parameters of a case. */
export function makeDoubles(
  length: number,
  seed: number,
  rarity = 16,
): Float64Array {
  return Float64Array.from({ length }, mixedNumbers(seed, rarity));
}
