import { assert, assertEquals } from "@std/assert";
import * as fc from "fast-check";
import {
  bytesPerElement,
  createData,
  type ElementType,
  encodeInto,
  type TensorData,
} from "../tensor.ts";
import { KERNELS } from "./dispatch.ts";
import { layoutOf } from "./layout.ts";
import { rangesOf } from "./pieces.ts";
import { allocateOff, copyInto, viewLike } from "./testing/arrays.ts";
import { assertSameBits } from "./testing/bits.ts";
import {
  ELEMENT_TYPES,
  makeDoubles,
  makeInput,
  makeUsualInput,
  TRAINING_CASES,
} from "./testing/cases.ts";
import {
  channelOfEach,
  distance,
  type Exact,
  exactMoments,
  exactProducts,
  readElement,
  rounded,
  writeElement,
} from "./testing/oracle.ts";
import { randomUint32 } from "./testing/random.ts";
import { typedArrayKernels } from "./typed_array.ts";
import type { Kernels } from "./types.ts";

/** Where the arrays are; the output may be an input. */
interface Placement {
  readonly name: string;
  readonly x: Place;
  readonly dy: Place;
  readonly output: Place | "x" | "dy";
}

type Place = "ordinary" | "view" | "shared" | "allocated";

const PLACEMENTS: readonly Placement[] = [
  { x: "ordinary", dy: "ordinary", output: "ordinary" },
  { x: "view", dy: "view", output: "view" },
  { x: "shared", dy: "shared", output: "shared" },
  { x: "allocated", dy: "allocated", output: "allocated" },
  { x: "allocated", dy: "ordinary", output: "ordinary" },
  { x: "ordinary", dy: "allocated", output: "ordinary" },
  { x: "ordinary", dy: "ordinary", output: "allocated" },
  { x: "ordinary", dy: "ordinary", output: "x" },
  { x: "ordinary", dy: "ordinary", output: "dy" },
  { x: "allocated", dy: "allocated", output: "x" },
  { x: "allocated", dy: "allocated", output: "dy" },
  { x: "allocated", dy: "ordinary", output: "dy" },
].map((places) => ({
  ...places,
  name: Object.values(places).join(", "),
} as Placement));

/** An array with the values of another one, at a place. */
function put(
  place: Place,
  type: ElementType,
  data: TensorData,
  disposals: (() => void)[],
): TensorData {
  const bytes = bytesPerElement(type);
  switch (place) {
    case "ordinary":
      return data.slice();
    case "view": {
      const buffer = new ArrayBuffer(data.byteLength + 16);
      return copyInto(viewLike(data, buffer, bytes), data);
    }
    case "shared": {
      const buffer = new SharedArrayBuffer(data.byteLength);
      return copyInto(viewLike(data, buffer, 0), data);
    }
    case "allocated": {
      const { data: target, dispose } = allocateOff(type, data.length);
      disposals.push(dispose);
      return copyInto(target, data);
    }
  }
}

/** A case's inputs, each with its values in float64. */
interface Given {
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly axes: readonly number[];
  /** With special values: for what is computed element by element. */
  readonly x: TensorData;
  readonly dy: TensorData;
  /** Without: a NaN would make sums equal whatever their order. */
  readonly usualX: TensorData;
  readonly usualDy: TensorData;
  readonly parameters: readonly Float64Array[];
  readonly usualMean: Float64Array;
}

function give(
  type: ElementType,
  dims: readonly number[],
  axes: readonly number[],
  seed: number,
): Given {
  const { channels, reduced } = layoutOf(dims, axes);
  const length = channels * reduced;
  return {
    type,
    dims,
    axes,
    x: makeInput(type, length, 20 * seed),
    dy: makeInput(type, length, 20 * seed + 1),
    usualX: makeUsualInput(type, length, 20 * seed + 2),
    usualDy: makeUsualInput(type, length, 20 * seed + 3),
    parameters: [4, 5, 6, 7].map((salt) =>
      makeDoubles(channels, 20 * seed + salt)
    ),
    usualMean: makeDoubles(channels, 20 * seed + 8, Infinity),
  };
}

/** What all kernels must give, wherever the arrays are. */
interface Expected {
  readonly moments: readonly Float64Array[];
  readonly gradientSums: readonly Float64Array[];
  readonly normalized: TensorData;
  readonly inputGradient: TensorData;
}

/** Sums by the typed-array kernels, elements by their formula. */
function expect(given: Given): Expected {
  const { type, dims, axes, x, dy, usualX, usualDy, usualMean } = given;
  const layout = layoutOf(dims, axes);
  const [mean, p, q, r] = given.parameters as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const vector = (): Float64Array => new Float64Array(layout.channels).fill(7);
  const moments = [vector(), vector()] as const;
  typedArrayKernels.moments(type, layout, usualX, ...moments);
  const gradientSums = [vector(), vector()] as const;
  typedArrayKernels.gradientSums(
    type,
    layout,
    usualX,
    usualDy,
    usualMean,
    ...gradientSums,
  );
  const channels = channelOfEach(dims, axes);
  const normalized = createData(type, x.length);
  const inputGradient = createData(type, x.length);
  for (let i = 0; i < x.length; i++) {
    const c = channels[i]!;
    const d = readElement(type, x[i]!) - mean[c]!;
    normalized[i] = writeElement(type, d * p[c]! + q[c]!);
    const shifted = readElement(type, dy[i]!) - p[c]!;
    inputGradient[i] = writeElement(type, (shifted - d * q[c]!) * r[c]!);
  }
  return { moments, gradientSums, normalized, inputGradient };
}

function check(
  kernels: Kernels,
  placement: Placement,
  given: Given,
  expected: Expected,
  what: string,
): void {
  const { type, dims, axes, usualMean } = given;
  const layout = layoutOf(dims, axes);
  const [mean, p, q, r] = given.parameters as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const where = `${what}: [${dims}] axes [${axes}], ${placement.name}`;
  const disposals: (() => void)[] = [];
  const vectors = [0, 1, 2, 3].map(() =>
    new Float64Array(layout.channels).fill(3)
  ) as [Float64Array, Float64Array, Float64Array, Float64Array];

  const usualX = put(placement.x, type, given.usualX, disposals);
  const usualDy = put(placement.dy, type, given.usualDy, disposals);
  kernels.moments(type, layout, usualX, vectors[0], vectors[1]);
  kernels.gradientSums(
    type,
    layout,
    usualX,
    usualDy,
    usualMean,
    vectors[2],
    vectors[3],
  );
  assertSameBits(vectors[0], expected.moments[0]!, `mean, ${where}`);
  assertSameBits(vectors[1], expected.moments[1]!, `m2, ${where}`);
  assertSameBits(vectors[2], expected.gradientSums[0]!, `sum, ${where}`);
  assertSameBits(vectors[3], expected.gradientSums[1]!, `product, ${where}`);
  assertSameBits(usualX, given.usualX, `x of sums, ${where}`);
  assertSameBits(usualDy, given.usualDy, `dy of sums, ${where}`);

  const target = (x: TensorData, dy: TensorData): TensorData =>
    placement.output === "x"
      ? x
      : placement.output === "dy"
      ? dy
      : put(placement.output, type, createData(type, x.length), disposals);
  if (placement.output !== "dy") {
    const x = put(placement.x, type, given.x, disposals);
    const y = target(x, x);
    kernels.normalize(type, layout, x, y, mean, p, q);
    assertSameBits(y, expected.normalized, `normalize, ${where}`);
    if (y !== x) assertSameBits(x, given.x, `x of normalize, ${where}`);
  }
  const x = put(placement.x, type, given.x, disposals);
  const dy = put(placement.dy, type, given.dy, disposals);
  const dx = target(x, dy);
  kernels.inputGradient(type, layout, x, dy, dx, mean, p, q, r);
  assertSameBits(dx, expected.inputGradient, `inputGradient, ${where}`);
  if (dx !== x) assertSameBits(x, given.x, `x of inputGradient, ${where}`);
  if (dx !== dy) assertSameBits(dy, given.dy, `dy of inputGradient, ${where}`);
  for (const dispose of disposals) dispose();
}

for (const type of ELEMENT_TYPES) {
  Deno.test(`training ${type}: the case table, on all kernels`, () => {
    const started = KERNELS.map(({ name, start }) => ({
      name,
      kernels: start(),
    }));
    TRAINING_CASES.forEach(({ what, dims, axes }, i) => {
      const given = give(type, dims, axes, i);
      const expected = expect(given);
      for (const { name, kernels } of started) {
        // All places for what is quick, and each place now and then.
        const places = given.x.length < 2000
          ? PLACEMENTS
          : [0, 3, 4 + i % 8].map((index) => PLACEMENTS[index]!);
        for (const placement of places) {
          check(kernels, placement, given, expected, `${what} (${name})`);
        }
      }
    });
  });
}

Deno.test("training: any shape, axes, type and placement, on all kernels", () => {
  const started = KERNELS.map(({ start }) => start());
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 }),
      fc.infiniteStream(fc.boolean()),
      fc.constantFrom(...ELEMENT_TYPES),
      fc.constantFrom(...PLACEMENTS),
      fc.nat(),
      (dims, flags, type, placement, seed) => {
        const axes = dims.map((_, d) => d).filter(() => flags.next().value);
        const given = give(type, dims, axes, seed);
        const expected = expect(given);
        for (const kernels of started) {
          check(kernels, placement, given, expected, type);
        }
      },
    ),
    { numRuns: 200 },
  );
});

/** A digest of bits (FNV-1a over 32-bit words). */
function digestOf(vectors: readonly Float64Array[]): string {
  let hash = 0x811c9dc5;
  for (const { buffer } of vectors) {
    for (const word of new Uint32Array(buffer)) {
      hash = Math.imul(hash ^ word, 0x01000193);
    }
  }
  return (hash >>> 0).toString(16);
}

Deno.test("the order of summation is the documented one, for ever", () => {
  // Moments that are stored by one release are compared with those of the
  // next: a change of order is a change of format.
  const digests = [
    { dims: [3, 5, 300], digest: "fbe92da9" }, // rows
    { dims: [30, 3, 1003], digest: "1658ab1f" }, // bands of rows
    { dims: [2, 3, 20_003], digest: "6d3e360f" }, // parts of rows
    { dims: [600, 70], digest: "8916edc5" }, // columns
    { dims: [1003, 3], digest: "7cbf704" }, // joined columns
    { dims: [101, 3], digest: "bc1b4432" }, // few joined columns
    { dims: [70, 5, 9], digest: "747ed9c0" }, // columns of short runs
    { dims: [300, 2051], digest: "c8476805" }, // slices of columns
  ];
  for (const { dims, digest } of digests) {
    const { usualX, usualDy, usualMean } = give("float32", dims, [1], 1);
    for (const { name, start } of KERNELS) {
      const vectors = [0, 1, 2, 3].map(() => new Float64Array(dims[1]!));
      const [mean, m2, sum, product] = vectors as [
        Float64Array,
        Float64Array,
        Float64Array,
        Float64Array,
      ];
      const kernels = start();
      const layout = layoutOf(dims, [1]);
      kernels.moments("float32", layout, usualX, mean, m2);
      kernels.gradientSums(
        "float32",
        layout,
        usualX,
        usualDy,
        usualMean,
        sum,
        product,
      );
      assertEquals(digestOf(vectors), digest, `[${dims}], ${name}`);
    }
  }
});

/** Normally distributed numbers (Box and Muller). */
function normal(seed: number): () => number {
  const next = randomUint32(seed);
  const uniform = (): number => (next() + 0.5) / 2 ** 32;
  return () =>
    Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

function momentsOf(
  kernels: Kernels,
  type: ElementType,
  dims: readonly number[],
  axis: number,
  x: TensorData,
): { mean: Float64Array; m2: Float64Array } {
  const mean = new Float64Array(dims[axis]!);
  const m2 = new Float64Array(dims[axis]!);
  kernels.moments(type, layoutOf(dims, [axis]), x, mean, m2);
  return { mean, m2 };
}

function relative(actual: number, exact: Exact): number {
  return distance(actual, exact) / Math.abs(rounded(exact));
}

/** The elements of one channel of `[outer, channels, inner]`. */
function channelOf(
  x: TensorData,
  [, channels, inner]: readonly [number, number, number],
  channel: number,
): Float64Array {
  return Float64Array.from(x as Float32Array).filter((_, i) =>
    Math.floor(i / inner) % channels === channel
  );
}

/** Both forms of groups, each with several per channel. */
const FORMS = [[3, 2, 5001], [5001, 2, 3]] as const;

Deno.test("the variance is accurate however far away the mean is", () => {
  const u = 2 ** -53;
  for (const type of ["float32", "float64"] as const) {
    for (const ratio of [0, 1, 1e2, 1e4, 1e6, 1e8]) {
      if (type === "float32" && ratio > 1e6) continue;
      for (const [i, dims] of FORMS.entries()) {
        const next = normal(i);
        const x = createData(type, dims[0] * dims[1] * dims[2])
          .map(() => next() + ratio) as TensorData;
        for (const { name, start } of KERNELS) {
          const { mean, m2 } = momentsOf(start(), type, dims, 1, x);
          for (const c of [0, 1]) {
            const values = channelOf(x, dims, c);
            const exact = exactMoments(values);
            const what = `${name}, ${type}, mean ${ratio}, [${dims}]`;
            // Condition 1 + (k - mean)^2 / variance, k at most 4 deviations
            // off, times roundings that do not all add up.
            const error = relative(m2[c]!, exact.m2);
            assert(error <= 100 * u, `${what}: M2 is off by ${error / u} u`);
            // Rounded once, plus the sums' own error.
            const off = distance(mean[c]!, exact.mean);
            const allowed = u * Math.abs(mean[c]!) + 10 * u;
            assert(off <= allowed, `${what}: the mean is off by ${off}`);
            const variance = Float32Array.of(m2[c]! / values.length);
            const best = Float32Array.of(rounded(exact.m2) / values.length);
            assertSameBits(variance, best, what);
          }
        }
      }
    }
  }
});

Deno.test("the variance is within its bound where the first element is far off", () => {
  for (const [i, dims] of FORMS.entries()) {
    const next = normal(i);
    const count = dims[0] * dims[1] * dims[2];
    for (const outlier of [1e2, 1e6, 1e15, -1e30]) {
      const x = Float64Array.from({ length: count }, next);
      x[0] = outlier;
      for (const { name, start } of KERNELS) {
        const { m2 } = momentsOf(start(), "float64", dims, 1, x);
        const exact = exactMoments(channelOf(x, dims, 0)).m2;
        const error = relative(m2[0]!, exact);
        // The bound that training.ts derives.
        assert(error < 2 ** -27, `${name}, ${outlier}, [${dims}]: ${error}`);
      }
    }
  }
});

Deno.test("a constant channel has exactly its mean and no variance", () => {
  for (const dims of FORMS) {
    for (const value of [0.1, -1e30, 3e-39]) {
      const x = new Float32Array(dims[0] * dims[1] * dims[2]).fill(value);
      for (const { name, start } of KERNELS) {
        const { mean, m2 } = momentsOf(start(), "float32", dims, 1, x);
        assertEquals([...mean], [x[0], x[0]], name);
        assertEquals([...m2], [0, 0], name);
      }
    }
  }
});

Deno.test("gradient sums are within their bound", () => {
  const u = 2 ** -53;
  for (const [i, dims] of FORMS.entries()) {
    const next = normal(i);
    const count = dims[0] * dims[1] * dims[2];
    const x = Float32Array.from({ length: count }, () => next() + 1000);
    const dy = Float32Array.from({ length: count }, next);
    const center = new Float64Array([1000.1, 999.9]);
    for (const { name, start } of KERNELS) {
      const sum = new Float64Array(2);
      const product = new Float64Array(2);
      const layout = layoutOf(dims, [1]);
      start().gradientSums("float32", layout, x, dy, center, sum, product);
      for (const c of [0, 1]) {
        const ofX = channelOf(x, dims, c);
        const ofDy = channelOf(dy, dims, c);
        const ones = ofX.map(() => 1);
        const magnitude = ofDy.reduce((total, g) => total + Math.abs(g), 0);
        const exactSum = exactProducts(ofDy, ones, 0);
        // 2058 roundings in a slot, and a few slots.
        assert(distance(sum[c]!, exactSum) <= 2100 * u * magnitude, name);
        const products = ofDy.reduce(
          (total, g, j) => total + Math.abs(g * (ofX[j]! - center[c]!)),
          0,
        );
        const exactProduct = exactProducts(ofDy, ofX, center[c]!);
        const error = distance(product[c]!, exactProduct);
        assert(error <= 2100 * u * products, `${name}: ${error}`);
      }
    }
  }
});

Deno.test("NaN and infinity stay in their channel", () => {
  const spoilt = [[NaN], [Infinity], [-Infinity], [Infinity, -Infinity]];
  // In a channel of several slots: in the first element, in others, in all.
  const indices = [[0], [700], [0, 700], [699, 700, 701]];
  for (const dims of [[3, 7, 301], [301, 7, 3], [903, 7, 1]] as const) {
    const next = normal(1);
    const count = dims[0] * dims[1] * dims[2];
    const clean = Float32Array.from({ length: count }, next);
    const channels = channelOfEach(dims, [1]);
    const places = clean.map((_, i) => i).filter((i) => channels[i] === 4);
    for (const values of spoilt) {
      for (const at of indices) {
        const x = clean.slice();
        values.forEach((value, i) => {
          for (const index of at) x[places[index + i]!] = value;
        });
        for (const { name, start } of KERNELS) {
          const kernels = start();
          const what = `${name}, [${dims}], ${values} at ${at}`;
          const wanted = momentsOf(kernels, "float32", dims, 1, clean);
          const actual = momentsOf(kernels, "float32", dims, 1, x);
          // As in a plain sum: one sign of infinity stays.
          const left = new Set(x.filter((value) => !Number.isFinite(value)));
          const mean = left.size === 1 ? [...left][0] : NaN;
          assertEquals(actual.mean[4], mean, what);
          assertEquals(actual.m2[4], NaN, what);
          wanted.mean[4] = actual.mean[4]!;
          wanted.m2[4] = NaN;
          assertSameBits(actual.mean, wanted.mean, what);
          assertSameBits(actual.m2, wanted.m2, what);

          const layout = layoutOf(dims, [1]);
          const zero = new Float64Array(7);
          const sums = (dy: Float32Array): Float64Array[] => {
            const pair = [zero.slice(), zero.slice()] as const;
            kernels.gradientSums("float32", layout, x, dy, zero, ...pair);
            return pair.map((sum) => sum.map((v, c) => c === 4 ? 0 : v));
          };
          assertEquals(sums(x), sums(clean), what);
        }
      }
    }
  }
});

Deno.test("the sums of the largest float16 values do not overflow", () => {
  const dims = [70_000, 2];
  const data = createData("float16", 140_000);
  const largest = Float32Array.from(
    { length: 140_000 },
    (_, i) => i % 2 === 0 || i % 4 === 1 ? 65504 : -65504,
  );
  encodeInto("float16", data, largest);
  for (const { name, start } of KERNELS) {
    const kernels = start();
    const { mean, m2 } = momentsOf(kernels, "float16", dims, 1, data);
    assertEquals([...mean], [65504, 0], name);
    assertEquals([...m2], [0, 70_000 * 65504 ** 2], name);
    const sum = new Float64Array(2);
    const product = new Float64Array(2);
    const layout = layoutOf(dims, [1]);
    kernels.gradientSums("float16", layout, data, data, mean, sum, product);
    assertEquals([...sum], [70_000 * 65504, 0], name);
    assertEquals([...product], [0, 70_000 * 65504 ** 2], name);
  }
});

Deno.test("several axes: the moments of each channel, and outputs with them", () => {
  for (const dims of [[2, 3, 4, 5], [40, 3, 9, 2], [2, 3, 30, 90]]) {
    const axes = [1, 3];
    const layout = layoutOf(dims, axes);
    const { usualX: x } = give("float64", dims, axes, 4);
    const channels = channelOfEach(dims, axes);
    for (const { name, start } of KERNELS) {
      const kernels = start();
      const mean = new Float64Array(layout.channels);
      const m2 = new Float64Array(layout.channels);
      const y = new Float64Array(x.length);
      const one = mean.slice().fill(1);
      const zero = mean.slice();
      kernels.moments("float64", layout, x, mean, m2, (range) => {
        kernels.normalize("float64", layout, x, y, mean, one, zero, range);
      });
      for (let c = 0; c < layout.channels; c++) {
        const values = (x as Float64Array).filter((_, i) => channels[i] === c);
        const exact = exactMoments(values);
        const what = `${name}, [${dims}], ${c}`;
        // As below, some 10 u; an element too many would show in all digits.
        assert(relative(mean[c]!, exact.mean) < 1e-13, what);
        assert(relative(m2[c]!, exact.m2) < 1e-13, what);
      }
      assertEquals(y, y.map((_, i) => x[i]! - mean[channels[i]!]!), name);
    }
  }
});

Deno.test("channels without elements have zeros", () => {
  for (const { name, start } of KERNELS) {
    const kernels = start();
    for (const dims of [[0, 3], [4, 3, 0]]) {
      const layout = layoutOf(dims, [1]);
      const x = new Float32Array();
      const [mean, m2] = [new Float64Array([1, 2, 3]), new Float64Array(3)];
      kernels.moments("float32", layout, x, mean, m2);
      assertEquals([...mean, ...m2], [0, 0, 0, 0, 0, 0], name);
      const [sum, product] = [mean.slice().fill(5), mean.slice().fill(5)];
      kernels.gradientSums("float32", layout, x, x, mean, sum, product);
      assertEquals([...sum, ...product], [0, 0, 0, 0, 0, 0], name);
      kernels.normalize("float32", layout, x, x, mean, sum, product);
      kernels.inputGradient("float32", layout, x, x, x, mean, m2, sum, product);
    }
  }
});

Deno.test("a Float16Array is taken as its bits", () => {
  const layout = layoutOf([3, 5], [1]);
  const x = new Float16Array(15).fill(1.5);
  const values = [0.5, 2, 0.25, 2].map((v) => new Float64Array(5).fill(v));
  const [a, b, c, d] = values as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  for (const { name, start } of KERNELS) {
    const kernels = start();
    const y = new Float16Array(15);
    kernels.normalize("float16", layout, x, y, a, b, c);
    assertSameBits(y, new Float16Array(15).fill(2.25), name);
    kernels.inputGradient("float16", layout, x, x, y, a, b, c, d);
    assertSameBits(y, new Float16Array(15).fill(-1.5), name);
    const mean = new Float64Array(5);
    kernels.moments("float16", layout, x, mean, new Float64Array(5));
    assertEquals([...mean], [1.5, 1.5, 1.5, 1.5, 1.5], name);
  }
});

Deno.test("ranges cover all channels once, in order", () => {
  const dims = fc.tuple(
    fc.integer({ min: 1, max: 300 }),
    fc.integer({ min: 1, max: 300 }),
    fc.integer({ min: 1, max: 5000 }),
  );
  fc.assert(fc.property(dims, (dims) => {
    const layout = layoutOf(dims, [1]);
    let next = 0;
    for (const { first, count } of rangesOf(layout)) {
      assertEquals(first, next);
      assert(count > 0);
      next += count;
    }
    assertEquals(next, layout.channels);
  }));
  assertEquals(rangesOf(layoutOf([8, 64, 56, 56], [1])).length, 32);
  // Channels last, more than one axis, and what fits a cache: one range.
  for (const axes of [[3], [0, 2]]) {
    assertEquals(rangesOf(layoutOf([8, 64, 56, 56], axes)).length, 1);
  }
  assertEquals(rangesOf(layoutOf([1, 64, 14, 14], [1])).length, 1);
});

Deno.test("outputs range by range are those of the whole, on all kernels", () => {
  const dims = [3, 5, 9001];
  const layout = layoutOf(dims, [1]);
  assert(rangesOf(layout).length > 1);
  for (const type of ELEMENT_TYPES) {
    const { x, dy, usualX, usualDy, parameters, usualMean } = give(
      type,
      dims,
      [1],
      3,
    );
    const [mean, p, q, r] = parameters as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    for (const { name, start } of KERNELS) {
      const kernels = start();
      const whole = createData(type, x.length);
      const parts = createData(type, x.length);
      const wholeDx = createData(type, x.length);
      const partsDx = createData(type, x.length);
      kernels.normalize(type, layout, x, whole, mean, p, q);
      kernels.inputGradient(type, layout, x, dy, wholeDx, mean, p, q, r);
      const vectors = [0, 1, 2, 3].map(() => new Float64Array(5));
      const wanted = [0, 1, 2, 3].map(() => new Float64Array(5));
      const run = (
        [a, b, c, d]: Float64Array[],
        visit: boolean,
      ): void => {
        kernels.moments(
          type,
          layout,
          usualX,
          a!,
          b!,
          visit
            ? (range) => {
              // Final at this point, although the kernels run in between.
              assertEquals(a![range.first], wanted[0]![range.first]);
              kernels.normalize(type, layout, x, parts, mean, p, q, range);
            }
            : undefined,
        );
        kernels.gradientSums(
          type,
          layout,
          usualX,
          usualDy,
          usualMean,
          c!,
          d!,
          visit
            ? (range) => {
              assertEquals(d![range.first], wanted[3]![range.first]);
              kernels.inputGradient(
                type,
                layout,
                x,
                dy,
                partsDx,
                mean,
                p,
                q,
                r,
                range,
              );
            }
            : undefined,
        );
      };
      run(wanted, false);
      run(vectors, true);
      vectors.forEach((vector, i) => {
        assertSameBits(vector, wanted[i]!, `${name}, ${type}, vector ${i}`);
      });
      assertSameBits(parts, whole, `normalize, ${name}, ${type}`);
      assertSameBits(partsDx, wholeDx, `inputGradient, ${name}, ${type}`);
    }
  }
});
