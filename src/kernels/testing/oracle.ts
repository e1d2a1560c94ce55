/**
 * What the kernels must compute, written as slowly and plainly as possible and
 * without their helpers.
 *
 * @module
 */

import type { ElementType, TensorData } from "../../tensor.ts";
import type { Parameters } from "../types.ts";

/** The channel of each element, by taking its index apart digit by digit. */
export function channelOfEach(
  dims: readonly number[],
  axes: readonly number[],
): Uint32Array {
  const count = dims.reduce((product, extent) => product * extent, 1);
  return Uint32Array.from({ length: count }, (_, element) => {
    let channel = 0;
    let weight = 1;
    let rest = element;
    for (let d = dims.length - 1; d >= 0; d--) {
      const digit = rest % dims[d]!;
      rest = Math.floor(rest / dims[d]!);
      if (axes.includes(d)) {
        channel += digit * weight;
        weight *= dims[d]!;
      }
    }
    return channel;
  });
}

const bytes = new DataView(new ArrayBuffer(4));

function readBfloat16(half: number): number {
  bytes.setUint16(0, half);
  bytes.setUint16(2, 0);
  return bytes.getFloat32(0);
}

/** The nearer of the two neighbours of a float32; the even one of a tie. */
function writeBfloat16(value: number): number {
  if (Number.isNaN(value)) return 0x7fc0;
  bytes.setFloat32(0, value);
  const below = bytes.getUint16(0); // towards zero
  const rest = bytes.getUint16(2);
  const up = rest > 0x8000 || (rest === 0x8000 && below % 2 === 1);
  return up ? below + 1 : below;
}

const halves = new DataView(new ArrayBuffer(2));

function readFloat16(half: number): number {
  halves.setUint16(0, half);
  return halves.getFloat16(0);
}

function writeFloat16(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  halves.setFloat16(0, value);
  return halves.getUint16(0);
}

/** The element as a number. */
export function readElement(type: ElementType, stored: number): number {
  if (type === "float16") return readFloat16(stored);
  return type === "bfloat16" ? readBfloat16(stored) : stored;
}

/** The number as an element, rounded to float32 first if that is wider. */
export function writeElement(type: ElementType, value: number): number {
  if (type === "float64") return value;
  const single = Math.fround(value);
  if (type === "float16") return writeFloat16(single);
  return type === "bfloat16" ? writeBfloat16(single) : single;
}

/** `y = x * a + b` over a whole tensor, in a new array like `x`. */
export function affineOracle(
  type: ElementType,
  dims: readonly number[],
  axes: readonly number[],
  x: TensorData,
  a: Parameters,
  b: Parameters,
): TensorData {
  const channels = channelOfEach(dims, axes);
  const y = x.slice();
  for (let i = 0; i < x.length; i++) {
    const c = channels[i]!;
    const single = (value: number): number =>
      Math.fround(Math.fround(value * a[c]!) + b[c]!);
    if (type === "float64") y[i] = x[i]! * a[c]! + b[c]!;
    else if (type === "float32") y[i] = single(x[i]!);
    else if (type === "float16") {
      y[i] = writeFloat16(single(readFloat16(x[i]!)));
    } else y[i] = writeBfloat16(single(readBfloat16(x[i]!)));
  }
  return y;
}

/** A number times 2^1074, exactly. */
function scaled(value: number): bigint {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const word = view.getBigUint64(0);
  const exponent = (word >> 52n) & 0x7ffn;
  const fraction = word & 0xfffffffffffffn;
  const magnitude = exponent === 0n
    ? fraction
    : (fraction | 0x10000000000000n) << (exponent - 1n);
  return word >> 63n ? -magnitude : magnitude;
}

/** A rational number: `numerator / denominator / 2^scale`. */
export interface Exact {
  readonly numerator: bigint;
  readonly denominator: bigint;
  readonly scale: bigint;
}

const SCALE = 1074n;

/** The exact mean and sum of squared deviations of finite numbers. */
export function exactMoments(
  values: ArrayLike<number>,
): { mean: Exact; m2: Exact } {
  const n = BigInt(values.length);
  let sum = 0n;
  let squares = 0n;
  for (let i = 0; i < values.length; i++) {
    const value = scaled(values[i]!);
    sum += value;
    squares += value * value;
  }
  return {
    mean: { numerator: sum, denominator: n, scale: SCALE },
    m2: {
      numerator: n * squares - sum * sum,
      denominator: n,
      scale: 2n * SCALE,
    },
  };
}

/** The exact sum of products of finite numbers. */
export function exactProducts(
  dy: ArrayLike<number>,
  x: ArrayLike<number>,
  mean: number,
): Exact {
  const center = scaled(mean);
  let sum = 0n;
  for (let i = 0; i < x.length; i++) {
    sum += scaled(dy[i]!) * (scaled(x[i]!) - center);
  }
  return { numerator: sum, denominator: 1n, scale: 2n * SCALE };
}

/** How far a finite number is from an exact one. */
export function distance(
  actual: number,
  { numerator, denominator, scale }: Exact,
): number {
  const shifted = (scaled(actual) * denominator) << (scale - SCALE);
  const difference = shifted - numerator;
  return toNumber(
    difference < 0n ? -difference : difference,
    denominator,
    scale,
  );
}

/** An exact number, rounded (to within a few units of the last place). */
export function rounded({ numerator, denominator, scale }: Exact): number {
  const value = toNumber(
    numerator < 0n ? -numerator : numerator,
    denominator,
    scale,
  );
  return numerator < 0n ? -value : value;
}

function toNumber(
  numerator: bigint,
  denominator: bigint,
  scale: bigint,
): number {
  if (numerator === 0n) return 0;
  // 60 significant bits of the quotient, then its power of two.
  const bits = BigInt(numerator.toString(2).length) -
    BigInt(denominator.toString(2).length);
  const shift = 62n - bits;
  const quotient = shift >= 0n
    ? (numerator << shift) / denominator
    : numerator / (denominator << -shift);
  return Number(quotient) * 2 ** -Number(shift + scale);
}
