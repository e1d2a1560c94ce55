/**
 * Tensors as bytes and as base64, for saved states.
 *
 * @module
 */

import { HOST_IS_LITTLE_ENDIAN } from "../bytes.ts";
import { FormatError } from "../errors.ts";
import { isObject, type JsonObject } from "../layer/keras_object.ts";
import {
  bytesPerElement,
  createData,
  elementCount,
  type ElementType,
  isElementType,
  type Tensor,
} from "../tensor.ts";

/** The error for what cannot be read. */
export function malformed(reason: string, cause?: unknown): FormatError {
  return new FormatError(
    `Cannot read a training state: ${reason}`,
    cause === undefined ? {} : { cause },
  );
}

/** What the header says of a tensor. */
export interface Description {
  /** The element type. */
  readonly type: ElementType;
  /** The extents. */
  readonly dims: readonly number[];
}

/** What the header says of a tensor that is saved. */
export function describe({ type, dims }: Tensor): JsonObject {
  return { type, dims: [...dims] };
}

/**
 * Reads a description; its size waits for those who know how much there is.
 *
 * @throws {FormatError} If it is none.
 */
export function readDescription(value: unknown): Description {
  if (
    !isObject(value) || !isElementType(value.type) ||
    !Array.isArray(value.dims) ||
    !value.dims.every((e) => Number.isSafeInteger(e) && e >= 0)
  ) throw malformed("a tensor has no valid type and dims");
  return { type: value.type, dims: value.dims };
}

/**
 * How many bytes a described tensor takes.
 *
 * @throws {FormatError} If they are beyond what numbers can count.
 */
export function byteLength({ type, dims }: Description): number {
  try {
    return elementCount(dims) * bytesPerElement(type);
  } catch (error) {
    throw malformed("a tensor is too large", error);
  }
}

/**
 * Turns the bytes of a machine's elements into little-endian ones, or back, in
 * place: each element's bytes around, if the machine is a big-endian one.
 *
 * @param bytes The bytes of whole elements.
 * @param size How many bytes an element has.
 * @param hostIsLittle Whether the machine is little-endian; for tests.
 */
export function swapToLittle(
  bytes: Uint8Array,
  size: number,
  hostIsLittle: boolean = HOST_IS_LITTLE_ENDIAN,
): void {
  if (hostIsLittle) return;
  for (let i = 0; i < bytes.length; i += size) {
    bytes.subarray(i, i + size).reverse();
  }
}

/** The elements as little-endian bytes, NaN payloads included. */
export function bytesOf({ type, data }: Tensor): Uint8Array {
  const { buffer, byteOffset, byteLength } = data;
  const bytes = new Uint8Array(buffer, byteOffset, byteLength).slice();
  swapToLittle(bytes, bytesPerElement(type));
  return bytes;
}

/** The tensor of as many bytes as its description says. */
export function tensorOf(
  { type, dims }: Description,
  bytes: Uint8Array,
): Tensor {
  const size = bytesPerElement(type);
  const data = createData(type, bytes.length / size);
  const own = new Uint8Array(data.buffer);
  own.set(bytes);
  swapToLittle(own, size);
  return { type, dims: [...dims], data };
}

/** `String.fromCharCode` takes so many arguments everywhere. */
const CHUNK = 1 << 13;

/** Bytes as base64 text. */
export function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += CHUNK) {
    text += String.fromCharCode(...bytes.subarray(i, i + CHUNK));
  }
  return btoa(text);
}

/**
 * The bytes of a base64 text.
 *
 * @param text The text.
 * @param length How many bytes there must be; checked before any is decoded.
 *
 * @throws {FormatError} If it is anything else.
 */
export function fromBase64(text: unknown, length: number): Uint8Array {
  if (typeof text !== "string" || text.length !== Math.ceil(length / 3) * 4) {
    throw malformed("a tensor has not as much data as its dims say");
  }
  let binary: string;
  try {
    binary = atob(text);
  } catch (error) {
    throw malformed("a tensor's data is not base64", error);
  }
  if (binary.length !== length) {
    throw malformed("a tensor has not as much data as its dims say");
  }
  return Uint8Array.from(binary, (char) => char.charCodeAt(0));
}
