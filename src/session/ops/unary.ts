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

import type { Bounds } from "../../kernels/types.ts";
import type { OnnxData, OnnxType } from "../../onnx/element_types.ts";
import { countOf, isFloat, isWide, type Spec } from "../values.ts";
import { expFloat32, sigmoidFloat32, tanhFloat32 } from "./exponential.ts";
import { bitsOf } from "../../kernels/float32_bits.ts";
import { throughFloat32, widened } from "./half.ts";
import {
  commonType,
  failShape,
  type Inputs,
  type Operator,
  type OperatorNode,
  type OperatorTable,
  type Outcome,
  type Run,
} from "./operator.ts";

/** Fills `y` from `x`; both have one length, and may be one array. */
type Fill<T> = (x: T, y: T) => void;

// A loop of its own for each common operator on float32: V8 compiles one
// loop that calls different functions for the slowest of them. It has no
// vectors, which bounds them all: on 6 MB, a loop that only copies takes 1.6 to
// 2 times as long as a memory copy, and a square root or a quotient of float64
// 3 to 4.5 times, while onnxruntime-web takes 3 to 4 for each, copies included.

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

function logFloat32(x: Float32Array, y: Float32Array): void {
  for (let i = 0; i < y.length; i++) y[i] = Math.log(x[i]!);
}

function leakyReluFloat32(alpha: number): Fill<Float32Array> {
  if (alpha >= 0 && alpha < Infinity) {
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

/** One element of another type. */
interface Scalar {
  readonly number: (x: number) => number;
  /** The same on 64-bit integers; missing if the operator has floats only. */
  readonly bigint?: (x: bigint) => bigint;
  readonly float32?: Fill<Float32Array>;
  /** What that is on float32, if it only bounds. */
  readonly bounds?: Bounds;
}

function elementwise(
  node: OperatorNode,
  inputs: Inputs,
  { number, bigint, float32, bounds }: Scalar,
): Outcome {
  const x = inputs.get(0);
  commonType(
    node,
    [x],
    (type) => isFloat(type) || isNumeric(type) && bigint !== undefined,
  );
  const y = { type: x.type, dims: x.dims };
  const wide = widened(x);
  if (wide.type === "float32" && bounds) {
    return clamped(node, x, [x], () => bounds, bounds);
  }
  const run: Run = wide.type === "float32" && float32
    ? ([x], [y]) => float32(x as Float32Array, y as Float32Array)
    : ([x], [y]) => mapElements(x!, y!, number, bigint);
  return { outputs: [y], run: throughFloat32([x], [y], run), reuse: [0] };
}

/**
 * What bounds float32, or 16-bit floats by way of it.
 *
 * @param node The node.
 * @param x Its input.
 * @param inputs That, and inputs with bounds.
 * @param boundsOf Finds the bounds in a run.
 * @param constant The bounds, if they are known.
 */
function clamped(
  node: OperatorNode,
  x: Spec,
  inputs: readonly (Spec | undefined)[],
  boundsOf: (inputs: readonly (OnnxData | undefined)[]) => Bounds,
  constant: Bounds | undefined,
): Outcome {
  const y = { type: x.type, dims: x.dims };
  return {
    outputs: [y],
    reuse: [0],
    clamp: x.type === "float32" ? constant : undefined,
    run: throughFloat32(inputs, [y], (ins, [y]) =>
      node.kernels().clamp(
        ins[0] as Float32Array,
        y as Float32Array,
        boundsOf(ins),
      )),
  };
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

const relu: Scalar = {
  number: (x) => x < 0 ? 0 : x,
  bigint: (x) => x < 0n ? 0n : x,
  bounds: { low: 0, high: Infinity },
};

const leakyRelu: Operator = {
  since: 1,
  inputs: [1, 1],
  load(node) {
    const alpha = node.attributes.float("alpha", Math.fround(0.01));
    const scalar = {
      number: (x: number) => x < 0 ? x * alpha : x,
      float32: leakyReluFloat32(alpha),
    };
    return (inputs) => elementwise(node, inputs, scalar);
  },
};

/** What a missing bound is, so that infinities become finite, as in onnxruntime. */
const LARGEST: Readonly<Record<string, number>> = {
  float16: 65504,
  bfloat16: 2 ** 128 - 2 ** 120,
  float32: 2 ** 128 - 2 ** 104,
  float64: Number.MAX_VALUE,
};

/** The same in any type; the lesser and the greater of two are of that type. */
function clipElements(
  x: OnnxData,
  y: OnnxData,
  low: number | bigint | undefined,
  high: number | bigint | undefined,
): void {
  const target = y as { [index: number]: number | bigint };
  for (let i = 0; i < y.length; i++) {
    let value: number | bigint = x[i]!;
    if (low !== undefined && value < low) value = low;
    if (high !== undefined && value > high) value = high;
    target[i] = value;
  }
}

/** The first opset whose Clip has its bounds as inputs. */
const CLIP_INPUT_OPSET = 11;

const clip: Operator = {
  since: 1,
  inputs: [1, 3],
  load(node) {
    const isInput = node.opset >= CLIP_INPUT_OPSET;
    const low = isInput ? undefined : node.attributes.float("min", undefined);
    const high = isInput ? undefined : node.attributes.float("max", undefined);
    return (inputs) => {
      const x = inputs.get(0);
      const bounds = isInput ? [inputs.optional(1), inputs.optional(2)] : [];
      const given = bounds.filter((each) => each !== undefined);
      const type = commonType(node, [x, ...given], isNumeric);
      for (const { dims } of given) {
        // Lists of one are beyond the schema, but found in files.
        if (countOf(dims) !== 1) {
          failShape(
            node,
            `expected numbers as bounds, got [${dims.join(", ")}]`,
          );
        }
      }
      const bound = LARGEST[type];
      if (widened(x).type === "float32") {
        const boundsOf = (
          [, least, most]: readonly (OnnxData | undefined)[],
        ): Bounds => ({
          low: (least?.[0] as number | undefined) ?? low ?? -bound!,
          high: (most?.[0] as number | undefined) ?? high ?? bound!,
        });
        const isConstant = given.every(({ value }) => value !== undefined);
        return clamped(
          node,
          x,
          [x, ...bounds],
          boundsOf,
          isConstant
            ? boundsOf([undefined, ...bounds.map((each) => each?.value)])
            : undefined,
        );
      }
      return {
        outputs: [{ type: x.type, dims: x.dims }],
        reuse: [0],
        run: ([x, least, most], [y]) =>
          clipElements(
            x!,
            y!,
            least?.[0] ?? low ?? (bound && -bound),
            most?.[0] ?? high ?? bound,
          ),
      };
    };
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
  }),
  Ceil: unary({ number: Math.ceil, float32: ceilFloat32 }),
  Clip: clip,
  Exp: unary({ number: Math.exp, float32: expFloat32 }),
  Floor: unary({ number: Math.floor, float32: floorFloat32 }),
  LeakyRelu: leakyRelu,
  Log: unary({ number: Math.log, float32: logFloat32 }),
  Neg: unary({ number: (x) => -x, bigint: (x) => -x, float32: negFloat32 }),
  Not: not,
  Reciprocal: unary({ number: (x) => 1 / x, float32: reciprocalFloat32 }),
  Relu: unary(relu),
  Round: unary({ number: roundHalfToEven, float32: roundFloat32 }, 11),
  Sigmoid: unary({
    number: (x) => 1 / (1 + Math.exp(-x)),
    float32: sigmoidFloat32,
  }),
  Sign: unary({
    number: (x) => x > 0 ? 1 : x < 0 ? -1 : x === 0 ? 0 : NaN, // 0 for -0
    bigint: (x) => x > 0n ? 1n : x < 0n ? -1n : 0n,
    float32: signFloat32,
  }, 9),
  Sqrt: unary({ number: Math.sqrt, float32: sqrtFloat32 }),
  Tanh: unary({ number: Math.tanh, float32: tanhFloat32 }),
}))();
