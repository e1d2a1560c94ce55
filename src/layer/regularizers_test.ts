import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { OptionError, ShapeError } from "../errors.ts";
import { LINES, numbers, title } from "./testing/keras_objects.ts";
import {
  L1,
  L1L2,
  L2,
  OrthogonalRegularizer,
  type Regularizer,
  resolveRegularizer,
} from "./regularizers.ts";

const ROUNDING = 2 ** -24; // of a float32 operation, relative

for (const [kerasVersion, line] of LINES) {
  for (const row of line.regularizers) {
    const { identifier, shape } = row;
    Deno.test(`regularizers: ${title(kerasVersion, row)}`, () => {
      const regularizer = resolveRegularizer(identifier, { kerasVersion })!;
      const weights = numbers(row.weights!);
      const gradient = new Float64Array(weights.length);
      if (row.raises) {
        assertThrows(() => regularizer.loss(weights, shape), ShapeError);
        assertThrows(
          () => regularizer.gradient(weights, gradient, shape),
          ShapeError,
        );
        return;
      }
      // TensorFlow computes in float32: at most 12 summands, and half a dozen
      // operations around them. The orthogonal one's gradient is a difference
      // of terms as large as the largest element.
      const bound = (scale: number) => 32 * ROUNDING * scale;
      const loss = regularizer.loss(weights, shape);
      assertAlmostEquals(loss, row.loss!, bound(Math.abs(row.loss!)));
      regularizer.gradient(weights, gradient, shape);
      const scale = Math.max(0, ...row.gradient!.map(Math.abs));
      row.gradient!.forEach((expected, i) =>
        assertAlmostEquals(gradient[i]!, expected, bound(scale), `element ${i}`)
      );
    });
  }
}

Deno.test("gradients are added to what is there", () => {
  const gradient = new Float64Array([10, 20, 30]);
  new L1L2({ l1: 0.5, l2: 0.25 }).gradient([-2, 0, 4], gradient);
  assertEquals(gradient, new Float64Array([10 - 0.5 - 1, 20, 30 + 0.5 + 2]));
});

/** The derivative by central differences, good to about 1e-9 of the values. */
function differences(
  regularizer: Regularizer,
  weights: readonly number[],
  shape: readonly number[],
): Float64Array {
  const numeric = new Float64Array(weights.length);
  resolveRegularizer((w: Float64Array) => regularizer.loss(w, shape))!
    .gradient(weights, numeric, shape);
  return numeric;
}

Deno.test("every gradient is the derivative of its loss", () => {
  const penalties = [
    new L1({ l1: 0.5 }),
    new L2({ l2: 0.5 }),
    new L1L2({ l1: 0.5, l2: 0.25 }),
  ];
  const orthogonal = [
    new OrthogonalRegularizer({ factor: 0.5 }),
    new OrthogonalRegularizer({ factor: 0.5, mode: "columns" }),
  ];
  // Away from 0, where magnitudes have no derivative; for the orthogonal ones
  // also of one sign, so that no scalar product is near 0.
  const weight = fc.double({ min: 0.25, max: 4, noNaN: true });
  const matrix = fc.array(weight, { minLength: 6, maxLength: 6 });
  const signs = fc.array(fc.constantFrom(-1, 1), {
    minLength: 6,
    maxLength: 6,
  });
  const check = (regularizer: Regularizer, weights: readonly number[]) => {
    const shape = [2, 3];
    const exact = new Float64Array(6);
    regularizer.gradient(weights, exact, shape);
    const numeric = differences(regularizer, weights, shape);
    exact.forEach((value, i) =>
      assertAlmostEquals(numeric[i]!, value, 1e-8, regularizer.className)
    );
  };
  fc.assert(fc.property(matrix, signs, (weights, sign) => {
    for (const regularizer of orthogonal) check(regularizer, weights);
    const signed = weights.map((w, i) => w * sign[i]!);
    for (const regularizer of penalties) check(regularizer, signed);
  }));
});

Deno.test("coefficients are rounded as the Keras version does", () => {
  const rounded = 0.009999999776482582;
  const config = (made: Regularizer, version: "2.4" | "3") =>
    (made.toConfig(version) as { config: unknown }).config;
  const old = new L2({ l2: 0.01 });
  const modern = new L2({ l2: 0.01, kerasVersion: "3" });
  assertEquals(config(old, "2.4"), { l2: rounded });
  assertEquals(config(old, "3"), { l2: rounded });
  assertEquals(config(modern, "3"), { l2: 0.01 });
  assertEquals(config(modern, "2.4"), { l2: rounded });
  assertEquals(old.loss([1]), rounded);
  assertEquals(modern.loss([1]), 0.01);
});

Deno.test("regularizers refuse wrong coefficients", () => {
  for (const wrong of [NaN, Infinity, "1", true, {}]) {
    for (const Class of [L1, L2, L1L2]) {
      const options = { l1: wrong, l2: wrong } as { l1: number; l2: number };
      assertThrows(() => new Class(options), OptionError, "penalty");
    }
  }
  const kerasVersion = "3";
  assertThrows(() => new L1({ l1: -1, kerasVersion }), OptionError, "negative");
  assertEquals(new L1({ l1: -1 }).loss([2]), -2);
  assertThrows(
    () => new OrthogonalRegularizer({ mode: "all" as "rows" }),
    OptionError,
    "rows",
  );
});

Deno.test("functions and objects of the user's are regularizers", () => {
  let written = 0;
  const cubes = resolveRegularizer((w: Float64Array) => {
    const sum = w.reduce((total, v) => total + v ** 3, 0);
    written += w.fill(NaN).length; // must not reach the caller's weights
    return sum;
  })!;
  const weights = new Float32Array([1, -2, 100]);
  assertEquals(cubes.loss(weights), 1 - 8 + 1e6);
  const gradient = new Float64Array(3);
  cubes.gradient(weights, gradient);
  // Steps of 6e-6, or of 6e-4 at 100, have an error of step^2 there, and one
  // of rounding of 2^-53 * 1e6 / step.
  assertAlmostEquals(gradient[0]!, 3, 1e-4);
  assertAlmostEquals(gradient[1]!, 12, 1e-4);
  assertAlmostEquals(gradient[2]!, 3e4, 1e-4);
  assertEquals([...weights], [1, -2, 100]);
  assert(written > 0);

  const object = resolveRegularizer({
    className: "Shift",
    loss: (w) => w[0]!,
    gradient: (_, into) => {
      into[0]! += 1;
    },
  })!;
  object.gradient([5], gradient);
  assertAlmostEquals(gradient[0]!, 4, 1e-4);
  assertEquals(object.toConfig("2.4"), { class_name: "Shift", config: {} });
  assertThrows(
    () => resolveRegularizer(() => "1" as never)!.loss([1]),
    OptionError,
    "return a number",
  );
});

Deno.test("no regularizer is null", () => {
  assertEquals(resolveRegularizer(null), null);
  assertEquals(resolveRegularizer(undefined), null);
});
