// The session against onnxruntime-web 1.30, on single operators and on random
// graphs.

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Tensor } from "../tensor.ts";
import { maxUlp } from "../ulp.ts";
import { createSession } from "./session.ts";
import {
  modelBytes,
  type TestModel,
  type TestNode,
  type TestTensor,
  type TestValue,
  values,
} from "./testing/models.ts";
import { runOnnxruntime } from "./testing/onnxruntime.ts";

type Feeds = Record<string, TestTensor>;

/** Runs a model in both and returns the largest distance of an output in ULP. */
async function distance(model: TestModel, feeds: Feeds): Promise<number> {
  const bytes = modelBytes(model);
  await using session = await createSession(bytes);
  const first = await session.run(feeds);
  // Once more: nothing of the first run is left in the second.
  const ours = await session.run(feeds);
  assertEquals(ours, first);
  const theirs = await runOnnxruntime(bytes, feeds);
  assertEquals(Object.keys(ours), Object.keys(theirs));
  let worst = 0;
  for (const [name, expected] of Object.entries(theirs)) {
    const actual = ours[name]!;
    assertEquals(actual.type, expected.type);
    assertEquals(actual.dims, expected.dims);
    if (expected.type === "float32" || expected.type === "float64") {
      worst = Math.max(worst, maxUlp(actual as Tensor, expected as Tensor));
    } else assertEquals(actual.data, expected.data);
  }
  return worst;
}

function valueOf({ type, dims }: TestTensor): TestValue {
  return { type, dims };
}

/** The distance of one operator, its inputs fed or constant. */
async function operatorDistance(
  op: string,
  inputs: Feeds,
  {
    opset = 15,
    attributes = {},
    constants = {},
    outputs = ["y"],
  }: {
    opset?: number;
    attributes?: TestNode["attributes"];
    constants?: Feeds;
    outputs?: readonly string[];
  } = {},
): Promise<number> {
  return await distance({
    nodes: [{
      op,
      inputs: [...Object.keys(inputs), ...Object.keys(constants)],
      outputs,
      attributes: attributes!,
    }],
    inputs: Object.fromEntries(
      Object.entries(inputs).map(([name, each]) => [name, valueOf(each)]),
    ),
    outputs: outputs.filter((name) => name !== ""),
    initializers: constants,
    opset,
  }, inputs);
}

const NEGATIVE_NAN = new Float32Array(Uint32Array.of(0xffc00000).buffer);

const SPECIAL = [
  ...[NEGATIVE_NAN[0]!, NaN, Infinity, -Infinity, 0, -0, 1e-45, -1e-45, 1.5],
  ...[-2.5, 3e38, 100, -100, 1e-38, 0.1, 16777217, -0.5],
];
/** Every pair of special numbers. */
const A = SPECIAL.flatMap((a) => SPECIAL.map(() => a));
const B = SPECIAL.flatMap(() => SPECIAL);

for (const type of ["float32", "float64"] as const) {
  const a = values(type, [A.length], A);
  const b = values(type, [B.length], B);

  for (const op of ["Add", "Sub", "Mul", "Div", "Max", "Min"]) {
    Deno.test(`${op} of special ${type} numbers, all alike`, async () => {
      assertEquals(await operatorDistance(op, { a, b }), 0);
      for (const number of SPECIAL) {
        const constants = { c: values(type, [], [number]) };
        assertEquals(await operatorDistance(op, { a }, { constants }), 0);
      }
    });
  }

  for (
    const op of ["Relu", "LeakyRelu", "Sqrt", "Reciprocal", "Neg", "Abs"]
  ) {
    // It has no LeakyRelu in float64.
    if (op === "LeakyRelu" && type === "float64") continue;
    Deno.test(`${op} of special ${type} numbers`, async () => {
      assertEquals(await operatorDistance(op, { a }), 0);
      if (op !== "LeakyRelu") return;
      for (const alpha of [0, 2, -0.5, -Infinity, Infinity]) {
        const attributes = { alpha: { f: alpha } };
        assertEquals(await operatorDistance(op, { a }, { attributes }), 0);
      }
    });
  }

  Deno.test(`Clip of special ${type} numbers`, async () => {
    const scalar = (value: number) => values(type, [], [value]);
    for (
      const constants of [
        {},
        { low: scalar(-1) },
        { low: scalar(-1), high: scalar(1) },
        { low: scalar(1), high: scalar(-1) },
        { low: scalar(-0), high: scalar(Infinity) },
      ]
    ) assertEquals(await operatorDistance("Clip", { a }, { constants }), 0);
    if (type === "float64") return;
    const attributes = { min: { f: -0.5 }, max: { f: 6 } };
    assertEquals(
      await operatorDistance("Clip", { a }, { attributes, opset: 7 }),
      0,
    );
  });
}

/** Every 16411th float32 from -24 to 24: where Sigmoid and Tanh are not flat. */
function sweep(): TestTensor {
  const numbers: number[] = [];
  for (let x = -24; x <= 24; x += 0.00390625 * 1.37) numbers.push(x);
  return values("float32", [numbers.length], numbers);
}

Deno.test("Sigmoid is within what onnxruntime's rational approximation is off", async () => {
  const x = sweep();
  const model = modelBytes({
    nodes: [{ op: "Sigmoid", inputs: ["x"], outputs: ["y"] }],
    inputs: { x: valueOf(x) },
    outputs: ["y"],
  });
  await using session = await createSession(model);
  const { y } = await session.run({ x });
  const { y: theirs } = await runOnnxruntime(model, { x });
  let worst = 0;
  (x.data as Float32Array).forEach((value, i) => {
    const exact = 1 / (1 + Math.exp(-value));
    // Ours is float64 arithmetic rounded once: half a float32 ULP, 2^-24 of
    // the value, and a few 2^-53 of the exponential.
    assert(Math.abs(Number(y!.data[i]) - exact) <= exact * 2 ** -23.99);
    worst = Math.max(
      worst,
      Math.abs(Number(theirs!.data[i]) - Number(y!.data[i])),
    );
  });
  // Measured: 1.2e-7. It is a quotient of polynomials in float32, whose value
  // near 1 has steps of 6e-8: two steps, and a margin of two more.
  assert(worst < 2.4e-7, String(worst));
});

for (const [op, ulp] of [["Exp", 1], ["Log", 1], ["Pow", 1]] as const) {
  // Ours is the float64 function rounded: within 0.5 ULP and a little;
  // onnxruntime's is within 1 ULP; so they are neighbours at the most.
  Deno.test(`${op} is at most ${ulp} ULP from onnxruntime`, async () => {
    const x = sweep();
    const positive = values(
      "float32",
      x.dims,
      Array.from(x.data as Float32Array, Math.abs),
    );
    const inputs: Feeds = op === "Pow"
      ? { a: positive, b: values("float32", [], [1.7]) }
      : { a: op === "Log" ? positive : x };
    assert(await operatorDistance(op, inputs) <= ulp);
  });
}

Deno.test("integers, bool and the operators between", async () => {
  const i = values("int64", [6], [-7, 7, 0, 5, -1, 2 ** 40]);
  const j = values("int64", [6], [2, -2, 3, 5, 1, 3]);
  for (const op of ["Add", "Sub", "Mul", "Div", "Max", "Min"]) {
    assertEquals(await operatorDistance(op, { i, j }), 0);
  }
  const k = values("int32", [3], [-7, 7, 2 ** 30]);
  const l = values("int32", [3], [2, -2, 5]);
  for (const op of ["Add", "Sub", "Mul", "Div"]) {
    assertEquals(await operatorDistance(op, { k, l }), 0);
  }
  for (const op of ["Equal", "Less", "Greater", "GreaterOrEqual"]) {
    assertEquals(await operatorDistance(op, { i, j }), 0);
    const a = values("float32", [A.length], A);
    const b = values("float32", [B.length], B);
    assertEquals(await operatorDistance(op, { a, b }), 0);
  }
  const p = values("bool", [4], [0, 0, 1, 1]);
  const q = values("bool", [4], [0, 1, 0, 1]);
  for (const op of ["And", "Or", "Xor", "Equal"]) {
    assertEquals(await operatorDistance(op, { p, q }), 0);
  }
  assertEquals(await operatorDistance("Not", { p }), 0);
  const yes = values("float32", [2, 1], [1, 2]);
  const no = values("float32", [], [-1]);
  assertEquals(await operatorDistance("Where", { p, yes, no }), 0);
});

Deno.test("Cast between all types", async () => {
  const CODES = {
    float32: 1,
    uint8: 2,
    int8: 3,
    uint16: 4,
    int16: 5,
    int32: 6,
    int64: 7,
    bool: 9,
    float64: 11,
    uint32: 12,
    uint64: 13,
  } as const;
  for (const from of Object.keys(CODES) as (keyof typeof CODES)[]) {
    const numbers = from === "bool"
      ? [0, 1, 1, 0]
      : from.startsWith("float")
      ? [0.5, 100.99, 3, 0]
      : [0, 1, 100, 127];
    const x = values(from, [4], numbers);
    for (const to of Object.values(CODES)) {
      assertEquals(
        await operatorDistance("Cast", { x }, { attributes: { to } }),
        0,
      );
    }
  }
  // Negative numbers lose their fraction toward zero.
  const x = values("float32", [3], [-1.9, -0.1, 2.9]);
  for (const to of [CODES.int8, CODES.int32, CODES.int64]) {
    assertEquals(
      await operatorDistance("Cast", { x }, { attributes: { to } }),
      0,
    );
  }
});

/** Numbers that repeat after a while, so that sums cancel. */
function some(dims: readonly number[], seed: number): TestTensor {
  const count = dims.reduce((product, extent) => product * extent, 1);
  return values(
    "float32",
    dims,
    Array.from(
      { length: count },
      (_, i) => Math.sin(i * 12.9898 + seed) * 3,
    ),
  );
}

Deno.test("BatchNormalization in inference, all opsets that onnxruntime has", async () => {
  const x = some([2, 3, 4, 5], 1);
  const vectors = {
    scale: some([3], 2),
    B: some([3], 3),
    mean: some([3], 4),
    var: values("float32", [3], [0.5, 2, 1e-6]),
  };
  for (const opset of [7, 8, 9, 13, 14, 15, 22]) {
    const attributes = { epsilon: { f: 1e-3 } };
    const constants = vectors;
    assertEquals(
      await operatorDistance("BatchNormalization", { x }, {
        opset,
        attributes,
        constants,
      }),
      0,
    );
    assertEquals(
      await operatorDistance("BatchNormalization", { x, ...vectors }, {
        opset,
        attributes,
      }),
      0,
    );
  }
});

Deno.test("BatchNormalization in training, within float32 sums", async () => {
  const x = some([4, 3, 5], 1);
  const inputs = {
    x,
    scale: some([3], 2),
    B: some([3], 3),
    mean: some([3], 4),
    var: values("float32", [3], [0.5, 2, 1]),
  };
  for (
    const [opset, count, attributes] of [
      [9, 5, { momentum: { f: 0.75 } }],
      [14, 3, { momentum: { f: 0.75 }, training_mode: 1 }],
      [15, 3, { training_mode: 1 }],
    ] as const
  ) {
    const outputs = ["y", "m", "v", "sm", "sv"].slice(0, count);
    const bytes = modelBytes({
      nodes: [{
        op: "BatchNormalization",
        inputs: Object.keys(inputs),
        outputs,
        attributes,
      }],
      inputs: Object.fromEntries(
        Object.entries(inputs).map(([name, each]) => [name, valueOf(each)]),
      ),
      outputs,
      opset,
    });
    await using session = await createSession(bytes);
    const ours = await session.run(inputs);
    const theirs = await runOnnxruntime(bytes, inputs);
    for (const name of outputs) {
      const expected = theirs[name]!.data as Float32Array;
      (ours[name]!.data as Float32Array).forEach((value, i) => {
        // Its sums of 20 float32 numbers below 3, squares below 9, are off by
        // at most 20 * 2^-24 of 9, and y is at most 4 times as large: 4.3e-5.
        assert(
          Math.abs(value - expected[i]!) <= 4.3e-5,
          `opset ${opset}: ${name}[${i}] is ${value}, not ${expected[i]}`,
        );
      });
    }
  }
});

Deno.test("ReduceMean and ReduceSum are nearer to the true sum", async () => {
  const x = some([3, 7, 11], 5);
  const data = x.data as Float32Array;
  for (const op of ["ReduceMean", "ReduceSum"]) {
    for (const axes of [[0], [1], [2], [0, 2], [-1], [0, 1, 2]]) {
      for (const keepdims of [0, 1]) {
        const model = modelBytes({
          nodes: [{
            op,
            inputs: ["x"],
            outputs: ["y"],
            attributes: { axes, keepdims },
          }],
          inputs: { x: valueOf(x) },
          outputs: ["y"],
          opset: 11,
        });
        await using session = await createSession(model);
        const { y } = await session.run({ x });
        const { y: theirs } = await runOnnxruntime(model, { x });
        assertEquals(y!.dims, theirs!.dims);
        // 231 float32 additions of numbers below 3: 231 * 2^-24 * 693 at the
        // most for the sum of all; a mean divides both by the count.
        const count = data.length / y!.data.length;
        const bound = count * 2 ** -24 * count * 3 /
          (op === "ReduceMean" ? count : 1);
        y!.data.forEach((value, i) =>
          assert(Math.abs(Number(value) - Number(theirs!.data[i])) <= bound)
        );
      }
    }
  }
});

const UNARY = [
  "Relu",
  "LeakyRelu",
  "Sqrt",
  "Reciprocal",
  "Neg",
  "Abs",
  "Identity",
];
const BINARY = ["Add", "Sub", "Mul", "Div", "Max", "Min"];

/** One node of a random graph: an operator and what its choices depend on. */
const arbitraryNode = fc.record({
  kind: fc.constantFrom(
    "unary",
    "binary",
    "constant",
    "transpose",
    "reshape",
    "squeeze",
    "slice",
    "concat",
    "normalize",
    "clip",
    "channels last",
  ),
  pick: fc.nat(1000),
  other: fc.nat(1000),
  seed: fc.nat(1000),
});

interface Known {
  readonly name: string;
  readonly dims: readonly number[];
}

/** A graph of nodes that fit, whatever the choices are. */
function graphOf(
  choices: readonly {
    kind: string;
    pick: number;
    other: number;
    seed: number;
  }[],
  dims: readonly number[],
): TestModel {
  const known: Known[] = [{ name: "x", dims }, { name: "z", dims }];
  const nodes: TestNode[] = [];
  const initializers: Record<string, TestTensor> = {};
  const constant = (value: TestTensor): string => {
    const name = `c${Object.keys(initializers).length}`;
    initializers[name] = value;
    return name;
  };
  const add = (
    op: string,
    inputs: string[],
    dims: readonly number[],
    attributes: TestNode["attributes"] = {},
  ): string => {
    const name = `v${nodes.length}`;
    nodes.push({ op, inputs, outputs: [name], attributes: attributes! });
    known.push({ name, dims });
    return name;
  };
  for (const { kind, pick, other, seed } of choices) {
    const { name, dims } = known[pick % known.length]!;
    const rank = dims.length;
    const same = known.filter((each) => each.dims.join() === dims.join());
    switch (kind) {
      case "unary":
        add(UNARY[seed % UNARY.length]!, [name], dims);
        break;
      case "binary":
        add(BINARY[seed % BINARY.length]!, [
          name,
          same[other % same.length]!.name,
        ], dims);
        break;
      case "constant": {
        // Of extents that are those of the value, or 1.
        const shape = dims.map((extent, d) => (other >> d) & 1 ? extent : 1)
          .slice(seed % 2 === 0 || rank === 0 ? 0 : 1);
        const operands = [name, constant(some(shape, seed))];
        if (seed % 3 === 0) operands.reverse();
        add(BINARY[seed % BINARY.length]!, operands, dims);
        break;
      }
      case "transpose": {
        const perm = dims.map((_, d) => d);
        perm.sort((a, b) =>
          ((a + 1) * (seed + 3)) % 7 - ((b + 1) * (seed + 3)) % 7
        );
        add("Transpose", [name], perm.map((d) => dims[d]!), { perm });
        break;
      }
      case "reshape": {
        const count = dims.reduce((product, extent) => product * extent, 1);
        const target = rank > 1
          ? [count / dims[rank - 1]!, dims[rank - 1]!]
          : [1, count];
        const shape = values("int64", [2], [target[0]!, -1]);
        add("Reshape", [name, constant(shape)], target);
        break;
      }
      case "squeeze": {
        const at = other % (rank + 1);
        const wide = [...dims.slice(0, at), 1, ...dims.slice(at)];
        const axes = (): string => constant(values("int64", [1], [at]));
        const middle = add("Unsqueeze", [name, axes()], wide);
        add("Squeeze", [middle, axes()], dims);
        break;
      }
      case "slice": {
        if (rank === 0) break;
        const axis = other % rank;
        const list = (value: number) => constant(values("int64", [1], [value]));
        const backward = seed % 2 === 1;
        const extent = dims[axis]!;
        add(
          "Slice",
          [
            name,
            list(backward ? -1 : 0),
            list(backward ? -1000 : extent - (extent > 1 ? 1 : 0)),
            list(axis),
            list(backward ? -1 : 1),
          ],
          dims.map((each, d) =>
            d === axis && !backward && extent > 1 ? extent - 1 : each
          ),
        );
        break;
      }
      case "concat": {
        if (rank === 0) break;
        const axis = other % rank;
        const second = same[seed % same.length]!.name;
        add(
          "Concat",
          [name, second],
          dims.map((each, d) => d === axis ? 2 * each : each),
          { axis },
        );
        break;
      }
      case "clip":
        add("Clip", [name, constant(values("float32", [], [-1])), ""], dims);
        break;
      case "normalize":
      case "channels last": {
        if (rank < 2) break;
        const last = kind === "channels last";
        const channels = dims[last ? rank - 1 : 1]!;
        const vectors = [1, 2, 3, 4].map((i) => {
          const vector = some([channels], seed + i);
          const data = i === 4
            ? (vector.data as Float32Array).map(Math.abs)
            : vector.data;
          return constant({ ...vector, data });
        });
        if (!last) {
          add("BatchNormalization", [name, ...vectors], dims);
          break;
        }
        const order = dims.map((_, d) => d);
        const perm = [0, rank - 1, ...order.slice(1, -1)];
        const back = order.map((d) => perm.indexOf(d));
        const moved = perm.map((d) => dims[d]!);
        const first = add("Transpose", [name], moved, { perm });
        const y = add("BatchNormalization", [first, ...vectors], moved);
        add("Transpose", [y], dims, { perm: back });
        break;
      }
    }
  }
  // Every value that nobody takes is an output, and some that are taken.
  const taken = new Set(nodes.flatMap(({ inputs }) => inputs));
  const outputs = nodes.flatMap(({ outputs: [name] }, i) =>
    !taken.has(name!) || i % 4 === 3 ? [name!] : []
  );
  return {
    nodes,
    inputs: {
      x: { type: "float32", dims: dims.map((_, d) => `d${d}`) },
      z: { type: "float32", dims },
    },
    outputs,
    initializers,
  };
}

Deno.test("random graphs give the same bits", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(arbitraryNode, { minLength: 1, maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }),
      async (choices, dims) => {
        const model = graphOf(choices, dims);
        fc.pre(model.nodes.length > 0);
        const feeds = { x: some(dims, 1), z: some(dims, 2) };
        assertEquals(await distance(model, feeds), 0);
      },
    ),
    { numRuns: 150, seed: 20261122 },
  );
});

Deno.test("Max and Min of zeros take the one that onnxruntime takes", async () => {
  const zeros = (dims: readonly number[], seed: number) => {
    const count = dims.reduce((product, extent) => product * extent, 1);
    return values(
      "float32",
      dims,
      Array.from({ length: count }, (_, i) => (i * 7 + seed) % 3 ? 0 : -0),
    );
  };
  const shapes = [
    [[40, 1], [40, 32]],
    [[40, 32], [40, 1]],
    [[], [40, 32]],
    [[40, 1], [40, 3]],
    [[32], [40, 32]],
    [[40, 32], [32]],
    [[40, 32], [40, 32]],
    [[40, 1], [40, 32], [1, 32]],
    [[40, 1], [1, 32]],
    [[2, 3, 1, 1], [2, 3, 20, 20]],
  ];
  for (const op of ["Max", "Min"]) {
    for (const dims of shapes) {
      const names = dims.map((_, i) => `x${i}`);
      const feeds = Object.fromEntries(
        dims.map((each, i) => [`x${i}`, zeros(each, i)]),
      );
      const bytes = modelBytes({
        nodes: [{ op, inputs: names, outputs: ["y"] }],
        inputs: Object.fromEntries(
          dims.map((each, i) => [`x${i}`, { type: "float32", dims: each }]),
        ),
        outputs: ["y"],
      });
      const { y: expected } = await runOnnxruntime(bytes, feeds);
      for (const kernels of ["wasm", "typed-array"] as const) {
        await using session = await createSession(bytes, { kernels });
        const { y } = await session.run(feeds);
        // assertEquals tells -0 from 0.
        assertEquals([...y!.data], [...expected!.data], `${op} ${kernels}`);
      }
    }
  }
});
