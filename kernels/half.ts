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
