/**
 * Distances between floats of one type, in units in the last place.
 *
 * @module
 */

import { OptionError, ShapeError } from "./errors.ts";
import { halfBits, type Tensor } from "./tensor.ts";

/**
 * The place of a float among all floats of its type, from its bits: neighbours
 * differ by 1, and so do -0 and +0.
 */
function place(bits: bigint, width: number): bigint {
  const sign = 1n << BigInt(width - 1);
  return bits & sign ? -(bits ^ sign) - 1n : bits;
}

function bitsOf(
  { type, data }: Tensor,
): BigUint64Array | Uint32Array | Uint16Array {
  const { buffer, byteOffset, length } = data;
  switch (type) {
    case "float64":
      return new BigUint64Array(buffer, byteOffset, length);
    case "float32":
      return new Uint32Array(buffer, byteOffset, length);
    default:
      return halfBits(data);
  }
}

/** Sign excluded, the bits from which on a float is a NaN. */
const INFINITY: Readonly<Record<Tensor["type"], bigint>> = {
  float64: 0x7ff0000000000000n,
  float32: 0x7f800000n,
  float16: 0x7c00n,
  bfloat16: 0x7f80n,
};

/**
 * The largest distance between elements of two tensors of one type and shape;
 * 0 is the same bits, but for the payloads of NaNs: all NaNs are one value,
 * infinitely far from all others.
 *
 * @throws {OptionError} If the types differ.
 * @throws {ShapeError} If the shapes differ.
 */
export function maxUlp(actual: Tensor, expected: Tensor): number {
  const { type } = expected;
  if (actual.type !== type) {
    throw new OptionError(
      `Cannot compare tensors of type ${actual.type} and ${type}`,
    );
  }
  if (
    actual.dims.join() !== expected.dims.join() ||
    actual.data.length !== expected.data.length
  ) {
    throw new ShapeError(
      `Cannot compare tensors of shape [${actual.dims.join(", ")}] and [${
        expected.dims.join(", ")
      }]`,
    );
  }
  const left = bitsOf(actual);
  const right = bitsOf(expected);
  const width = { float64: 64, float32: 32, float16: 16, bfloat16: 16 }[type];
  const mask = (1n << BigInt(width - 1)) - 1n;
  let worst = 0;
  for (let i = 0; i < left.length; i++) {
    if (left[i] === right[i]) continue;
    const [l, r] = [BigInt(left[i]!), BigInt(right[i]!)];
    const nans = [l, r].filter((bits) => (bits & mask) > INFINITY[type]).length;
    if (nans === 2) continue;
    const distance = nans === 1
      ? Infinity
      : Math.abs(Number(place(l, width) - place(r, width)));
    worst = Math.max(worst, distance);
  }
  return worst;
}
