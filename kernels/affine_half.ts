// `y = x * a + b` on 16-bit elements, as `affine.ts` has it for the others,
// computed in float32 on eight elements, two vectors, at a time.
//
// What nearly all elements need is computed without a branch, and what the few
// special ones need is only looked for, eight at once; where there is one, all
// eight are computed again by the full conversions. Special are
//
// - of float16: infinities and NaNs of the input, and results that are NaN,
//   overflow, or lie below the normal numbers;
// - of bfloat16: results that are NaN.

import {
  anyNaN,
  decodeBfloat16,
  decodeFinite,
  decodeFloat16,
  encodeBfloat16,
  encodeFloat16,
  hiddenZero,
  isUnusual,
  roundNumbers,
  roundUsual,
  signsOf,
  upperHigh,
  upperLow,
} from "./half";
import { loadLane, loadSplat, multiplyAdd, storeLane } from "./lanes";

/** Elements per turn. */
const WIDTH: usize = 8;
const BYTES: usize = 16;

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

/** Eight elements by the full conversions. */
function affineSpecial<T>(
  bits: v128,
  y: usize,
  a0: v128,
  a1: v128,
  b0: v128,
  b1: v128,
): void {
  const x0 = decode<T>(i32x4.extend_low_i16x8_u(bits));
  const x1 = decode<T>(i32x4.extend_high_i16x8_u(bits));
  const y0 = encode<T>(multiplyAdd<f32>(x0, a0, b0));
  const y1 = encode<T>(multiplyAdd<f32>(x1, a1, b1));
  v128.store(y, i16x8.narrow_i32x4_u(y0, y1));
}

/** One element, of those that are not eight. */
function affineOne<T>(x: usize, y: usize, a: usize, b: usize): void {
  storeLane<T>(
    y,
    multiplyAdd<T>(loadLane<T>(x), loadSplat<T>(a), loadSplat<T>(b)),
  );
}

/**
 * A run of elements: with a parameter each where `own`, else with the first
 * one for all. `zero` is `hiddenZero`.
 *
 * Along a row and not down strips of columns, as float32 goes: the loop is
 * bound by the conversions, beside which four loads of parameters are free.
 */
function affineRun<T>(
  x: usize,
  y: usize,
  a: usize,
  b: usize,
  length: usize,
  own: bool,
  zero: i32,
): void {
  const none = i32x4.splat(zero);
  const one = i32x4.splat(zero | 1);
  const half = i32x4.splat(zero | 0x7fff);
  const exponent = i16x8.splat(<i16> (zero | 0x7c00));
  const kept = i32x4.splat(zero | 0x8fffe000);
  const bias = i32x4.splat(zero | 0x77800000);
  const two = i32x4.splat(zero | 2);
  const rebias = i32x4.splat(zero | (0x1ffe - 0x70000000));
  const sign = i16x8.splat(<i16> (zero | 0x8000));
  const lowest = i16x8.splat(<i16> (zero | 0x8400));
  const last = i16x8.splat(<i16> (zero | 0xf7ff));
  let a0 = loadSplat<T>(a);
  let b0 = loadSplat<T>(b);
  let a1 = a0;
  let b1 = b0;
  for (; length >= WIDTH; length -= WIDTH) {
    if (own) {
      a0 = v128.load(a);
      a1 = v128.load(a, 16);
      b0 = v128.load(b);
      b1 = v128.load(b, 16);
    }
    const bits = v128.load(x);
    if (isSigned<T>()) {
      const y0 = multiplyAdd<f32>(upperLow(none, bits), a0, b0);
      const y1 = multiplyAdd<f32>(upperHigh(none, bits), a1, b1);
      if (anyNaN(y0, y1)) affineSpecial<T>(bits, y, a0, a1, b0, b1);
      else v128.store(y, roundNumbers(y0, y1, one, half));
    } else {
      const x0 = decodeFinite(upperLow(none, bits), kept, bias);
      const x1 = decodeFinite(upperHigh(none, bits), kept, bias);
      const y0 = multiplyAdd<f32>(x0, a0, b0);
      const y1 = multiplyAdd<f32>(x1, a1, b1);
      const rounded = roundUsual(y0, y1, two, rebias);
      const special = v128.or(
        isUnusual(rounded, lowest, last),
        i16x8.eq(v128.and(bits, exponent), exponent),
      );
      if (v128.any_true(special)) {
        affineSpecial<T>(bits, y, a0, a1, b0, b1);
      } else {
        v128.store(y, v128.or(rounded, signsOf(y0, y1, sign)));
      }
    }
    x += BYTES;
    y += BYTES;
    if (own) {
      a += WIDTH * sizeof<f32>();
      b += WIDTH * sizeof<f32>();
    }
  }
  for (; length; length--) {
    affineOne<T>(x, y, a, b);
    x += sizeof<T>();
    y += sizeof<T>();
    if (own) {
      a += sizeof<f32>();
      b += sizeof<f32>();
    }
  }
}

/** Rows of `channels` elements, vectors run over channels. */
// @ts-ignore: decorator
@inline
export function affineHalfRows<T>(
  x: usize,
  y: usize,
  a: usize,
  b: usize,
  outer: usize,
  channels: usize,
): void {
  for (; outer; outer--) {
    affineRun<T>(x, y, a, b, channels, true, hiddenZero(outer));
    x += channels * sizeof<T>();
    y += channels * sizeof<T>();
  }
}

/** Planes of `inner` elements, vectors run within a plane. */
// @ts-ignore: decorator
@inline
export function affineHalfPlanes<T>(
  x: usize,
  y: usize,
  a: usize,
  b: usize,
  outer: usize,
  channels: usize,
  inner: usize,
): void {
  for (; outer; outer--) {
    let pa = a;
    let pb = b;
    for (let channel = channels; channel; channel--) {
      affineRun<T>(x, y, pa, pb, inner, false, hiddenZero(outer));
      x += inner * sizeof<T>();
      y += inner * sizeof<T>();
      pa += sizeof<f32>();
      pb += sizeof<f32>();
    }
  }
}
