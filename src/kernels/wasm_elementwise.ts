/**
 * Operators that compute each element by itself, on the WASM kernels.
 *
 * Ordinary arrays pass through the staging areas, tensors in the instance's
 * memory are computed where they are.
 *
 * @module
 */

import type {
  BinaryOperation,
  ElementwiseKernels,
  UnaryOperation,
} from "./types.ts";
import { SECOND_STAGING, STAGING, type WasmInstance } from "./wasm_instance.ts";

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
/** How often an element is repeated that stands for all. */
const REPEATED = 8;

/** Where an operand that lies elsewhere comes to be, in bytes. */
interface Area {
  readonly staging: number;
  /** For one element: where inference has its parameters. */
  readonly repeated: number;
}

const FIRST: Area = { staging: STAGING, repeated: 0 };
const SECOND: Area = { staging: SECOND_STAGING, repeated: REPEATED * BYTES };

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

/**
 * Brings elements of an operand into reach of the kernel.
 *
 * @returns The byte offset of the first.
 */
function bring(
  memory: Float32Array,
  data: Float32Array,
  start: number,
  step: number,
  length: number,
  area: Area,
): number {
  if (step === 0) {
    const at = area.repeated / BYTES;
    memory.fill(data[start]!, at, at + REPEATED);
    return area.repeated;
  }
  if (data.buffer === memory.buffer) return data.byteOffset + start * BYTES;
  memory.set(part(data, start, length), area.staging / BYTES);
  return area.staging;
}

/** Runs operators on the instances of the module. */
export class WasmElementwise implements ElementwiseKernels {
  readonly #staging: WasmInstance;
  readonly #find: FindInstance;
  /** The last view of results that passed through. */
  #result: Float32Array = new Float32Array();

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
    const instance = this.#find(y) ?? this.#find(x) ?? this.#staging;
    const run = instance.exports.unary(operation);
    const { length } = y;
    const isX = x.buffer === instance.buffer;
    const isY = y.buffer === instance.buffer;
    if (isX && isY) {
      run(x.byteOffset, y.byteOffset, length);
      return;
    }
    const memory = instance.elements("float32") as Float32Array;
    for (let i = 0; i < length; i += CAPACITY) {
      const count = Math.min(CAPACITY, length - i);
      const to = isY ? y.byteOffset + i * BYTES : STAGING;
      const from = isX ? x.byteOffset + i * BYTES : to;
      if (!isX) memory.set(part(x, i, count), from / BYTES);
      run(from, to, count);
      if (!isY) y.set(this.#staged(memory, count), i);
    }
  }

  binary(
    operation: BinaryOperation,
    a: Float32Array,
    ai: number,
    aStep: number,
    b: Float32Array,
    bi: number,
    bStep: number,
    y: Float32Array,
    yi: number,
    count: number,
  ): void {
    const instance = this.#find(y) ?? this.#find(a) ?? this.#find(b) ??
      this.#staging;
    const run = instance.exports.binary(operation);
    const memory = instance.elements("float32") as Float32Array;
    const isY = y.buffer === instance.buffer;
    const isSame = a === b && ai === bi && aStep === bStep;
    let left = 0;
    let right = 0;
    for (let i = 0; i < count; i += CAPACITY) {
      const length = Math.min(CAPACITY, count - i);
      const to = isY ? y.byteOffset + (yi + i) * BYTES : STAGING;
      // One element stays where it is once brought.
      if (i === 0 || aStep !== 0) {
        left = bring(memory, a, ai + i, aStep, length, FIRST);
      }
      if (isSame) right = left;
      else if (i === 0 || bStep !== 0) {
        right = bring(memory, b, bi + i, bStep, length, SECOND);
      }
      run(left, -aStep, right, -bStep, to, length);
      if (!isY) y.set(this.#staged(memory, length), yi + i);
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
