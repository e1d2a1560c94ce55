/**
 * The element types of ONNX tensors: numbers in the file, names as
 * onnxruntime spells them, sizes and arrays.
 *
 * @see https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
 *
 * @module
 */

import type { TensorField } from "./schema_fields.ts";

/** The name of an element type whose elements have whole bytes. */
export type OnnxType =
  | "float32"
  | "uint8"
  | "int8"
  | "uint16"
  | "int16"
  | "int32"
  | "int64"
  | "bool"
  | "float16"
  | "float64"
  | "uint32"
  | "uint64"
  | "bfloat16";

/** The elements of a tensor; 16-bit floats as bits, `bool` as 0 and 1. */
export type OnnxData =
  | Float32Array
  | Float64Array
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** The arrays of {@linkcode OnnxData}. */
interface DataConstructor {
  new (buffer: ArrayBuffer): OnnxData;
  new (length: number): OnnxData;
  readonly BYTES_PER_ELEMENT: number;
}

/** One element type. */
export interface ElementTypeInfo {
  readonly name: OnnxType;
  /** Its `TensorProto.DataType`. */
  readonly code: number;
  readonly Data: DataConstructor;
  /** The field of `TensorProto` that holds its elements if `raw_data` does not. */
  readonly typedField: keyof typeof TensorField;
}

/** All of them; strings, complex numbers and those below 8 bits are no weights. */
const TYPES: readonly ElementTypeInfo[] = [
  { name: "float32", code: 1, Data: Float32Array, typedField: "floatData" },
  { name: "uint8", code: 2, Data: Uint8Array, typedField: "int32Data" },
  { name: "int8", code: 3, Data: Int8Array, typedField: "int32Data" },
  { name: "uint16", code: 4, Data: Uint16Array, typedField: "int32Data" },
  { name: "int16", code: 5, Data: Int16Array, typedField: "int32Data" },
  { name: "int32", code: 6, Data: Int32Array, typedField: "int32Data" },
  { name: "int64", code: 7, Data: BigInt64Array, typedField: "int64Data" },
  { name: "bool", code: 9, Data: Uint8Array, typedField: "int32Data" },
  { name: "float16", code: 10, Data: Uint16Array, typedField: "int32Data" },
  { name: "float64", code: 11, Data: Float64Array, typedField: "doubleData" },
  { name: "uint32", code: 12, Data: Uint32Array, typedField: "uint64Data" },
  { name: "uint64", code: 13, Data: BigUint64Array, typedField: "uint64Data" },
  { name: "bfloat16", code: 16, Data: Uint16Array, typedField: "int32Data" },
];

// Marked pure, so that bundlers leave them out where nothing asks for them.
const BY_CODE = /* @__PURE__ */ new Map(
  /* @__PURE__ */ TYPES.map((type) => [type.code, type]),
);
const BY_NAME = /* @__PURE__ */ new Map(
  /* @__PURE__ */ TYPES.map((type) => [type.name, type]),
);

/** The type with a `TensorProto.DataType`; undefined if it is not one of ours. */
export function elementTypeOf(code: number): ElementTypeInfo | undefined {
  return BY_CODE.get(code);
}

/** The type with a name. */
export function elementTypeNamed(name: OnnxType): ElementTypeInfo {
  return BY_NAME.get(name)!;
}
