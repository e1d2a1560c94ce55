/**
 * Models in a few words, for tests of edits: through onnx-proto, so that they
 * are not made by what is tested.
 *
 * @module
 */

import { type Tensor, tensor } from "../../tensor.ts";
import { DataType } from "../model.ts";
import type onnxProto from "onnx-proto";
import { onnx } from "./onnx_proto.ts";

/** A node; its name is its first output's, behind `n_`. */
export interface NodeSpec {
  readonly op: string;
  readonly in: readonly string[];
  readonly out: readonly string[];
  /** Numbers are integers, except for names that are known to be floats. */
  readonly attributes?: Readonly<
    Record<string, number | readonly number[] | string | Tensor | GraphSpec>
  >;
  readonly domain?: string;
}

/** Extents by name of the value. */
export type Shapes = Readonly<Record<string, readonly (number | string)[]>>;

/** A graph. */
export interface GraphSpec {
  readonly nodes: readonly NodeSpec[];
  readonly constants?: Readonly<Record<string, Tensor | readonly number[]>>;
  readonly inputs?: Shapes;
  readonly outputs: Shapes;
  readonly valueInfo?: Shapes;
}

/** A model. */
export interface ModelSpec extends GraphSpec {
  readonly opset?: number;
  readonly irVersion?: number;
  readonly functions?: readonly {
    readonly name: string;
    readonly inputs: readonly string[];
    readonly outputs: readonly string[];
    readonly nodes: readonly NodeSpec[];
  }[];
}

const FLOAT_ATTRIBUTES = ["alpha", "beta", "epsilon", "momentum"];
const { AttributeType } = onnx.AttributeProto;

function attributeOf(
  name: string,
  value: NonNullable<NodeSpec["attributes"]>[string],
): onnxProto.onnx.IAttributeProto {
  if (typeof value === "string") {
    const s = new TextEncoder().encode(value);
    return { name, s, type: AttributeType.STRING };
  }
  if (typeof value === "number") {
    return FLOAT_ATTRIBUTES.includes(name)
      ? { name, f: value, type: AttributeType.FLOAT }
      : { name, i: value, type: AttributeType.INT };
  }
  if ("type" in value) {
    return { name, t: tensorOf(name, value), type: AttributeType.TENSOR };
  }
  if ("nodes" in value) {
    return { name, g: graphOf(value), type: AttributeType.GRAPH };
  }
  return { name, ints: [...value], type: AttributeType.INTS };
}

function nodeOf(
  { op, in: input, out, attributes = {}, domain }: NodeSpec,
): onnxProto.onnx.INodeProto {
  return {
    opType: op,
    name: `n_${out[0]}`,
    input: [...input],
    output: [...out],
    ...(domain === undefined ? {} : { domain }),
    attribute: Object.entries(attributes).map(([name, value]) =>
      attributeOf(name, value)
    ),
  };
}

function valuesOf(shapes: Shapes, elemType: number) {
  return Object.entries(shapes).map(([name, shape]) => ({
    name,
    type: {
      tensorType: {
        elemType,
        shape: {
          dim: shape.map((extent) =>
            typeof extent === "number"
              ? { dimValue: extent }
              : { dimParam: extent }
          ),
        },
      },
    },
  }));
}

function tensorOf(
  name: string,
  value: Tensor | readonly number[],
): onnxProto.onnx.ITensorProto {
  if (!("type" in value)) {
    return {
      name,
      dims: [value.length],
      dataType: DataType.int64,
      int64Data: [...value],
    };
  }
  const { buffer, byteOffset, byteLength } = value.data;
  return {
    name,
    dims: [...value.dims],
    dataType: DataType[value.type],
    rawData: new Uint8Array(buffer, byteOffset, byteLength),
  };
}

/** The element type of a graph: that of its first constant. */
function elemTypeOf({ constants = {} }: GraphSpec): number {
  for (const value of Object.values(constants)) {
    if ("type" in value) return DataType[value.type];
  }
  return DataType.float32;
}

function graphOf(spec: GraphSpec): onnxProto.onnx.IGraphProto {
  const { nodes, constants = {}, inputs = {}, outputs, valueInfo = {} } = spec;
  const elemType = elemTypeOf(spec);
  return {
    name: "graph",
    node: nodes.map(nodeOf),
    initializer: Object.entries(constants).map(([name, value]) =>
      tensorOf(name, value)
    ),
    input: valuesOf(inputs, elemType),
    output: valuesOf(outputs, elemType),
    valueInfo: valuesOf(valueInfo, elemType),
  };
}

/** The file. */
export function makeModel(spec: ModelSpec): Uint8Array {
  const { opset = 17, irVersion = 8, functions = [] } = spec;
  const file = onnx.ModelProto.encode(onnx.ModelProto.fromObject({
    irVersion,
    opsetImport: [
      { domain: "", version: opset },
      ...(functions.length > 0 ? [{ domain: "local", version: 1 }] : []),
    ],
    graph: graphOf(spec),
    functions: functions.map(({ name, inputs, outputs, nodes }) => ({
      name,
      domain: "local",
      input: [...inputs],
      output: [...outputs],
      node: nodes.map(nodeOf),
      opsetImport: [{ domain: "", version: opset }],
    })),
  })).finish();
  // In Deno, protobufjs gives a Buffer of Node.
  return new Uint8Array(file);
}

/** The inputs of a BatchNormalization, as constants called `name_scale` and so on. */
export function bnConstants(
  name: string,
  channels: number,
  next: () => number,
  type: Tensor["type"] = "float32",
): Record<string, Tensor> {
  const vector = (low: number, high: number): Tensor =>
    tensor(
      Array.from({ length: channels }, () => low + (high - low) * next()),
      [channels],
      type,
    );
  return {
    [`${name}_scale`]: vector(-2, 2),
    [`${name}_B`]: vector(-1, 1),
    [`${name}_mean`]: vector(-2, 2),
    [`${name}_var`]: vector(0.01, 4),
  };
}

/** A BatchNormalization with {@linkcode bnConstants} of its output's name. */
export function bnNode(input: string, output: string): NodeSpec {
  const constants = ["scale", "B", "mean", "var"].map((each) =>
    `${output}_${each}`
  );
  return {
    op: "BatchNormalization",
    in: [input, ...constants],
    out: [output],
    attributes: { epsilon: 1e-3 },
  };
}
