/**
 * The two 16-bit float formats as bit patterns: IEEE binary16 ("float16") and
 * bfloat16, each converted to and from float32 by scalar bit arithmetic.
 *
 * The WASM kernels do the same steps on four lanes (`kernels/half.ts`), so
 * that both agree bit for bit; every NaN leaves as one canonical quiet NaN,
 * because engines do not promise to keep NaN payloads.
 *
 * @module
 */

const float = new Float32Array(1);
// Signed, because V8 computes with 32-bit integers as they are, and with what
// may be 2^31 or more as doubles.
const bits = new Int32Array(float.buffer);

/** Decodes one IEEE binary16 bit pattern; exact. */
export function float16ToNumber(half: number): number {
  // Exponent and mantissa move to their float32 places; the bias differs by
  // 127 - 15 = 112, which the multiplication adds (and makes subnormals right).
  const magnitude = (half & 0x7fff) << 13;
  bits[0] = magnitude;
  const scaled = float[0]! * 2 ** 112;
  const value = magnitude >= 0x0f800000 // exponent 31: infinity or NaN
    ? ((half & 0x3ff) === 0 ? Infinity : NaN)
    : scaled;
  return half & 0x8000 ? -value : value;
}

/**
 * Encodes a number as IEEE binary16, rounded to float32 first and then to
 * nearest, ties to even.
 */
export function numberToFloat16(value: number): number {
  float[0] = value;
  const word = bits[0]!;
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7e00; // NaN, canonical
  // 65520 = 0x477ff000 is the midpoint between the largest binary16 (65504)
  // and the next step: from there on it rounds to infinity.
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // Below 2^-14 the result is subnormal, in steps of 2^-24. Added to 0.5,
    // whose float32 step is 2^-24 too, the FPU does the rounding.
    float[0] = Math.abs(float[0]!) + 0.5;
    return sign | (bits[0]! - 0x3f000000);
  }
  // Round half to even at bit 13, then rebias the exponent by 112.
  const odd = (magnitude >>> 13) & 1;
  return sign | ((magnitude + 0xfff + odd - 0x38000000) >>> 13);
}

/** Decodes one bfloat16 bit pattern; exact. */
export function bfloat16ToNumber(half: number): number {
  bits[0] = half << 16;
  return float[0]!;
}

/**
 * Encodes a number as bfloat16, rounded to float32 first and then to nearest,
 * ties to even.
 */
export function numberToBfloat16(value: number): number {
  float[0] = value;
  const word = bits[0]!;
  if ((word & 0x7fffffff) > 0x7f800000) return 0x7fc0; // NaN, canonical
  return ((word + 0x7fff + ((word >>> 16) & 1)) >>> 16) & 0xffff;
}
