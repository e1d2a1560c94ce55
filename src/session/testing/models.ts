/**
 * Small models through onnx-proto, which is not ours.
 *
 * @module
 */

import type onnxProto from "onnx-proto";
import {
  elementTypeNamed,
  type OnnxData,
  type OnnxType,
} from "../../onnx/element_types.ts";
import { onnx } from "../../onnx/testing/onnx_proto.ts";

type Attribute = onnxProto.onnx.IAttributeProto;

/** A tensor of a test. */
export interface TestTensor {
  readonly type: OnnxType;
  readonly dims: readonly number[];
  readonly data: OnnxData;
}

/** A node: a float is `{ f }`, all else tells its type by what it is. */
export interface TestNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<
    Record<
      string,
      number | readonly number[] | string | { f: number } | TestTensor
    >
  >;
  readonly domain?: string;
  readonly name?: string;
}

/** A graph's input or output: its type, and its extents if they are told. */
export interface TestValue {
  readonly type: OnnxType;
  readonly dims?: readonly (number | string)[] | undefined;
}

/** A model. */
export interface TestModel {
  readonly nodes: readonly TestNode[];
  readonly inputs?: Readonly<Record<string, TestValue>>;
  readonly outputs: readonly string[];
  readonly initializers?: Readonly<Record<string, TestTensor>>;
  readonly opset?: number;
  readonly irVersion?: number;
  readonly functions?: readonly onnxProto.onnx.IFunctionProto[];
  readonly domains?: readonly string[];
}

/** A tensor of numbers. */
export function values(
  type: OnnxType,
  dims: readonly number[],
  numbers: readonly number[],
): TestTensor {
  const { Data } = elementTypeNamed(type);
  const data = new Data(numbers.length);
  const isWide = data instanceof BigInt64Array ||
    data instanceof BigUint64Array;
  numbers.forEach((value, i) => {
    (data as { [index: number]: number | bigint })[i] = isWide
      ? BigInt(value)
      : value;
  });
  return { type, dims, data };
}

/** A tensor as a message. */
export function tensorProto(
  name: string,
  { type, dims, data }: TestTensor,
): onnxProto.onnx.ITensorProto {
  return {
    name,
    dims: [...dims],
    dataType: elementTypeNamed(type).code,
    rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  };
}

function attributeProto(
  name: string,
  value: NonNullable<TestNode["attributes"]>[string],
): Attribute {
  const { AttributeType } = onnx.AttributeProto;
  if (typeof value === "number") {
    return { name, type: AttributeType.INT, i: value };
  }
  if (typeof value === "string") {
    const s = new TextEncoder().encode(value);
    return { name, type: AttributeType.STRING, s };
  }
  if (Array.isArray(value)) {
    return { name, type: AttributeType.INTS, ints: [...value] };
  }
  if ("f" in value) return { name, type: AttributeType.FLOAT, f: value.f };
  return {
    name,
    type: AttributeType.TENSOR,
    t: tensorProto("", value as TestTensor),
  };
}

/** A node as a message. */
export function nodeProto(node: TestNode): onnxProto.onnx.INodeProto {
  return {
    name: node.name ?? "",
    opType: node.op,
    domain: node.domain ?? "",
    input: [...node.inputs],
    output: [...node.outputs],
    attribute: Object.entries(node.attributes ?? {}).map(([name, value]) =>
      attributeProto(name, value)
    ),
  };
}

function valueProto(
  name: string,
  value: TestValue | undefined,
): onnxProto.onnx.IValueInfoProto {
  if (!value) return { name };
  const elemType = elementTypeNamed(value.type).code;
  const dim = value.dims?.map((extent) =>
    typeof extent === "number" ? { dimValue: extent } : { dimParam: extent }
  );
  return {
    name,
    type: { tensorType: { elemType, ...(dim ? { shape: { dim } } : {}) } },
  };
}

/** The bytes of a model. */
export function modelBytes(model: TestModel): Uint8Array {
  const domains = ["", ...model.domains ?? []];
  return onnx.ModelProto.encode({
    irVersion: model.irVersion ?? 8,
    opsetImport: domains.map((domain) => ({
      domain,
      version: domain === "" ? model.opset ?? 15 : 1,
    })),
    graph: {
      name: "test",
      node: model.nodes.map(nodeProto),
      input: Object.entries(model.inputs ?? {}).map(([name, value]) =>
        valueProto(name, value)
      ),
      output: model.outputs.map((name) => valueProto(name, undefined)),
      initializer: Object.entries(model.initializers ?? {}).map((
        [name, value],
      ) => tensorProto(name, value)),
    },
    functions: [...model.functions ?? []],
  }).finish();
}
