/**
 * The numbers of TensorFlow.js weights, from their bytes and back.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { castTensor, type Tensor, widen } from "../../tensor.ts";
import {
  fromLittleEndian,
  littleEndianBytes,
  rawType,
} from "../files/raw_tensor.ts";
import type { Quantization, TfjsWeight } from "./manifest.ts";

/** What a weight's numbers are read as; the others are not of a float type. */
export const READ_TYPE = "float32";

/** Two bytes at a time, least significant first. */
function uint16Values(bytes: Uint8Array): Uint16Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Uint16Array.from(
    { length: bytes.length / 2 },
    (_, i) => view.getUint16(2 * i, true),
  );
}

function dequantized(
  bytes: Uint8Array,
  { dtype, scale, min }: Exclude<Quantization, { dtype: "float16" }>,
): Float32Array {
  const stored = dtype === "uint8" ? bytes : uint16Values(bytes);
  // In float64 and rounded once, as TensorFlow.js does.
  return Float32Array.from(stored, (q) => q * scale + min);
}

/**
 * The tensor of a weight.
 *
 * @param weight The weight, with `dtype` float32 or float16.
 * @param bytes Its bytes, a copy that becomes part of the tensor.
 *
 * @throws {FormatError} If it is not of a float type.
 */
export function decodeWeight(
  { name, dtype, dims, quantization }: TfjsWeight,
  bytes: Uint8Array<ArrayBuffer>,
): Tensor {
  if (!isFloat(dtype)) {
    throw new FormatError(
      `Cannot read "${name}": expected float elements, found ${dtype}`,
    );
  }
  if (quantization && quantization.dtype !== "float16") {
    return {
      type: READ_TYPE,
      dims: [...dims],
      data: dequantized(bytes, quantization),
    };
  }
  const raw = rawType(quantization?.dtype ?? dtype)!;
  const stored = {
    type: raw.type,
    dims: [...dims],
    data: fromLittleEndian(raw, bytes),
  };
  return castTensor(stored, READ_TYPE);
}

/** Whether weights of a dtype are numbers that a BatchNormalization can have. */
export function isFloat(dtype: string): boolean {
  return dtype === "float32" || dtype === "float16";
}

/** A weight's new bytes, and how they are quantized. */
export interface EncodedWeight {
  readonly bytes: Uint8Array;
  /** With the scale that fits the new values; undefined without quantization. */
  readonly quantization: Quantization | undefined;
}

/**
 * A scale and least value with which the levels cover some values; 0 has a
 * level of its own if it is among them, as TensorFlow.js' converter sees to.
 */
function quantizationFor(
  values: Float64Array,
  dtype: "uint8" | "uint16",
): { scale: number; min: number } {
  let min = Infinity;
  let max = -Infinity;
  for (const value of values) {
    min = Math.min(min, value);
    max = Math.max(max, value);
  }
  // None, or all the same: no step is needed.
  if (!(min < max)) return { scale: 1, min: values.length > 0 ? min : 0 };
  const levels = dtype === "uint8" ? 0xff : 0xffff;
  const scale = (max - min) / levels;
  return min <= 0 && max >= 0
    ? { scale, min: -Math.round(-min / scale) * scale }
    : { scale, min };
}

/**
 * The bytes of new values in a weight's place: as many as there were.
 *
 * Of a quantized weight, the values are rounded to the nearest of 256 or 65536
 * levels between the least and the greatest.
 *
 * @param weight The weight.
 * @param tensor The values.
 *
 * @throws {FormatError} If a value to be quantized is not finite.
 */
export function encodeWeight(
  { name, dtype, quantization }: TfjsWeight,
  tensor: Tensor,
): EncodedWeight {
  if (!quantization || quantization.dtype === "float16") {
    const raw = rawType(quantization?.dtype ?? dtype)!;
    return {
      bytes: littleEndianBytes(castTensor(tensor, raw.type)),
      quantization,
    };
  }
  const { dtype: stored } = quantization;
  const values = widen(tensor);
  if (!values.every(Number.isFinite)) {
    throw new FormatError(
      `Cannot write "${name}": it is quantized to ${stored}, which has no infinity and no NaN`,
    );
  }
  const { scale, min } = quantizationFor(values, stored);
  const levels = stored === "uint8" ? 0xff : 0xffff;
  const size = stored === "uint8" ? 1 : 2;
  const bytes = new Uint8Array(values.length * size);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => {
    const q = Math.min(levels, Math.max(0, Math.round((value - min) / scale)));
    if (size === 1) bytes[i] = q;
    else view.setUint16(2 * i, q, true);
  });
  return { bytes, quantization: { dtype: stored, scale, min } };
}
