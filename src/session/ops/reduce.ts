/**
 * Operators that reduce axes to one value.
 *
 * Floating-point elements are summed in float64 and rounded once: n additions
 * are within n times 2^-53 of the sum of the magnitudes, which for float32 is
 * below half an ULP unless terms cancel.
 *
 * @module
 */

import { forEachBlock, type Layout, layoutOf } from "../../kernels/layout.ts";
import {
  REDUCE_INPUT_OPSET,
  REDUCE_SUM_INPUT_OPSET,
} from "../../onnx/versions.ts";
import { checkSize, isFloat } from "../values.ts";
import { throughFloat32 } from "./half.ts";
import {
  axesOf,
  checkAxes,
  commonType,
  failShape,
  type Operator,
  type OperatorTable,
} from "./operator.ts";
import { isNumeric } from "./unary.ts";

interface Reduction<T> {
  /** What an empty list gives; undefined if it gives nothing. */
  readonly start: T;
  readonly step: (total: T, x: T) => T;
  /** What is done with the total of so many elements. */
  readonly end?: (total: T, count: number) => T;
}

/** One total per result. */
interface Totals<T> {
  [index: number]: T;
  readonly length: number;
  fill(value: T): unknown;
}

interface ReductionRules {
  readonly number: Reduction<number>;
  /** On integers of at most 32 bits, if that differs. */
  readonly integer?: Reduction<number>;
  readonly bigint?: Reduction<bigint>;
  /** Whether there must be an element. */
  readonly nonEmpty?: boolean;
}

function reduction(
  { number, integer, bigint, nonEmpty }: ReductionRules,
  inputOpset = REDUCE_INPUT_OPSET,
): Operator {
  return {
    since: 1,
    inputs: [1, 2],
    load(node) {
      const axesIn = axesOf(node, inputOpset);
      const keepdims = node.attributes.flag("keepdims", true);
      const noop = node.attributes.flag("noop_with_empty_axes", false);
      return (inputs) => {
        const x = inputs.get(0);
        const type = commonType(
          node,
          [x],
          bigint ? isNumeric : isFloat,
        );
        const rank = x.dims.length;
        const given = axesIn(inputs) ?? [];
        const axes = given.length > 0
          ? checkAxes(node, given, rank)
          : noop
          ? []
          : x.dims.map((_, d) => d);
        const kept = x.dims.flatMap((_, d) => axes.includes(d) ? [] : [d]);
        const layout = layoutOf(x.dims, kept);
        // Of floats, infinities; integers have no such values.
        const isEmpty = layout.reduced === 0 && layout.channels > 0;
        if (nonEmpty && isEmpty && !isFloat(type)) {
          failShape(node, `the axes [${axes.join(", ")}] have no elements`);
        }
        const dims = x.dims.flatMap((extent, d) =>
          axes.includes(d) ? keepdims ? [1] : [] : [extent]
        );
        checkSize(type, dims);
        const outputs = [{ type, dims }];
        const wide = type === "int64" || type === "uint64";
        const totals = wide
          ? new Array<bigint>(layout.channels)
          : new Float64Array(layout.channels);
        return {
          outputs,
          run: throughFloat32([x], outputs, ([x], [y]) => {
            if (!(totals instanceof Float64Array)) {
              const source = x as BigInt64Array;
              accumulate(source, totals, bigint!, layout);
              totals.forEach((total, i) => y![i] = total);
              return;
            }
            const rule = isFloat(type) ? number : integer ?? number;
            if (rule.step === sum && x instanceof Float32Array) {
              totals.fill(0);
              sumFloat32(x, totals, layout);
              finish(totals, rule, layout);
            } else {
              accumulate(x as ArrayLike<number>, totals, rule, layout);
            }
            (y as Float64Array).set(totals); // integers modulo their range
          }),
        };
      };
    },
  };
}

function accumulate<T extends number | bigint>(
  x: ArrayLike<T>,
  totals: Totals<T>,
  rule: Reduction<T>,
  layout: Layout,
): void {
  const { step } = rule;
  totals.fill(rule.start);
  forEachBlock(layout, (element, parameter, { outer, channels, inner }) => {
    const last = parameter + channels;
    let i = element;
    for (let o = 0; o < outer; o++) {
      for (let c = parameter; c < last; c++) {
        let total = totals[c]!;
        for (const stop = i + inner; i < stop; i++) total = step(total, x[i]!);
        totals[c] = total;
      }
    }
  });
  finish(totals, rule, layout);
}

function finish<T extends number | bigint>(
  totals: Totals<T>,
  { end }: Reduction<T>,
  layout: Layout,
): void {
  if (!end) return;
  for (let c = 0; c < totals.length; c++) {
    totals[c] = end(totals[c]!, layout.reduced);
  }
}

/** Sums in four parts, so that additions need not wait for each other. */
function sumFloat32(
  x: Float32Array,
  totals: Float64Array,
  layout: Layout,
): void {
  forEachBlock(layout, (element, parameter, { outer, channels, inner }) => {
    const last = parameter + channels;
    let i = element;
    for (let o = 0; o < outer; o++) {
      if (inner === 1) {
        for (let c = parameter; c < last; c++, i++) totals[c]! += x[i]!;
        continue;
      }
      for (let c = parameter; c < last; c++) {
        const stop = i + inner;
        let a = 0;
        let b = 0;
        let d = 0;
        let e = 0;
        for (; i + 4 <= stop; i += 4) {
          a += x[i]!;
          b += x[i + 1]!;
          d += x[i + 2]!;
          e += x[i + 3]!;
        }
        for (; i < stop; i++) a += x[i]!;
        totals[c]! += (a + b) + (d + e);
      }
    }
  });
}

const sum = (total: number, x: number): number => total + x;
const wideSum = (total: bigint, x: bigint): bigint => total + x;

/** The operators; marked, so that bundlers can leave them out. */
export const REDUCTIONS: OperatorTable = /* @__PURE__ */ (() => ({
  ReduceMax: reduction({
    // Starts below everything; NaN stays, as Math.max has it.
    number: { start: -Infinity, step: Math.max },
    bigint: { start: -(2n ** 63n), step: (a, b) => a > b ? a : b },
    nonEmpty: true,
  }),
  ReduceMean: reduction({
    number: { start: 0, step: sum, end: (total, count) => total / count },
    // Towards zero, and 0 of nothing, as in onnxruntime.
    integer: {
      start: 0,
      step: sum,
      end: (total, count) => count === 0 ? 0 : Math.trunc(total / count),
    },
    bigint: {
      start: 0n,
      step: wideSum,
      end: (total, count) => count === 0 ? 0n : total / BigInt(count),
    },
  }),
  ReduceMin: reduction({
    number: { start: Infinity, step: Math.min },
    bigint: { start: 2n ** 64n, step: (a, b) => a < b ? a : b },
    nonEmpty: true,
  }),
  ReduceProd: reduction({
    number: { start: 1, step: (total, x) => total * x },
    integer: { start: 1, step: Math.imul },
    bigint: { start: 1n, step: (total, x) => BigInt.asIntN(64, total * x) },
  }),
  ReduceSum: reduction({
    number: { start: 0, step: sum },
    bigint: { start: 0n, step: wideSum },
  }, REDUCE_SUM_INPUT_OPSET),
  ReduceSumSquare: reduction({
    number: { start: 0, step: (total, x) => total + x * x },
    integer: { start: 0, step: (total, x) => (total + Math.imul(x, x)) | 0 },
    bigint: { start: 0n, step: (total, x) => total + x * x },
  }),
}))();
