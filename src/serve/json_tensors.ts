/**
 * Tensors as the JSON of the Open Inference Protocol v2.
 *
 * JSON has no NaN and no infinities: in both directions they are the strings
 * "NaN", "Infinity" and "-Infinity", as protobuf's JSON has them. Every finite
 * number is written with the digits that give its bits again, -0 included.
 *
 * @see https://github.com/kserve/open-inference-protocol
 *
 * @module
 */

import {
  elementTypeNamed,
  type OnnxData,
  type OnnxType,
} from "../onnx/element_types.ts";
import { isObject } from "../layer/keras_object.ts";
import type { SessionOutput, SessionTensor } from "../session/types.ts";
import { RequestError } from "./request_error.ts";

/** An element type that JSON can carry, by the protocol's name. */
interface JsonType {
  readonly type: OnnxType;
  /** The element, or undefined if the value is none of this type. */
  read(value: unknown): number | bigint | undefined;
}

/** The numbers that JSON has not. */
const SPECIAL: ReadonlyMap<unknown, number> = new Map([
  ["NaN", NaN],
  ["Infinity", Infinity],
  ["-Infinity", -Infinity],
]);

function readDouble(value: unknown): number | undefined {
  if (typeof value !== "number") return SPECIAL.get(value);
  // JSON.parse makes an infinity of 1e999.
  return Number.isFinite(value) ? value : undefined;
}

/** A finite number beyond float32 would become an infinity in silence. */
function readSingle(value: unknown): number | undefined {
  const number = readDouble(value);
  if (number === undefined) return undefined;
  const single = Math.fround(number);
  return Number.isFinite(number) && !Number.isFinite(single)
    ? undefined
    : single;
}

function integer(type: OnnxType, bits: number, signed: boolean): JsonType {
  const least = signed ? -(2 ** (bits - 1)) : 0;
  const most = 2 ** (signed ? bits - 1 : bits) - 1;
  return {
    type,
    read(value) {
      // Beyond 2^53, JSON.parse has rounded already.
      if (!Number.isSafeInteger(value)) return undefined;
      const number = value as number;
      if (number < least || number > most) return undefined;
      return bits === 64 ? BigInt(number) : number;
    },
  };
}

const TYPES: Readonly<Record<string, JsonType>> = {
  BOOL: {
    type: "bool",
    read: (value) => typeof value === "boolean" ? Number(value) : undefined,
  },
  UINT8: integer("uint8", 8, false),
  UINT16: integer("uint16", 16, false),
  UINT32: integer("uint32", 32, false),
  UINT64: integer("uint64", 64, false),
  INT8: integer("int8", 8, true),
  INT16: integer("int16", 16, true),
  INT32: integer("int32", 32, true),
  INT64: integer("int64", 64, true),
  FP32: { type: "float32", read: readSingle },
  FP64: { type: "float64", read: readDouble },
};
const NAMES = new Map(
  Object.entries(TYPES).map(([name, { type }]) => [type, name]),
);

/** More dimensions than any operator has a use for. */
const MOST_DIMENSIONS = 32;

/**
 * The protocol's name of an element type; undefined if JSON has no form of it,
 * as of 16-bit floats.
 */
export function datatypeOf(type: OnnxType): string | undefined {
  return NAMES.get(type);
}

/** A value from a request, short enough for an error. */
function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

function shapeOf(what: string, shape: unknown): number[] {
  const isShape = Array.isArray(shape) && shape.length <= MOST_DIMENSIONS &&
    shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0);
  if (isShape) return shape;
  throw new RequestError(
    400,
    `Cannot use the shape of ${what}: expected a list of at most ${MOST_DIMENSIONS} non-negative integers, got ${
      show(shape)
    }`,
  );
}

/** The elements in row-major order: flat as they are, or nested by the shape. */
function flatten(
  what: string,
  data: unknown,
  shape: readonly number[],
): readonly unknown[] {
  const isNested = Array.isArray(data) && data.some(Array.isArray);
  if (Array.isArray(data) && !isNested) return data;
  const flat: unknown[] = [];
  const add = (part: unknown, depth: number): void => {
    if (!Array.isArray(part) || part.length !== shape[depth]) {
      throw new RequestError(
        400,
        `Cannot use the data of ${what}: expected a list of numbers, or lists in lists as [${shape}] has them, got ${
          show(part)
        } at depth ${depth}`,
      );
    }
    if (depth === shape.length - 1) {
      for (const element of part) flat.push(element);
    } else {
      for (const inner of part) add(inner, depth + 1);
    }
  };
  add(data, 0);
  return flat;
}

/**
 * Reads one of a request's `inputs`.
 *
 * @returns Its name and the tensor.
 *
 * @throws {RequestError} 400 if it is not what the protocol says.
 */
export function readTensor(input: unknown): [string, SessionTensor] {
  if (!isObject(input) || typeof input.name !== "string") {
    throw new RequestError(
      400,
      `Cannot use an input: expected {"name", "shape", "datatype", "data"}, got ${
        show(input)
      }`,
    );
  }
  const { name, datatype } = input;
  const what = `input "${name}"`;
  if (typeof datatype !== "string" || !Object.hasOwn(TYPES, datatype)) {
    throw new RequestError(
      400,
      `Cannot use ${what}: expected the datatype ${
        Object.keys(TYPES).join(", ")
      }, got ${show(datatype)}`,
    );
  }
  const { type, read } = TYPES[datatype]!;
  const dims = shapeOf(what, input.shape);
  const elements = flatten(what, input.data, dims);
  const count = dims.reduce((a, b) => a * b, 1);
  if (elements.length !== count) {
    throw new RequestError(
      400,
      `Cannot use ${what}: expected ${count} elements for the shape [${dims}], got ${elements.length}`,
    );
  }
  const data = new (elementTypeNamed(type).Data)(count);
  for (let i = 0; i < count; i++) {
    const element = read(elements[i]);
    if (element === undefined) {
      throw new RequestError(
        400,
        `Cannot use ${what}: expected ${datatype}, got ${
          show(elements[i])
        } as element ${i}`,
      );
    }
    data[i] = element;
  }
  return [name, { type, dims, data }];
}

/** The digits of an element that give its bits again. */
function formatElement(value: number | bigint): string {
  if (typeof value === "bigint" || Number.isFinite(value)) {
    return Object.is(value, -0) ? "-0" : String(value);
  }
  return `"${value}"`;
}

/** A million short strings at once would take more memory than all else. */
const CHUNK = 4096;

function formatData(type: OnnxType, data: OnnxData): string {
  const format = type === "bool"
    ? (value: number | bigint) => String(value !== 0)
    : formatElement;
  const chunks: string[] = [];
  for (let from = 0; from < data.length; from += CHUNK) {
    const texts: string[] = [];
    const end = Math.min(from + CHUNK, data.length);
    for (let i = from; i < end; i++) texts.push(format(data[i]!));
    chunks.push(texts.join(","));
  }
  return `[${chunks.join(",")}]`;
}

/**
 * Writes one of a response's `outputs`.
 *
 * @returns The JSON.
 *
 * @throws {RequestError} 400 if JSON has no form of its elements.
 */
export function writeTensor(
  name: string,
  { type, dims, data }: SessionOutput,
): string {
  const datatype = datatypeOf(type);
  if (datatype === undefined) {
    throw new RequestError(
      400,
      `Cannot write output "${name}": JSON has no form of ${type}; leave it away by naming others in "outputs"`,
    );
  }
  return `{"name":${
    JSON.stringify(name)
  },"shape":[${dims}],"datatype":"${datatype}","data":${
    formatData(type, data)
  }}`;
}
