/**
 * The pieces of training in plain TypeScript.
 *
 * A piece is widened into a scratch array of float64, so that there is one
 * loop per operation and form for all element types: V8 makes the fastest code
 * where it sees one array class only.
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
import {
  PIECE_ELEMENTS,
  type PieceArrays,
  type PieceOperation,
  type PieceRunner,
  SLOTS,
  type SlotVectors,
} from "./pieces.ts";

/** A form of an operation on widened pieces; `dy` receives any output. */
type RunPiece = (
  vectors: SlotVectors,
  x: Float64Array,
  dy: Float64Array,
  rows: number,
  width: number,
) => void;

interface Forms {
  /** A slot per row. */
  readonly rows: RunPiece;
  /** A slot per column. */
  readonly columns: RunPiece;
}

// Each form has a loop of its own, written out: one that is shared, or calls
// what computes an element, is not inlined well enough.

const momentsRows: RunPiece = (vectors, x, _dy, rows, width) => {
  const [means, sums, products] = vectors;
  const whole = width - width % 8;
  for (let r = 0, i = 0; r < rows; r++) {
    const mean = means[r]!;
    let sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    let product0 = 0, product1 = 0, product2 = 0, product3 = 0;
    const end = i + width;
    for (const last = i + whole; i < last; i += 4) {
      const d0 = x[i]! - mean;
      const d1 = x[i + 1]! - mean;
      const d2 = x[i + 2]! - mean;
      const d3 = x[i + 3]! - mean;
      sum0 += d0;
      sum1 += d1;
      sum2 += d2;
      sum3 += d3;
      product0 += d0 * d0;
      product1 += d1 * d1;
      product2 += d2 * d2;
      product3 += d3 * d3;
    }
    let sum = (sum0 + sum2) + (sum1 + sum3);
    let product = (product0 + product2) + (product1 + product3);
    for (; i < end; i++) {
      const d = x[i]! - mean;
      sum += d;
      product += d * d;
    }
    sums[r]! += sum;
    products[r]! += product;
  }
};

const momentsColumns: RunPiece = (vectors, x, _dy, rows, width) => {
  const [means, sums, products] = vectors;
  const end = rows * width;
  for (let c = 0; c < width; c++) {
    const mean = means[c]!;
    let sum = sums[c]!;
    let product = products[c]!;
    for (let i = c; i < end; i += width) {
      const d = x[i]! - mean;
      sum += d;
      product += d * d;
    }
    sums[c] = sum;
    products[c] = product;
  }
};

const gradientSumsRows: RunPiece = (vectors, x, dy, rows, width) => {
  const [means, sums, products] = vectors;
  const whole = width - width % 8;
  for (let r = 0, i = 0; r < rows; r++) {
    const mean = means[r]!;
    let sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    let product0 = 0, product1 = 0, product2 = 0, product3 = 0;
    const end = i + width;
    for (const last = i + whole; i < last; i += 4) {
      const g0 = dy[i]!;
      const g1 = dy[i + 1]!;
      const g2 = dy[i + 2]!;
      const g3 = dy[i + 3]!;
      sum0 += g0;
      sum1 += g1;
      sum2 += g2;
      sum3 += g3;
      product0 += g0 * (x[i]! - mean);
      product1 += g1 * (x[i + 1]! - mean);
      product2 += g2 * (x[i + 2]! - mean);
      product3 += g3 * (x[i + 3]! - mean);
    }
    let sum = (sum0 + sum2) + (sum1 + sum3);
    let product = (product0 + product2) + (product1 + product3);
    for (; i < end; i++) {
      const g = dy[i]!;
      sum += g;
      product += g * (x[i]! - mean);
    }
    sums[r]! += sum;
    products[r]! += product;
  }
};

const gradientSumsColumns: RunPiece = (vectors, x, dy, rows, width) => {
  const [means, sums, products] = vectors;
  const end = rows * width;
  for (let c = 0; c < width; c++) {
    const mean = means[c]!;
    let sum = sums[c]!;
    let product = products[c]!;
    for (let i = c; i < end; i += width) {
      const g = dy[i]!;
      sum += g;
      product += g * (x[i]! - mean);
    }
    sums[c] = sum;
    products[c] = product;
  }
};

const normalizeRows: RunPiece = (vectors, x, y, rows, width) => {
  const [means, factors, summands] = vectors;
  for (let r = 0, i = 0; r < rows; r++) {
    const mean = means[r]!;
    const factor = factors[r]!;
    const summand = summands[r]!;
    for (const end = i + width; i < end; i++) {
      y[i] = (x[i]! - mean) * factor + summand;
    }
  }
};

const normalizeColumns: RunPiece = (vectors, x, y, rows, width) => {
  const [means, factors, summands] = vectors;
  const end = rows * width;
  for (let c = 0; c < width; c++) {
    const mean = means[c]!;
    const factor = factors[c]!;
    const summand = summands[c]!;
    for (let i = c; i < end; i += width) {
      y[i] = (x[i]! - mean) * factor + summand;
    }
  }
};

const inputGradientRows: RunPiece = (vectors, x, dy, rows, width) => {
  const [means, shifts, slopes, factors] = vectors;
  for (let r = 0, i = 0; r < rows; r++) {
    const mean = means[r]!;
    const shift = shifts[r]!;
    const slope = slopes[r]!;
    const factor = factors[r]!;
    for (const end = i + width; i < end; i++) {
      dy[i] = (dy[i]! - shift - (x[i]! - mean) * slope) * factor;
    }
  }
};

const inputGradientColumns: RunPiece = (vectors, x, dy, rows, width) => {
  const [means, shifts, slopes, factors] = vectors;
  const end = rows * width;
  for (let c = 0; c < width; c++) {
    const mean = means[c]!;
    const shift = shifts[c]!;
    const slope = slopes[c]!;
    const factor = factors[c]!;
    for (let i = c; i < end; i += width) {
      dy[i] = (dy[i]! - shift - (x[i]! - mean) * slope) * factor;
    }
  }
};

const OPERATIONS: Readonly<Record<PieceOperation, Forms>> = {
  moments: { rows: momentsRows, columns: momentsColumns },
  gradientSums: { rows: gradientSumsRows, columns: gradientSumsColumns },
  normalize: { rows: normalizeRows, columns: normalizeColumns },
  inputGradient: { rows: inputGradientRows, columns: inputGradientColumns },
};

/** Copies `length` elements between a tensor and a scratch array. */
type CopyRun = (
  scratch: Float64Array,
  at: number,
  data: TensorData,
  element: number,
  length: number,
) => void;

const widenFloats: CopyRun = (scratch, at, data, element, length) => {
  scratch.set(data.subarray(element, element + length), at);
};

const storeFloats: CopyRun = (scratch, at, data, element, length) => {
  (data as Float32Array).set(scratch.subarray(at, at + length), element);
};

const widenFloat16: CopyRun = (scratch, at, data, element, length) => {
  for (let i = 0; i < length; i++) {
    scratch[at + i] = float16ToNumber(data[element + i]!);
  }
};

const storeFloat16: CopyRun = (scratch, at, data, element, length) => {
  for (let i = 0; i < length; i++) {
    data[element + i] = numberToFloat16(scratch[at + i]!);
  }
};

const widenBfloat16: CopyRun = (scratch, at, data, element, length) => {
  for (let i = 0; i < length; i++) {
    scratch[at + i] = bfloat16ToNumber(data[element + i]!);
  }
};

const storeBfloat16: CopyRun = (scratch, at, data, element, length) => {
  for (let i = 0; i < length; i++) {
    data[element + i] = numberToBfloat16(scratch[at + i]!);
  }
};

const COPIES: Readonly<
  Record<ElementType, { readonly widen: CopyRun; readonly store: CopyRun }>
> = {
  float32: { widen: widenFloats, store: storeFloats },
  float64: { widen: widenFloats, store: storeFloats },
  float16: { widen: widenFloat16, store: storeFloat16 },
  bfloat16: { widen: widenBfloat16, store: storeBfloat16 },
};

/** What all calls compute in; nothing in it outlives a piece or a group. */
interface Scratch {
  readonly x: Float64Array;
  readonly dy: Float64Array;
  readonly vectors: SlotVectors;
}

let scratch: Scratch | undefined;

/** 192 KB, made when it is first used. */
function getScratch(): Scratch {
  const vector = (): Float64Array => new Float64Array(SLOTS);
  return scratch ??= {
    x: new Float64Array(PIECE_ELEMENTS),
    dy: new Float64Array(PIECE_ELEMENTS),
    vectors: [vector(), vector(), vector(), vector()],
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
  const { vectors, x, dy } = getScratch();
  const { widen, store } = COPIES[type];
  const isHalf = type === "float16" || type === "bfloat16";
  const elements = (data: TensorData): TensorData =>
    isHalf ? halfBits(data) : data;
  const first = elements(arrays.x);
  const second = arrays.dy && elements(arrays.dy);
  const output = arrays.output && elements(arrays.output);
  const run = (
    form: RunPiece,
    element: number,
    [rows, width]: readonly [number, number],
    runs: number,
    stride: number,
  ): void => {
    const length = rows * width / runs;
    for (let r = 0; r < runs; r++) {
      widen(x, r * length, first, element + r * stride, length);
      if (second) widen(dy, r * length, second, element + r * stride, length);
    }
    form(vectors, x, dy, rows, width);
    if (!output) return;
    for (let r = 0; r < runs; r++) {
      store(dy, r * length, output, element + r * stride, length);
    }
  };
  const { rows: onRows, columns: onColumns } = OPERATIONS[operation];
  return {
    vectors,
    rows(element, rows, length): void {
      run(onRows, element, [rows, length], 1, 0);
    },
    columns(element, rows, width, stride): void {
      // Whole rows are one run.
      const runs = stride === width ? 1 : rows;
      run(onColumns, element, [rows, width], runs, stride);
    },
  };
}
