// What onnxruntime-web does not run any more: operators before opset 7, as
// their schemas have it. Expected values follow from the schemas by hand.

import { assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { FormatError, ShapeError } from "../errors.ts";
import { createSession } from "./session.ts";
import {
  modelBytes,
  type TestNode,
  type TestTensor,
  values,
} from "./testing/models.ts";

/** Runs one node, all of its inputs fed. */
async function runNode(
  op: string,
  opset: number,
  inputs: readonly TestTensor[],
  attributes: NonNullable<TestNode["attributes"]> = {},
  outputs: readonly string[] = ["y"],
): Promise<{ dims: number[]; data: (number | bigint)[] }[]> {
  const named = inputs.map((each, i) => [`x${i}`, each] as const);
  await using session = await createSession(modelBytes({
    nodes: [{ op, inputs: named.map(([name]) => name), outputs, attributes }],
    inputs: Object.fromEntries(
      named.map(([name, { type }]) => [name, { type }]),
    ),
    outputs: outputs.filter((name) => name !== ""),
    opset,
    irVersion: 3,
  }));
  const result = await session.run(Object.fromEntries(named));
  return Object.values(result).map(({ dims, data }) => ({
    dims,
    data: [...data],
  }));
}

const X = values("float32", [2, 3], [1, 2, 3, 4, 5, 6]);

for (const opset of [1, 6]) {
  Deno.test(`opset ${opset}: arithmetic broadcasts if it is told to`, async () => {
    const row = values("float32", [3], [10, 20, 30]);
    const column = values("float32", [2], [10, 20]);
    const [sum] = await runNode("Add", opset, [X, row], { broadcast: 1 });
    assertEquals(sum!.data, [11, 22, 33, 14, 25, 36]);
    const along = { broadcast: 1, axis: 0 };
    const [product] = await runNode("Mul", opset, [X, column], along);
    assertEquals(product!.data, [10, 20, 30, 80, 100, 120]);
    const [difference] = await runNode("Sub", opset, [X, column], along);
    assertEquals(difference!.data, [-9, -8, -7, -16, -15, -14]);
    const scalar = values("float32", [1], [2]);
    const [quotient] = await runNode("Div", opset, [X, scalar], {
      broadcast: 1,
    });
    assertEquals(quotient!.data, [0.5, 1, 1.5, 2, 2.5, 3]);
    const [power] = await runNode("Pow", opset, [X, scalar], { broadcast: 1 });
    assertEquals(power!.data, [1, 4, 9, 16, 25, 36]);
    // Without it, shapes must be equal; and the second never is the larger.
    await assertRejects(
      () => runNode("Add", opset, [X, row]),
      ShapeError,
      "broadcast",
    );
    await assertRejects(
      () => runNode("Add", opset, [row, X], { broadcast: 1 }),
      ShapeError,
    );
    await assertRejects(
      () => runNode("Add", opset, [X, row], along),
      ShapeError,
      "axis 0",
    );
  });

  Deno.test(`opset ${opset}: Clip's bounds are attributes`, async () => {
    const [y] = await runNode("Clip", opset, [X], {
      min: { f: 2 },
      max: { f: 5 },
    });
    assertEquals(y!.data, [2, 2, 3, 4, 5, 5]);
  });

  Deno.test(`opset ${opset}: Max and Min of equal shapes only`, async () => {
    const [y] = await runNode("Max", opset, [X, X, X]);
    assertEquals(y!.data, [1, 2, 3, 4, 5, 6]);
    const row = values("float32", [3], [10, 20, 30]);
    await assertRejects(() => runNode("Min", opset, [X, row]), ShapeError);
  });
}

Deno.test("opset 1: Reshape's shape is an attribute", async () => {
  const [y] = await runNode("Reshape", 1, [X], { shape: [0, -1, 1] });
  assertEquals(y!.dims, [2, 3, 1]);
});

Deno.test("opset 1: Cast's type is a name", async () => {
  const [y] = await runNode("Cast", 1, [X], { to: "INT64" });
  assertEquals(y!.data, [1n, 2n, 3n, 4n, 5n, 6n]);
  await assertRejects(
    () => runNode("Cast", 1, [X], { to: "WORD" }),
    FormatError,
    "WORD",
  );
});

Deno.test("opset 1: Slice has all as attributes, Concat a default axis", async () => {
  const [y] = await runNode("Slice", 1, [X], {
    starts: [-2],
    ends: [1000],
    axes: [1],
  });
  assertEquals(y!.data, [2, 3, 5, 6]);
  const [wide] = await runNode("Concat", 1, [X, X]);
  assertEquals(wide!.dims, [2, 6]);
  await assertRejects(() => runNode("Concat", 4, [X, X]), FormatError, "axis");
});

Deno.test("opset 1: Squeeze, Unsqueeze and ReduceMean have axes as attributes", async () => {
  const [wide] = await runNode("Unsqueeze", 1, [X], { axes: [0, 3] });
  assertEquals(wide!.dims, [1, 2, 3, 1]);
  const narrow = values("float32", [1, 2, 1, 3], [1, 2, 3, 4, 5, 6]);
  assertEquals((await runNode("Squeeze", 1, [narrow]))[0]!.dims, [2, 3]);
  const [some] = await runNode("Squeeze", 1, [narrow], { axes: [2] });
  assertEquals(some!.dims, [1, 2, 3]);
  const [mean] = await runNode("ReduceMean", 1, [X], {
    axes: [1],
    keepdims: 0,
  });
  assertEquals(mean, { dims: [2], data: [2, 5] });
});

/** Two channels of two: [1, 3] and [2, 6] per batch entry. */
const BATCH = values("float32", [2, 2, 1], [1, 2, 3, 6]);
const vector = (...numbers: number[]) =>
  values("float32", [numbers.length], numbers);
const VECTORS = [
  vector(2, 3),
  vector(10, 20),
  vector(1, 2),
  vector(4, 16),
];

for (const opset of [1, 6, 7]) {
  const test = opset < 7 ? { is_test: 1 } : {};
  const epsilon = { epsilon: { f: 0 } };

  Deno.test(`BatchNormalization of opset ${opset} in inference`, async () => {
    const [y] = await runNode(
      "BatchNormalization",
      opset,
      [BATCH, ...VECTORS],
      { ...epsilon, ...test },
    );
    // (x - mean) / sqrt(var) * scale + B
    assertEquals(y!.data, [10, 20, 12, 23]);
  });

  Deno.test(`BatchNormalization of opset ${opset} in training`, async () => {
    const names = ["y", "m", "v", "saved_mean", "saved_var"];
    const [y, mean, variance, saved, inverse] = await runNode(
      "BatchNormalization",
      opset,
      [BATCH, ...VECTORS],
      { ...epsilon, momentum: { f: 0.75 } },
      names,
    );
    // Batch means 2 and 4, population variances 1 and 4.
    assertEquals(y!.data, [8, 17, 12, 23]);
    assertEquals(mean!.data, [1.25, 2.5]); // 3/4 old + 1/4 new
    assertEquals(variance!.data, [3.25, 13]);
    assertEquals(saved!.data, [2, 4]);
    assertEquals(inverse!.data, [1, 0.5]);
    // Only some of the outputs.
    const [first, second] = await runNode(
      "BatchNormalization",
      opset,
      [BATCH, ...VECTORS],
      { ...epsilon, momentum: { f: 0.75 } },
      ["y", "", "v"],
    );
    assertEquals(first!.data, y!.data);
    assertEquals(second!.data, variance!.data);
  });

  Deno.test(`BatchNormalization of opset ${opset} with spatial 0`, async () => {
    // Statistics of each element of a sample: vectors of shape C x D.
    const x = values("float32", [2, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8]);
    const grid = (...numbers: number[]) => values("float32", [2, 2], numbers);
    const inputs = [
      x,
      grid(1, 2, 3, 4),
      grid(0, 0, 0, 1),
      grid(1, 1, 1, 1),
      grid(1, 4, 1, 1),
    ];
    const settings = { ...epsilon, spatial: 0 };
    const [y] = await runNode("BatchNormalization", opset, inputs, {
      ...settings,
      ...test,
    });
    assertEquals(y!.data, [0, 1, 6, 13, 4, 5, 18, 29]);
    const [trained] = await runNode(
      "BatchNormalization",
      opset,
      inputs,
      settings,
      ["y", "m"],
    );
    // Every element's mean is half-way, its deviation 2.
    assertEquals(trained!.data, [-1, -2, -3, -3, 1, 2, 3, 5]);
    await assertRejects(
      () =>
        runNode("BatchNormalization", opset, [x, ...VECTORS], {
          ...settings,
          ...test,
        }),
      ShapeError,
      "[2, 2]",
    );
  });
}

Deno.test("before opset 7, is_test decides, whatever the outputs are", async () => {
  const [y] = await runNode(
    "BatchNormalization",
    6,
    [BATCH, ...VECTORS],
    { epsilon: { f: 0 } },
  );
  assertEquals(y!.data, [8, 17, 12, 23]);
  await assertRejects(
    () =>
      runNode(
        "BatchNormalization",
        6,
        [BATCH, ...VECTORS],
        { is_test: 1 },
        ["y", "m"],
      ),
    FormatError,
    "training",
  );
});

Deno.test("BatchNormalization of opset 15 takes three types at once", async () => {
  const x = { ...BATCH, type: "float16" as const };
  // 1, 2, 3, 6 as float16.
  const bits = Uint16Array.of(0x3c00, 0x4000, 0x4200, 0x4600);
  const doubles = (...numbers: number[]) =>
    values("float64", [numbers.length], numbers);
  const [y, mean] = await runNode(
    "BatchNormalization",
    15,
    [
      { ...x, data: bits },
      ...VECTORS.slice(0, 2),
      doubles(1, 2),
      doubles(4, 16),
    ],
    { epsilon: { f: 0 }, training_mode: 1 },
    ["y", "m", "v"],
  );
  // 8, 17, 12, 23 as float16.
  assertEquals(y!.data, [0x4800, 0x4c40, 0x4a00, 0x4dc0]);
  // Nine tenths of 1 and a tenth of 2; the momentum is a float32.
  assertAlmostEquals(Number(mean!.data[0]), 1.1, 1e-7);
});

Deno.test("an empty batch gives an empty output, and NaN statistics", async () => {
  const x = values("float32", [0, 2, 3], []);
  const [y, mean, variance] = await runNode(
    "BatchNormalization",
    15,
    [x, ...VECTORS],
    { training_mode: 1 },
    ["y", "m", "v"],
  );
  assertEquals(y!.dims, [0, 2, 3]);
  assertEquals(mean!.data, [NaN, NaN]);
  assertEquals(variance!.data, [NaN, NaN]);
});
