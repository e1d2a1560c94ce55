/**
 * Relu and Clip: elements between bounds.
 *
 * @module
 */

import type { Bounds } from "../../kernels/types.ts";
import type { OnnxData } from "../../onnx/element_types.ts";
import { countOf, type Spec } from "../values.ts";
import { throughFloat32, widened } from "./half.ts";
import {
  commonType,
  failShape,
  type Operator,
  type OperatorNode,
  type OperatorTable,
  type Outcome,
} from "./operator.ts";
import { elementwise, isNumeric } from "./unary.ts";

/**
 * What bounds float32, or 16-bit floats by way of it.
 *
 * @param node The node.
 * @param x Its input.
 * @param inputs That, and inputs with bounds.
 * @param boundsOf Finds the bounds in a run.
 * @param constant The bounds, if they are known and the type is float32.
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
    clamp: constant,
    run: throughFloat32(inputs, [y], (ins, [y]) =>
      node.kernels().clamp(
        ins[0] as Float32Array,
        y as Float32Array,
        boundsOf(ins),
      )),
  };
}

/** What Relu does where elements are neither float32 nor 16-bit floats. */
const RELU = {
  number: (x: number): number => x < 0 ? 0 : x,
  bigint: (x: bigint): bigint => x < 0n ? 0n : x,
};
const RELU_BOUNDS: Bounds = { low: 0, high: Infinity };

const relu: Operator = {
  since: 1,
  inputs: [1, 1],
  load: (node) => (inputs) => {
    const x = inputs.get(0);
    return widened(x).type === "float32"
      ? clamped(
        node,
        x,
        [x],
        () => RELU_BOUNDS,
        x.type === "float32" ? RELU_BOUNDS : undefined,
      )
      : elementwise(node, inputs, RELU);
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
        // Elements of 16-bit types are bits here.
        const isConstant = type === "float32" &&
          given.every(({ value }) => value !== undefined);
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

/** The operators. */
export const CLAMPS: OperatorTable = { Clip: clip, Relu: relu };
