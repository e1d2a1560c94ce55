/**
 * How far apart two tensors are, in units in the last place.
 *
 * @module
 */

import { halfBits, type Tensor } from "../tensor.ts";

/** Position of a float among all floats of its type; +0 and -0 are one. */
function order32(bits: number): bigint {
  return BigInt(bits >= 0x80000000 ? 0x80000000 - bits : bits);
}

function order16(bits: number): bigint {
  return BigInt(bits >= 0x8000 ? 0x8000 - bits : bits);
}

function order64(bits: bigint): bigint {
  return bits >= 1n << 63n ? (1n << 63n) - bits : bits;
}

/** Bit patterns of a tensor's elements in order of their values. */
function orders({ type, data }: Tensor): (index: number) => bigint {
  const { buffer, byteOffset, length } = data;
  if (type === "float32") {
    const bits = new Uint32Array(buffer, byteOffset, length);
    return (i) => order32(bits[i]!);
  }
  if (type === "float64") {
    const bits = new BigUint64Array(buffer, byteOffset, length);
    return (i) => order64(bits[i]!);
  }
  const bits = halfBits(data);
  return (i) => order16(bits[i]!);
}

/** What is the first bit pattern that is NaN, in the order above. */
const FIRST_NAN: Readonly<Record<Tensor["type"], bigint>> = {
  float32: 0x7f800001n,
  float64: 0x7ff0000000000001n,
  float16: 0x7c01n,
  bfloat16: 0x7f81n,
};

/**
 * The largest difference between two tensors of one type and shape, in units
 * in the last place; 0 means the same bits, but for the sign of zero and the
 * payload of NaN. A NaN against a number counts as Infinity.
 */
export function maxUlp(actual: Tensor, expected: Tensor): number {
  const a = orders(actual);
  const b = orders(expected);
  const nan = FIRST_NAN[expected.type];
  const isNaNOrder = (order: bigint) => order >= nan || order <= -nan;
  let max = 0n;
  for (let i = 0; i < expected.data.length; i++) {
    const p = a(i);
    const q = b(i);
    if (p === q) continue;
    const pIsNaN = isNaNOrder(p);
    if (pIsNaN !== isNaNOrder(q)) return Infinity;
    if (pIsNaN) continue;
    const difference = p > q ? p - q : q - p;
    if (difference > max) max = difference;
  }
  return Number(max);
}
