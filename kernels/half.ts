// float16 and bfloat16 on four lanes: the steps of `src/half_float.ts`, which
// explains them, on 32-bit lanes whose upper half is zero.

/** Decodes four binary16 bit patterns; exact, any NaN stays a NaN. */
// @ts-ignore: decorator
@inline
export function decodeFloat16(bits: v128): v128 {
  // Sign to bit 31, then exponent and mantissa to bits 13 to 27: the
  // arithmetic shift keeps the sign, the mask drops its copies.
  const moved = v128.and(
    i32x4.shr_s(i32x4.shl(bits, 16), 3),
    i32x4.splat(0x8fffe000),
  );
  // Times 2^112 corrects the bias and makes subnormals right; the
  // multiplication keeps the sign.
  const scaled = f32x4.mul(moved, f32x4.splat(reinterpret<f32>(0x77800000)));
  // Exponent 31 comes out as 2^16 or more: force its exponent to all ones,
  // whose mantissa then tells infinity and NaN apart.
  const special = f32x4.ge(f32x4.abs(scaled), f32x4.splat(65536.0));
  return v128.or(scaled, v128.and(special, i32x4.splat(0x7f800000)));
}

/** Rounds four float32 lanes to binary16 bit patterns, ties to even. */
// @ts-ignore: decorator
@inline
export function encodeFloat16(value: v128): v128 {
  const magnitude = v128.and(value, i32x4.splat(0x7fffffff));
  const odd = v128.and(i32x4.shr_u(magnitude, 13), i32x4.splat(1));
  const normal = i32x4.shr_s(
    i32x4.add(i32x4.add(magnitude, odd), i32x4.splat(0xfff - 0x38000000)),
    13,
  );
  const subnormal = i32x4.sub(
    f32x4.add(magnitude, f32x4.splat(0.5)),
    i32x4.splat(0x3f000000),
  );
  const isSubnormal = i32x4.lt_s(magnitude, i32x4.splat(0x38800000));
  // From the midpoint 65520 on, `normal` is 0x7c00 or more: the minimum makes
  // all of that infinity.
  const rounded = i32x4.min_s(
    v128.bitselect(subnormal, normal, isSubnormal),
    i32x4.splat(0x7c00),
  );
  const sign = v128.and(i32x4.shr_u(value, 16), i32x4.splat(0x8000));
  return v128.bitselect(
    i32x4.splat(0x7e00),
    v128.or(rounded, sign),
    f32x4.ne(value, value),
  );
}

/** Decodes four bfloat16 bit patterns; exact. */
// @ts-ignore: decorator
@inline
export function decodeBfloat16(bits: v128): v128 {
  return i32x4.shl(bits, 16);
}

/** Rounds four float32 lanes to bfloat16 bit patterns, ties to even. */
// @ts-ignore: decorator
@inline
export function encodeBfloat16(value: v128): v128 {
  const odd = v128.and(i32x4.shr_u(value, 16), i32x4.splat(1));
  const rounded = i32x4.shr_u(
    i32x4.add(i32x4.add(value, odd), i32x4.splat(0x7fff)),
    16,
  );
  return v128.bitselect(
    i32x4.splat(0x7fc0),
    rounded,
    f32x4.ne(value, value),
  );
}

// The same on eight elements at a time, for what nearly all elements are. The
// caller looks whether one of them is special, and then takes the forms
// above. Constants come as arguments, from registers; see `hiddenZero`.

/**
 * Zero, as the optimizer does not know: `count` is below 2^31.
 *
 * What is computed from it stays in a register. Plain constants are put into
 * the loop by binaryen, where V8 makes each of them anew, in three to four
 * instructions (measured: two thirds of the time of these loops).
 */
// @ts-ignore: decorator
@inline
export function hiddenZero(count: usize): i32 {
  return <i32> (count >> 31);
}

/** Elements 0 to 3 in the upper halves of 32-bit lanes; `none` is zero. */
// @ts-ignore: decorator
@inline
export function upperLow(none: v128, bits: v128): v128 {
  return i16x8.shuffle(none, bits, 0, 8, 1, 9, 2, 10, 3, 11);
}

/** The same of elements 4 to 7. */
// @ts-ignore: decorator
@inline
export function upperHigh(none: v128, bits: v128): v128 {
  return i16x8.shuffle(none, bits, 4, 12, 5, 13, 6, 14, 7, 15);
}

/**
 * Elements 0 to 3 of eight finite binary16, times 2^-112; see `decodeFloat16`.
 * `kept` is 0x8fff: the sign, without the copies that the shift makes of it, and
 * what ends up in the upper half.
 */
// @ts-ignore: decorator
@inline
export function movedLow(bits: v128, kept: v128): v128 {
  return upperLow(
    i16x8.shl(bits, 13),
    v128.and(i16x8.shr_s(bits, 3), kept),
  );
}

/** The same of elements 4 to 7. */
// @ts-ignore: decorator
@inline
export function movedHigh(bits: v128, kept: v128): v128 {
  return upperHigh(
    i16x8.shl(bits, 13),
    v128.and(i16x8.shr_s(bits, 3), kept),
  );
}

/**
 * Which of two times eight binary16 are infinite or NaN: without their sign,
 * those are 0xf800 or more; `last` is 0xf7ff.
 */
// @ts-ignore: decorator
@inline
export function isInfinite(bits0: v128, bits1: v128, last: v128): v128 {
  return i16x8.sub_sat_u(
    i16x8.max_u(i16x8.shl(bits0, 1), i16x8.shl(bits1, 1)),
    last,
  );
}

/**
 * Rounds eight float32 magnitudes to binary16; see `encodeFloat16`. What does
 * not fit 16 bits becomes 0 or 0xffff, so that {@linkcode isUnusual} finds it.
 */
// @ts-ignore: decorator
@inline
export function roundUsual(y0: v128, y1: v128, rebias: v128): v128 {
  // Bit 13 by two shifts, and the sign dropped by a third, as neither then
  // takes a constant: there are more of them than registers.
  const odd0 = i32x4.shr_u(i32x4.shl(y0, 18), 31);
  const odd1 = i32x4.shr_u(i32x4.shl(y1, 18), 31);
  const biased0 = i32x4.add(i32x4.add(y0, rebias), odd0);
  const biased1 = i32x4.add(i32x4.add(y1, rebias), odd1);
  return i16x8.narrow_i32x4_u(
    i32x4.shr_s(i32x4.shl(biased0, 1), 14),
    i32x4.shr_s(i32x4.shl(biased1, 1), 14),
  );
}

/**
 * Which of eight rounded magnitudes are no normal numbers of binary16.
 *
 * Those are 0x0400 to 0x7bff: all others are at least 0x7800 from 0x0400 on,
 * round the end of 16 bits. With 0x8000 more, that can be compared as signed:
 * `lowest` is 0x8400, `last` 0xf7ff.
 */
// @ts-ignore: decorator
@inline
export function isUnusual(rounded: v128, lowest: v128, last: v128): v128 {
  return i16x8.gt_s(i16x8.sub(rounded, lowest), last);
}

/** The sign bits of eight float32, at bit 15. */
// @ts-ignore: decorator
@inline
export function signsOf(y0: v128, y1: v128, sign: v128): v128 {
  // Narrowing saturates, which keeps the sign.
  return v128.and(i16x8.narrow_i32x4_s(y0, y1), sign);
}

/** Rounds eight float32 that are no NaN to bfloat16; see `encodeBfloat16`. */
// @ts-ignore: decorator
@inline
export function roundNumbers(
  y0: v128,
  y1: v128,
  one: v128,
  half: v128,
): v128 {
  const odd0 = v128.and(i32x4.shr_u(y0, 16), one);
  const odd1 = v128.and(i32x4.shr_u(y1, 16), one);
  return i16x8.narrow_i32x4_u(
    i32x4.shr_u(i32x4.add(i32x4.add(y0, half), odd0), 16),
    i32x4.shr_u(i32x4.add(i32x4.add(y1, half), odd1), 16),
  );
}

/**
 * Whether one of sixteen float32 is NaN; or their sum, as it is of infinities
 * with different signs.
 */
// @ts-ignore: decorator
@inline
export function anyNaN(y0: v128, y1: v128, y2: v128, y3: v128): bool {
  const sum = f32x4.add(f32x4.add(y0, y1), f32x4.add(y2, y3));
  return v128.any_true(f32x4.ne(sum, sum));
}
