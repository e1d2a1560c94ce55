import {
  assert,
  assertEquals,
  assertNotStrictEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import * as fc from "fast-check";
import { OptionError, ShapeError } from "../errors.ts";
import { KERNELS } from "../kernels/dispatch.ts";
import {
  castTensor,
  type ElementType,
  type Tensor,
  tensor,
  toFloats,
} from "../tensor.ts";
import { BatchNormalization } from "./batch_normalization.ts";
import { KERAS_VERSIONS, type KerasVersion } from "./keras_version.ts";
import type { BatchNormalizationOptions } from "./options.ts";

const TYPES = ["float32", "float64", "float16", "bfloat16"] as const;

/** Half a unit in the last place of 1. */
const UNIT_ROUNDOFF: Readonly<Record<ElementType, number>> = {
  float32: 2 ** -24,
  float64: 2 ** -53,
  float16: 2 ** -11,
  bfloat16: 2 ** -8,
};

const floats = (t: Tensor) => toFloats(t, new Float64Array(t.data.length));
const count = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1);

/** A layer for `[n, 2]` with weights that show in every output. */
function makeLayer(
  options: BatchNormalizationOptions = {},
): BatchNormalization {
  const layer = new BatchNormalization({ name: "bn", epsilon: 0, ...options });
  layer.setWeights(WEIGHTS);
  return layer;
}
const WEIGHTS = [
  tensor([2, -1], [2]),
  tensor([0.5, 1], [2]),
  tensor([1, 3], [2]),
  tensor([4, 0.25], [2]),
];
const X = tensor([3, 4, 1, 3], [2, 2]);
const Y = [2.5, -1, 0.5, 1];

// The oracle: element by element, index by index.

/** The parameter that an element uses. */
function parameterOf(
  dims: readonly number[],
  axes: readonly number[],
  element: number,
): number {
  const index: number[] = [];
  for (let d = dims.length - 1, rest = element; d >= 0; d--) {
    index[d] = rest % dims[d]!;
    rest = Math.floor(rest / dims[d]!);
  }
  return axes.reduce((p, axis) => p * dims[axis]! + index[axis]!, 0);
}

interface Scenario {
  readonly dims: readonly number[];
  /** Ascending, not negative. */
  readonly axes: readonly number[];
  readonly options: BatchNormalizationOptions;
  readonly epsilon: number;
}

/** The epsilon that Keras adds, from the documentation's table. */
function kerasEpsilon({ dims, axes, options, epsilon }: Scenario): number {
  const { kerasVersion, fused, dtype } = options;
  const last = dims.length - 1;
  const ranks = kerasVersion === "2.4" ? [4] : [4, 5];
  const hasFloor = (kerasVersion === "2.4" || kerasVersion === "2.6") &&
    fused !== false && dtype !== "float64" && axes.length === 1 &&
    ranks.includes(dims.length) && (axes[0] === 1 || axes[0] === last);
  return hasFloor ? Math.max(epsilon, 1.001e-5) : epsilon;
}

const scenario: fc.Arbitrary<Scenario> = fc
  .tuple(
    fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 5 }),
    fc.constantFrom(...KERAS_VERSIONS),
    fc.constantFrom(
      ...TYPES,
      "mixed_float16",
      "mixed_bfloat16",
    ),
    fc.constantFrom(...KERNELS.map(({ name }) => name)),
    fc.constantFrom(0.25, 1e-3, 2e-5, 1e-6),
    fc.record({ center: fc.boolean(), scale: fc.boolean() }),
    fc.infiniteStream(fc.nat()),
  )
  .map(([dims, kerasVersion, dtype, kernels, epsilon, flags, picks]) => {
    const pick = (n: number) => picks.next().value! % n;
    const rank = dims.length;
    const wanted = kerasVersion === "3" ? 1 : 1 + pick(rank);
    const shuffled = dims.map((_, d) => d)
      .map((d) => [picks.next().value!, d] as const)
      .sort(([a], [b]) => a - b).map(([, d]) => d);
    const chosen = shuffled.slice(0, wanted);
    const fused = kerasVersion !== "3" && pick(3) === 0 ? false : null;
    // An axis that counts from the end, now and then; never -4 on rank 4, which
    // Keras from 2.6 on takes for a fused axis and then refuses.
    const given = chosen.map((axis) =>
      axis > 0 && pick(2) === 0 ? axis - rank : axis
    );
    return {
      dims,
      axes: chosen.toSorted((a, b) => a - b),
      epsilon,
      options: {
        axis: given.length === 1 && pick(2) === 0 || kerasVersion === "3"
          ? given[0]!
          : given,
        kerasVersion,
        dtype,
        kernels,
        epsilon,
        fused,
        ...flags,
      },
    };
  });

const value = fc.double({ min: -50, max: 50, noNaN: true });
const variance = fc.double({ min: 0.01, max: 50, noNaN: true });
const wild = fc.oneof(
  fc.float(),
  fc.constantFrom(NaN, Infinity, -Infinity, 0, -0, 1e-45, -1e-40, 3e38),
);
const wildVariance = fc.oneof(
  fc.float({ min: 0, noDefaultInfinity: true }),
  fc.constantFrom(0, 1e-45, 1e-38, 3e38, Infinity, NaN),
);

/** Builds the layer and fills every variable from a stream of numbers. */
function fill(
  { dims, options }: Scenario,
  values: Iterator<number>,
  variances: Iterator<number>,
): BatchNormalization {
  const layer = new BatchNormalization(options);
  layer.build(dims);
  layer.setWeights(layer.weights.map((weight) => {
    const source = weight === layer.movingVariance ? variances : values;
    const numbers = Array.from(weight.data, () => source.next().value!);
    return tensor(numbers, weight.dims, "float64");
  }));
  return layer;
}

/** Runs the recipe of the class' documentation with `round` after each step. */
function recipe(
  layer: BatchNormalization,
  { axes, dims }: Scenario,
  x: Tensor,
  epsilon: number,
  round: (value: number) => number,
): number[] {
  const read = (t: Tensor | undefined) => t && [...floats(t)].map(round);
  const gamma = read(layer.gamma);
  const beta = read(layer.beta);
  const mean = read(layer.movingMean)!;
  const variance = read(layer.movingVariance)!;
  return [...floats(x)].map((element, i) => {
    const c = parameterOf(dims, axes, i);
    const deviation = round(Math.sqrt(round(variance[c]! + round(epsilon))));
    const inverse = round(1 / deviation);
    const a = gamma ? round(inverse * gamma[c]!) : inverse;
    const b = round((beta?.[c] ?? 0) - round(mean[c]! * a));
    return round(round(element * a) + b);
  });
}

Deno.test("call is the formula, within the bound of its roundings", () => {
  fc.assert(
    fc.property(
      scenario,
      fc.infiniteStream(value),
      fc.infiniteStream(variance),
      (scenario, values, variances) => {
        const layer = fill(scenario, values, variances);
        const { dims, axes } = scenario;
        const { compute } = layer.options.dtype;
        const numbers = Array.from(
          { length: count(dims) },
          () => values.next().value!,
        );
        const x = tensor(numbers, dims, compute);
        const y = layer.call(x);
        assertEquals(layer.axes, axes);
        assertEquals([y.type, y.dims], [compute, dims]);
        const epsilon = kerasEpsilon(scenario);
        assertEquals(layer.effectiveEpsilon, epsilon);
        const gamma = layer.gamma && floats(layer.gamma);
        const beta = layer.beta && floats(layer.beta);
        const mean = floats(layer.movingMean);
        const moments = floats(layer.movingVariance);
        const half = compute === "float16" || compute === "bfloat16";
        const unit = UNIT_ROUNDOFF[half ? "float32" : compute];
        const input = floats(x);
        floats(y).forEach((actual, i) => {
          const c = parameterOf(dims, axes, i);
          const a = (gamma?.[c] ?? 1) / Math.sqrt(moments[c]! + epsilon);
          const b = beta?.[c] ?? 0;
          const expected = (input[i]! - mean[c]!) * a + b;
          // The rounding of epsilon, variance + epsilon and sqrt (the first
          // two count half, under the root), 1 / s, * gamma, mean * a,
          // beta - ., x * a, + b: 8 of a term that this sum bounds; one more
          // for the squares of roundoffs and the oracle's own.
          const size = Math.abs(input[i]! * a) + Math.abs(mean[c]! * a) +
            Math.abs(b);
          // Subnormal results are off by half the least number instead; where
          // that is 1 / s * gamma, so many times as x and mean then have it.
          const least = compute === "float64" ? Number.MIN_VALUE : 2 ** -149;
          const times = 9 + Math.abs(input[i]!) + Math.abs(mean[c]!);
          let bound = 9 * unit * size + times * least;
          // 16-bit types are rounded once; 2^-25 is half the least float16.
          if (half) {
            bound += UNIT_ROUNDOFF[compute] * (Math.abs(expected) + bound) +
              2 ** -25;
          }
          assert(
            Math.abs(actual - expected) <= bound,
            `element ${i}: ${actual}, expected ${expected} within ${bound}`,
          );
        });
      },
    ),
    { numRuns: 400 },
  );
});

Deno.test("call follows its recipe bit by bit, for all values", () => {
  fc.assert(
    fc.property(
      scenario,
      fc.infiniteStream(wild),
      fc.infiniteStream(wildVariance),
      (scenario, values, variances) => {
        const layer = fill(scenario, values, variances);
        const { compute } = layer.options.dtype;
        const numbers = Array.from(
          { length: count(scenario.dims) },
          () => values.next().value!,
        );
        const x = tensor(numbers, scenario.dims, compute);
        const y = layer.call(x);
        const round = compute === "float64" ? (v: number) => v : Math.fround;
        const exact = recipe(layer, scenario, x, kerasEpsilon(scenario), round);
        // Rounded to a 16-bit type once, at the end.
        const expected = tensor(exact, scenario.dims, compute);
        assertEquals(floats(y), floats(expected));
      },
    ),
    { numRuns: 400 },
  );
});

Deno.test("both kernels give the same bits", () => {
  const [first, second] = KERNELS.map(({ name }) =>
    makeLayer({ kernels: name })
  );
  assertEquals(first!.call(X), second!.call(X));
  assertEquals([...first!.call(X).data], Y);
});

Deno.test("the output can be the input", () => {
  for (const { name: kernels } of KERNELS) {
    for (const type of TYPES) {
      const layer = makeLayer({ dtype: type, kernels });
      const x = tensor([...X.data], X.dims, type);
      const expected = layer.call(x);
      assertStrictEquals(layer.call(x, { out: x }), x);
      assertEquals(floats(x), floats(expected), `${type} on ${kernels}`);
    }
  }
});

Deno.test("the output goes where it is wanted", () => {
  const layer = makeLayer();
  const out = tensor(new Float32Array(4), [2, 2]);
  assertStrictEquals(layer.call(X, { out }), out);
  assertEquals([...out.data], Y);
  assertEquals([...X.data], [3, 4, 1, 3]);
});

Deno.test("an out that does not fit is refused, and not written", () => {
  const layer = makeLayer();
  const wrong: [Tensor, new (message: string) => Error, string][] = [
    [tensor([9, 9, 9, 9], [2, 2], "float64"), OptionError, "float64"],
    [tensor([9, 9, 9, 9], [4, 1]), ShapeError, "shape [2, 2], got [4, 1]"],
    [tensor([9, 9, 9, 9], [1, 2, 2]), ShapeError, "got [1, 2, 2]"],
    [
      { type: "float32", dims: [2, 2], data: new Float32Array(3) },
      ShapeError,
      "expected 4 values, got 3",
    ],
    [
      { type: "float32", dims: [2, 2], data: new Float64Array(4) },
      OptionError,
      "Float64Array",
    ],
  ];
  for (const [out, type, message] of wrong) {
    const before = out.data.slice();
    assertThrows(() => layer.call(X, { out }), type, message);
    assertEquals(out.data, before);
  }
});

Deno.test("every input type is cast to every compute type, as Keras casts", () => {
  // 1/3 is different in each type.
  const numbers = [1 / 3, -2 / 3, 1e-3, 7];
  for (const compute of TYPES) {
    const layer = makeLayer({ dtype: compute });
    for (const type of TYPES) {
      const x = tensor(numbers, [2, 2], type);
      const y = layer.call(x);
      assertEquals(y.type, compute);
      assertEquals(
        y,
        layer.call(castTensor(x, compute)),
        `${type}, ${compute}`,
      );
    }
  }
});

Deno.test("without autocast, only the compute type is taken", () => {
  const layer = makeLayer({ autocast: false });
  assertEquals([...layer.call(X).data], Y);
  assertThrows(
    () => layer.call(castTensor(X, "float64")),
    OptionError,
    'Cannot call layer "bn" on float64: it computes in float32 and autocast is off',
  );
});

Deno.test({
  name: "a Float16Array begets a Float16Array",
  ignore: !("Float16Array" in globalThis),
  fn: () => {
    const layer = makeLayer({ dtype: "float16" });
    const x = tensor(new Float16Array(X.data), [2, 2]);
    assertEquals(x.type, "float16");
    const y = layer.call(x);
    assert(y.data instanceof Float16Array);
    assertEquals([...y.data], Y);
    const bits = layer.call(tensor([...X.data], [2, 2], "float16"));
    assert(bits.data instanceof Uint16Array);
    assertEquals(floats(bits), floats(y));
    assertStrictEquals(layer.call(x, { out: x }), x);
    assertEquals([...x.data], Y);
  },
});

Deno.test("inputs that are views work", () => {
  const buffer = new ArrayBuffer(4 * 7);
  const data = new Float32Array(buffer, 4, 4);
  data.set(X.data);
  const y = makeLayer().call({ type: "float32", dims: [2, 2], data });
  assertEquals([...y.data], Y);
});

Deno.test("an input that is no tensor is refused", () => {
  const layer = makeLayer();
  const wrong = [
    undefined,
    null,
    [1, 2],
    { type: "int32", dims: [1, 2], data: new Int32Array(2) },
    { type: "float32", dims: [1, 2], data: [1, 2] },
    { type: "float32", dims: [1, 2], data: new Uint16Array(2) },
  ];
  for (const x of wrong) {
    assertThrows(
      () => layer.call(x as unknown as Tensor),
      OptionError,
      'Cannot use the input of layer "bn"',
    );
  }
  assertThrows(
    () =>
      layer.call({ type: "float32", dims: [2, 2], data: new Float32Array(2) }),
    ShapeError,
    "expected 4 values, got 2",
  );
});

// Weights.

Deno.test("weights set before the build are kept for it", () => {
  const layer = makeLayer();
  const { gamma, movingMean } = layer;
  assertEquals(layer.axes, undefined);
  layer.build([null, 2]);
  // What was handed out stays what the layer uses.
  assertStrictEquals(layer.gamma, gamma);
  assertStrictEquals(layer.movingMean, movingMean);
  assertEquals([...layer.call(X).data], Y);
});

Deno.test("weights set before the build are checked by it", () => {
  const layer = makeLayer();
  assertThrows(
    () => layer.build([null, 3]),
    ShapeError,
    "to have weights of shape [3], got [2]",
  );
  assertEquals(layer.axes, undefined);
  layer.build([null, 2]);
  assertEquals(layer.axes, [1]);
});

Deno.test("weights set after the build are used by the next call", () => {
  const layer = new BatchNormalization({ epsilon: 0 });
  assertEquals([...layer.call(X).data], [...X.data]);
  layer.setWeights(WEIGHTS);
  assertEquals([...layer.call(X).data], Y);
});

Deno.test("weights that do not fit are refused, and none is set", () => {
  const vector = tensor([9, 9], [2]);
  const wrong: [Tensor[], new (message: string) => Error, string][] = [
    [WEIGHTS.slice(1), ShapeError, "expected 4 (gamma, beta, moving_mean"],
    [[...WEIGHTS, vector], ShapeError, "got 5"],
    [[], ShapeError, "got 0"],
    [
      [vector, vector, vector, tensor([9, 9, 9], [3])],
      ShapeError,
      "Cannot set moving_variance",
    ],
    [
      [vector, vector, vector, tensor([9, 9], [1, 2])],
      ShapeError,
      "expected shape [2], got [1, 2]",
    ],
    [
      [vector, vector, vector, {
        type: "float32",
        dims: [2],
        data: new Float64Array(2),
      }],
      OptionError,
      'moving_variance of layer "bn"',
    ],
    [
      [vector, vector, vector, {
        type: "float32",
        dims: [2],
        data: new Float32Array(1),
      }],
      ShapeError,
      "expected 2 values, got 1",
    ],
    [
      [vector, vector, vector, null as unknown as Tensor],
      OptionError,
      "expected a tensor",
    ],
  ];
  const before = makeLayer();
  const built = makeLayer();
  built.build([null, 2]);
  for (const layer of [before, built]) {
    for (const [weights, type, message] of wrong) {
      assertThrows(() => layer.setWeights(weights), type, message);
      assertEquals(layer.getWeights(), WEIGHTS);
    }
    assertEquals([...layer.call(X).data], Y);
  }
});

Deno.test("weights are converted to the type of the variables", () => {
  for (
    const [dtype, variable] of [
      ["float64", "float64"],
      ["float32", "float32"],
      ["float16", "float32"],
      ["mixed_bfloat16", "float32"],
    ] as const
  ) {
    for (const given of TYPES) {
      const layer = new BatchNormalization({ dtype });
      layer.setWeights(WEIGHTS.map((weight) => castTensor(weight, given)));
      assertEquals(
        layer.getWeights(),
        WEIGHTS.map((weight) => castTensor(weight, variable)),
        `${given} for ${dtype}`,
      );
    }
  }
});

Deno.test("getWeights gives copies, the attributes are live", () => {
  const layer = makeLayer();
  layer.build([null, 2]);
  for (const weight of layer.getWeights()) weight.data.fill(7);
  assertEquals(layer.getWeights(), WEIGHTS);
  assertEquals([...layer.call(X).data], Y);
  // Nor does the layer hold on to what it was given.
  const given = WEIGHTS.map(({ dims, data }) => tensor(data.slice(), dims));
  layer.setWeights(given);
  for (const weight of given) weight.data.fill(7);
  assertEquals([...layer.call(X).data], Y);

  layer.beta!.data[1] = 11;
  assertEquals([...layer.call(X).data], [2.5, 9, 0.5, 11]);
  layer.gamma!.data.fill(0);
  assertEquals([...layer.call(X).data], [0.5, 11, 0.5, 11]);
  assertStrictEquals(layer.weights[0], layer.gamma);
  assertNotStrictEquals(layer.getWeights()[0], layer.gamma);
});

Deno.test("the attributes are the variables, by name", () => {
  const all = new BatchNormalization({ renorm: true });
  const numbers = [1, 2, 3, 4, 5, 6, 7];
  all.setWeights(numbers.map((n) => tensor([n], [1])));
  assertEquals(
    [
      all.gamma,
      all.beta,
      all.movingMean,
      all.movingVariance,
      all.movingStddev,
      all.renormMean,
      all.renormStddev,
    ].map((weight) => weight!.data[0]),
    numbers,
  );
  const few = new BatchNormalization({ center: false, scale: false });
  few.setWeights([tensor([1], [1]), tensor([2], [1])]);
  assertEquals([few.gamma, few.beta], [undefined, undefined]);
  assertEquals(few.movingVariance.data[0], 2);
  assertEquals(few.movingStddev, undefined);
});

Deno.test("a layer without weights has none to give", () => {
  const layer = new BatchNormalization({ name: "bn" });
  assertEquals(layer.getWeights(), []);
  assertEquals(layer.gamma, undefined);
  assertThrows(
    () => layer.movingMean,
    ShapeError,
    'Cannot read moving_mean of layer "bn": the layer has no weights yet',
  );
});

Deno.test("weights are trainable or not, and none is in a frozen layer", () => {
  const layer = new BatchNormalization({ renorm: true });
  layer.build([null, 3]);
  const { gamma, beta, weights } = layer;
  assertEquals(weights.length, 7);
  assertEquals(layer.trainableWeights, [gamma!, beta!]);
  assertEquals(layer.nonTrainableWeights.length, 5);
  layer.trainable = false;
  assertEquals(layer.trainableWeights, []);
  // The order is the same, as in Keras.
  layer.nonTrainableWeights.forEach((w, i) =>
    assertStrictEquals(w, weights[i])
  );
  const noGamma = new BatchNormalization({ scale: false });
  noGamma.build([null, 3]);
  assertStrictEquals(noGamma.trainableWeights[0], noGamma.beta);
  assertEquals(noGamma.trainableWeights.length, 1);
});

Deno.test("new weights have the initializers' values", () => {
  const layer = new BatchNormalization({
    renorm: true,
    gammaInitializer: { class_name: "Constant", config: { value: 3 } },
    betaInitializer: "ones",
    movingMeanInitializer: { class_name: "Constant", config: { value: -1 } },
    movingVarianceInitializer: { class_name: "Constant", config: { value: 4 } },
  });
  layer.build([null, 2]);
  assertEquals(
    layer.getWeights().map(({ data }) => [...data]),
    // The deviations are roots of the variance's values.
    [[3, 3], [1, 1], [-1, -1], [4, 4], [2, 2], [-1, -1], [2, 2]],
  );
  const half = new BatchNormalization({
    kerasVersion: "3",
    dtype: "bfloat16",
    betaInitializer: "ones",
  });
  half.build([null, 1]);
  assertEquals(half.beta, tensor([1], [1], "bfloat16"));
});

// Shapes.

Deno.test("the first call builds; then only reduced extents may change", () => {
  const layer = new BatchNormalization({ name: "bn", axis: [1, -1] });
  layer.call(tensor(new Float32Array(2 * 3 * 4 * 5), [2, 3, 4, 5]));
  for (const dims of [[7, 3, 4, 5], [2, 3, 1, 5], [0, 3, 4, 5], [2, 3, 9, 5]]) {
    const y = layer.call(tensor(new Float32Array(count(dims)).fill(1), dims));
    assertEquals(y.dims, dims);
    assertEquals(y.data.length, count(dims));
  }
  layer.build([null, 3, null, 5]);
  const wrong: [number[], string][] = [
    [[2, 4, 4, 5], "expected axis 1 to have extent 3, got shape [2, 4, 4, 5]"],
    [[2, 3, 4, 6], "expected axis 3 to have extent 5"],
    [[2, 3, 5], "expected rank 4, got rank 3"],
    [[2, 3, 4, 5, 1], "expected rank 4, got rank 5"],
  ];
  for (const [dims, message] of wrong) {
    assertThrows(
      () => layer.call(tensor(new Float32Array(count(dims)), dims)),
      ShapeError,
      message,
    );
    assertThrows(() => layer.build(dims), ShapeError, message);
  }
  assertThrows(
    () => layer.build([null, null, null, 5]),
    ShapeError,
    "expected axis 1",
  );
});

Deno.test("building twice keeps the weights", () => {
  const layer = makeLayer();
  layer.build([null, 2]);
  const { gamma } = layer;
  layer.build([5, 2]);
  assertStrictEquals(layer.gamma, gamma);
});

Deno.test("a layer that failed to build can be built", () => {
  const layer = new BatchNormalization({ name: "bn", axis: 2 });
  assertThrows(
    () => layer.call(tensor([1, 2], [1, 2])),
    ShapeError,
    'Cannot build layer "bn": invalid axis 2 for an input of rank 2, expected -2 to 1',
  );
  assertEquals(layer.axes, undefined);
  assertEquals(layer.weights, []);
  layer.build([null, null, 3]);
  assertEquals(layer.movingMean.dims, [3]);
});

Deno.test("every other wrong shape has its error", () => {
  const build = (
    options: BatchNormalizationOptions,
    shape: (number | null)[],
  ) =>
  () => new BatchNormalization({ name: "bn", ...options }).build(shape);
  assertThrows(build({}, []), ShapeError, "undefined rank");
  assertThrows(build({}, [2, null]), ShapeError, "extent at axis 1");
  assertThrows(build({ axis: [1, -1] }, [2, 2]), ShapeError, "duplicate axis");
  assertThrows(build({ axis: -3 }, [2, 2]), ShapeError, "invalid axis -3");
  assertThrows(
    build({ fused: true }, [2, 2]),
    ShapeError,
    "needs an input of rank 4, got rank 2",
  );
  for (const size of [0, -1, 1.5, NaN]) {
    assertThrows(
      build({ virtualBatchSize: size }, [2, 2]),
      OptionError,
      "virtualBatchSize must be a positive integer",
    );
  }
  assertThrows(
    build({ virtualBatchSize: 2, axis: 0 }, [2, 2]),
    OptionError,
    "axis cannot include 0",
  );
  assertThrows(
    build({ virtualBatchSize: 2, adjustment: () => [X, X] }, [2, 2]),
    OptionError,
    "adjustment cannot be specified",
  );
});

Deno.test("the input's array of extents is not kept", () => {
  const layer = makeLayer();
  const dims = [2, 2];
  const x = { type: "float32" as const, dims, data: new Float32Array(X.data) };
  const y = layer.call(x);
  dims[0] = 99;
  assertEquals(y.dims, [2, 2]);
  assertEquals([...layer.call(X).data], Y);
});

Deno.test("empty tensors go through", () => {
  for (const { name: kernels } of KERNELS) {
    const layer = makeLayer({ kernels });
    const y = layer.call(tensor([], [0, 2]));
    assertEquals([y.dims, y.data.length], [[0, 2], 0]);
    assertEquals([...layer.call(X).data], Y);
    const none = new BatchNormalization({ kernels });
    assertEquals(none.call(tensor([], [3, 0])).dims, [3, 0]);
  }
});

// Values that are no good.

Deno.test("an epsilon or a momentum that is no finite number is refused", () => {
  for (const value of [NaN, Infinity, -Infinity, null, "1", true]) {
    const bad = value as number;
    assertThrows(
      () => new BatchNormalization({ epsilon: bad }),
      OptionError,
      `Cannot use epsilon ${value}: expected a finite number`,
    );
    assertThrows(
      () => new BatchNormalization({ momentum: bad }),
      OptionError,
      "Cannot use momentum",
    );
  }
});

Deno.test("a negative variance is refused, unless epsilon lifts it", () => {
  const layer = makeLayer({ epsilon: 0.5 });
  layer.movingVariance.data[1] = -0.75;
  const out = tensor(new Float32Array(4), [2, 2]);
  assertThrows(
    () => layer.call(X, { out }),
    OptionError,
    'Cannot run layer "bn": movingVariance[1] is -0.75, and movingVariance + epsilon must not be negative',
  );
  assertEquals([...out.data], [0, 0, 0, 0]);
  // As E[x^2] - E[x]^2 leaves it now and then.
  layer.movingVariance.data[1] = -0.25;
  // (4 - 3) / sqrt(0.25) * -1 + 1, (3 - 3) / ... + 1
  const y = layer.call(X);
  assertEquals([y.data[1], y.data[3]], [-1, 1]);
  // A sum of 0 has a root: a = -Infinity, b = Infinity.
  layer.movingVariance.data[1] = -0.5;
  assertEquals([...layer.call(X).data].map(Number.isNaN), [
    false,
    true,
    false,
    true,
  ]);
});

Deno.test("weights of NaN give NaN in their channel only", () => {
  for (
    const name of ["gamma", "beta", "movingMean", "movingVariance"] as const
  ) {
    const layer = makeLayer();
    layer[name]!.data[0] = NaN;
    assertEquals([...layer.call(X).data], [NaN, -1, NaN, 1], name);
  }
});

Deno.test("without variance and epsilon, everything is infinitely far", () => {
  const layer = new BatchNormalization({ epsilon: 0 });
  layer.build([null, 1]);
  layer.movingVariance.data[0] = 0;
  // onnxruntime's order: b = 0 - 0 * Infinity is NaN.
  assertEquals([...layer.call(tensor([1, -1], [2, 1])).data], [NaN, NaN]);
  layer.movingMean.data[0] = 2;
  // a = Infinity, b = -Infinity
  assertEquals([...layer.call(tensor([-1, 3], [2, 1])).data], [-Infinity, NaN]);
});

// Training.

Deno.test("a frozen layer runs inference, whatever training says", () => {
  const layer = makeLayer({ trainable: false });
  assertEquals([...layer.call(X, { training: true }).data], Y);
  assertEquals(layer.getWeights(), WEIGHTS);
  layer.trainable = true;
  assertEquals([...layer.call(X, { training: false }).data], Y);
  assertEquals([...layer.call(X).data], Y);
});

// Losses.

Deno.test("losses are the regularizers of gamma and beta", () => {
  const layer = makeLayer({
    gammaRegularizer: { class_name: "L1", config: { l1: 0.5 } },
    betaRegularizer: { class_name: "L2", config: { l2: 2 } },
  });
  // 0.5 * (|2| + |-1|) + 2 * (0.25 + 1)
  assertEquals(layer.losses(), 4);
  layer.gamma!.data[0] = 0;
  assertEquals(layer.losses(), 3);
  assertEquals(new BatchNormalization().losses(), 0);
  const none = new BatchNormalization({
    gammaRegularizer: "l2",
    betaRegularizer: "l2",
    center: false,
    scale: false,
  });
  none.build([null, 2]);
  assertEquals(none.losses(), 0);
});

Deno.test("the losses of a frozen layer count in Keras 2 only", () => {
  const loss = (kerasVersion: KerasVersion) => {
    const layer = makeLayer({
      kerasVersion,
      trainable: false,
      gammaRegularizer: { class_name: "L1", config: { l1: 0.5 } },
    });
    return layer.losses();
  };
  assertEquals(KERAS_VERSIONS.map(loss), [1.5, 1.5, 1.5, 0]);
});

Deno.test("the activity regularizer's loss is that of the last output", () => {
  const layer = makeLayer({
    activityRegularizer: { class_name: "L1", config: { l1: 1 } },
  });
  assertEquals(layer.losses(), 0);
  layer.call(X);
  // (2.5 + 1 + 0.5 + 1) / 2 rows
  assertEquals(layer.losses(), 2.5);
  layer.call(X, { out: tensor(new Float32Array(4), [2, 2]) });
  assertEquals(layer.losses(), 2.5);
  layer.call(tensor([3, 4], [1, 2]));
  assertEquals(layer.losses(), 3.5);
  layer.call(tensor([], [0, 2]));
  assertEquals(layer.losses(), 0);
});

// Names.

Deno.test("layers without a name are counted", () => {
  const numberOf = ({ name }: BatchNormalization) => {
    const match = /^batch_normalization(?:_(\d+))?$/.exec(name);
    assert(match, name);
    return Number(match![1] ?? 0);
  };
  const first = numberOf(new BatchNormalization());
  assertEquals(new BatchNormalization({ name: "other" }).name, "other");
  assertEquals(numberOf(new BatchNormalization({ name: null })), first + 1);
  assertEquals(numberOf(BatchNormalization.fromConfig({})), first + 2);
  assertEquals(new BatchNormalization({ name: "" }).name, "");
  // A layer that could not be made has no name.
  assertThrows(() => new BatchNormalization({ axis: 1.5 }), OptionError);
  assertEquals(numberOf(new BatchNormalization()), first + 3);
});

Deno.test("kernels can be chosen per layer", () => {
  assertThrows(
    () => new BatchNormalization({ kernels: "gpu" as "wasm" }),
    OptionError,
    'Cannot use kernels "gpu": expected "auto", "wasm", "typed-array"',
  );
  assertEquals([...makeLayer({ kernels: "auto" }).call(X).data], Y);
});

Deno.test("a call that failed leaves nothing for another number of channels", () => {
  const layer = new BatchNormalization({ epsilon: 0 });
  const weights = (channels: number, variance: number) =>
    [1, 0, 0, variance].map((value) =>
      tensor(new Float32Array(channels).fill(value), [channels])
    );
  layer.setWeights(weights(40, -5));
  assertThrows(() => layer.call(tensor(new Float32Array(40).fill(1), [1, 40])));
  layer.setWeights(weights(64, 4));
  const y = layer.call(tensor(new Float32Array(64).fill(1), [1, 64]));
  assertEquals([...y.data], Array(64).fill(0.5));
});
