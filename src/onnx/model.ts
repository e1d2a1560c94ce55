/**
 * The messages of `onnx.proto3` that Evenkeel writes, and their encoding.
 *
 * Names are those of the schema in camelCase. Fields are written in ascending
 * order and repeated integers packed, as serializers made from `onnx.proto3`
 * do: one that knows all our fields gives the same bytes again.
 *
 * @see https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
 *
 * @module
 */

import {
  AttributeField,
  DimensionField,
  EntryField,
  GraphField,
  ModelField,
  NodeField,
  OpsetField,
  ShapeField,
  TensorField,
  TensorTypeField,
  TrainingInfoField,
  TypeField,
  ValueField,
} from "./schema_fields.ts";
import { WireWriter } from "./wire.ts";

/** `TensorProto.DataType`, as far as it is used. */
export const DataType = {
  float32: 1,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  bfloat16: 16,
} as const;

/** One of the values of {@linkcode DataType}. */
export type DataType = typeof DataType[keyof typeof DataType];

/** `TensorProto`: a constant, its elements as little-endian bytes. */
export interface TensorProto {
  readonly name: string;
  readonly dims: readonly number[];
  readonly dataType: DataType;
  readonly rawData: Uint8Array;
}

/** `AttributeProto`: a float, an integer, a list of integers or a tensor. */
export type AttributeProto =
  & { readonly name: string }
  & (
    | { readonly f: number }
    | { readonly i: number }
    | { readonly ints: readonly number[] }
    | { readonly t: TensorProto }
  );

/** `NodeProto`: one call of an operator of the default domain. */
export interface NodeProto {
  readonly name: string;
  readonly opType: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly attribute: readonly AttributeProto[];
  readonly docString?: string | undefined;
}

/** `ValueInfoProto` of a tensor: extents are numbers, or names if dynamic. */
export interface ValueInfoProto {
  readonly name: string;
  readonly elemType: DataType;
  readonly shape: readonly (number | string)[];
}

/** `GraphProto`. */
export interface GraphProto {
  readonly name: string;
  readonly node: readonly NodeProto[];
  readonly initializer: readonly TensorProto[];
  readonly input: readonly ValueInfoProto[];
  readonly output: readonly ValueInfoProto[];
}

/** `StringStringEntryProto`. */
export interface StringStringEntryProto {
  readonly key: string;
  readonly value: string;
}

/** `TrainingInfoProto`, without what only random initial values need. */
export interface TrainingInfoProto {
  readonly algorithm: GraphProto;
  /** An initializer each, and the output of `algorithm` that it becomes. */
  readonly updateBinding: readonly StringStringEntryProto[];
}

/** `OperatorSetIdProto`; the default domain is `""`. */
export interface OperatorSetIdProto {
  readonly domain: string;
  readonly version: number;
}

/** `ModelProto`. */
export interface ModelProto {
  readonly irVersion: number;
  readonly producerName: string;
  readonly graph: GraphProto;
  readonly opsetImport: readonly OperatorSetIdProto[];
  readonly trainingInfo?: readonly TrainingInfoProto[] | undefined;
}

/** The bytes of an ONNX file. */
export function encodeModel(model: ModelProto): Uint8Array<ArrayBuffer> {
  const writer = new WireWriter();
  writer.integer(ModelField.irVersion, model.irVersion);
  writer.string(ModelField.producerName, model.producerName);
  writer.message(ModelField.graph, (w) => writeGraph(w, model.graph));
  for (const opset of model.opsetImport) {
    writer.message(ModelField.opsetImport, (w) => writeOperatorSetId(w, opset));
  }
  for (const info of model.trainingInfo ?? []) {
    writer.message(ModelField.trainingInfo, (w) => writeTrainingInfo(w, info));
  }
  return writer.finish();
}

function writeOperatorSetId(writer: WireWriter, id: OperatorSetIdProto): void {
  writer.string(OpsetField.domain, id.domain);
  writer.integer(OpsetField.version, id.version);
}

function writeTrainingInfo(writer: WireWriter, info: TrainingInfoProto): void {
  writer.message(
    TrainingInfoField.algorithm,
    (w) => writeGraph(w, info.algorithm),
  );
  for (const { key, value } of info.updateBinding) {
    writer.message(TrainingInfoField.updateBinding, (w) => {
      w.string(EntryField.key, key);
      w.string(EntryField.value, value);
    });
  }
}

function writeGraph(writer: WireWriter, graph: GraphProto): void {
  for (const node of graph.node) {
    writer.message(GraphField.node, (w) => writeNode(w, node));
  }
  writer.string(GraphField.name, graph.name);
  for (const tensor of graph.initializer) {
    writer.message(GraphField.initializer, (w) => writeTensor(w, tensor));
  }
  for (const value of graph.input) {
    writer.message(GraphField.input, (w) => writeValueInfo(w, value));
  }
  for (const value of graph.output) {
    writer.message(GraphField.output, (w) => writeValueInfo(w, value));
  }
}

/** Writes the fields of a `NodeProto`. */
export function writeNode(writer: WireWriter, node: NodeProto): void {
  for (const name of node.input) writer.string(NodeField.input, name);
  for (const name of node.output) writer.string(NodeField.output, name);
  writer.string(NodeField.name, node.name);
  writer.string(NodeField.opType, node.opType);
  for (const attribute of node.attribute) {
    writer.message(NodeField.attribute, (w) => writeAttribute(w, attribute));
  }
  if (node.docString) writer.string(NodeField.docString, node.docString);
}

/** `AttributeProto.AttributeType`, as far as it is used. */
const AttributeType = { float: 1, int: 2, tensor: 4, ints: 7 } as const;

/** Writes the fields of an `AttributeProto`. */
export function writeAttribute(
  writer: WireWriter,
  attribute: AttributeProto,
): void {
  writer.string(AttributeField.name, attribute.name);
  if ("f" in attribute) {
    writer.float(AttributeField.f, attribute.f);
    writer.integer(AttributeField.type, AttributeType.float);
  } else if ("i" in attribute) {
    writer.integer(AttributeField.i, attribute.i);
    writer.integer(AttributeField.type, AttributeType.int);
  } else if ("t" in attribute) {
    writer.message(AttributeField.t, (w) => writeTensor(w, attribute.t));
    writer.integer(AttributeField.type, AttributeType.tensor);
  } else {
    writer.integers(AttributeField.ints, attribute.ints);
    writer.integer(AttributeField.type, AttributeType.ints);
  }
}

/** Writes the fields of a `TensorProto`. */
export function writeTensor(writer: WireWriter, tensor: TensorProto): void {
  writer.integers(TensorField.dims, tensor.dims);
  writer.integer(TensorField.dataType, tensor.dataType);
  writer.string(TensorField.name, tensor.name);
  writer.bytes(TensorField.rawData, tensor.rawData);
}

/** Writes the fields of a `ValueInfoProto`. */
export function writeValueInfo(
  writer: WireWriter,
  value: ValueInfoProto,
): void {
  writer.string(ValueField.name, value.name);
  writer.message(ValueField.type, (type) => {
    type.message(TypeField.tensorType, (tensor) => {
      tensor.integer(TensorTypeField.elemType, value.elemType);
      tensor.message(TensorTypeField.shape, (shape) => {
        for (const extent of value.shape) {
          shape.message(ShapeField.dim, (dim) => {
            if (typeof extent === "number") {
              dim.integer(DimensionField.dimValue, extent);
            } else {
              dim.string(DimensionField.dimParam, extent);
            }
          });
        }
      });
    });
  });
}
