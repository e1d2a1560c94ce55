// One vector of elements, whatever the element type: how it is loaded,
// computed and stored. Everything here is inlined and specialised per type.

import {
  decodeBfloat16,
  decodeFloat16,
  encodeBfloat16,
  encodeFloat16,
} from "./half";

/** Marks float16 as a type argument; the bits are a `u16`. */
export type float16 = u16;
/** Marks bfloat16 as a type argument; the bits are 16 as well. */
export type bfloat16 = i16;

/** Elements per vector: 128 bits of what is computed in, not of what is stored. */
// @ts-ignore: decorator
@inline
export function lanes<T>(): usize {
  return sizeof<T>() == 8 ? 2 : 4;
}

/** Bytes of one parameter: float64 for float64, float32 for all others. */
// @ts-ignore: decorator
@inline
export function parameterBytes<T>(): usize {
  return sizeof<T>() == 8 ? 8 : 4;
}

// @ts-ignore: decorator
@inline
function decode<T>(bits: v128): v128 {
  return isSigned<T>() ? decodeBfloat16(bits) : decodeFloat16(bits);
}

// @ts-ignore: decorator
@inline
function encode<T>(value: v128): v128 {
  return isSigned<T>() ? encodeBfloat16(value) : encodeFloat16(value);
}

/** Loads one vector of elements as float32 or float64 lanes. */
// @ts-ignore: decorator
@inline
export function loadLanes<T>(from: usize): v128 {
  if (isFloat<T>()) return v128.load(from);
  return decode<T>(v128.load_ext<u16>(from));
}

/** Stores one vector of float32 or float64 lanes as elements. */
// @ts-ignore: decorator
@inline
export function storeLanes<T>(to: usize, value: v128): void {
  if (isFloat<T>()) {
    v128.store(to, value);
  } else {
    const bits = encode<T>(value);
    // The lanes are at most 0xffff, so that unsigned narrowing is exact.
    v128.store_lane<u64>(to, v128.narrow<u32>(bits, bits), 0);
  }
}

/** Loads one element into lane 0. */
// @ts-ignore: decorator
@inline
export function loadLane<T>(from: usize): v128 {
  if (sizeof<T>() == 8) return v128.load_zero<u64>(from);
  if (sizeof<T>() == 4) return v128.load_zero<u32>(from);
  return decode<T>(i32x4.splat(load<u16>(from)));
}

/** Stores lane 0 as one element. */
// @ts-ignore: decorator
@inline
export function storeLane<T>(to: usize, value: v128): void {
  if (sizeof<T>() == 8) v128.store_lane<u64>(to, value, 0);
  else if (sizeof<T>() == 4) v128.store_lane<u32>(to, value, 0);
  else v128.store_lane<u16>(to, encode<T>(value), 0);
}

/** Loads one parameter into every lane. */
// @ts-ignore: decorator
@inline
export function loadSplat<T>(from: usize): v128 {
  return sizeof<T>() == 8
    ? v128.load_splat<u64>(from)
    : v128.load_splat<u32>(from);
}

/**
 * `x * a + b` with the product and the sum each rounded: a fused
 * multiply-add, or a relaxed one that may be fused, would give other bits
 * than onnxruntime.
 */
// @ts-ignore: decorator
@inline
export function multiplyAdd<T>(x: v128, a: v128, b: v128): v128 {
  return sizeof<T>() == 8
    ? f64x2.add(f64x2.mul(x, a), b)
    : f32x4.add(f32x4.mul(x, a), b);
}
