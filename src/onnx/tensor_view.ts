/**
 * `TensorProto` in a file: what it says, and its elements when they are
 * asked for.
 *
 * @see https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
 *
 * @module
 */

import { HOST_IS_LITTLE_ENDIAN } from "../bytes.ts";
import { EvenkeelError, FormatError, UnsupportedError } from "../errors.ts";
import {
  type ElementTypeInfo,
  elementTypeOf,
  type OnnxData,
  type OnnxType,
} from "./element_types.ts";
import type { ExternalData } from "./external_data.ts";
import { EntryField, TensorField } from "./schema_fields.ts";
import type { Place } from "./view.ts";
import type { WireField } from "./wire_reader.ts";

/** A tensor in a file. */
export interface TensorView {
  readonly place: Place;
  readonly name: string;
  /** The extents; a file may claim anything, {@linkcode readTensor} checks. */
  readonly dims: readonly number[];
  /** The `TensorProto.DataType`. */
  readonly dataType: number;
  /** Every field that holds elements, in the file's order. */
  readonly dataFields: readonly WireField[];
  /** Where the elements are if in another file: location, offset, length. */
  readonly external: ReadonlyMap<string, string> | undefined;
  /** Every field of the message. */
  readonly fields: readonly WireField[];
}

/** The elements of a tensor, with what they are. */
export interface OnnxTensor {
  /** The element type. */
  readonly type: OnnxType;
  /** The extents, outermost first; empty for a scalar. */
  readonly dims: readonly number[];
  /** The elements in row-major order. */
  readonly data: OnnxData;
}

const EXTERNAL_LOCATION = 1;

/** Decodes a field that is a `StringStringEntryProto`. */
export function decodeEntry(field: WireField): [key: string, value: string] {
  let key = "";
  let value = "";
  for (const each of field.fields()) {
    if (each.number === EntryField.key) key = each.string();
    else if (each.number === EntryField.value) value = each.string();
  }
  return [key, value];
}

/** Decodes a field that is a `TensorProto`; elements are left where they are. */
export function decodeTensor(field: WireField, place: Place): TensorView {
  let name = "";
  let dataType = 0;
  let location = 0;
  const dims: number[] = [];
  const dataFields: WireField[] = [];
  const entries = new Map<string, string>();
  const fields: WireField[] = [];
  for (const each of field.fields()) {
    fields.push(each);
    switch (each.number) {
      case TensorField.dims:
        for (const extent of each.integers()) dims.push(extent);
        break;
      case TensorField.dataType:
        dataType = each.integer();
        break;
      case TensorField.name:
        name = each.string();
        break;
      case TensorField.externalData:
        entries.set(...decodeEntry(each));
        break;
      case TensorField.dataLocation:
        location = each.integer();
        break;
      case TensorField.floatData:
      case TensorField.int32Data:
      case TensorField.stringData:
      case TensorField.int64Data:
      case TensorField.rawData:
      case TensorField.doubleData:
      case TensorField.uint64Data:
        dataFields.push(each);
        break;
    }
  }
  return {
    place,
    name,
    dims,
    dataType,
    dataFields,
    external: location === EXTERNAL_LOCATION ? entries : undefined,
    fields,
  };
}

function fail(tensor: TensorView, problem: string): never {
  throw new FormatError(
    `Cannot read the tensor "${tensor.name}" of the ONNX model: ${problem}`,
  );
}

/** The number of elements that the extents make, checked. */
export function elementCountOf(tensor: TensorView): number {
  let count = 1;
  for (const extent of tensor.dims) {
    if (extent < 0) fail(tensor, `the extents [${tensor.dims}] are negative`);
    count *= extent;
  }
  if (!Number.isSafeInteger(count)) {
    fail(tensor, `the extents [${tensor.dims}] are beyond 2^53 elements`);
  }
  return count;
}

/** The element type; an error if its elements have no whole bytes. */
export function typeOf(tensor: TensorView): ElementTypeInfo {
  const type = elementTypeOf(tensor.dataType);
  if (type) return type;
  throw new UnsupportedError(
    `Cannot read the tensor "${tensor.name}" of the ONNX model: expected numbers of 8 to 64 bits, got elements of type ${tensor.dataType}`,
  );
}

/** An entry of `external_data` that is a number of bytes. */
function externalNumber(
  tensor: TensorView,
  key: string,
): number | undefined {
  const text = tensor.external!.get(key);
  if (text === undefined) return undefined;
  const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(value)) {
    fail(
      tensor,
      `expected a number of bytes as the external data's ${key}, got "${text}"`,
    );
  }
  return value;
}

function readExternal(
  tensor: TensorView,
  bytes: number,
  external: ExternalData | undefined,
): Uint8Array {
  const location = tensor.external!.get("location");
  if (!location) fail(tensor, "its external data has no location");
  const offset = externalNumber(tensor, "offset") ?? 0;
  const length = externalNumber(tensor, "length") ?? bytes;
  if (length !== bytes) {
    fail(
      tensor,
      `expected ${bytes} bytes of external data for [${tensor.dims}], the file says ${length}`,
    );
  }
  if (!external) {
    fail(
      tensor,
      `its elements are in the file "${location}": pass it with the option externalData`,
    );
  }
  try {
    return external(location, offset, length);
  } catch (error) {
    if (!(error instanceof EvenkeelError)) throw error;
    return fail(tensor, error.message);
  }
}

/** Elements from the field that the type prescribes, packed or one by one. */
function readTyped(
  tensor: TensorView,
  { Data, typedField, name }: ElementTypeInfo,
  count: number,
): OnnxData {
  for (const field of tensor.dataFields) {
    if (field.number !== TensorField[typedField]) {
      fail(tensor, `its ${name} elements are in field ${field.number}`);
    }
  }
  // A varint has at least a byte, so that no file can claim more than it has.
  const parts = tensor.dataFields.map((field): ArrayLike<number | bigint> => {
    if (typedField === "floatData") return field.floats();
    if (typedField === "doubleData") return field.doubles();
    return field.bigints();
  });
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length !== count) {
    fail(
      tensor,
      `expected ${count} elements for [${tensor.dims}], found ${length}`,
    );
  }
  const data = new Data(count);
  const wide = data instanceof BigInt64Array || data instanceof BigUint64Array;
  let at = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i++) {
      const value = part[i]!;
      // Both views wrap as two's complement, which is what the file means.
      (data as { [index: number]: number | bigint })[at++] = wide
        ? value
        : Number(value);
    }
  }
  return data;
}

/** The bytes as elements, in memory of their own. */
function fromBytes(bytes: Uint8Array, { Data }: ElementTypeInfo): OnnxData {
  // Not slice, which does not copy a Buffer of Node's.
  const copy = new Uint8Array(bytes);
  const size = Data.BYTES_PER_ELEMENT;
  if (!HOST_IS_LITTLE_ENDIAN && size > 1) {
    for (let at = 0; at < copy.length; at += size) {
      copy.subarray(at, at + size).reverse();
    }
  }
  return new Data(copy.buffer);
}

/**
 * Reads a tensor's elements.
 *
 * @param tensor The tensor.
 * @param external Where elements in other files come from.
 * @returns The elements, in memory of their own.
 *
 * @throws {FormatError} If there are more or fewer elements than the extents
 * say, they are in the wrong field, or in a file that is missing.
 * @throws {UnsupportedError} If they are strings, complex or below 8 bits.
 */
export function readTensor(
  tensor: TensorView,
  external?: ExternalData,
): OnnxTensor {
  const type = typeOf(tensor);
  const count = elementCountOf(tensor);
  const { dims } = tensor;
  const size = count * type.Data.BYTES_PER_ELEMENT;
  if (tensor.fields.some(({ number }) => number === TensorField.segment)) {
    throw new UnsupportedError(
      `Cannot read the tensor "${tensor.name}" of the ONNX model: it is a segment of a larger one`,
    );
  }
  if (tensor.external) {
    const bytes = readExternal(tensor, size, external);
    if (bytes.length !== size) {
      fail(
        tensor,
        `expected ${size} bytes of external data, got ${bytes.length}`,
      );
    }
    return { type: type.name, dims, data: fromBytes(bytes, type) };
  }
  // Of a field that is there twice, the last counts.
  const raw = tensor.dataFields.findLast(({ number }) =>
    number === TensorField.rawData
  );
  if (!raw) {
    return { type: type.name, dims, data: readTyped(tensor, type, count) };
  }
  if (tensor.dataFields.some(({ number }) => number !== TensorField.rawData)) {
    fail(tensor, "its elements are in two fields");
  }
  const bytes = raw.data();
  if (bytes.length !== size) {
    fail(
      tensor,
      `expected ${size} bytes for [${dims}] of ${type.name}, found ${bytes.length}`,
    );
  }
  return { type: type.name, dims, data: fromBytes(bytes, type) };
}
