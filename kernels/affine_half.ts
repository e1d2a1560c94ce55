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

/**
 * Eight elements by the full conversions. Everything is loaded once more, so
 * that the caller need not hold it in registers for what seldom happens.
 */
function affineSpecial<T>(
  x: usize,
  y: usize,
  a: usize,
  b: usize,
  own: bool,
): void {
  const bits = v128.load(x);
  const x0 = decode<T>(i32x4.extend_low_i16x8_u(bits));
  const x1 = decode<T>(i32x4.extend_high_i16x8_u(bits));
  const a0 = own ? v128.load(a) : loadSplat<T>(a);
  const b0 = own ? v128.load(b) : loadSplat<T>(b);
  const a1 = own ? v128.load(a, 16) : a0;
  const b1 = own ? v128.load(b, 16) : b0;
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
 * bound by the conversions, of which eight elements take about 45 instructions
 * (and 20 more to load, check and store), where float32 takes four in all. So
 * float16 takes 1.3 times as long as float32 where that waits for memory, and
 * more in a cache. Compiled once for each `own`: with both in one loop, the
 * parameters of both stayed in registers, of which there are too few for the
 * constants alone (measured: 1.2 times as long). Down strips of 16 rows, with
 * the parameters loaded once for each, took up to 1.2 times as long.
 */
// @ts-ignore: decorator
@inline
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
  const a0 = loadSplat<T>(a);
  const b0 = loadSplat<T>(b);
  for (; length >= WIDTH; length -= WIDTH) {
    const bits = v128.load(x);
    if (isSigned<T>()) {
      const x0 = upperLow(none, bits);
      const x1 = upperHigh(none, bits);
      const y0 = own
        ? multiplyAdd<f32>(x0, v128.load(a), v128.load(b))
        : multiplyAdd<f32>(x0, a0, b0);
      const y1 = own
        ? multiplyAdd<f32>(x1, v128.load(a, 16), v128.load(b, 16))
        : multiplyAdd<f32>(x1, a0, b0);
      if (anyNaN(y0, y1)) affineSpecial<T>(x, y, a, b, own);
      else v128.store(y, roundNumbers(y0, y1, one, half));
    } else {
      const x0 = decodeFinite(upperLow(none, bits), kept, bias);
      const x1 = decodeFinite(upperHigh(none, bits), kept, bias);
      const y0 = own
        ? multiplyAdd<f32>(x0, v128.load(a), v128.load(b))
        : multiplyAdd<f32>(x0, a0, b0);
      const y1 = own
        ? multiplyAdd<f32>(x1, v128.load(a, 16), v128.load(b, 16))
        : multiplyAdd<f32>(x1, a0, b0);
      const rounded = roundUsual(y0, y1, two, rebias);
      const special = v128.or(
        isUnusual(rounded, lowest, last),
        i16x8.eq(v128.and(bits, exponent), exponent),
      );
      if (v128.any_true(special)) {
        affineSpecial<T>(x, y, a, b, own);
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
