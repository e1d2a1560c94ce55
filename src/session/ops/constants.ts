/**
 * Operators that give what a plan knows: constants and shapes.
 *
 * @module
 */

import { UnsupportedError } from "../../errors.ts";
import type { OnnxData } from "../../onnx/element_types.ts";
import { checkSize, countOf, createArray, type Spec } from "../values.ts";
import {
  failFormat,
  integersOf,
  type Operator,
  type OperatorNode,
  type OperatorTable,
} from "./operator.ts";

/** The value of a Constant, of whichever attribute holds it. */
function constantValue({ attributes, label }: OperatorNode): Spec | undefined {
  const tensor = attributes.tensor("value");
  if (tensor) {
    return { type: tensor.type, dims: tensor.dims, value: tensor.data };
  }
  const floats = attributes.floats("value_floats");
  if (floats) {
    const value = Float32Array.from(floats);
    return { type: "float32", dims: [value.length], value };
  }
  const ints = attributes.bigints("value_ints");
  if (ints) {
    const value = BigInt64Array.from(ints);
    return { type: "int64", dims: [value.length], value };
  }
  const float = attributes.float("value_float", undefined);
  if (float !== undefined) {
    return { type: "float32", dims: [], value: Float32Array.of(float) };
  }
  const int = attributes.int("value_int", undefined);
  if (int !== undefined) {
    return { type: "int64", dims: [], value: BigInt64Array.of(BigInt(int)) };
  }
  for (const name of ["sparse_value", "value_string", "value_strings"]) {
    if (attributes.has(name)) {
      throw new UnsupportedError(
        `Cannot load ${label}: the session has no ${
          name === "sparse_value" ? "sparse tensors" : "texts"
        }`,
      );
    }
  }
  return undefined;
}

const constant: Operator = {
  since: 1,
  inputs: [0, 0],
  load(node) {
    const value = constantValue(node);
    if (!value) failFormat(node, "it has no value");
    return () => ({ outputs: [value] });
  },
};

function int64(values: readonly number[], dims: readonly number[]): Spec {
  return { type: "int64", dims, value: BigInt64Array.from(values, BigInt) };
}

const shape: Operator = {
  since: 1,
  inputs: [1, 1],
  load(node) {
    const start = node.attributes.int("start", 0);
    const end = node.attributes.int("end", undefined);
    return (inputs) => {
      // `slice` counts from the end and clamps as the operator does.
      const dims = inputs.get(0).dims.slice(start, end);
      return { outputs: [int64(dims, [dims.length])] };
    };
  },
};

const size: Operator = {
  since: 1,
  inputs: [1, 1],
  load: () => (inputs) => ({
    outputs: [int64([countOf(inputs.get(0).dims)], [])],
  }),
};

const constantOfShape: Operator = {
  since: 9,
  inputs: [1, 1],
  load(node) {
    const filler = node.attributes.tensor("value");
    if (filler && filler.data.length !== 1) {
      failFormat(node, `expected one value, got ${filler.data.length}`);
    }
    const type = filler?.type ?? "float32";
    const data: OnnxData = filler?.data ?? createArray(type, 1);
    return (inputs) => {
      const dims = integersOf(node, inputs, 0);
      checkSize(type, dims);
      return {
        outputs: [{ type, dims }],
        run: (_, [y]) => (y as Float32Array).fill(data[0] as number),
      };
    };
  },
};

/** The operators. */
export const CONSTANTS: OperatorTable = {
  Constant: constant,
  ConstantOfShape: constantOfShape,
  Shape: shape,
  Size: size,
};
