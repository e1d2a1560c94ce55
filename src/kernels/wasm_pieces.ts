/**
 * The pieces of training on the WASM kernels.
 *
 * A piece of an ordinary array is copied into a staging area, where the kernel
 * runs on it; one of a tensor in the instance's memory is computed where it
 * is. 16-bit elements are converted to float32 on the way into the staging
 * area, wherever they are, and back on the way out.
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
} from "./pieces.ts";
import {
  type Elements,
  SECOND_STAGING,
  STAGING,
  type WasmInstance,
} from "./wasm_instance.ts";
import type { ConvertFunction } from "./wasm_module.ts";

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

/** An array of an operation, and how its pieces come into reach of the kernel. */
class Operand {
  /** Whether the kernel can run on the array where it is. */
  readonly direct: boolean;
  readonly #memory: Elements;
  readonly #data: Elements;
  readonly #bytes: number;
  /** Where the array begins in the memory, in bytes, if it is there. */
  readonly #pointer: number | undefined;
  readonly #area: number;
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
    this.#area = area;
    this.#decode = half ? instance.exports.convert("decode", type) : undefined;
    this.#encode = half ? instance.exports.convert("encode", type) : undefined;
    this.direct = here && !half;
  }

  /** The byte offset of an element, of an array that the kernel runs on. */
  at(element: number): number {
    return this.#pointer! + element * this.#bytes;
  }

  /** The staging area. */
  get area(): number {
    return this.#area;
  }

  /** Copies `runs` runs of neighbours, `stride` apart, into the area. */
  stage(element: number, runs: number, length: number, stride: number): number {
    let to = 0;
    for (let r = 0; r < runs; r++, element += stride, to += length) {
      if (!this.#decode) {
        this.#copyIn(this.#area, to, element, length);
        continue;
      }
      let from = this.#area + HALVES;
      if (this.#pointer === undefined) this.#copyIn(from, 0, element, length);
      else from = this.at(element);
      this.#decode(from, this.#area + 4 * to, length);
    }
    return this.#area;
  }

  /** Copies the area to where {@linkcode stage} would have it from. */
  unstage(element: number, runs: number, length: number, stride: number): void {
    let from = 0;
    for (let r = 0; r < runs; r++, element += stride, from += length) {
      if (!this.#encode) {
        this.#copyOut(this.#area, from, element, length);
        continue;
      }
      const start = this.#area + 4 * from;
      if (this.#pointer === undefined) {
        this.#encode(start, this.#area + HALVES, length);
        this.#copyOut(this.#area + HALVES, 0, element, length);
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
  const inputs = [new Operand(instance, type, x, STAGING)];
  if (dy) inputs.push(new Operand(instance, type, dy, SECOND_STAGING));
  // The last input's place is free once it has been read.
  const last = inputs[inputs.length - 1]!.area;
  const result = output && new Operand(instance, type, output, last);
  const operands = result ? [...inputs, result] : inputs;
  const allDirect = operands.every(({ direct }) => direct);
  const computed = type === "float64" ? "float64" : "float32";
  const onRows = instance.exports.piece(operation, "Rows", computed);
  const onColumns = instance.exports.piece(operation, "Columns", computed);
  const { vectors } = instance;
  const start = vectors[0].byteOffset;
  const pointers: number[] = operands.map(() => 0);

  /** Brings the inputs of a contiguous piece into reach. */
  const bring = (
    element: number,
    runs: number,
    length: number,
    stride: number,
  ): void => {
    operands.forEach((operand, i) => {
      pointers[i] = operand.direct && (allDirect || runs === 1)
        ? operand.at(element)
        : operand === result
        ? operand.area
        : operand.stage(element, runs, length, stride);
    });
  };
  return {
    vectors,
    rows(element, rows, length): void {
      bring(element, 1, rows * length, 0);
      onRows(start, ...pointers, rows, length);
      if (result && !result.direct) {
        result.unstage(element, 1, rows * length, 0);
      }
    },
    columns(element, rows, width, stride): void {
      // Whole rows are one run.
      const runs = stride === width ? 1 : rows;
      const length = rows * width / runs;
      bring(element, runs, length, stride);
      onColumns(start, ...pointers, rows, width, allDirect ? stride : width);
      if (result && (!result.direct || (runs > 1 && !allDirect))) {
        result.unstage(element, runs, length, stride);
      }
    },
  };
}
