/**
 * Arithmetic, comparison and logic of two and more values that broadcast.
 *
 * Float32 sums, products and quotients are computed in float64 and rounded
 * once, which gives the bits of float32 arithmetic (see `foldStatistics`).
 *
 * @module
 */

import { OptionError } from "../../errors.ts";
import { layoutOf } from "../../kernels/layout.ts";
import type { BinaryOperation, Parameters } from "../../kernels/types.ts";
import type { OnnxData, OnnxType } from "../../onnx/element_types.ts";
import { BROADCAST_MAX_OPSET, BROADCAST_OPSET } from "../../onnx/versions.ts";
import { checkSize, countOf, isFloat, type Spec } from "../values.ts";
import { affineRun } from "./affine.ts";
import {
  addLoops,
  divideLoops,
  type Float32Loops,
  greaterLoops,
  greaterOf,
  LEAST_FOR_KERNELS,
  lesserLoops,
  lesserOf,
  multiplyLoops,
  powerLoops,
  subtractLoops,
} from "./float32_loops.ts";
import { throughFloat32, widened } from "./half.ts";
import {
  type Affine,
  checkAxis,
  commonType,
  failFormat,
  failShape,
  type Operator,
  type OperatorNode,
  type OperatorTable,
  type Outcome,
  type Run,
} from "./operator.ts";
import {
  broadcastDims,
  broadcastStrides,
  forEachRow,
  type Nest,
  nestOf,
} from "./strides.ts";
import { isNumeric } from "./unary.ts";

/** One row: `y[yi + i] = f(a[ai + i * as], b[bi + i * bs])`, steps 0 or 1. */
type Row = (
  a: OnnxData,
  ai: number,
  as: number,
  b: OnnxData,
  bi: number,
  bs: number,
  y: OnnxData,
  yi: number,
  count: number,
) => void;

/** A row of any type and operator. */
function rowOf(f: (a: never, b: never) => number | bigint | boolean): Row {
  const call = f as (a: number | bigint, b: number | bigint) =>
    | number
    | bigint;
  return (a, ai, as, b, bi, bs, y, yi, count) => {
    const target = y as { [index: number]: number | bigint };
    for (let i = 0; i < count; i++, ai += as, bi += bs) {
      target[yi + i] = call(a[ai]!, b[bi]!);
    }
  };
}

/** An operator of two values, by the type that it computes in. */
interface Arithmetic {
  readonly float32?: Float32Loops;
  readonly float: (a: number, b: number) => number;
  /** On integers of at most 32 bits; stored modulo their range. */
  readonly integer?: (a: number, b: number) => number;
  readonly bigint?: (a: bigint, b: bigint) => bigint;
  readonly mayFail?: boolean;
  /**
   * Whether it is the operand which is one element for a row that counts as the
   * second one, whichever it is.
   */
  readonly takesRowFirst?: boolean;
  /** Which of factor and summand a constant operand is. */
  readonly affine?: (
    constant: Parameters,
    isFirst: boolean,
  ) => Pick<Affine, "factors" | "summands"> | undefined;
}

/**
 * The extents of the operands, where the second is put along the first.
 *
 * Before opset 7, only the second operand is repeated, only if the attribute
 * `broadcast` says so, and `axis` says where it is put.
 */
function alignment(
  node: OperatorNode,
): (a: readonly number[], b: readonly number[]) => readonly number[] {
  if (node.opset >= BROADCAST_OPSET) return (_, b) => b;
  const broadcasts = node.attributes.flag("broadcast", false);
  const axis = node.attributes.int("axis", undefined);
  return (a, b) => {
    if (!broadcasts) {
      if (a.length !== b.length || a.some((extent, d) => extent !== b[d])) {
        failShape(
          node,
          `expected operands of one shape, as the attribute broadcast is 0, got [${
            a.join(", ")
          }] and [${b.join(", ")}]`,
        );
      }
      return b;
    }
    if (countOf(b) === 1) return [];
    const first = axis === undefined
      ? a.length - b.length
      : checkAxis(node, axis, a.length);
    const after = a.length - first - b.length;
    const fits = first >= 0 && after >= 0 &&
      b.every((extent, d) => extent === 1 || extent === a[first + d]);
    if (!fits) {
      failShape(
        node,
        `expected a second operand that fits [${
          a.join(", ")
        }] at axis ${first}, got [${b.join(", ")}]`,
      );
    }
    return [...b, ...new Array<number>(after).fill(1)];
  };
}

/**
 * From how many elements on a row gets arrays of its own, so that one index
 * does for all: making three of them takes as long as 100 elements.
 */
const LONG_ROW = 256;

/** A row of float32. Neither operand moves where a third one has the extent. */
function float32Row(
  { both, first, second, apart }: Float32Loops,
  general: Row,
): Row {
  return (a, ai, as, b, bi, bs, y, yi, count) => {
    const left = a as Float32Array;
    const right = b as Float32Array;
    const result = y as Float32Array;
    const part = (data: Float32Array, start: number): Float32Array =>
      count === data.length ? data : data.subarray(start, start + count);
    if (as === 0 && bs === 1 && bi === yi) {
      first(left, ai, right, result, yi, yi + count);
    } else if (bs === 0 && as === 1 && ai === yi) {
      second(left, right, bi, result, yi, yi + count);
    } else if (as + bs === 2 && count >= LONG_ROW) {
      both(part(left, ai), part(right, bi), part(result, yi));
    } else if (as + bs === 2 && apart) {
      apart(left, ai, right, bi, result, yi, count);
    } else general(a, ai, as, b, bi, bs, y, yi, count);
  };
}

/** A run over two operands, row by row. */
function rows(
  node: OperatorNode,
  a: readonly number[],
  b: readonly number[],
  y: readonly number[],
  general: Row,
  loops?: Float32Loops,
  takesRowFirst?: boolean,
): Run {
  const nest = nestOf(y, [broadcastStrides(a, y), broadcastStrides(b, y)]);
  const last = nest.outer.length;
  const as = nest.strides[0]![last]!;
  const bs = nest.strides[1]![last]!;
  if (takesRowFirst && as === 0 && bs !== 0) {
    const run = rows(node, b, a, y, general, loops);
    return ([a, b], outputs) => run([b, a], outputs);
  }
  const { inner } = nest;
  const row = loops ? float32Row(loops, general) : general;
  const run: Run = last === 0
    ? ([a, b], [y]) => row(a!, 0, as, b!, 0, bs, y!, 0, nest.count)
    : ([a, b], [y]) =>
      forEachRow(nest, (to, from) => {
        row(a!, from[0]!, as, b!, from[1]!, bs, y!, to, inner);
      });
  const operation = loops?.operation;
  return operation && isForKernels(nest)
    ? onKernels(node, operation, nest, run)
    : run;
}

/**
 * From how many elements on a row is worth a call of a kernel, of many: times a
 * number, rows of 32 take 0.9 of the time of loops, and those of 196 take 0.6.
 */
const LEAST_ROW_FOR_KERNELS = 32;

/** Whether kernels are faster than loops; what they are given are many rows. */
function isForKernels({ outer, inner }: Nest): boolean {
  return inner >= LEAST_ROW_FOR_KERNELS &&
    inner * (outer.at(-1) ?? 1) >= LEAST_FOR_KERNELS;
}

/** A run on kernels, where they have operators of elements. */
function onKernels(
  { kernels }: OperatorNode,
  operation: BinaryOperation,
  { outer, inner, strides, count }: Nest,
  otherwise: Run,
): Run {
  const last = outer.length;
  const height = outer[last - 1] ?? 1;
  const nest = {
    outer: outer.slice(0, -1),
    inner: height * inner,
    strides,
    count,
  };
  const [aStrides, bStrides] = strides as [number[], number[]];
  return (inputs, outputs) => {
    const { elementwise } = kernels();
    if (!elementwise) {
      otherwise(inputs, outputs);
      return;
    }
    const [a, b] = inputs as [Float32Array, Float32Array];
    const operand = (
      data: Float32Array,
      start: number,
      steps: readonly number[],
    ) => ({ data, start, stride: steps[last - 1] ?? 0, step: steps[last]! });
    forEachRow(nest, (to, from) =>
      elementwise.binary(
        operation,
        operand(a, from[0]!, aStrides),
        operand(b, from[1]!, bStrides),
        outputs[0] as Float32Array,
        to,
        height,
        inner,
      ));
  };
}

/** The operands in whose memory the result fits, element by element. */
function reusable(
  operands: readonly Spec[],
  type: OnnxType,
  dims: readonly number[],
): number[] {
  const count = countOf(dims);
  return operands.flatMap((each, i) =>
    each.type === type && countOf(each.dims) === count ? [i] : []
  );
}

function arithmetic(operator: Arithmetic, since = 1): Operator {
  return {
    since,
    inputs: [2, 2],
    load(node) {
      const align = alignment(node);
      return (inputs) => {
        const a = inputs.get(0);
        const given = inputs.get(1);
        const type = commonType(
          node,
          [a, given],
          operator.integer ? isNumeric : isFloat,
        );
        const b = { ...given, dims: align(a.dims, given.dims) };
        return binary(node, operator, type, [a, b]);
      };
    },
  };
}

/** How an operator computes in a type. */
function loopsOf(
  { float, integer, bigint, float32, takesRowFirst }: Arithmetic,
  type: OnnxType,
): [Row, Float32Loops | undefined, boolean | undefined] {
  const kind = widened({ type, dims: [] }).type;
  if (isFloat(kind)) {
    return [
      rowOf(float),
      kind === "float32" ? float32 : undefined,
      takesRowFirst,
    ];
  }
  const isWideKind = kind === "int64" || kind === "uint64";
  return [rowOf(isWideKind ? bigint! : integer!), undefined, undefined];
}

function binary(
  node: OperatorNode,
  operator: Arithmetic,
  type: OnnxType,
  operands: readonly [Spec, Spec],
): Outcome {
  const [a, b] = operands;
  const dims = broadcastDims(a.dims, b.dims);
  checkSize(type, dims);
  const outputs = [{ type, dims }];
  const affine = affineOf(operator, operands, dims);
  if (affine) {
    return {
      outputs,
      affine,
      run: affineRun(node.kernels, affine, type),
      reuse: [affine.input],
    };
  }
  const run = rows(node, a.dims, b.dims, dims, ...loopsOf(operator, type));
  return {
    outputs,
    run: throughFloat32(operands, outputs, run),
    reuse: reusable(operands, type, dims),
    mayFail: operator.mayFail && !isFloat(type),
  };
}

/**
 * An operation with a constant per channel, as what the kernels can do: a
 * factor of 1 and a summand of -0 are exact for every number.
 */
function affineOf(
  operator: Arithmetic,
  operands: readonly [Spec, Spec],
  dims: readonly number[],
): Affine | undefined {
  const [{ type }] = operands;
  if (!operator.affine || (type !== "float32" && type !== "float64")) {
    return undefined;
  }
  for (const input of [0, 1]) {
    const x = operands[input]!;
    const other = operands[1 - input]!;
    const { value } = other;
    if (x.value || !value) continue;
    if (x.dims.length !== dims.length || countOf(x.dims) !== countOf(dims)) {
      continue;
    }
    const lead = dims.length - other.dims.length;
    const axes = dims.flatMap((_, d) =>
      d >= lead && other.dims[d - lead] !== 1 ? [d] : []
    );
    const layout = layoutOf(dims, axes);
    // With an element or two per parameter, the vectors cost more than a loop.
    if (layout.reduced < 2 || layout.channels === 0) continue;
    const roles = operator.affine(value as Parameters, input === 1);
    if (roles) return { input, layout, ...roles };
  }
  return undefined;
}

function checkDivisor<T extends number | bigint>(divisor: T): T {
  // `==`, because 0 and 0n are both meant.
  if (divisor == 0) {
    throw new OptionError("an integer is divided by zero");
  }
  return divisor;
}

/** `a` to the power of `b` as onnxruntime computes it for integers. */
function integerPower(a: number, b: number): number {
  return Math.trunc(a ** b);
}

const add: Arithmetic = {
  float32: addLoops,
  float: (a, b) => a + b,
  integer: (a, b) => a + b,
  bigint: (a, b) => a + b,
  affine: (constant) => ({ factors: undefined, summands: constant }),
};

const subtract: Arithmetic = {
  float32: subtractLoops,
  float: (a, b) => a - b,
  integer: (a, b) => a - b,
  bigint: (a, b) => a - b,
  affine: (constant, isFirst) =>
    isFirst
      // c - x = x * -1 + c
      ? { factors: constant.map(() => -1), summands: constant }
      : { factors: undefined, summands: constant.map((value) => -value) },
};

const multiply: Arithmetic = {
  float32: multiplyLoops,
  float: (a, b) => a * b,
  integer: Math.imul,
  bigint: (a, b) => a * b,
  affine: (constant) => ({ factors: constant, summands: undefined }),
};

const divide: Arithmetic = {
  float32: divideLoops,
  float: (a, b) => a / b,
  integer: (a, b) => Math.trunc(a / checkDivisor(b)),
  bigint: (a, b) => a / checkDivisor(b),
  mayFail: true,
};

/** The first opset where Pow's exponent may have another type. */
const POW_TYPES_OPSET = 12;

const power: Operator = {
  since: 1,
  inputs: [2, 2],
  load(node) {
    const align = alignment(node);
    return (inputs) => {
      const a = inputs.get(0);
      const given = inputs.get(1);
      if (node.opset < POW_TYPES_OPSET) commonType(node, [a, given]);
      for (const { type } of [a, given]) {
        if (!isNumeric(type)) {
          failFormat(node, `the operator does not take ${type}`);
        }
      }
      const b = { ...given, dims: align(a.dims, given.dims) };
      const dims = broadcastDims(a.dims, b.dims);
      checkSize(a.type, dims);
      const outputs = [{ type: a.type, dims }];
      const isWideResult = a.type === "int64" || a.type === "uint64";
      const isFloat32 = [a, b].every((each) =>
        widened(each).type === "float32"
      );
      const row = rowOf((x: number | bigint, y: number | bigint) => {
        const result = isFloat(a.type)
          ? Number(x) ** Number(y)
          : integerPower(Number(x), Number(y));
        return isWideResult ? toBigInt(result) : result;
      });
      const loops = isFloat32 ? powerLoops : undefined;
      const run = rows(node, a.dims, b.dims, dims, row, loops);
      const square = rows(node, dims, dims, dims, row, multiplyLoops);
      return {
        outputs,
        run: throughFloat32([a, b], outputs, (ins, outs) => {
          const [x, exponent] = ins;
          // What most models have; the product is exact in float64.
          const isSquare = isFloat32 && exponent!.length === 1 &&
            exponent![0] === 2 && x!.length === outs[0]!.length;
          if (isSquare) square([x, x], outs);
          else run(ins, outs);
        }),
        reuse: reusable([a, b], a.type, dims),
      };
    };
  },
};

/** The nearest 64-bit integer toward zero; 0 for NaN. */
export function toBigInt(value: number): bigint {
  if (Number.isNaN(value)) return 0n;
  if (value >= 2 ** 63) return 2n ** 63n - 1n;
  if (value <= -(2 ** 63)) return -(2n ** 63n);
  return BigInt(Math.trunc(value));
}

type Predicate = (a: number | bigint, b: number | bigint) => boolean;

/** A comparison or logic, which gives `bool`. */
function predicate(
  compare: Predicate,
  since: number,
  allowed: (type: OnnxType) => boolean,
): Operator {
  const row = rowOf((a, b) => compare(a, b) ? 1 : 0);
  return {
    since,
    inputs: [2, 2],
    load(node) {
      const align = alignment(node);
      return (inputs) => {
        const a = inputs.get(0);
        const given = inputs.get(1);
        commonType(node, [a, given], allowed);
        const b = { ...given, dims: align(a.dims, given.dims) };
        const dims = broadcastDims(a.dims, b.dims);
        checkSize("bool", dims);
        const outputs = [{ type: "bool" as const, dims }];
        return {
          outputs,
          run: throughFloat32(
            [a, b],
            outputs,
            rows(node, a.dims, b.dims, dims, row),
          ),
          reuse: reusable([a, b], "bool", dims),
        };
      };
    },
  };
}

const isAny = (): boolean => true;
const isBool = (type: OnnxType): boolean => type === "bool";

/** The same operator between all inputs, from the left. */
function variadic(operator: Arithmetic, mean = false): Operator {
  return {
    since: 1,
    inputs: [1, Infinity],
    load: (node) => (inputs) => {
      const operands = Array.from(
        { length: inputs.length },
        (_, i) => inputs.get(i),
      );
      const type = commonType(
        node,
        operands,
        operator.integer ? isNumeric : isFloat,
      );
      const dims = broadcastDims(...operands.map(({ dims }) => dims));
      if (node.opset < BROADCAST_MAX_OPSET) {
        for (const each of operands) {
          if (
            countOf(each.dims) !== countOf(dims) ||
            each.dims.length !== dims.length
          ) {
            failShape(
              node,
              `expected inputs of one shape, got [${dims.join(", ")}] and [${
                each.dims.join(", ")
              }]`,
            );
          }
        }
      }
      const count = checkSize(type, dims);
      return foldLeft(
        node,
        operator,
        type,
        operands,
        dims,
        mean ? operands.length : 0,
        count,
      );
    },
  };
}

function foldLeft(
  node: OperatorNode,
  operator: Arithmetic,
  type: OnnxType,
  operands: readonly Spec[],
  dims: readonly number[],
  divisor: number,
  count: number,
): Outcome {
  const outputs = [{ type, dims }];
  const how = loopsOf(operator, type);
  // The first step takes two operands, the others go on in the output.
  const [a, b, ...others] = operands;
  const first = b
    ? rows(node, a!.dims, b.dims, dims, ...how)
    : rows(node, a!.dims, a!.dims, dims, rowOf((x: number | bigint) => x));
  const rest = others.map((each) => rows(node, dims, each.dims, dims, ...how));
  return {
    outputs,
    run: throughFloat32(operands, outputs, (ins, outs) => {
      const y = outs[0]!;
      first([ins[0], b ? ins[1] : ins[0]], outs);
      rest.forEach((run, i) => run([y, ins[i + 2]], outs));
      if (divisor > 0 && y instanceof Float32Array) {
        divideLoops.second(y, Float32Array.of(divisor), 0, y, 0, count);
      } else if (divisor > 0) {
        for (let i = 0; i < count; i++) y[i] = (y[i] as number) / divisor;
      }
    }),
  };
}

// Of equal ones, such as -0 and 0, the first, or the one that is not the same for
// a whole row, as in onnxruntime; NaN stays.
const lesser: Arithmetic = {
  takesRowFirst: true,
  float32: lesserLoops,
  float: lesserOf,
  integer: Math.min,
  bigint: (a, b) => a < b ? a : b,
};

const greater: Arithmetic = {
  takesRowFirst: true,
  float32: greaterLoops,
  float: greaterOf,
  integer: Math.max,
  bigint: (a, b) => a > b ? a : b,
};

const where: Operator = {
  since: 9,
  inputs: [3, 3],
  load: (node) => (inputs) => {
    const condition = inputs.get(0);
    if (condition.type !== "bool") {
      failFormat(node, `expected a condition of bool, got ${condition.type}`);
    }
    const branches = [inputs.get(1), inputs.get(2)];
    const type = commonType(node, branches);
    const all = [condition, ...branches].map(({ dims }) => dims);
    const dims = broadcastDims(...all);
    checkSize(type, dims);
    const nest = nestOf(dims, all.map((each) => broadcastStrides(each, dims)));
    const last = nest.outer.length;
    const [cs, as, bs] = nest.strides.map((strides) => strides[last]!);
    return {
      outputs: [{ type, dims }],
      run([condition, a, b], [y]) {
        const target = y as { [index: number]: number | bigint };
        forEachRow(nest, (to, from) => {
          let [ci, ai, bi] = from as [number, number, number];
          for (let i = 0; i < nest.inner; i++) {
            target[to + i] = condition![ci] ? a![ai]! : b![bi]!;
            ci += cs!;
            ai += as!;
            bi += bs!;
          }
        });
      },
    };
  },
};

/** The operators; marked, so that bundlers can leave them out. */
export const BINARY: OperatorTable = /* @__PURE__ */ (() => ({
  Add: arithmetic(add),
  And: predicate((a, b) => Boolean(a && b), 1, isBool),
  Div: arithmetic(divide),
  Equal: predicate((a, b) => a === b, 1, isAny),
  Greater: predicate((a, b) => a > b, 1, isNumeric),
  GreaterOrEqual: predicate((a, b) => a >= b, 12, isNumeric),
  Less: predicate((a, b) => a < b, 1, isNumeric),
  LessOrEqual: predicate((a, b) => a <= b, 12, isNumeric),
  Max: variadic(greater),
  Mean: variadic({ float32: addLoops, float: (a, b) => a + b }, true),
  Min: variadic(lesser),
  Mul: arithmetic(multiply),
  Or: predicate((a, b) => Boolean(a || b), 1, isBool),
  Pow: power,
  Sub: arithmetic(subtract),
  Sum: variadic({ float32: addLoops, float: (a, b) => a + b }),
  Where: where,
  Xor: predicate((a, b) => Boolean(a) !== Boolean(b), 1, isBool),
}))();
