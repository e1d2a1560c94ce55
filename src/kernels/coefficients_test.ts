import { assert, assertEquals } from "@std/assert";
import * as fc from "fast-check";
import { foldStatistics, type Statistics } from "./coefficients.ts";
import { KERNELS } from "./dispatch.ts";
import { assertSameBits } from "./testing/bits.ts";
import type { Parameters } from "./types.ts";

/** Zeros, subnormals, huge and negative values, infinities and NaN. */
const SPECIAL = [0, -0, 1e-45, 1e-38, 3e38, -1e-3, -2, Infinity, NaN];

/** Any float32, a special one as often as not. */
const value = fc.oneof(
  fc.float(),
  fc.constantFrom(...SPECIAL.map(Math.fround)),
);

function folded(
  fold: (a: Parameters, b: Parameters, statistics: Statistics) => void,
  statistics: Statistics,
): Parameters[] {
  const Vector = statistics.mean.constructor as Float32ArrayConstructor;
  // What was there before does not count.
  const a = new Vector(statistics.mean.length).fill(7);
  const b = a.slice();
  fold(a, b, statistics);
  return [a, b];
}

for (const { name, start } of KERNELS) {
  const kernels = start();
  const { fold } = kernels;
  if (fold === undefined) continue;

  // 4096 channels fill the area that they are folded in.
  for (const channels of [0, 1, 3, 31, 32, 33, 130, 4095, 4096, 4097, 9001]) {
    Deno.test(`${name} folds ${channels} channels as TypeScript does`, () => {
      const vector = fc.array(value, {
        minLength: channels,
        maxLength: channels,
      }).map((values) => Float32Array.from(values));
      fc.assert(
        fc.property(
          vector,
          vector,
          vector,
          vector,
          fc.constantFrom(0, 1e-5, 1e-3, -1e-3),
          fc.boolean(),
          fc.boolean(),
          (gamma, beta, mean, variance, epsilon, scale, center) => {
            const statistics: Statistics = {
              gamma: scale ? gamma : undefined,
              beta: center ? beta : undefined,
              mean,
              variance,
              epsilon,
            };
            const [a, b] = folded(fold.bind(kernels), statistics);
            const [expectedA, expectedB] = folded(foldStatistics, statistics);
            assertSameBits(a!, expectedA!, "factors");
            assertSameBits(b!, expectedB!, "summands");
          },
        ),
        { numRuns: channels > 1000 ? 3 : 40 },
      );
    });
  }

  Deno.test(`${name} folds float64 as TypeScript does`, () => {
    const vector = (from: number) =>
      Float64Array.from({ length: 100 }, (_, c) => from + c / 7);
    const statistics: Statistics = {
      gamma: vector(-3),
      beta: vector(2),
      mean: vector(-9),
      variance: vector(0),
      epsilon: 1e-3,
    };
    assertEquals(
      folded(fold.bind(kernels), statistics),
      folded(foldStatistics, statistics),
    );
  });
}

Deno.test("some kernels have a fold of their own", () => {
  assert(KERNELS.some(({ start }) => start().fold !== undefined));
});
