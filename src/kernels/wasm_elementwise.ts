/**
 * Operators that compute each element by itself, on the WASM kernels.
 *
 * Ordinary arrays pass through the staging areas, tensors in the instance's
 * memory are computed where they are; the input of an operator of one element is
 * copied to where its output is, and computed there.
 *
 * @module
 */

import type {
  BinaryOperation,
  ElementwiseKernels,
  ElementwiseOperand,
  UnaryOperation,
} from "./types.ts";
import {
  PARAMETER_BYTES,
  SECOND_STAGING,
  STAGING,
  type WasmInstance,
} from "./wasm_instance.ts";

// Records, so that the compiler notices an operation that is missing here.
const UNARY: Readonly<Record<UnaryOperation, true>> = {
  abs: true,
  ceil: true,
  exp: true,
  floor: true,
  log: true,
  round: true,
  sigmoid: true,
  sign: true,
  sqrt: true,
  tanh: true,
};
const BINARY: Readonly<Record<BinaryOperation, true>> = {
  add: true,
  divide: true,
  greater: true,
  leak: true,
  lesser: true,
  multiply: true,
  subtract: true,
};

/** The exports that these kernels need. */
export const ELEMENTWISE_EXPORTS: readonly string[] = Object
  .keys({ ...UNARY, ...BINARY }).map((operation) => `${operation}Float32`);

/** Bytes of an element. */
const BYTES = 4;
/** The elements of a staging area. */
const CAPACITY = (SECOND_STAGING - STAGING) / BYTES;
/** How often an element is repeated that stands for a row. */
const REPEATED = 8;
/** How many rows have room for such elements. */
const ROWS = PARAMETER_BYTES / (BYTES * REPEATED);

/** Where operands that lie elsewhere come to be, in bytes. */
interface Areas {
  readonly staging: number;
  /** For elements that stand for rows: where inference has its parameters. */
  readonly repeated: number;
}

// Results go to the first staging area, over what came there.
const FIRST: Areas = { staging: STAGING, repeated: 0 };
const SECOND: Areas = { staging: SECOND_STAGING, repeated: PARAMETER_BYTES };

/** Finds the instance in whose memory an array lies, if it has these kernels. */
export type FindInstance = (array: Float32Array) => WasmInstance | undefined;

/** The elements from `start` on; the array itself where those are all. */
function part(
  data: Float32Array,
  start: number,
  count: number,
): Float32Array {
  return count === data.length ? data : data.subarray(start, start + count);
}

/** Some rows of an operand, in bytes, where a kernel can reach them. */
interface Reach {
  start: number;
  stride: number;
}

/** Copies an operand's elements from `first` on to where a kernel can reach them. */
function bring(
  reach: Reach,
  memory: Float32Array,
  { data, start, stride, step }: ElementwiseOperand,
  first: number,
  rows: number,
  count: number,
  { staging, repeated }: Areas,
): void {
  if (step === 0) {
    let to = repeated / BYTES;
    for (let r = 0, from = start + first; r < rows; r++, from += stride) {
      const value = data[from]!;
      for (let i = 0; i < REPEATED; i++) memory[to++] = value;
    }
    reach.start = repeated;
    reach.stride = REPEATED * BYTES;
  } else if (data.buffer === memory.buffer) {
    reach.start = data.byteOffset + (start + first) * BYTES;
    reach.stride = stride * BYTES;
  } else {
    reach.start = staging;
    reach.stride = count * BYTES;
    const to = staging / BYTES;
    if (rows === 1 || stride === count) {
      memory.set(part(data, start + first, rows * count), to);
      return;
    }
    for (let r = 0, from = start + first; r < rows; r++, from += stride) {
      memory.set(part(data, from, count), to + r * count);
    }
  }
}

/** Runs operators on the instances of the module. */
export class WasmElementwise implements ElementwiseKernels {
  readonly #staging: WasmInstance;
  readonly #find: FindInstance;
  /** The last view of results that passed through. */
  #result: Float32Array = new Float32Array();
  readonly #left: Reach = { start: 0, stride: 0 };
  readonly #right: Reach = { start: 0, stride: 0 };

  /**
   * Takes the instances.
   *
   * @param staging What ordinary arrays pass through.
   * @param find Finds the instance that an array lies in.
   */
  constructor(staging: WasmInstance, find: FindInstance) {
    this.#staging = staging;
    this.#find = find;
  }

  unary(operation: UnaryOperation, x: Float32Array, y: Float32Array): void {
    const instance = this.#find(y) ?? this.#staging;
    const run = instance.exports.unary(operation);
    const { length } = y;
    const memory = instance.elements("float32") as Float32Array;
    const isHere = y.buffer === instance.buffer;
    const isInPlace = isHere && x.buffer === instance.buffer &&
      x.byteOffset === y.byteOffset;
    for (let i = 0; i < length; i += CAPACITY) {
      const count = Math.min(CAPACITY, length - i);
      const to = isHere ? y.byteOffset + i * BYTES : STAGING;
      if (!isInPlace) memory.set(part(x, i, count), to / BYTES);
      run(to, count);
      if (!isHere) y.set(this.#staged(memory, count), i);
    }
  }

  binary(
    operation: BinaryOperation,
    a: ElementwiseOperand,
    b: ElementwiseOperand,
    y: Float32Array,
    yi: number,
    rows: number,
    count: number,
  ): void {
    const instance = this.#find(y) ?? this.#find(a.data) ??
      this.#find(b.data) ?? this.#staging;
    const run = instance.exports.binary(operation);
    const memory = instance.elements("float32") as Float32Array;
    const isHere = y.buffer === instance.buffer;
    // Several rows at a time, or a part of one.
    const tall = Math.max(1, Math.min(ROWS, Math.floor(CAPACITY / count)));
    const wide = Math.min(count, CAPACITY);
    const left = this.#left;
    const isSame = a.data === b.data && a.start === b.start &&
      a.stride === b.stride && a.step === b.step;
    const right = isSame ? left : this.#right;
    for (let r = 0; r < rows; r += tall) {
      const height = Math.min(tall, rows - r);
      for (let i = 0; i < count; i += wide) {
        const width = Math.min(wide, count - i);
        const at = yi + r * count + i;
        bring(
          left,
          memory,
          a,
          r * a.stride + i * a.step,
          height,
          width,
          FIRST,
        );
        if (!isSame) {
          bring(
            right,
            memory,
            b,
            r * b.stride + i * b.step,
            height,
            width,
            SECOND,
          );
        }
        let to = isHere ? y.byteOffset + at * BYTES : STAGING;
        for (let h = 0; h < height; h++) {
          run(
            left.start + h * left.stride,
            -a.step,
            right.start + h * right.stride,
            -b.step,
            to,
            width,
          );
          to += width * BYTES;
        }
        if (!isHere) y.set(this.#staged(memory, height * width), at);
      }
    }
  }

  /** What is in an instance's first staging area. */
  #staged(memory: Float32Array, count: number): Float32Array {
    const start = STAGING / BYTES;
    // A view that is kept would keep an arena, too.
    if (memory.buffer !== this.#staging.buffer) {
      return memory.subarray(start, start + count);
    }
    if (this.#result.length !== count) {
      this.#result = memory.subarray(start, start + count);
    }
    return this.#result;
  }
}
