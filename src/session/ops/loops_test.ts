// The loops that are written out for float32, and the kernels that run in their
// place, against one call per element.

import { assert, assertEquals } from "@std/assert";
import { createSession } from "../session.ts";
import {
  modelBytes,
  type TestNode,
  type TestValue,
} from "../testing/models.ts";

/** Numbers on which signs, bounds and rounding depend. */
const SPECIAL = [
  ...[0, 0.5, 1, 1.5, 2, 2.5, 6, 0.49999997, 8388607.5, 1e-45, 2 ** 40],
  ...[2 ** -9, 1e-3, 9, 10, 88, 103, 104, 2 ** 105, 2 ** 128 - 2 ** 104],
  ...[Infinity, NaN],
].flatMap((value) => [value, -value]);

/** Special numbers, then any bits, then such as activations have. */
function makeValues(count: number, seed = 1): Float32Array {
  const values = new Float32Array(count);
  const bits = new Uint32Array(values.buffer);
  let state = seed;
  const next = (): number =>
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  for (let i = 0; i < count; i++) {
    next();
    if (i % 3 === 0) {
      values[i] = SPECIAL[(state >>> 8) % SPECIAL.length]!;
    } else if (i % 3 === 1) bits[i] = state;
    else values[i] = (state / 2 ** 32 - 0.5) * 16;
  }
  return values;
}

/**
 * Runs a node with inputs `a`, `b`, `c` and so on, none of them constant, on
 * loops and on the WASM kernels, which have to give the same bits.
 */
async function runNode(
  node: Pick<TestNode, "op" | "attributes">,
  inputs: readonly [Float32Array, readonly number[]][],
): Promise<Float32Array> {
  const names = inputs.map((_, i) => "abcdefgh"[i]!);
  const model = modelBytes({
    nodes: [{ ...node, inputs: names, outputs: ["y"] }],
    inputs: Object.fromEntries(
      inputs.map((
        [, dims],
        i,
      ): [string, TestValue] => [names[i]!, { type: "float32", dims }]),
    ),
    outputs: ["y"],
  });
  const feeds = Object.fromEntries(
    inputs.map((
      [data, dims],
      i,
    ) => [names[i]!, { type: "float32" as const, dims, data }]),
  );
  const results: Float32Array[] = [];
  for (const kernels of ["typed-array", "wasm"] as const) {
    await using session = await createSession(model, { kernels });
    const { y } = await session.run(feeds);
    results.push(y!.data as Float32Array);
  }
  assertBits(results[1]!, results[0]!);
  return results[0]!;
}

/** Equal but for what NaNs carry. */
function assertBits(actual: Float32Array, expected: Float32Array): void {
  assertEquals(actual.length, expected.length);
  for (let i = 0; i < actual.length; i++) {
    assert(
      Object.is(actual[i], expected[i]),
      `element ${i}: expected ${expected[i]}, got ${actual[i]}`,
    );
  }
}

function roundHalfToEven(x: number): number {
  const low = Math.floor(x);
  const rest = x - low;
  const up = rest > 0.5 || (rest === 0.5 && low % 2 !== 0);
  return rest === 0 || rest !== rest
    ? x
    : up
    ? (low + 1 || (x < 0 ? -0 : 0))
    : low;
}

/** Lengths of every remainder that the kernels can have. */
const REMAINDERS = Array.from({ length: 9 }, (_, i) => 255 + i);

const UNARY: Readonly<Record<string, (x: number) => number>> = {
  Abs: Math.abs,
  Ceil: Math.ceil,
  Floor: Math.floor,
  Neg: (x) => -x,
  Reciprocal: (x) => 1 / x,
  Relu: (x) => x < 0 ? 0 : x,
  Round: roundHalfToEven,
  Sign: (x) => x > 0 ? 1 : x < 0 ? -1 : x === x ? 0 : NaN,
  Sqrt: Math.sqrt,
};

for (const [op, of] of Object.entries(UNARY)) {
  Deno.test(`${op} of every kind of float32`, async () => {
    // Up to 64 elements, some loops are others; kernels run from 256 on.
    for (const count of [1, 64, 65, ...REMAINDERS, 60_000]) {
      const x = makeValues(count);
      assertBits(await runNode({ op }, [[x, [count]]]), x.map(of));
    }
  });
}

Deno.test("Clip to every kind of bound", async () => {
  const bounds = [0, -0, 1, -1, 6, Infinity, -Infinity, NaN, 1e-45];
  for (const count of [64, 3000]) {
    const x = makeValues(count);
    for (const low of bounds) {
      for (const high of bounds) {
        const actual = await runNode({ op: "Clip" }, [
          [x, [count]],
          [Float32Array.of(low), []],
          [Float32Array.of(high), []],
        ]);
        const expected = x.map((value) => {
          const raised = value < low ? low : value;
          return raised > high ? high : raised;
        });
        assertBits(actual, expected);
      }
    }
  }
});

Deno.test("LeakyRelu by every kind of factor", async () => {
  for (const alpha of [0.01, 0, -0, -0.5, 3, Infinity, NaN]) {
    const factor = Math.fround(alpha);
    for (const count of [1, ...REMAINDERS, 3000]) {
      const x = makeValues(count);
      const node = { op: "LeakyRelu", attributes: { alpha: { f: alpha } } };
      const y = await runNode(node, [[x, [count]]]);
      assertBits(y, x.map((value) => value < 0 ? value * factor : value));
    }
  }
});

const TRANSCENDENTAL: Readonly<Record<string, (x: number) => number>> = {
  Exp: Math.exp,
  Log: Math.log,
  Sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  Tanh: Math.tanh,
};

/** Every so many float32, from among all of them. */
function everyFloat32(step: number): Float32Array {
  const count = Math.floor(2 ** 32 / step);
  return new Float32Array(
    Uint32Array.from({ length: count }, (_, i) => i * step).buffer,
  );
}

for (const [op, of] of Object.entries(TRANSCENDENTAL)) {
  Deno.test(`${op} is as good as rounded once`, async () => {
    for (
      const x of [
        ...REMAINDERS.map((count) => makeValues(count)),
        makeValues(200_000),
        everyFloat32(8209), // a prime: half a million of all exponents
      ]
    ) {
      const y = await runNode({ op }, [[x, [x.length]]]);
      // Half a unit of the largest significand, or of the smallest number, and
      // what the polynomials leave: see exponential.ts and logarithm.ts.
      const relative = 2 ** -24 + 5e-12;
      for (let i = 0; i < x.length; i++) {
        const expected = of(x[i]!);
        const rounded = Math.fround(expected);
        if (!Number.isFinite(rounded) || expected === 0) {
          assert(Object.is(y[i], rounded), `${op}(${x[i]}): got ${y[i]}`);
          continue;
        }
        const error = Math.abs(y[i]! - expected);
        assert(
          error <= Math.max(Math.abs(expected) * relative, 2 ** -150),
          `${op}(${x[i]}): expected ${expected}, got ${y[i]}`,
        );
      }
    }
  });
}

type Binary = (a: number, b: number) => number;

const BINARY: Readonly<Record<string, Binary>> = {
  Add: (a, b) => a + b,
  Div: (a, b) => a / b,
  Max: (a, b) => a !== a ? a : b > a || b !== b ? b : a,
  Min: (a, b) => a !== a ? a : b < a || b !== b ? b : a,
  Mul: (a, b) => a * b,
  Pow: (a, b) => a ** b,
  Sub: (a, b) => a - b,
};

const countOf = (dims: readonly number[]): number =>
  dims.reduce((product, extent) => product * extent, 1);

/** One element of an operand for each of the result. */
function broadcast(
  data: Float32Array,
  dims: readonly number[],
  target: readonly number[],
): Float32Array {
  return Float32Array.from({ length: countOf(target) }, (_, i) => {
    let at = 0;
    let step = 1;
    for (let d = target.length - 1; d >= 0; d--) {
      const extent = dims[d - target.length + dims.length] ?? 1;
      if (extent > 1) at += i % target[d]! * step;
      step *= extent;
      i = Math.floor(i / target[d]!);
    }
    return data[at]!;
  });
}

/** Operands' extents, and the result's: rows of many lengths, repeated or not. */
const SHAPES: readonly (readonly (readonly number[])[])[] = [
  ...[1, 3, 64, 65, ...REMAINDERS, 700].flatMap((row) => [
    [[3, row], [3, row], [3, row]],
    [[3, row], [3, 1], [3, row]],
    [[3, 1], [3, row], [3, row]],
    [[3, row], [row], [3, row]],
    [[row], [3, row], [3, row]],
    [[3, row], [], [3, row]],
    [[], [3, row], [3, row]],
    [[2, 1, row], [3, 1], [2, 3, row]],
    [[3, 1], [2, 1, row], [2, 3, row]],
  ]),
  [[0, 4], [4], [0, 4]],
  [[], [], []],
];

for (const [op, of] of Object.entries(BINARY)) {
  Deno.test(`${op} of every kind of float32, repeated in every way`, async () => {
    for (const [a, b, y] of SHAPES) {
      const x = makeValues(countOf(a!), 7);
      const z = makeValues(countOf(b!), 11);
      const right = broadcast(z, b!, y!);
      const expected = broadcast(x, a!, y!).map((value, i) =>
        of(value, right[i]!)
      );
      assertBits(await runNode({ op }, [[x, a!], [z, b!]]), expected);
    }
    if (op !== "Pow") return;
    const x = makeValues(1000);
    const square = Float32Array.of(2);
    assertBits(
      await runNode({ op }, [[x, [1000]], [square, []]]),
      x.map((value) => value ** 2),
    );
  });
}

Deno.test("operands of which a third one has the extent", async () => {
  const a = makeValues(4, 3);
  const b = makeValues(4, 5);
  const c = makeValues(300, 9);
  for (const op of ["Max", "Sum"]) {
    const of = op === "Max" ? BINARY.Max! : BINARY.Add!;
    const y = await runNode({ op }, [[a, [4, 1]], [b, [4, 1]], [c, [300]]]);
    const expected = Float32Array.from(
      { length: 1200 },
      (_, i) => {
        const row = Math.floor(i / 300);
        return of(Math.fround(of(a[row]!, b[row]!)), c[i % 300]!);
      },
    );
    assertBits(y, expected);
  }
});

Deno.test("Transpose of whole and partial tiles", async () => {
  const order = [[1, 0], [0, 2, 1], [1, 2, 0], [2, 1, 0], [1, 0, 2], [
    0,
    2,
    3,
    1,
  ]];
  const extents = [
    ...[1, 7, 8, 9, 31, 32, 33, 70].flatMap((a) =>
      [1, 8, 13, 32, 45].map((b) => [a, b])
    ),
    ...[[2, 33, 40], [5, 3, 31], [3, 2, 32], [2, 40, 3, 11]],
  ];
  for (const dims of extents) {
    for (const perm of order) {
      if (perm.length !== dims.length) continue;
      const x = Float32Array.from({ length: countOf(dims) }, (_, i) => i);
      const target = perm.map((d) => dims[d]!);
      const steps = dims.map((_, d) => countOf(dims.slice(d + 1)));
      const expected = x.map((_, i) => {
        let at = 0;
        for (let d = perm.length - 1; d >= 0; d--) {
          at += i % target[d]! * steps[perm[d]!]!;
          i = Math.floor(i / target[d]!);
        }
        return at;
      });
      const node = { op: "Transpose", attributes: { perm } };
      assertBits(await runNode(node, [[x, dims]]), expected);
    }
  }
});
