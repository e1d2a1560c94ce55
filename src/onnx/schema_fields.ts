/**
 * The numbers of fields in ONNX' schema, by the message that has them, as far
 * as Evenkeel reads or writes them. Names are those of the schema in
 * camelCase.
 *
 * @see https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
 *
 * @module
 */

/** `ModelProto`: the whole file. */
export const ModelField = {
  irVersion: 1,
  producerName: 2,
  producerVersion: 3,
  domain: 4,
  modelVersion: 5,
  docString: 6,
  graph: 7,
  opsetImport: 8,
  metadataProps: 14,
  trainingInfo: 20,
  functions: 25,
} as const;

/** `OperatorSetIdProto`. */
export const OpsetField = { domain: 1, version: 2 } as const;

/** `StringStringEntryProto`. */
export const EntryField = { key: 1, value: 2 } as const;

/** `TrainingInfoProto`. */
export const TrainingInfoField = {
  initialization: 1,
  algorithm: 2,
  initializationBinding: 3,
  updateBinding: 4,
} as const;

/** `GraphProto`. */
export const GraphField = {
  node: 1,
  name: 2,
  initializer: 5,
  docString: 10,
  input: 11,
  output: 12,
  valueInfo: 13,
  quantizationAnnotation: 14,
  sparseInitializer: 15,
} as const;

/** `FunctionProto`. */
export const FunctionField = {
  name: 1,
  input: 4,
  output: 5,
  node: 7,
  opsetImport: 9,
  domain: 10,
  attributeProto: 11,
  overload: 13,
} as const;

/** `NodeProto`. */
export const NodeField = {
  input: 1,
  output: 2,
  name: 3,
  opType: 4,
  attribute: 5,
  docString: 6,
  domain: 7,
  overload: 8,
} as const;

/** `AttributeProto`. */
export const AttributeField = {
  name: 1,
  f: 2,
  i: 3,
  s: 4,
  t: 5,
  g: 6,
  floats: 7,
  ints: 8,
  strings: 9,
  graphs: 11,
  type: 20,
  refAttrName: 21,
} as const;

/** `ValueInfoProto`. */
export const ValueField = { name: 1, type: 2 } as const;

/** `TypeProto`. */
export const TypeField = { tensorType: 1 } as const;

/** `TypeProto.Tensor`. */
export const TensorTypeField = { elemType: 1, shape: 2 } as const;

/** `TensorShapeProto`. */
export const ShapeField = { dim: 1 } as const;

/** `TensorShapeProto.Dimension`. */
export const DimensionField = { dimValue: 1, dimParam: 2 } as const;

/** `TensorProto`. */
export const TensorField = {
  dims: 1,
  dataType: 2,
  segment: 3,
  floatData: 4,
  int32Data: 5,
  stringData: 6,
  int64Data: 7,
  name: 8,
  rawData: 9,
  doubleData: 10,
  uint64Data: 11,
  externalData: 13,
  dataLocation: 14,
} as const;

/** `SparseTensorProto`. */
export const SparseTensorField = { values: 1 } as const;

/** `TensorAnnotation`. */
export const AnnotationField = {
  tensorName: 1,
  quantParameterTensorNames: 2,
} as const;
