/**
 * Operators that compute each element from one element.
 *
 * Float32 results are those of float64 arithmetic rounded once. For a square
 * root or a quotient that is the correctly rounded float32 result, as
 * onnxruntime's; functions such as `exp` are nearer to the true value than its
 * approximations in float32.
 *
 * @module
 */

import type {
  BinaryOperation,
  ElementwiseKernels,
  UnaryOperation,
} from "../../kernels/types.ts";
import type { OnnxData, OnnxType } from "../../onnx/element_types.ts";
import { isFloat, isWide } from "../values.ts";
import { expFloat32, sigmoidFloat32, tanhFloat32 } from "./exponential.ts";
import { bitsOf } from "../../kernels/float32_bits.ts";
import { LEAST_FOR_KERNELS } from "./float32_loops.ts";
import { throughFloat32, widened } from "./half.ts";
import { logFloat32 } from "./logarithm.ts";
import {
  commonType,
  type Inputs,
  type Operator,
  type OperatorNode,
  type OperatorTable,
  type Outcome,
  type Run,
} from "./operator.ts";

/** Fills `y` from `x`; both have one length, and may be one array. */
type Fill<T> = (x: T, y: T) => void;

// The loops run where the kernels have no operators, and on few elements, as
// calling a kernel takes as long as some of them. There is one for each common
// operator on float32: V8 compiles one loop that calls different functions for
// the slowest of them. It has no vectors, which bounds them all: on 6 MB, a loop
// that only copies takes 1.6 to 2 times as long as a memory copy, and a square
// root or a quotient of float64 3 to 4.5 times.

// Where a sign decides, they take it from the bits: see `clamp_loops.ts`.

function sqrtFloat32(x: Float32Array, y: Float32Array): void {
  for (let i = 0; i < y.length; i++) y[i] = Math.sqrt(x[i]!);
}

function reciprocalFloat32(x: Float32Array, y: Float32Array): void {
  for (let i = 0; i < y.length; i++) y[i] = 1 / x[i]!;
}

function negFloat32(x: Float32Array, y: Float32Array): void {
  for (let i = 0; i < y.length; i++) y[i] = -x[i]!;
}

function absFloat32(x: Float32Array, y: Float32Array): void {
  for (let i = 0; i < y.length; i++) y[i] = Math.abs(x[i]!);
}

function ceilFloat32(x: Float32Array, y: Float32Array): void {
  for (let i = 0; i < y.length; i++) y[i] = Math.ceil(x[i]!);
}

function floorFloat32(x: Float32Array, y: Float32Array): void {
  for (let i = 0; i < y.length; i++) y[i] = Math.floor(x[i]!);
}

/**
 * Half to even, as the sum with a number so large that its units are whole is
 * rounded; what becomes 0 keeps its sign. Where an element is so much larger
 * that the sum is rounded elsewhere, the error is far below float32.
 */
function roundFloat32(x: Float32Array, y: Float32Array): void {
  const from = bitsOf(x);
  const to = bitsOf(y);
  const whole = 2 ** 52; // from here to its double, there are no fractions
  for (let i = 0; i < y.length; i++) {
    const sign = from[i]! & -0x80000000; // `y` may be `x`
    y[i] = (Math.abs(x[i]!) + whole) - whole;
    to[i] = to[i]! | sign;
  }
}

function signFloat32(x: Float32Array, y: Float32Array): void {
  const from = bitsOf(x);
  const to = bitsOf(y);
  for (let i = 0; i < to.length; i++) {
    const bits = from[i]!;
    const size = bits & 0x7fffffff;
    // From the smallest number to infinity: 1 with the sign. NaN stays.
    if ((size - 1) >>> 0 < 0x7f800000) {
      to[i] = (bits & -0x80000000) | 0x3f800000;
    } else to[i] = size === 0 ? 0 : bits;
  }
}

function leakyReluFloat32(alpha: number): Fill<Float32Array> {
  if ((alpha > 0 || Object.is(alpha, 0)) && alpha < Infinity) {
    // By the sign, without a branch as in Relu; -0 times such a number is -0.
    const factors = Float64Array.of(1, alpha);
    return (x, y) => {
      const bits = bitsOf(x);
      for (let i = 0; i < y.length; i++) {
        y[i] = x[i]! * factors[bits[i]! >>> 31]!;
      }
    };
  }
  return (x, y) => {
    for (let i = 0; i < y.length; i++) {
      const value = x[i]!;
      y[i] = value < 0 ? value * alpha : value;
    }
  };
}

/** An operator, element by element. */
export interface Scalar {
  /** On numbers. */
  readonly number: (x: number) => number;
  /** The same on 64-bit integers; missing if the operator has floats only. */
  readonly bigint?: (x: bigint) => bigint;
  /** On float32. */
  readonly float32?: Fill<Float32Array>;
  /** The same as `float32` on kernels; missing where they do not have it. */
  readonly kernel?: ElementwiseRun;
}

/** Computes `y` from `x` on kernels. */
type ElementwiseRun = (
  kernels: ElementwiseKernels,
  x: Float32Array,
  y: Float32Array,
) => void;

/** An operator of the kernels. */
function kernelOf(operation: UnaryOperation): ElementwiseRun {
  return (kernels, x, y) => kernels.unary(operation, x, y);
}

/** An operator of two, of which the first is a number. */
function kernelFrom(
  operation: BinaryOperation,
  number: number,
): ElementwiseRun {
  const a = { data: Float32Array.of(number), start: 0, stride: 0, step: 0 };
  return (kernels, data, y) => {
    const b = { data, start: 0, stride: 0, step: 1 };
    kernels.binary(operation, a, b, y, 0, 1, y.length);
  };
}

/** An operator of two, of which the second is a number. */
function kernelWith(
  operation: BinaryOperation,
  number: number,
): ElementwiseRun {
  const b = { data: Float32Array.of(number), start: 0, stride: 0, step: 0 };
  return (kernels, data, y) => {
    const a = { data, start: 0, stride: 0, step: 1 };
    kernels.binary(operation, a, b, y, 0, 1, y.length);
  };
}

/** A run on float32: on kernels where they have the operator and it is worth it. */
function float32Run(
  node: OperatorNode,
  fill: Fill<Float32Array>,
  kernel: ElementwiseRun | undefined,
): Run {
  return (inputs, outputs) => {
    const x = inputs[0] as Float32Array;
    const y = outputs[0] as Float32Array;
    const kernels = kernel && y.length >= LEAST_FOR_KERNELS
      ? node.kernels().elementwise
      : undefined;
    if (kernels) kernel!(kernels, x, y);
    else fill(x, y);
  };
}

/** What such an operator does. */
export function elementwise(
  node: OperatorNode,
  inputs: Inputs,
  { number, bigint, float32, kernel }: Scalar,
): Outcome {
  const x = inputs.get(0);
  commonType(
    node,
    [x],
    (type) => isFloat(type) || isNumeric(type) && bigint !== undefined,
  );
  const y = { type: x.type, dims: x.dims };
  const wide = widened(x);
  const run: Run = wide.type === "float32" && float32
    ? float32Run(node, float32, kernel)
    : ([x], [y]) => mapElements(x!, y!, number, bigint);
  return { outputs: [y], run: throughFloat32([x], [y], run), reuse: [0] };
}

function mapElements(
  x: OnnxData,
  y: OnnxData,
  number: (x: number) => number,
  bigint: ((x: bigint) => bigint) | undefined,
): void {
  if (isWide(x) && isWide(y)) {
    for (let i = 0; i < y.length; i++) y[i] = bigint!(x[i]!);
    return;
  }
  for (let i = 0; i < y.length; i++) y[i] = number(x[i] as number);
}

/** Whether elements of a type are numbers to compute with. */
export function isNumeric(type: OnnxType): boolean {
  return type !== "bool";
}

function unary(scalar: Scalar, since = 1): Operator {
  return {
    since,
    inputs: [1, 1],
    load: (node) => (inputs) => elementwise(node, inputs, scalar),
  };
}

const leakyRelu: Operator = {
  since: 1,
  inputs: [1, 1],
  load(node) {
    const alpha = node.attributes.float("alpha", Math.fround(0.01));
    const scalar = {
      number: (x: number) => x < 0 ? x * alpha : x,
      float32: leakyReluFloat32(alpha),
      kernel: kernelWith("leak", alpha),
    };
    return (inputs) => elementwise(node, inputs, scalar);
  },
};

/** Half to even, as IEEE 754 rounds by default. */
function roundHalfToEven(x: number): number {
  const rounded = Math.round(x);
  if (rounded - x !== 0.5 || rounded % 2 === 0) return rounded;
  return rounded - 1 === 0 && x < 0 ? -0 : rounded - 1;
}

const not: Operator = {
  since: 1,
  inputs: [1, 1],
  load: (node) => (inputs) => {
    const x = inputs.get(0);
    commonType(node, [x], (type) => type === "bool");
    return {
      outputs: [{ type: "bool", dims: x.dims }],
      reuse: [0],
      run: ([x], [y]) =>
        mapElements(x!, y!, (value) => value ? 0 : 1, undefined),
    };
  },
};

/** The operators; marked, so that bundlers can leave them out. */
export const UNARY: OperatorTable = /* @__PURE__ */ (() => ({
  Abs: unary({
    number: Math.abs,
    bigint: (x) => x < 0n ? -x : x,
    float32: absFloat32,
    kernel: kernelOf("abs"),
  }),
  Ceil: unary({
    number: Math.ceil,
    float32: ceilFloat32,
    kernel: kernelOf("ceil"),
  }),
  Exp: unary({
    number: Math.exp,
    float32: expFloat32,
    kernel: kernelOf("exp"),
  }),
  Floor: unary({
    number: Math.floor,
    float32: floorFloat32,
    kernel: kernelOf("floor"),
  }),
  LeakyRelu: leakyRelu,
  Log: unary({
    number: Math.log,
    float32: logFloat32,
    kernel: kernelOf("log"),
  }),
  Neg: unary({
    number: (x) => -x,
    bigint: (x) => -x,
    float32: negFloat32,
    kernel: kernelWith("multiply", -1),
  }),
  Not: not,
  Reciprocal: unary({
    number: (x) => 1 / x,
    float32: reciprocalFloat32,
    kernel: kernelFrom("divide", 1),
  }),
  Round: unary({
    number: roundHalfToEven,
    float32: roundFloat32,
    kernel: kernelOf("round"),
  }, 11),
  Sigmoid: unary({
    number: (x) => 1 / (1 + Math.exp(-x)),
    float32: sigmoidFloat32,
    kernel: kernelOf("sigmoid"),
  }),
  Sign: unary({
    number: (x) => x > 0 ? 1 : x < 0 ? -1 : x === 0 ? 0 : NaN, // 0 for -0
    bigint: (x) => x > 0n ? 1n : x < 0n ? -1n : 0n,
    float32: signFloat32,
    kernel: kernelOf("sign"),
  }, 9),
  Sqrt: unary({
    number: Math.sqrt,
    float32: sqrtFloat32,
    kernel: kernelOf("sqrt"),
  }),
  Tanh: unary({
    number: Math.tanh,
    float32: tanhFloat32,
    kernel: kernelOf("tanh"),
  }),
}))();
