/**
 * The pieces of training in plain TypeScript.
 *
 * float32 and float64 are computed where they are; 16-bit elements pass through
 * scratch arrays of float32, piece by piece.
 *
 * @module
 */

import {
  bfloat16ToNumber,
  float16ToNumber,
  numberToBfloat16,
  numberToFloat16,
} from "../half_float.ts";
import { type ElementType, halfBits, type TensorData } from "../tensor.ts";
import { float32Loops } from "./float32_loops.ts";
import { float64Loops } from "./float64_loops.ts";
import { INDEX } from "./parts.ts";
import type { PieceLoops } from "./piece_loops.ts";
import {
  type BindPieces,
  PIECE_ELEMENTS,
  type PieceArrays,
  type PieceOperation,
  type PieceRunner,
  SLOTS,
  type SlotVectors,
} from "./pieces.ts";

/** What all calls compute in; nothing in it outlives a piece or a group. */
let keptVectors: SlotVectors | undefined;

/** 64 KB, made when they are first used. */
function getVectors(): SlotVectors {
  const vector = (): Float64Array => new Float64Array(SLOTS);
  return keptVectors ??= [vector(), vector(), vector(), vector()];
}

/** Runs on rows from a slot on, or on columns, at an element of all arrays. */
interface Run {
  rows(slot: number, at: number, rows: number, length: number): void;
  columns(at: number, rows: number, width: number, stride: number): void;
}

/** The loops of an operation, on its arrays. */
function bindLoops<T>(
  loops: PieceLoops<T>,
  operation: PieceOperation,
  vectors: SlotVectors,
  x: T,
  dy: T,
  output: T,
): Run {
  switch (operation) {
    case "moments":
      return {
        rows: (slot, at, rows, length) =>
          loops.momentsRows(vectors, slot, x, at, rows, length),
        columns: (at, rows, width, stride) =>
          loops.momentsColumns(vectors, x, at, rows, width, stride),
      };
    case "gradientSums":
      return {
        rows: (slot, at, rows, length) =>
          loops.gradientSumsRows(vectors, slot, x, dy, at, rows, length),
        columns: (at, rows, width, stride) =>
          loops.gradientSumsColumns(vectors, x, dy, at, rows, width, stride),
      };
    case "normalize":
      return {
        rows: (slot, at, rows, length) =>
          loops.normalizeRows(vectors, slot, x, output, at, rows, length),
        columns: (at, rows, width, stride) =>
          loops.normalizeColumns(vectors, x, output, at, rows, width, stride),
      };
    case "inputGradient":
      return {
        rows: (slot, at, rows, length) =>
          loops.inputGradientRows(
            vectors,
            slot,
            x,
            dy,
            output,
            at,
            rows,
            length,
          ),
        columns: (at, rows, width, stride) =>
          loops.inputGradientColumns(
            vectors,
            x,
            dy,
            output,
            at,
            rows,
            width,
            stride,
          ),
      };
  }
}

/** Runs on whole arrays, as the driver wants it. */
function runDirectly<T extends TensorData>(
  loops: PieceLoops<T>,
  operation: PieceOperation,
  { x, dy, output }: PieceArrays,
): PieceRunner {
  const vectors = getVectors();
  // An array that the operation has not is not looked at.
  const run = bindLoops(
    loops,
    operation,
    vectors,
    x as T,
    (dy ?? x) as T,
    (output ?? x) as T,
  );
  return {
    vectors,
    rows: (element, rows, length) => run.rows(0, element, rows, length),
    columns: run.columns,
  };
}

/**
 * Runs on each piece as arrays of its own, on columns row by row: for arrays
 * that are longer than the loops' indices reach.
 *
 * @param bind Makes the operation ready to run on such arrays.
 * @param operation The operation.
 * @param type The element type of all arrays.
 * @param arrays The arrays.
 */
export function runByPiece(
  bind: BindPieces,
  operation: PieceOperation,
  type: ElementType,
  { x, dy, output }: PieceArrays,
): PieceRunner {
  const at = (element: number, length: number): PieceRunner => {
    const end = element + length;
    return bind(operation, type, {
      x: x.subarray(element, end),
      ...dy && { dy: dy.subarray(element, end) },
      ...output && { output: output.subarray(element, end) },
    });
  };
  return {
    vectors: getVectors(),
    rows: (element, rows, length) =>
      at(element, rows * length).rows(0, rows, length),
    columns(element, rows, width, stride): void {
      for (let row = 0; row < rows; row++, element += stride) {
        at(element, width).columns(0, 1, width, width);
      }
    },
  };
}

/** Decodes or encodes `length` elements. */
type DecodeRun = (
  scratch: Float32Array,
  to: number,
  bits: Uint16Array,
  from: number,
  length: number,
) => void;
type EncodeRun = DecodeRun;

const decodeFloat16: DecodeRun = (scratch, to, bits, from, length) => {
  for (let i = 0; i < length; i++) {
    scratch[to + i] = float16ToNumber(bits[from + i]!);
  }
};

const encodeFloat16: EncodeRun = (scratch, from, bits, to, length) => {
  for (let i = 0; i < length; i++) {
    bits[to + i] = numberToFloat16(scratch[from + i]!);
  }
};

const decodeBfloat16: DecodeRun = (scratch, to, bits, from, length) => {
  for (let i = 0; i < length; i++) {
    scratch[to + i] = bfloat16ToNumber(bits[from + i]!);
  }
};

const encodeBfloat16: EncodeRun = (scratch, from, bits, to, length) => {
  for (let i = 0; i < length; i++) {
    bits[to + i] = numberToBfloat16(scratch[from + i]!);
  }
};

let keptScratch: readonly [Float32Array, Float32Array] | undefined;

/** Runs on pieces of arrays of 16-bit elements. */
function runHalves(
  type: "float16" | "bfloat16",
  operation: PieceOperation,
  arrays: PieceArrays,
): PieceRunner {
  const vectors = getVectors();
  const [x, dy] = keptScratch ??= [
    new Float32Array(PIECE_ELEMENTS),
    new Float32Array(PIECE_ELEMENTS),
  ];
  // Outputs go to the second scratch array, from where the loops read before
  // they write.
  const run = bindLoops(float32Loops, operation, vectors, x, dy, dy);
  const decode = type === "float16" ? decodeFloat16 : decodeBfloat16;
  const encode = type === "float16" ? encodeFloat16 : encodeBfloat16;
  const ofX = halfBits(arrays.x);
  const ofDy = arrays.dy && halfBits(arrays.dy);
  const ofOutput = arrays.output && halfBits(arrays.output);
  const bring = (
    element: number,
    runs: number,
    length: number,
    stride: number,
  ): void => {
    for (let r = 0; r < runs; r++, element += stride) {
      decode(x, r * length, ofX, element, length);
      if (ofDy) decode(dy, r * length, ofDy, element, length);
    }
  };
  const takeBack = (
    element: number,
    runs: number,
    length: number,
    stride: number,
  ): void => {
    if (!ofOutput) return;
    for (let r = 0; r < runs; r++, element += stride) {
      encode(dy, r * length, ofOutput, element, length);
    }
  };
  return {
    vectors,
    rows(element, rows, length): void {
      const most = Math.floor(PIECE_ELEMENTS / length);
      for (let row = 0; row < rows; row += most) {
        const count = Math.min(most, rows - row);
        bring(element, 1, count * length, 0);
        run.rows(row, 0, count, length);
        takeBack(element, 1, count * length, 0);
        element += count * length;
      }
    },
    columns(element, rows, width, stride): void {
      const most = Math.floor(PIECE_ELEMENTS / width);
      for (let row = 0; row < rows; row += most) {
        const count = Math.min(most, rows - row);
        bring(element, count, width, stride);
        run.columns(0, count, width, width);
        takeBack(element, count, width, stride);
        element += count * stride;
      }
    },
  };
}

/**
 * Makes an operation ready to run on pieces of arrays.
 *
 * @param operation The operation.
 * @param type The element type of all arrays.
 * @param arrays The arrays.
 */
export function bindTypedArrayPieces(
  operation: PieceOperation,
  type: ElementType,
  arrays: PieceArrays,
): PieceRunner {
  if (arrays.x.length > INDEX) {
    return runByPiece(bindTypedArrayPieces, operation, type, arrays);
  }
  switch (type) {
    case "float32":
      return runDirectly(float32Loops, operation, arrays);
    case "float64":
      return runDirectly(float64Loops, operation, arrays);
    default:
      return runHalves(type, operation, arrays);
  }
}
