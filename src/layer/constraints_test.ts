import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertThrows,
} from "@std/assert";
import { OptionError, ShapeError } from "../errors.ts";
import {
  MaxNorm,
  MinMaxNorm,
  NonNeg,
  RadialConstraint,
  resolveConstraint,
  UnitNorm,
} from "./constraints.ts";
import { LINES, numbers, title } from "./testing/keras_objects.ts";

const ROUNDING = 2 ** -24; // of a float32 operation, relative

for (const [kerasVersion, line] of LINES) {
  for (const row of line.constraints) {
    const { identifier, shape } = row;
    Deno.test(`constraints: ${title(kerasVersion, row)}`, () => {
      const constraint = resolveConstraint(identifier, { kerasVersion })!;
      const weights = Float32Array.from(numbers(row.weights!));
      if (row.raises) {
        const before = weights.slice();
        assertThrows(() => constraint.apply(weights, shape), ShapeError);
        assertEquals(weights, before);
        return;
      }
      constraint.apply(weights, shape);
      numbers(row.result!).forEach((expected, i) => {
        const actual = weights[i]!;
        if (Object.is(actual, expected)) return;
        // TensorFlow rounds each of at most six squares, their sum, the root,
        // clip, sum, quotient and product; no subtraction cancels.
        assert(expected !== 0 && Number.isFinite(expected), `element ${i}`);
        assertAlmostEquals(
          actual,
          expected,
          12 * ROUNDING * Math.abs(expected),
        );
      });
    });
  }
}

Deno.test("norms are in float64 for float64 weights", () => {
  const weights = new Float64Array([3, 4]);
  new UnitNorm().apply(weights, [2]);
  assertEquals([...weights], [3 * (1 / (1e-7 + 5)), 4 * (1 / (1e-7 + 5))]);
});

Deno.test("norms of 0 and of infinity do as Keras' formula does", () => {
  const zero = new Float32Array(3);
  new MaxNorm().apply(zero, [3]);
  assertEquals([...zero], [0, 0, 0]);
  const infinite = new Float32Array([Infinity, 1]);
  new MaxNorm().apply(infinite, [2]);
  assertEquals([...infinite], [NaN, 0]);
});

Deno.test("RadialConstraint gives every ring one value", () => {
  // Places are numbered by row and column, as 10 * row + column.
  const kernel = (size: number) =>
    Float64Array.from(
      { length: size * size },
      (_, i) => 10 * Math.floor(i / size) + i % size,
    );
  const four = kernel(4);
  new RadialConstraint().apply(four, [4, 4, 1, 1]);
  // deno-fmt-ignore
  assertEquals([...four], [
    33, 33, 33, 33,
    33, 11, 11, 33,
    33, 11, 11, 33,
    33, 33, 33, 33,
  ]);
});

Deno.test("constraints refuse wrong arguments and shapes", () => {
  const wrong = (value: unknown) => value as never;
  for (
    const make of [
      () => new MaxNorm({ maxValue: wrong("2") }),
      () => new MaxNorm({ axis: wrong("0") }),
      () => new UnitNorm({ axis: wrong([0, 0.5]) }),
      () => new MinMaxNorm({ rate: wrong(null) }),
    ]
  ) assertThrows(make, OptionError, "Cannot make");
  const two = new Float32Array(2);
  for (
    const apply of [
      () => new UnitNorm({ axis: [0, 0] }).apply(two, [2]),
      () => new UnitNorm({ axis: [0, -1] }).apply(two, [2]),
      () => new UnitNorm().apply(two, [3]),
      () => new UnitNorm().apply(two, []),
    ]
  ) assertThrows(apply, ShapeError, "UnitNorm");
});

Deno.test("functions and objects of the user's are constraints", () => {
  const weights = new Float32Array([-1, 2]);
  resolveConstraint((w: Float64Array) => w.map((v) => 2 * v))!
    .apply(weights, [2]);
  assertEquals([...weights], [-2, 4]);
  resolveConstraint({ apply: (w) => void w.fill(1) })!.apply(weights, [2]);
  assertEquals([...weights], [1, 1]);
  assertThrows(
    () => resolveConstraint(() => [1])!.apply(weights, [2]),
    ShapeError,
    "got 1",
  );
  assertThrows(
    () => resolveConstraint(() => undefined as never)!.apply(weights, [2]),
    OptionError,
    "array of numbers",
  );
  assertEquals([...weights], [1, 1]);
});

Deno.test("no constraint is null", () => {
  assertEquals(resolveConstraint(null), null);
  assertEquals(resolveConstraint(undefined), null);
});

Deno.test("NonNeg leaves no negative value", () => {
  for (const kerasVersion of ["2.4", "3"] as const) {
    const weights = new Float64Array([-1, -1e-300, 0, 2]);
    new NonNeg({ kerasVersion }).apply(weights);
    assert(weights.every((w) => w >= 0));
    assertEquals(weights[3], 2);
  }
});
