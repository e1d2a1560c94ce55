/**
 * Comparing arrays bit for bit.
 *
 * @module
 */

import { halfBits, type TensorData } from "../../tensor.ts";

/**
 * Fails at the first element whose bits differ.
 *
 * Any float32 NaN equals any other, as engines do not promise to keep their
 * payloads; 16-bit NaNs must be equal too, since ours are canonical.
 */
export function assertSameBits(
  actual: TensorData,
  expected: TensorData,
  what: string,
): void {
  if (actual.length !== expected.length) {
    throw new Error(
      `${what}: ${actual.length} elements, expected ${expected.length}`,
    );
  }
  const floats = actual instanceof Float32Array ||
    actual instanceof Float64Array;
  const got = floats ? actual : halfBits(actual);
  const wanted = floats ? expected : halfBits(expected);
  for (let i = 0; i < got.length; i++) {
    // Object.is tells 0 from -0 and takes NaN for NaN; bits are integers.
    if (!Object.is(got[i], wanted[i])) {
      throw new Error(
        `${what}: element ${i} of ${got.length} is ${got[i]}, expected ${
          wanted[i]
        }`,
      );
    }
  }
}

/** How many representable values apart two floats of a type are, at most. */
export function largestUlpDistance(
  actual: TensorData,
  expected: TensorData,
): number {
  let largest = 0;
  const ordered = orderedBits(actual);
  const wanted = orderedBits(expected);
  for (let i = 0; i < ordered.length; i++) {
    if (Object.is(actual[i], expected[i])) continue;
    const bothNaN = Number.isNaN(valueOf(actual, i)) &&
      Number.isNaN(valueOf(expected, i));
    if (bothNaN) continue;
    const distance = Number(ordered[i]! - wanted[i]!);
    largest = Math.max(largest, Math.abs(distance));
  }
  return largest;
}

function valueOf(data: TensorData, i: number): number {
  return data instanceof Uint16Array
    ? new Float16Array(data.buffer, data.byteOffset, data.length)[i]!
    : data[i]!;
}

/** Integers in the order of the floats: neighbours differ by 1. */
function orderedBits(data: TensorData): BigInt64Array {
  const { buffer, byteOffset, length } = data;
  const signed = data instanceof Float64Array
    ? new BigInt64Array(buffer, byteOffset, length)
    : data instanceof Float32Array
    ? BigInt64Array.from(new Int32Array(buffer, byteOffset, length), BigInt)
    : BigInt64Array.from(new Int16Array(buffer, byteOffset, length), BigInt);
  const sign = -(2n ** BigInt(8 * data.BYTES_PER_ELEMENT - 1));
  return signed.map((word) => word < 0n ? sign - word : word);
}
