import { assertEquals, assertThrows } from "@std/assert";
import { OptionError, ShapeError } from "./errors.ts";
import { type ElementType, tensor } from "./tensor.ts";
import { maxUlp } from "./ulp.ts";

const TYPES: readonly ElementType[] = [
  "float32",
  "float64",
  "float16",
  "bfloat16",
];

/** The distance from 1 to the next float of each type. */
const STEP = {
  float32: 2 ** -23,
  float64: 2 ** -52,
  float16: 2 ** -10,
  bfloat16: 2 ** -7,
} as const;

for (const type of TYPES) {
  const of = (...values: number[]) => tensor(values, [values.length], type);

  Deno.test(`${type}: equal bits are 0, and all NaNs are equal`, () => {
    assertEquals(maxUlp(of(1, -2, 0, Infinity), of(1, -2, 0, Infinity)), 0);
    assertEquals(maxUlp(of(0), of(-0)), 1);
    assertEquals(maxUlp(of(NaN), of(NaN)), 0);
  });

  Deno.test(`${type}: counts the floats between`, () => {
    assertEquals(maxUlp(of(1), of(1 + STEP[type])), 1);
    assertEquals(maxUlp(of(-1), of(-1 - 3 * STEP[type])), 3);
    // One step above a power of two is two below it.
    assertEquals(maxUlp(of(1 - STEP[type]), of(1)), 2);
  });

  Deno.test(`${type}: a NaN against a number is infinitely far`, () => {
    assertEquals(maxUlp(of(NaN), of(1)), Infinity);
    assertEquals(maxUlp(of(1), of(NaN)), Infinity);
  });
}

Deno.test("what cannot be compared is refused", () => {
  const one = tensor([1], [1]);
  assertThrows(() => maxUlp(one, tensor([1], [1], "float64")), OptionError);
  assertThrows(() => maxUlp(one, tensor([1], [1, 1])), ShapeError);
});

Deno.test("counts across zero", () => {
  const tiny = tensor(new Float32Array([1.4e-45]), [1]);
  const minus = tensor(new Float32Array([-1.4e-45]), [1]);
  assertEquals(maxUlp(tiny, minus), 3); // -tiny, -0, 0, tiny
});
