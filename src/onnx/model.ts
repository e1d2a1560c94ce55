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
  writer.integer(1, model.irVersion); // ir_version
  writer.string(2, model.producerName); // producer_name
  writer.message(7, (w) => writeGraph(w, model.graph)); // graph
  for (const opset of model.opsetImport) {
    writer.message(8, (w) => writeOperatorSetId(w, opset)); // opset_import
  }
  for (const info of model.trainingInfo ?? []) {
    writer.message(20, (w) => writeTrainingInfo(w, info)); // training_info
  }
  return writer.finish();
}

function writeOperatorSetId(writer: WireWriter, id: OperatorSetIdProto): void {
  writer.string(1, id.domain); // domain
  writer.integer(2, id.version); // version
}

function writeTrainingInfo(writer: WireWriter, info: TrainingInfoProto): void {
  writer.message(2, (w) => writeGraph(w, info.algorithm)); // algorithm
  for (const { key, value } of info.updateBinding) {
    writer.message(4, (w) => { // update_binding
      w.string(1, key);
      w.string(2, value);
    });
  }
}

function writeGraph(writer: WireWriter, graph: GraphProto): void {
  for (const node of graph.node) {
    writer.message(1, (w) => writeNode(w, node)); // node
  }
  writer.string(2, graph.name); // name
  for (const tensor of graph.initializer) {
    writer.message(5, (w) => writeTensor(w, tensor)); // initializer
  }
  for (const value of graph.input) {
    writer.message(11, (w) => writeValueInfo(w, value)); // input
  }
  for (const value of graph.output) {
    writer.message(12, (w) => writeValueInfo(w, value)); // output
  }
}

/** Writes the fields of a `NodeProto`. */
export function writeNode(writer: WireWriter, node: NodeProto): void {
  for (const name of node.input) writer.string(1, name); // input
  for (const name of node.output) writer.string(2, name); // output
  writer.string(3, node.name); // name
  writer.string(4, node.opType); // op_type
  for (const attribute of node.attribute) {
    writer.message(5, (w) => writeAttribute(w, attribute)); // attribute
  }
  if (node.docString) writer.string(6, node.docString); // doc_string
}

/** `AttributeProto.AttributeType`, as far as it is used. */
const AttributeType = { float: 1, int: 2, tensor: 4, ints: 7 } as const;

/** Writes the fields of an `AttributeProto`. */
export function writeAttribute(
  writer: WireWriter,
  attribute: AttributeProto,
): void {
  writer.string(1, attribute.name); // name
  if ("f" in attribute) {
    writer.float(2, attribute.f); // f
    writer.integer(20, AttributeType.float); // type
  } else if ("i" in attribute) {
    writer.integer(3, attribute.i); // i
    writer.integer(20, AttributeType.int); // type
  } else if ("t" in attribute) {
    writer.message(5, (w) => writeTensor(w, attribute.t)); // t
    writer.integer(20, AttributeType.tensor); // type
  } else {
    writer.integers(8, attribute.ints); // ints
    writer.integer(20, AttributeType.ints); // type
  }
}

/** Writes the fields of a `TensorProto`. */
export function writeTensor(writer: WireWriter, tensor: TensorProto): void {
  writer.integers(1, tensor.dims); // dims
  writer.integer(2, tensor.dataType); // data_type
  writer.string(8, tensor.name); // name
  writer.bytes(9, tensor.rawData); // raw_data
}

/** Writes the fields of a `ValueInfoProto`. */
export function writeValueInfo(
  writer: WireWriter,
  value: ValueInfoProto,
): void {
  writer.string(1, value.name); // name
  writer.message(2, (type) => { // type: TypeProto
    type.message(1, (tensor) => { // tensor_type: TypeProto.Tensor
      tensor.integer(1, value.elemType); // elem_type
      tensor.message(2, (shape) => { // shape: TensorShapeProto
        for (const extent of value.shape) {
          shape.message(1, (dim) => { // dim: TensorShapeProto.Dimension
            if (typeof extent === "number") {
              dim.integer(1, extent); // dim_value
            } else {
              dim.string(2, extent); // dim_param
            }
          });
        }
      });
    });
  });
}
