/**
 * Float32 elements as bits, for loops that choose between elements.
 *
 * @module
 */

/** The bits of float32 elements. */
export function bitsOf(x: Float32Array): Int32Array {
  return new Int32Array(x.buffer, x.byteOffset, x.length);
}

/** A float32 as bits. */
export function bitsOfNumber(value: number): number {
  return bitsOf(Float32Array.of(value))[0]!;
}

/** Up to so many elements, views of the bits cost more than branches. */
export const FEW = 64;
