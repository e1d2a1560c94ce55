/**
 * Loops over two float32 operands, for the operators that are used most.
 *
 * Written out for each operator: V8 compiles one loop that calls different
 * functions for the slowest of them. And with one index for all arrays where
 * that can be: measured on 1.6 million elements, a sum with an index per array
 * takes 1.5 times as long, as each of them is counted and checked by itself.
 * One element is told by its array, as V8 compiles a loop anew where a number is
 * first an integer and then none.
 *
 * @module
 */

import { bitsOf, FEW } from "../../kernels/float32_bits.ts";
import type { BinaryOperation } from "../../kernels/types.ts";

/**
 * From how many elements on kernels are called, where they have the operator.
 * Measured at this number, Abs, Exp and Max take half of the time of their loops
 * (of which 0.2 microseconds are the call, and 0.6 with two operands), and Add
 * takes as long.
 */
export const LEAST_FOR_KERNELS = 256;

/** `y = f(a, b)` for each element. `y` may be an operand. */
export interface Float32Loops {
  /** The same on kernels; missing where they do not have it. */
  readonly operation?: BinaryOperation;
  /** Arrays of one length. */
  readonly both: (a: Float32Array, b: Float32Array, y: Float32Array) => void;
  /** One element, and elements of the same places. */
  readonly first: (
    a: Float32Array,
    at: number,
    b: Float32Array,
    y: Float32Array,
    start: number,
    end: number,
  ) => void;
  /** Elements of the same places, and one element. */
  readonly second: (
    a: Float32Array,
    b: Float32Array,
    at: number,
    y: Float32Array,
    start: number,
    end: number,
  ) => void;
  /** Elements of different places; missing where the others are used mostly. */
  readonly apart?: (
    a: Float32Array,
    ai: number,
    b: Float32Array,
    bi: number,
    y: Float32Array,
    yi: number,
    count: number,
  ) => void;
}

/** `a + b`. */
export const addLoops: Float32Loops = {
  operation: "add",
  both: (a, b, y) => {
    for (let i = 0; i < y.length; i++) y[i] = a[i]! + b[i]!;
  },
  first: (a, at, b, y, start, end) => addLoops.second(b, a, at, y, start, end),
  second: (a, b, at, y, start, end) => {
    const value = b[at]!;
    for (let i = start; i < end; i++) y[i] = a[i]! + value;
  },
  apart: (a, ai, b, bi, y, yi, count) => {
    const end = yi + count;
    for (; yi < end; yi++, ai++, bi++) y[yi] = a[ai]! + b[bi]!;
  },
};

/** `a - b`. */
export const subtractLoops: Float32Loops = {
  operation: "subtract",
  both: (a, b, y) => {
    for (let i = 0; i < y.length; i++) y[i] = a[i]! - b[i]!;
  },
  first: (a, at, b, y, start, end) => {
    const value = a[at]!;
    for (let i = start; i < end; i++) y[i] = value - b[i]!;
  },
  second: (a, b, at, y, start, end) => {
    const value = b[at]!;
    for (let i = start; i < end; i++) y[i] = a[i]! - value;
  },
  apart: (a, ai, b, bi, y, yi, count) => {
    const end = yi + count;
    for (; yi < end; yi++, ai++, bi++) y[yi] = a[ai]! - b[bi]!;
  },
};

/** `a * b`. */
export const multiplyLoops: Float32Loops = {
  operation: "multiply",
  both: (a, b, y) => {
    for (let i = 0; i < y.length; i++) y[i] = a[i]! * b[i]!;
  },
  first: (a, at, b, y, start, end) =>
    multiplyLoops.second(b, a, at, y, start, end),
  second: (a, b, at, y, start, end) => {
    const value = b[at]!;
    for (let i = start; i < end; i++) y[i] = a[i]! * value;
  },
  apart: (a, ai, b, bi, y, yi, count) => {
    const end = yi + count;
    for (; yi < end; yi++, ai++, bi++) y[yi] = a[ai]! * b[bi]!;
  },
};

/** `a / b`. */
export const divideLoops: Float32Loops = {
  operation: "divide",
  both: (a, b, y) => {
    for (let i = 0; i < y.length; i++) y[i] = a[i]! / b[i]!;
  },
  first: (a, at, b, y, start, end) => {
    const value = a[at]!;
    for (let i = start; i < end; i++) y[i] = value / b[i]!;
  },
  second: (a, b, at, y, start, end) => {
    const value = b[at]!;
    for (let i = start; i < end; i++) y[i] = a[i]! / value;
  },
  apart: (a, ai, b, bi, y, yi, count) => {
    const end = yi + count;
    for (; yi < end; yi++, ai++, bi++) y[yi] = a[ai]! / b[bi]!;
  },
};

/** `a ** b`. */
export const powerLoops: Float32Loops = {
  both: (a, b, y) => {
    for (let i = 0; i < y.length; i++) y[i] = a[i]! ** b[i]!;
  },
  first: (a, at, b, y, start, end) => {
    const value = a[at]!;
    for (let i = start; i < end; i++) y[i] = value ** b[i]!;
  },
  second: (a, b, at, y, start, end) => {
    const value = b[at]!;
    for (let i = start; i < end; i++) y[i] = a[i]! ** value;
  },
};

// Which of two numbers is the greater cannot be predicted, so that a branch on
// it is wrong half of the time: the bits of one are chosen by a mask. Of equal
// ones, such as -0 and 0, the first; NaN stays. Loops for few and for many are
// functions of their own, see `clamp_loops.ts`.

/** The greater of two numbers. */
export function greaterOf(a: number, b: number): number {
  return a !== a ? a : b > a || b !== b ? b : a;
}

/** The lesser of two numbers. */
export function lesserOf(a: number, b: number): number {
  return a !== a ? a : b < a || b !== b ? b : a;
}

const greaterSecondFew: Float32Loops["second"] = (a, b, at, y, start, end) => {
  for (let i = start; i < end; i++) y[i] = greaterOf(a[i]!, b[at]!);
};

const greaterSecondMany: Float32Loops["second"] = (a, b, at, y, start, end) => {
  const other = b[at]!;
  const aBits = bitsOf(a);
  const bits = bitsOf(b)[at]!;
  const yBits = bitsOf(y);
  for (let i = start; i < end; i++) {
    const value = a[i]!;
    const isFirst = Number(value >= other) | Number(value !== value);
    yBits[i] = bits ^ ((bits ^ aBits[i]!) & -isFirst);
  }
};

/** The greater of two. */
export const greaterLoops: Float32Loops = {
  operation: "greater",
  both: (a, b, y) => {
    const aBits = bitsOf(a);
    const bBits = bitsOf(b);
    const yBits = bitsOf(y);
    for (let i = 0; i < y.length; i++) {
      const value = a[i]!;
      const isFirst = Number(value >= b[i]!) | Number(value !== value);
      const bits = bBits[i]!;
      yBits[i] = bits ^ ((bits ^ aBits[i]!) & -isFirst);
    }
  },
  // Of equal ones that of `b`: `binary.ts` puts what is one element second.
  first: (a, at, b, y, start, end) =>
    greaterLoops.second(b, a, at, y, start, end),
  second: (a, b, at, y, start, end) =>
    (end - start <= FEW ? greaterSecondFew : greaterSecondMany)(
      a,
      b,
      at,
      y,
      start,
      end,
    ),
};

const lesserSecondFew: Float32Loops["second"] = (a, b, at, y, start, end) => {
  for (let i = start; i < end; i++) y[i] = lesserOf(a[i]!, b[at]!);
};

const lesserSecondMany: Float32Loops["second"] = (a, b, at, y, start, end) => {
  const other = b[at]!;
  const aBits = bitsOf(a);
  const bits = bitsOf(b)[at]!;
  const yBits = bitsOf(y);
  for (let i = start; i < end; i++) {
    const value = a[i]!;
    const isFirst = Number(value <= other) | Number(value !== value);
    yBits[i] = bits ^ ((bits ^ aBits[i]!) & -isFirst);
  }
};

/** The lesser of two. */
export const lesserLoops: Float32Loops = {
  operation: "lesser",
  both: (a, b, y) => {
    const aBits = bitsOf(a);
    const bBits = bitsOf(b);
    const yBits = bitsOf(y);
    for (let i = 0; i < y.length; i++) {
      const value = a[i]!;
      const isFirst = Number(value <= b[i]!) | Number(value !== value);
      const bits = bBits[i]!;
      yBits[i] = bits ^ ((bits ^ aBits[i]!) & -isFirst);
    }
  },
  // Of equal ones that of `b`: `binary.ts` puts what is one element second.
  first: (a, at, b, y, start, end) =>
    lesserLoops.second(b, a, at, y, start, end),
  second: (a, b, at, y, start, end) =>
    (end - start <= FEW ? lesserSecondFew : lesserSecondMany)(
      a,
      b,
      at,
      y,
      start,
      end,
    ),
};
