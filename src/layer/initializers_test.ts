import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { OptionError, ShapeError } from "../errors.ts";
import {
  Constant,
  GlorotUniform,
  Orthogonal,
  RandomNormal,
  resolveInitializer,
  VarianceScaling,
} from "./initializers.ts";
import type { JsonObject, KerasObject } from "./keras_object.ts";
import { LINES, title } from "./testing/keras_objects.ts";
import { RandomGenerator } from "./random.ts";

const SEED = 3;

/** An identifier with a seed. */
function seeded(identifier: string | KerasObject, seed: number): KerasObject {
  const class_name = typeof identifier === "string"
    ? identifier
    : identifier.class_name;
  const config = typeof identifier === "string"
    ? {}
    : identifier.config as JsonObject;
  return { class_name, config: { ...config, seed } };
}

for (const [kerasVersion, line] of LINES) {
  for (const row of line.initializers) {
    const { identifier, shape, distribution, parameters, values } = row;
    Deno.test(`initializers: ${title(kerasVersion, row)}`, () => {
      const options = { kerasVersion };
      if (row.raises) {
        const initializer = resolveInitializer(identifier, options);
        assertThrows(
          () => initializer.call(shape),
          ShapeError,
          "expected rank",
        );
      } else if (values) {
        const initializer = resolveInitializer(identifier, options);
        assertEquals([...initializer.call(shape)], values);
      } else {
        const [first, second] = parameters!;
        const random = new RandomGenerator(SEED);
        const drawn = {
          uniform: () => first + (second - first) * random.uniform(),
          normal: () => first + second * random.normal(),
          truncated_normal: () => first + second * random.truncatedNormal(),
        }[distribution!];
        const actual = resolveInitializer(seeded(identifier, SEED), options)
          .call(shape);
        const count = shape.reduce((product, extent) => product * extent, 1);
        assertEquals(actual.length, count);
        // The limits may differ in their last bits, of 2^-52 times at most 3.
        for (const value of actual) assertAlmostEquals(value, drawn(), 1e-14);
      }
    });
  }
}

const COUNT = 1e5;

Deno.test("drawn values have the mean and the deviation that Keras promises", () => {
  // Glorot and the others have fans of COUNT on a vector of COUNT.
  const cases: [string, number, number, number][] = [
    // name, mean, standard deviation, excess kurtosis
    ["random_normal", 0, 0.05, 0],
    ["random_uniform", 0, 0.1 / Math.sqrt(12), -1.2],
    ["truncated_normal", 0, 0.05 * 0.87962566103423978, -0.63],
    ["glorot_uniform", 0, Math.sqrt(1 / COUNT), -1.2],
    ["glorot_normal", 0, Math.sqrt(1 / COUNT), -0.63],
    ["he_uniform", 0, Math.sqrt(2 / COUNT), -1.2],
    ["he_normal", 0, Math.sqrt(2 / COUNT), -0.63],
    ["lecun_uniform", 0, Math.sqrt(1 / COUNT), -1.2],
    ["lecun_normal", 0, Math.sqrt(1 / COUNT), -0.63],
  ];
  cases.forEach(([name, mean, stddev, kurtosis], i) => {
    const values = resolveInitializer(seeded(name, i)).call([COUNT]);
    const average = values.reduce((sum, v) => sum + v, 0) / COUNT;
    const variance = values.reduce((sum, v) => sum + (v - average) ** 2, 0) /
      COUNT;
    // Six standard errors: of the mean, stddev / sqrt(n); of the variance,
    // variance * sqrt((kurtosis + 2) / n).
    assertAlmostEquals(average, mean, 6 * stddev / Math.sqrt(COUNT), name);
    assertAlmostEquals(
      variance,
      stddev ** 2,
      6 * stddev ** 2 * Math.sqrt((kurtosis + 2) / COUNT),
      name,
    );
  });
});

Deno.test("limits are respected and nearly reached", () => {
  const uniform = new GlorotUniform({ seed: 1 }).call([100, 200]);
  const limit = Math.sqrt(6 / 300);
  const largest = uniform.reduce((a, v) => Math.max(a, Math.abs(v)), 0);
  // 20000 values: all stay below 0.999 of the limit once in e^20 times.
  assert(largest <= limit && largest > 0.999 * limit);
});

Deno.test("a seed repeats, no seed does not, a SeedGenerator advances", () => {
  const seededOne = new RandomNormal({ seed: 5 });
  assertEquals(seededOne.call([4]), seededOne.call([4]));
  assertEquals(seededOne.call([4]), new RandomNormal({ seed: 5 }).call([4]));
  assert(seededOne.call([1])[0] !== new RandomNormal({ seed: 6 }).call([1])[0]);
  const fresh = new RandomNormal();
  assert(fresh.call([1])[0] !== fresh.call([1])[0]);
  const seed = {
    module: "keras.random",
    class_name: "SeedGenerator",
    config: { seed: 5, name: "s" },
    registered_name: null,
  };
  const advancing = new RandomNormal({ seed });
  const first = advancing.call([4]);
  assertEquals(first, seededOne.call([4]));
  assert(advancing.call([4])[0] !== first[0]);
  for (const wrong of [0.5, "1", true, { class_name: "X", config: {} }]) {
    assertThrows(
      () => new RandomNormal({ seed: wrong as number }),
      OptionError,
      "seed to be an integer",
    );
  }
});

Deno.test("Orthogonal gives orthonormal rows or columns, times the gain", () => {
  const extent = fc.integer({ min: 1, max: 9 });
  const shape = fc.array(extent, { minLength: 2, maxLength: 4 });
  fc.assert(fc.property(shape, fc.integer(), (dims, seed) => {
    const gain = 2;
    const values = new Orthogonal({ gain, seed }).call(dims);
    const columns = dims.at(-1)!;
    const rows = values.length / columns;
    const [vectors, stride, step] = rows < columns
      ? [rows, columns, 1]
      : [columns, 1, columns];
    const length = Math.max(rows, columns);
    for (let i = 0; i < vectors; i++) {
      for (let j = 0; j <= i; j++) {
        let product = 0;
        for (let k = 0; k < length; k++) {
          product += values[i * stride + k * step]! *
            values[j * stride + k * step]!;
        }
        // Products of unit vectors; a sum of n has an error of n * 2^-53.
        assertAlmostEquals(product, i === j ? gain ** 2 : 0, 1e-12);
      }
    }
  }));
});

Deno.test("Orthogonal stays orthogonal to the last bits", () => {
  // One pass of Gram-Schmidt has products of 1e-14 and more here.
  const size = 64;
  const values = new Orthogonal({ seed: 3 }).call([size, size]);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < i; j++) {
      let product = 0;
      for (let k = 0; k < size; k++) {
        product += values[k * size + i]! * values[k * size + j]!;
      }
      assertAlmostEquals(product, 0, 1e-15);
    }
  }
});

Deno.test("Orthogonal is the normal matrix's Q with a positive diagonal of R", () => {
  const random = new RandomGenerator(SEED);
  // Keras' matrix holds the vectors as columns; here they come one by one.
  const [x, y] = [random.normal(), random.normal()];
  const [a, b] = new Orthogonal({ seed: SEED }).call([2, 1]);
  assertAlmostEquals(a!, x / Math.hypot(x, y), 1e-15);
  assertAlmostEquals(b!, y / Math.hypot(x, y), 1e-15);
});

Deno.test("initializers refuse wrong arguments and shapes", () => {
  const wrong = (value: unknown) => value as never;
  const cases: [
    () => unknown,
    typeof OptionError | typeof ShapeError,
    string,
  ][] = [
    [() => new Constant({ value: "x" }), OptionError, "value"],
    [() => new Constant({ value: null }), OptionError, "value"],
    [() => new Constant({ value: [1, 2] }).call([3]), ShapeError, "got 2"],
    [() => new RandomNormal({ mean: wrong("1") }), OptionError, "mean"],
    [() => new VarianceScaling({ scale: wrong(null) }), OptionError, "scale"],
    [() => new VarianceScaling({ mode: wrong(1) }), OptionError, "mode"],
    [
      () => new VarianceScaling({ distribution: wrong(1) }),
      OptionError,
      "distribution",
    ],
    [
      () => new VarianceScaling({ inputAxes: wrong([0.5]) }),
      OptionError,
      "input_axes",
    ],
    [
      () =>
        new VarianceScaling({ inputAxes: [3], outputAxes: [0] }).call([2, 2]),
      ShapeError,
      "no axis 3",
    ],
  ];
  for (const [action, errorClass, text] of cases) {
    assertThrows(action, errorClass, text);
  }
});

Deno.test("null is glorot_uniform, and saved as null", () => {
  const initializer = resolveInitializer(null);
  assertEquals(initializer.className, "GlorotUniform");
  assertEquals(initializer.toConfig("2.4"), null);
  const values = initializer.call([6]);
  assert(values.every((v) => Math.abs(v) <= Math.sqrt(6 / 12)));
});

Deno.test("functions and objects of the user's are initializers", () => {
  const count = resolveInitializer(([n]) =>
    Array.from({ length: n! }, (_, i) => i)
  );
  assertEquals(count.call([3]), new Float64Array([0, 1, 2]));
  class Fill {
    readonly #value = 7;
    call(shape: readonly number[]): Float32Array {
      return new Float32Array(shape[0]!).fill(this.#value);
    }
  }
  assertEquals(
    resolveInitializer(new Fill()).call([2]),
    new Float64Array([7, 7]),
  );
  assertEquals(resolveInitializer(Fill).call([2]), new Float64Array([7, 7]));
  assertThrows(
    () => resolveInitializer(() => [1]).call([2]),
    ShapeError,
    "got 1",
  );
  assertThrows(
    () => resolveInitializer(() => 1 as never).call([1]),
    OptionError,
    "array of numbers",
  );
});
