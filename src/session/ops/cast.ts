/**
 * Cast and CastLike: another element type.
 *
 * @module
 */

import { UnsupportedError } from "../../errors.ts";
import {
  elementTypeOf,
  type OnnxData,
  type OnnxType,
} from "../../onnx/element_types.ts";
import { checkSize, isFloat, isWide } from "../values.ts";
import { throughFloat32 } from "./half.ts";
import {
  failFormat,
  type Inputs,
  type Operator,
  type OperatorNode,
  type OperatorTable,
  type Outcome,
} from "./operator.ts";

/** The first opset where the type is a number; before, it is a name. */
const NUMBER_OPSET = 6;

/** Opset 1's names of types that have numbers of their own. */
const NAMES: Readonly<Record<string, number>> = {
  FLOAT: 1,
  UINT8: 2,
  INT8: 3,
  UINT16: 4,
  INT16: 5,
  INT32: 6,
  INT64: 7,
  BOOL: 9,
  FLOAT16: 10,
  DOUBLE: 11,
  UINT32: 12,
  UINT64: 13,
};

function targetType(node: OperatorNode): OnnxType {
  const { attributes } = node;
  const name = node.opset < NUMBER_OPSET ? attributes.string("to") : undefined;
  const code = node.opset < NUMBER_OPSET
    ? NAMES[name?.toUpperCase() ?? ""]
    : attributes.int("to", undefined);
  if (code === undefined) {
    failFormat(node, `expected a type as attribute "to", got ${name}`);
  }
  const type = elementTypeOf(code!);
  if (!type) {
    throw new UnsupportedError(
      `Cannot load ${node.label}: the session has no elements of type ${code}`,
    );
  }
  return type.name;
}

const cast: Operator = {
  since: 1,
  inputs: [1, 1],
  load(node) {
    const to = targetType(node);
    return (inputs) => castTo(inputs, to);
  },
};

const castLike: Operator = {
  since: 15,
  inputs: [2, 2],
  load: () => (inputs) => castTo(inputs, inputs.get(1).type),
};

function castTo(inputs: Inputs, type: OnnxType): Outcome {
  const x = inputs.get(0);
  const { dims, value } = x;
  if (x.type === type) return { outputs: [{ type, dims, value }], view: true };
  checkSize(type, dims);
  const outputs = [{ type, dims }];
  return {
    outputs,
    run: throughFloat32([x], outputs, ([x], [y]) => convert(x!, y!, type)),
  };
}

/** Converts numbers; 16-bit floats come and go as float32. */
function convert(x: OnnxData, y: OnnxData, type: OnnxType): void {
  if (isFloat(type)) {
    const target = y as Float32Array;
    if (isWide(x)) {
      for (let i = 0; i < x.length; i++) target[i] = Number(x[i]);
    } else target.set(x as Float32Array);
    return;
  }
  const toElement = isWide(y) ? wideElement(type, isWide(x)) : element(type);
  const target = y as { [index: number]: number | bigint };
  for (let i = 0; i < x.length; i++) target[i] = toElement(x[i]!);
}

type Convert = (x: number | bigint) => number | bigint;

/**
 * To an integer of at most 32 bits or to `bool`.
 *
 * Floats lose their fraction; what is then outside of 32 bits becomes the
 * nearest end of the range and NaN 0, as WebAssembly has it, since ONNX leaves
 * it open. Integers wrap.
 */
function element(type: OnnxType): Convert {
  if (type === "bool") return (x) => x == 0 ? 0 : 1;
  const [low, high] = type === "uint32"
    ? [0, 2 ** 32 - 1]
    : [-(2 ** 31), 2 ** 31 - 1];
  return (x) => {
    if (typeof x === "bigint") return Number(BigInt.asIntN(32, x));
    if (Number.isInteger(x) && Math.abs(x) < 2 ** 31) return x;
    return Number.isNaN(x) ? 0 : Math.max(low, Math.min(Math.trunc(x), high));
  };
}

/** To a 64-bit integer, by the same rules. */
function wideElement(type: OnnxType, isWideSource: boolean): Convert {
  if (isWideSource) return (x) => x;
  const [low, high] = type === "uint64"
    ? [0n, 2n ** 64n - 1n]
    : [-(2n ** 63n), 2n ** 63n - 1n];
  return (x) => {
    const number = x as number;
    if (Number.isNaN(number)) return 0n;
    if (number >= Number(high)) return high;
    return number <= Number(low) ? low : BigInt(Math.trunc(number));
  };
}

/** The operators. */
export const CASTS: OperatorTable = { Cast: cast, CastLike: castLike };
