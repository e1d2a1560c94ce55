// `y = x * a + b` on 16-bit elements, as `affine.ts` has it for the others,
// computed in float32 on eight elements, two vectors, at a time.
//
// What nearly all elements need is computed without a branch, and what the few
// special ones need is only looked for, sixteen at once; where there is one,
// the full conversions compute them. Special are
//
// - of float16: infinities and NaNs of the input, and results that are NaN,
//   overflow, or lie below the normal numbers, as zero does;
// - of bfloat16: results that are NaN.
//
// Eight special elements take 10 times as long as usual ones: 0.97 ms become 2.5
// on a million elements where one in 64 is special, and 10 where all are. Zero
// in gives zero out only where the summand is 0, as of a layer that was not
// trained; telling those results apart would cost all others two comparisons.

import {
  anyNaN,
  decodeBfloat16,
  decodeFloat16,
  encodeBfloat16,
  encodeFloat16,
  hiddenZero,
  isInfinite,
  isUnusual,
  movedHigh,
  movedLow,
  roundNumbers,
  roundUsual,
  signsOf,
  upperHigh,
  upperLow,
} from "./half";
import { loadLane, loadSplat, multiplyAdd, storeLane } from "./lanes";

/** Elements per turn: of rows eight columns, of planes eight neighbours. */
const WIDTH: usize = 8;
const BYTES: usize = 16;

/**
 * Rows per strip, as in `affine.ts`: what begins a column of eight (loading its
 * parameters, and constants that were spilled meanwhile) takes as long as one or
 * two of its rows (strips of 2 took 1.4 times as long, of 4 1.15 times), while in
 * strips of 16 rows of 128 or 256 took 1.1 times as long.
 */
const STRIP: usize = 8;

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
 * Eight elements by the full conversions: with a parameter each where `own`,
 * else with the first one for all. Everything is loaded once more, so that the
 * caller need not hold it in registers for what seldom happens.
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
 * Rows of `channels` elements where `own`, so that each column has parameters of
 * its own; else planes of `inner` elements.
 *
 * Either is walked in turns of eight elements that have their parameters in
 * common: down columns of eight, in strips of rows, or along a plane. A pass
 * through the loop is two turns, which is what the registers hold. Where only
 * one turn is left, the pass does that one twice.
 *
 * The special elements are computed outside of the inner loop: a call within it
 * makes V8 keep the loop's own variables in memory.
 *
 * What bounds the loop are instructions and not memory: along planes it takes as
 * long on 6 MB as in the L1 cache, 0.68 ns per element of float16 and 0.49 of
 * bfloat16 where nothing else shares the core. A pass of float16 has about 94
 * instructions, 60 of them on vectors: 10 decode, 8 multiply and add, 32 round,
 * 10 look for what is special. float32 takes 8 on vectors for as many elements,
 * and 0.16 ns in the L2 cache, so that float16 takes 4.3 times as long there;
 * on 6 MB, where float32 takes 0.54 ns as it waits for memory, 1.1 to 1.3 times
 * along planes and 1.4 to 1.6 along rows (bfloat16: 0.9 and 1.25). With other
 * work on the core it is the slower of these, as that takes instructions, but
 * hardly any memory.
 */
// @ts-ignore: decorator
@inline
function affine<T>(
  x: usize,
  y: usize,
  a: usize,
  b: usize,
  outer: usize,
  channels: usize,
  inner: usize,
  own: bool,
): void {
  const zero = hiddenZero(outer);
  const none = i32x4.splat(zero);
  const one = i32x4.splat(zero | 1);
  const half = i32x4.splat(zero | 0x7fff);
  const kept = i16x8.splat(<i16> (zero | 0x8fff));
  const bias = i32x4.splat(zero | 0x77800000);
  const rebias = i32x4.splat(zero | (0xfff - 0x38000000));
  const sign = i16x8.splat(<i16> (zero | 0x8000));
  const lowest = i16x8.splat(<i16> (zero | 0x8400));
  const last = i16x8.splat(<i16> (zero | 0xf7ff));
  const toOutput = y - x;
  /** From one turn to the next. */
  const stride = own ? channels * sizeof<T>() : BYTES;
  const parameters = own ? WIDTH * sizeof<f32>() : sizeof<f32>();
  const vectors = a +
    (own ? channels & ~(WIDTH - 1) : channels) * sizeof<f32>();
  const end = a + channels * sizeof<f32>();
  while (outer) {
    const strip = own ? min(outer, STRIP) : 1;
    const turns = own ? strip * stride : (inner & ~(WIDTH - 1)) * sizeof<T>();
    let pa = a;
    let pb = b;
    for (; pa < vectors; pa += parameters) {
      let a0 = own ? v128.load(pa) : loadSplat<T>(pa);
      const b0 = own ? v128.load(pb) : loadSplat<T>(pb);
      let a1 = own ? v128.load(pa, 16) : a0;
      const b1 = own ? v128.load(pb, 16) : b0;
      if (!isSigned<T>()) {
        // What decoding would multiply by. The products stay the same, bit for
        // bit, unless a factor becomes infinite here: all its products are then
        // infinities and NaNs, and so special.
        a0 = f32x4.mul(a0, bias);
        a1 = own ? f32x4.mul(a1, bias) : a0;
      }
      const stop = x + turns;
      for (let p = x;; p += stride) {
        while (p < stop) {
          const next = p + stride;
          const q = next < stop ? next : p;
          const bits0 = v128.load(p);
          const bits1 = v128.load(q);
          if (isSigned<T>()) {
            const y0 = multiplyAdd<f32>(upperLow(none, bits0), a0, b0);
            const y1 = multiplyAdd<f32>(upperHigh(none, bits0), a1, b1);
            const y2 = multiplyAdd<f32>(upperLow(none, bits1), a0, b0);
            const y3 = multiplyAdd<f32>(upperHigh(none, bits1), a1, b1);
            if (anyNaN(y0, y1, y2, y3)) break;
            v128.store(p + toOutput, roundNumbers(y0, y1, one, half));
            v128.store(q + toOutput, roundNumbers(y2, y3, one, half));
          } else {
            let special = isInfinite(bits0, bits1, last);
            const y0 = multiplyAdd<f32>(movedLow(bits0, kept), a0, b0);
            const y1 = multiplyAdd<f32>(movedHigh(bits0, kept), a1, b1);
            const rounded0 = roundUsual(y0, y1, rebias);
            const result0 = v128.or(rounded0, signsOf(y0, y1, sign));
            special = v128.or(special, isUnusual(rounded0, lowest, last));
            const y2 = multiplyAdd<f32>(movedLow(bits1, kept), a0, b0);
            const y3 = multiplyAdd<f32>(movedHigh(bits1, kept), a1, b1);
            const rounded1 = roundUsual(y2, y3, rebias);
            const result1 = v128.or(rounded1, signsOf(y2, y3, sign));
            special = v128.or(special, isUnusual(rounded1, lowest, last));
            if (v128.any_true(special)) break;
            v128.store(p + toOutput, result0);
            v128.store(q + toOutput, result1);
          }
          p = q + stride;
        }
        if (p >= stop) break;
        affineSpecial<T>(p, p + toOutput, pa, pb, own);
      }
      if (own) {
        x += BYTES;
      } else {
        x += turns;
        for (let left = inner & (WIDTH - 1); left; left--) {
          affineOne<T>(x, x + toOutput, pa, pb);
          x += sizeof<T>();
        }
      }
      pb += parameters;
    }
    if (own) {
      for (; pa < end; pa += sizeof<f32>()) {
        const stop = x + turns;
        for (let p = x; p < stop; p += stride) {
          affineOne<T>(p, p + toOutput, pa, pb);
        }
        x += sizeof<T>();
        pb += sizeof<f32>();
      }
      // One row lies behind `x` already.
      x += turns - stride;
    }
    outer -= strip;
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
  affine<T>(x, y, a, b, outer, channels, 1, true);
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
  affine<T>(x, y, a, b, outer, channels, inner, false);
}
