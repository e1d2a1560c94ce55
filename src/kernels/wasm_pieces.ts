/**
 * The pieces of training on the WASM kernels.
 *
 * A piece of an ordinary array is copied into a staging area, where the kernel
 * runs on it; one of a tensor in the instance's memory is computed where it
 * is. 16-bit elements are converted to float32 on the way into the staging
 * area, wherever they are, and back on the way out.
 *
 * What bounds 16-bit types is that conversion. Per element, float16 takes 0.3 ns
 * to decode, bfloat16 0.25, and both 0.5 to encode, where the moments take 0.5
 * in float32, the output and the gradient's sums 0.5, and the gradient 0.9 (on
 * pieces in the cache; less of all where nothing else shares the core). A forward
 * pass decodes twice and encodes once, a backward pass decodes four times:
 * against float32, the forward pass takes 1.2 to 1.7 times as long (1.8 was seen
 * on a busy machine), and both passes 1.2 to 1.5 (bfloat16) or 1.4 to 1.9
 * (float16; 2.2 was seen). Conversion inside the kernels would save a store to
 * the L1 cache and a load, but takes as many operations: eight elements are
 * rounded to float16 in 34 instructions, of which three are loads and stores.
 *
 * @module
 */

import {
  bytesPerElement,
  type ElementType,
  halfBits,
  type TensorData,
} from "../tensor.ts";
import {
  PIECE_ELEMENTS,
  type PieceArrays,
  type PieceOperation,
  type PieceRunner,
  type SlotVectors,
} from "./pieces.ts";
import {
  type Elements,
  SECOND_STAGING,
  STAGING,
  type WasmInstance,
} from "./wasm_instance.ts";
import type { ConvertFunction, PieceFunction } from "./wasm_module.ts";

/** The exports that training needs, beside those of inference. */
export const PIECE_EXPORTS: readonly string[] = [
  ...["moments", "gradientSums", "normalize", "inputGradient"].flatMap(
    (operation) =>
      ["Rows", "Columns"].flatMap((form) =>
        ["Float32", "Float64"].map((suffix) => operation + form + suffix)
      ),
  ),
  ...["decode", "encode"].flatMap((direction) =>
    ["Float16", "Bfloat16"].map((suffix) => direction + suffix)
  ),
];

/** Where 16-bit elements are in a staging area, behind those in float32. */
const HALVES = 4 * PIECE_ELEMENTS;
/** Of the slots' vectors. */
const BYTES_PER_VALUE = 8;

/** An array of an operation, and how its pieces come into reach of the kernel. */
class Operand {
  /** Whether the kernel can run on the array where it is. */
  readonly direct: boolean;
  /** The staging area. */
  readonly area: number;
  readonly #memory: Elements;
  readonly #data: Elements;
  readonly #bytes: number;
  /** Where the array begins in the memory, in bytes, if it is there. */
  readonly #pointer: number | undefined;
  readonly #decode: ConvertFunction | undefined;
  readonly #encode: ConvertFunction | undefined;

  constructor(
    instance: WasmInstance,
    type: ElementType,
    data: TensorData,
    area: number,
  ) {
    const here = data.buffer === instance.buffer;
    const half = type === "float16" || type === "bfloat16";
    this.#memory = instance.elements(type);
    this.#data = half ? halfBits(data) : data as Elements;
    this.#bytes = bytesPerElement(type);
    this.#pointer = here ? data.byteOffset : undefined;
    this.area = area;
    this.#decode = half ? instance.exports.convert("decode", type) : undefined;
    this.#encode = half ? instance.exports.convert("encode", type) : undefined;
    this.direct = here && !half;
  }

  /** The byte offset of an element, of an array that the kernel runs on. */
  at(element: number): number {
    return this.#pointer! + element * this.#bytes;
  }

  /** Copies `runs` runs of neighbours, `stride` apart, into the area. */
  stage(element: number, runs: number, length: number, stride: number): void {
    let to = 0;
    for (let r = 0; r < runs; r++, element += stride, to += length) {
      if (!this.#decode) {
        this.#copyIn(this.area, to, element, length);
        continue;
      }
      let from = this.area + HALVES;
      if (this.#pointer === undefined) this.#copyIn(from, 0, element, length);
      else from = this.at(element);
      this.#decode(from, this.area + 4 * to, length);
    }
  }

  /** Copies the area to where {@linkcode stage} would have it from. */
  unstage(element: number, runs: number, length: number, stride: number): void {
    let from = 0;
    for (let r = 0; r < runs; r++, element += stride, from += length) {
      if (!this.#encode) {
        this.#copyOut(this.area, from, element, length);
        continue;
      }
      const start = this.area + 4 * from;
      if (this.#pointer === undefined) {
        this.#encode(start, this.area + HALVES, length);
        this.#copyOut(this.area + HALVES, 0, element, length);
      } else {
        this.#encode(start, this.at(element), length);
      }
    }
  }

  #copyIn(area: number, to: number, element: number, length: number): void {
    const values = this.#data.subarray(element, element + length);
    this.#memory.set(values, area / this.#bytes + to);
  }

  #copyOut(area: number, from: number, element: number, length: number): void {
    const start = area / this.#bytes + from;
    this.#data.set(this.#memory.subarray(start, start + length), element);
  }
}

/** An operation on up to three arrays, by how its kernels take them. */
abstract class WasmRunner implements PieceRunner {
  readonly vectors: SlotVectors;
  protected readonly operands: readonly Operand[];
  readonly #onRows: PieceFunction;
  readonly #onColumns: PieceFunction;
  /** Where the slots' vectors begin. */
  readonly #start: number;

  constructor(
    instance: WasmInstance,
    operation: PieceOperation,
    type: "float32" | "float64",
    operands: readonly Operand[],
  ) {
    this.vectors = instance.vectors;
    this.operands = operands;
    this.#onRows = instance.exports.piece(operation, "Rows", type);
    this.#onColumns = instance.exports.piece(operation, "Columns", type);
    this.#start = this.vectors[0].byteOffset;
  }

  abstract rows(element: number, rows: number, length: number): void;
  abstract columns(
    element: number,
    rows: number,
    width: number,
    stride: number,
  ): void;

  // Spelt out: a call with spread arguments takes as long as 100 elements.

  protected callRows(
    slot: number,
    a: number,
    b: number,
    c: number,
    rows: number,
    length: number,
  ): void {
    const start = this.#start + slot * BYTES_PER_VALUE;
    const count = this.operands.length;
    if (count === 1) this.#onRows(start, a, rows, length);
    else if (count === 2) this.#onRows(start, a, b, rows, length);
    else this.#onRows(start, a, b, c, rows, length);
  }

  protected callColumns(
    a: number,
    b: number,
    c: number,
    rows: number,
    width: number,
    stride: number,
  ): void {
    const start = this.#start;
    const count = this.operands.length;
    if (count === 1) this.#onColumns(start, a, rows, width, stride);
    else if (count === 2) this.#onColumns(start, a, b, rows, width, stride);
    else this.#onColumns(start, a, b, c, rows, width, stride);
  }
}

/** Runs where the arrays are, on as much as the driver has. */
class DirectRunner extends WasmRunner {
  rows(element: number, rows: number, length: number): void {
    const [a, b, c] = this.operands;
    this.callRows(
      0,
      a!.at(element),
      b ? b.at(element) : 0,
      c ? c.at(element) : 0,
      rows,
      length,
    );
  }

  columns(element: number, rows: number, width: number, stride: number): void {
    const [a, b, c] = this.operands;
    this.callColumns(
      a!.at(element),
      b ? b.at(element) : 0,
      c ? c.at(element) : 0,
      rows,
      width,
      stride,
    );
  }
}

/** Copies what is elsewhere, or has 16 bits, piece by piece. */
class StagedRunner extends WasmRunner {
  readonly #output: Operand | undefined;
  readonly #places = [0, 0, 0];

  constructor(
    instance: WasmInstance,
    operation: PieceOperation,
    type: "float32" | "float64",
    operands: readonly Operand[],
    output: Operand | undefined,
  ) {
    super(instance, operation, type, operands);
    this.#output = output;
  }

  rows(element: number, rows: number, length: number): void {
    const most = Math.floor(PIECE_ELEMENTS / length);
    for (let row = 0; row < rows; row += most) {
      const count = Math.min(most, rows - row);
      const [a, b, c] = this.#bring(element, 1, count * length, 0);
      this.callRows(row, a, b, c, count, length);
      this.#takeBack(element, 1, count * length, 0);
      element += count * length;
    }
  }

  columns(element: number, rows: number, width: number, stride: number): void {
    const most = Math.floor(PIECE_ELEMENTS / width);
    for (let row = 0; row < rows; row += most) {
      const count = Math.min(most, rows - row);
      // Whole rows are one run.
      const runs = stride === width ? 1 : count;
      const length = count * width / runs;
      const [a, b, c] = this.#bring(element, runs, length, stride);
      this.callColumns(a, b, c, count, width, width);
      this.#takeBack(element, runs, length, stride);
      element += count * stride;
    }
  }

  /** Brings the inputs of a piece into reach, and tells where all are. */
  #bring(
    element: number,
    runs: number,
    length: number,
    stride: number,
  ): readonly [number, number, number] {
    const places = this.#places as [number, number, number];
    for (let i = 0; i < this.operands.length; i++) {
      const operand = this.operands[i]!;
      if (operand.direct && runs === 1) {
        places[i] = operand.at(element);
        continue;
      }
      if (operand !== this.#output) {
        operand.stage(element, runs, length, stride);
      }
      places[i] = operand.area;
    }
    return places;
  }

  /** Brings the output of a piece to its place. */
  #takeBack(
    element: number,
    runs: number,
    length: number,
    stride: number,
  ): void {
    const output = this.#output;
    if (output && (!output.direct || runs > 1)) {
      output.unstage(element, runs, length, stride);
    }
  }
}

/**
 * Makes an operation ready to run on pieces of arrays.
 *
 * @param instance The instance to run it on. Arrays in its memory are not
 * copied, unless they have 16-bit elements.
 * @param operation The operation.
 * @param type The element type of all arrays.
 * @param arrays The arrays.
 */
export function bindWasmPieces(
  instance: WasmInstance,
  operation: PieceOperation,
  type: ElementType,
  { x, dy, output }: PieceArrays,
): PieceRunner {
  const operands = [new Operand(instance, type, x, STAGING)];
  if (dy) operands.push(new Operand(instance, type, dy, SECOND_STAGING));
  // The last input's place is free once it has been read.
  const last = operands[operands.length - 1]!.area;
  const result = output && new Operand(instance, type, output, last);
  if (result) operands.push(result);
  const computed = type === "float64" ? "float64" : "float32";
  return operands.every(({ direct }) => direct)
    ? new DirectRunner(instance, operation, computed, operands)
    : new StagedRunner(instance, operation, computed, operands, result);
}
