import { assert, assertEquals } from "@std/assert";
import {
  bfloat16ToNumber,
  float16ToNumber,
  numberToBfloat16,
  numberToFloat16,
} from "./half_float.ts";
import { randomFloat32 } from "./kernels/testing/random.ts";

/** What a format of `mantissaBits` and a smallest exponent makes of a float32. */
function roundByHand(
  value: number,
  mantissaBits: number,
  minExponent: number,
  largest: number,
): number {
  if (!Number.isFinite(value) || value === 0) return value;
  const magnitude = Math.abs(value);
  // Exact: log2 may be off by one next to powers of two, hence the loops.
  let exponent = Math.floor(Math.log2(magnitude));
  while (2 ** exponent > magnitude) exponent--;
  while (2 ** (exponent + 1) <= magnitude) exponent++;
  const step = 2 ** (Math.max(exponent, minExponent) - mantissaBits);
  const steps = magnitude / step; // exact: a power of two
  const floor = Math.floor(steps);
  const rest = steps - floor;
  const up = rest > 0.5 || (rest === 0.5 && floor % 2 === 1);
  const rounded = (up ? floor + 1 : floor) * step;
  return Math.sign(value) * (rounded > largest ? Infinity : rounded);
}

const LARGEST_BFLOAT16 = (2 - 2 ** -7) * 2 ** 127;
const LARGEST_FLOAT16 = 65504;

/** Floats next to every rounding decision of a format, and random ones. */
function* interestingFloats(
  decode: (bits: number) => number,
): Generator<number> {
  const bits = new Uint32Array(1);
  const float = new Float32Array(bits.buffer);
  for (let half = 0; half < 0x8000; half++) {
    const low = decode(half);
    const high = decode(half + 1);
    if (!Number.isFinite(low)) break;
    // From each value to the next: both, the midpoint, and its neighbours.
    const tie = Number.isFinite(high) ? (low + high) / 2 : low;
    for (const value of [low, tie]) {
      float[0] = value;
      const center = bits[0]!;
      for (const word of [center - 1, center, center + 1]) {
        bits[0] = word;
        yield float[0]!;
        yield -float[0]!;
      }
    }
  }
  yield* [0, -0, Infinity, -Infinity, NaN, 65519.996, 65520, -65520, 1e30];
  const random = randomFloat32(1);
  for (let i = 0; i < 1_000_000; i++) yield random();
}

Deno.test("float16: every bit pattern survives decoding and encoding", () => {
  for (let half = 0; half < 0x10000; half++) {
    const isNaN = (half & 0x7fff) > 0x7c00;
    const actual = numberToFloat16(float16ToNumber(half));
    if (actual !== (isNaN ? 0x7e00 : half)) {
      assertEquals(actual, isNaN ? 0x7e00 : half, `of ${half}`);
    }
  }
});

Deno.test("bfloat16: every bit pattern survives decoding and encoding", () => {
  for (let half = 0; half < 0x10000; half++) {
    const isNaN = (half & 0x7fff) > 0x7f80;
    const actual = numberToBfloat16(bfloat16ToNumber(half));
    if (actual !== (isNaN ? 0x7fc0 : half)) {
      assertEquals(actual, isNaN ? 0x7fc0 : half, `of ${half}`);
    }
  }
});

Deno.test("float16: decodes as Float16Array does", () => {
  const native = new Float16Array(
    Uint16Array.from(
      { length: 0x10000 },
      (_, half) => half,
    ).buffer,
  );
  native.forEach((expected, half) => {
    if (!Object.is(float16ToNumber(half), expected)) {
      assertEquals(float16ToNumber(half), expected, `of ${half}`);
    }
  });
});

Deno.test("bfloat16: decodes to the float32 with the same upper half", () => {
  const words = new Uint32Array(1);
  const floats = new Float32Array(words.buffer);
  for (let half = 0; half < 0x10000; half++) {
    words[0] = half * 0x10000;
    assert(Object.is(bfloat16ToNumber(half), floats[0]!), `of ${half}`);
  }
});

Deno.test("float16: encodes ties, subnormals, overflow and random values as the engine", () => {
  const native = new Float16Array(1);
  const bits = new Uint16Array(native.buffer);
  for (const value of interestingFloats(float16ToNumber)) {
    native[0] = value;
    const expected = Number.isNaN(value) ? 0x7e00 : bits[0]!;
    const byHand = roundByHand(value, 10, -14, LARGEST_FLOAT16);
    assert(
      numberToFloat16(value) === expected &&
        Object.is(float16ToNumber(expected), byHand),
      `${value}: got ${numberToFloat16(value)}, expected ${expected}`,
    );
  }
});

Deno.test("bfloat16: encodes ties, subnormals, overflow and random values to nearest even", () => {
  for (const value of interestingFloats(bfloat16ToNumber)) {
    const actual = bfloat16ToNumber(numberToBfloat16(value));
    const expected = roundByHand(value, 7, -126, LARGEST_BFLOAT16);
    assert(
      Object.is(actual, expected),
      `${value}: got ${actual}, expected ${expected}`,
    );
  }
});

Deno.test("16-bit encoders round a float64 to float32 first", () => {
  // Just above the tie of two halves, but the tie itself in float32.
  const value = 1 + 2 ** -11 + 2 ** -40;
  assertEquals(numberToFloat16(value), 0x3c00);
  assertEquals(numberToBfloat16(1 + 2 ** -8 + 2 ** -40), 0x3f80);
});
