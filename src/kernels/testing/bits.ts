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
