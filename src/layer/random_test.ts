import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { OptionError } from "../errors.ts";
import { FIXTURE } from "./testing/keras_objects.ts";
import { normalQuantile, RandomGenerator, randomSeed } from "./random.ts";

function words(random: RandomGenerator, count: number): number[] {
  return Array.from({ length: count }, () => random.word());
}

function sample(count: number, next: () => number): Float64Array {
  return new Float64Array(count).map(next);
}

Deno.test("Philox gives the known answers of its authors", () => {
  // Random123's kat_vectors, philox4x32 10: the counter is all zeros there.
  assertEquals(words(new RandomGenerator(0), 4), [
    0x6627e8d5,
    0xe169c58d,
    0xbc57ac4c,
    0x9b00dbd8,
  ]);
});

Deno.test("Philox gives the words of TensorFlow's generator", () => {
  for (const { state, words: expected } of FIXTURE.philox) {
    const [low, high, key] = state.map(BigInt) as [bigint, bigint, bigint];
    const random = new RandomGenerator(key, Number(high));
    // The counter's low half counts blocks of four words; skip to the first.
    words(random, 4 * Number(low));
    assertEquals(words(random, expected.length), expected, state.join());
  }
});

Deno.test("RandomGenerator tells seeds and streams apart", () => {
  const seeds = [0, 1, -1, 2 ** 32, 2 ** 53, 5n, 1n << 63n];
  const first = seeds.map((seed) => new RandomGenerator(seed).word());
  const streams = [1, 2, 2 ** 32].map((s) => new RandomGenerator(0, s).word());
  assertEquals(new Set([...first, ...streams]).size, 10);
  assertEquals(
    words(new RandomGenerator(7), 9),
    words(new RandomGenerator(7n), 9),
  );
  for (const seed of [0.5, NaN, Infinity]) {
    assertThrows(() => new RandomGenerator(seed), OptionError, "an integer");
  }
});

Deno.test("a seed stands for the same numbers for ever", () => {
  // Computed with Python from the first two known answers.
  const random = new RandomGenerator(0);
  assertEquals(random.normal(), -0.25581594941531977);
  assertEquals(new RandomGenerator(0).uniform(), 0.39904647231489565);
});

Deno.test("normalQuantile agrees with Python's AS241", () => {
  for (const [p, expected] of FIXTURE.normalQuantiles) {
    // Both evaluate the same rational functions; the logarithm and the
    // polynomials differ in a few roundings, of 2^-53 each.
    const error = Math.abs(normalQuantile(p) - expected);
    assert(
      error <= 8 * 2 ** -53 * Math.abs(expected),
      `${p}: off by ${error}`,
    );
  }
});

Deno.test("normalQuantile is odd and increasing", () => {
  const probability = fc.integer({ min: 1, max: 2 ** 52 - 1 });
  fc.assert(fc.property(probability, probability, (a, b) => {
    const p = a * 2 ** -53;
    assertEquals(normalQuantile(1 - p), -normalQuantile(p));
    const q = b * 2 ** -53;
    // Neighbours may swap in their last bits.
    if (q > p * (1 + 1e-13)) assert(normalQuantile(q) > normalQuantile(p));
  }));
});

/** Checks the share of values below each limit: binomial, 6 standard errors. */
function assertShares(values: Float64Array, shares: [number, number][]): void {
  for (const [limit, p] of shares) {
    const below = values.filter((v) => v < limit).length / values.length;
    const bound = 6 * Math.sqrt(p * (1 - p) / values.length);
    assert(Math.abs(below - p) < bound, `${below} below ${limit}, not ${p}`);
  }
}

const COUNT = 1e5;

Deno.test("uniform is uniform, in multiples of 2^-53", () => {
  const random = new RandomGenerator(11);
  const values = sample(COUNT, () => random.uniform());
  assert(values.every((v) => v >= 0 && v < 1));
  assert(values.every((v) => Number.isInteger(v * 2 ** 53)));
  assert(values.some((v) => !Number.isInteger(v * 2 ** 52)), "53 bits");
  assertShares(values, [0.001, 0.1, 0.25, 0.5, 0.9].map((p) => [p, p]));
});

Deno.test("normal is normal", () => {
  const random = new RandomGenerator(12);
  const values = sample(COUNT, () => random.normal());
  assertShares(values, [
    // The distribution function, from tables.
    [-3, 0.0013498980316],
    [-2, 0.0227501319482],
    [-1, 0.1586552539315],
    [0, 0.5],
    [1, 0.8413447460685],
    [2, 0.9772498680518],
  ]);
});

Deno.test("truncatedNormal is a normal within two deviations", () => {
  const random = new RandomGenerator(13);
  const values = sample(COUNT, () => random.truncatedNormal());
  assert(values.every((v) => Math.abs(v) <= 2));
  const inside = 0.9544997361036;
  assertShares(values, [
    [-1, (0.1586552539315 - 0.0227501319482) / inside],
    [0, 0.5],
    [1, (0.8413447460685 - 0.0227501319482) / inside],
  ]);
});

Deno.test("randomSeed gives fresh integers", () => {
  const seeds = Array.from({ length: 8 }, randomSeed);
  assert(seeds.every((s) => Number.isSafeInteger(s) && s >= 0));
  assertEquals(new Set(seeds).size, 8);
});
