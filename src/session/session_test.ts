import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  EvenkeelError,
  OptionError,
  ShapeError,
  UnsupportedError,
} from "../errors.ts";
import { buildOnnx } from "../onnx/build.ts";
import { random, randomLayer, randomTensor } from "../onnx/testing/layers.ts";
import { onnx } from "../onnx/testing/onnx_proto.ts";
import { allocate } from "../kernels/allocate.ts";
import { tensor } from "../tensor.ts";
import type { OnnxRunner } from "../training/onnx_runner.ts";
import { createSession } from "./session.ts";
import {
  modelBytes,
  nodeProto,
  type TestModel,
  values,
} from "./testing/models.ts";
import type { SessionTensor } from "./types.ts";

/** `y = x * 2 + 1` on a batch of threes. */
const AFFINE: TestModel = {
  nodes: [
    { op: "Mul", inputs: ["x", "two"], outputs: ["m"] },
    { op: "Add", inputs: ["m", "one"], outputs: ["y"] },
  ],
  inputs: { x: { type: "float32", dims: ["N", 3] } },
  outputs: ["y", "m"],
  initializers: {
    two: values("float32", [], [2]),
    one: values("float32", [3], [1, 2, 3]),
  },
};

async function assertFails(
  promise: Promise<unknown>,
  Class: new (...args: never[]) => Error,
  ...parts: string[]
): Promise<void> {
  const error = await assertRejects(() => promise, Class);
  for (const part of parts) {
    assert((error as Error).message.includes(part), (error as Error).message);
  }
}

Deno.test("a session tells its inputs and outputs", async () => {
  await using session = await createSession(modelBytes(AFFINE));
  assertEquals(session.inputNames, ["x"]);
  assertEquals(session.outputNames, ["y", "m"]);
  assertEquals(session.inputMetadata, [
    { name: "x", isTensor: true, type: "float32", shape: ["N", 3] },
  ]);
  assertEquals(session.outputMetadata[0], {
    name: "y",
    isTensor: true,
    type: undefined,
    shape: undefined,
  });
});

Deno.test("outputs are the caller's own, whatever runs next", async () => {
  await using session = await createSession(modelBytes(AFFINE));
  const run = async (...numbers: number[]) =>
    await session.run({
      x: tensor(numbers, [numbers.length / 3, 3]),
    });
  const first = await run(1, 2, 3);
  const second = await run(4, 5, 6, 7, 8, 9);
  assertEquals([...first["y"]!.data], [3, 6, 9]);
  assertEquals([...first["m"]!.data], [2, 4, 6]);
  assertEquals(second["y"]!.dims, [2, 3]);
  assertEquals([...second["y"]!.data], [9, 12, 15, 15, 18, 21]);
  first["y"]!.data.fill(0 as never);
  assertEquals([...(await run(1, 2, 3))["y"]!.data], [3, 6, 9]);
});

Deno.test("fetches choose outputs, and arrays to compute into", async () => {
  await using session = await createSession(modelBytes(AFFINE));
  const x = tensor([1, 2, 3], [1, 3]);
  assertEquals(Object.keys(await session.run({ x }, ["m"])), ["m"]);
  assertEquals(Object.keys(await session.run({ x }, { y: null })), ["y"]);
  // An object without names of outputs is onnxruntime's options.
  assertEquals(
    Object.keys(await session.run({ x }, { logSeverityLevel: 4 })),
    ["y", "m"],
  );
  const y = tensor([0, 0, 0], [1, 3]);
  const outputs = await session.run({ x }, { y });
  assert(outputs["y"]!.data === y.data);
  assertEquals([...y.data], [3, 6, 9]);
  // The feed itself, although another output is computed from it.
  await session.run({ x }, { m: x, y });
  assertEquals([...x.data], [2, 4, 6]);
  assertEquals([...y.data], [3, 6, 9]);
  await assertFails(session.run({ x }, ["z"]), OptionError, '"z"', "y, m");
  await assertFails(session.run({ x }, []), OptionError);
  await assertFails(session.run({ x }, null as never), OptionError);
  await assertFails(
    session.run({ x }, { y: tensor([0, 0], [1, 2]) }),
    ShapeError,
    '"y"',
    "[1, 3]",
    "[1, 2]",
  );
  await assertFails(
    session.run({ x }, { y: tensor([0, 0, 0], [1, 3], "float64") }),
    OptionError,
    "float32",
    "float64",
  );
});

Deno.test("tensors in WASM memory are computed in place", async () => {
  const layer = randomLayer(random(1), { axis: 1 }, [4, 3, 8]);
  const model = buildOnnx(layer, { inputShape: [null, 3, 8] });
  await using session = await createSession(model);
  const x = randomTensor(random(2), [4, 3, 8]);
  using inside = allocate([4, 3, 8]);
  using y = allocate([4, 3, 8]);
  inside.data.set(x.data as Float32Array);
  await session.run({ x: inside }, { y });
  assertEquals(y.data, layer.call(x).data);
});

Deno.test("feeds are checked", async () => {
  await using session = await createSession(modelBytes(AFFINE));
  const x = tensor([1, 2, 3], [1, 3]);
  const fails = (
    feeds: unknown,
    Class: new (...args: never[]) => Error,
    ...parts: string[]
  ) =>
    assertFails(
      session.run(feeds as Record<string, SessionTensor>),
      Class,
      ...parts,
    );
  await fails({}, OptionError, '"x"', "missing");
  await fails({ x, extra: x }, OptionError, '"extra"', "expected x");
  await fails(null, OptionError);
  await fails([x], OptionError);
  await fails({ x: null }, OptionError, '"x"');
  await fails({ x: [1, 2, 3] }, OptionError, '"x"', "float32");
  await fails({ x: { ...x, data: [1, 2, 3] } }, OptionError, "Float32Array");
  await fails(
    { x: tensor([1, 2, 3], [1, 3], "float64") },
    OptionError,
    "float32",
    "float64",
  );
  await fails({ x: tensor([1, 2, 3], [3]) }, ShapeError, "[N, 3]", "[3]");
  await fails({ x: tensor([1, 2], [1, 2]) }, ShapeError, "[N, 3]", "[1, 2]");
  await fails({ x: { ...x, dims: [2, 3] } }, ShapeError, "6", "3");
  await fails({ x: { ...x, dims: [-1, 3] } }, ShapeError);
  await fails({ x: { ...x, dims: [1.5, 2] } }, ShapeError);
  await fails(
    { x: { ...x, location: "gpu-buffer" } },
    UnsupportedError,
    "gpu-buffer",
  );
  // Nothing is left of what failed.
  assertEquals([...(await session.run({ x }))["y"]!.data], [3, 6, 9]);
});

Deno.test("what fitted before is checked again", async () => {
  await using session = await createSession(modelBytes(AFFINE));
  const x = tensor([1, 2, 3], [1, 3]);
  const y = tensor([0, 0, 0], [1, 3]);
  const again = async (): Promise<void> => {
    await session.run({ x }, { y });
    assertEquals([...y.data], [3, 6, 9]);
    y.data.fill(0);
  };
  const bad: [unknown, unknown, new (...args: never[]) => Error][] = [
    [{}, { y }, OptionError],
    [{ z: x }, { y }, OptionError],
    [{ x, z: x }, { y }, OptionError],
    [Object.create({ x }), { y }, OptionError],
    [{ x: { ...x, data: new Float32Array(4) } }, { y }, ShapeError],
    [{ x: { ...x, dims: [3, 1] } }, { y }, ShapeError],
    [{ x: { ...x, dims: [1, 3, 1] } }, { y }, ShapeError],
    [{ x: { ...x, dims: Int32Array.of(1, 3) } }, { y }, ShapeError],
    [{ x: { ...x, dims: undefined } }, { y }, ShapeError],
    [{ x: { ...x, type: "int32" } }, { y }, OptionError],
    [{ x: { ...x, data: new Int32Array(3) } }, { y }, OptionError],
    [{ x: { ...x, location: "gpu-buffer" } }, { y }, UnsupportedError],
    [{ x }, { y: { ...y, dims: [3] } }, ShapeError],
    [{ x }, { y: { ...y, dims: Int32Array.of(1, 3) } }, ShapeError],
    [{ x }, { y: { ...y, data: new Float32Array(4) } }, ShapeError],
    [{ x }, { y: { ...y, data: new Float64Array(3) } }, OptionError],
  ];
  await again();
  for (const [feeds, fetches, Class] of bad) {
    await assertFails(
      session.run(
        feeds as Record<string, SessionTensor>,
        fetches as Record<string, SessionTensor>,
      ),
      Class,
      "Cannot ",
    );
    assertEquals([...y.data], [0, 0, 0]);
    await again();
  }
});

Deno.test("feeds may come in any order, with defaults or without", async () => {
  const model: TestModel = {
    nodes: [
      { op: "Sub", inputs: ["a", "b"], outputs: ["d"] },
      { op: "Mul", inputs: ["d", "s"], outputs: ["y"] },
    ],
    inputs: {
      a: { type: "float32", dims: ["N"] },
      b: { type: "float32", dims: ["N"] },
      s: { type: "float32", dims: [] },
    },
    outputs: ["y"],
    initializers: { s: values("float32", [], [2]) },
  };
  await using session = await createSession(modelBytes(model));
  const a = tensor([5], [1]);
  const b = tensor([3], [1]);
  const s = tensor([10], []);
  const two = { a: tensor([5, 6], [2]), b: tensor([3, 3], [2]) };
  const cases: [Record<string, SessionTensor>, number[]][] = [
    [{ a, b }, [4]],
    [{ b, a }, [4]],
    [{ s, b, a }, [20]],
    [two, [4, 6]],
    [{ a, s, b }, [20]],
    [{ a, b }, [4]],
    [{ a: b, b: a }, [-4]],
  ];
  for (const [feeds, expected] of [...cases, ...cases]) {
    const { y } = await session.run(feeds);
    assertEquals([...y!.data], expected);
  }
  await assertFails(session.run({ a, s }), OptionError, '"b"', "missing");
});

Deno.test("a default input may be fed", async () => {
  const model: TestModel = {
    ...AFFINE,
    inputs: {
      ...AFFINE.inputs,
      two: { type: "float32", dims: [] },
    },
  };
  await using session = await createSession(modelBytes(model));
  assertEquals(session.inputNames, ["x"]);
  const x = tensor([1, 2, 3], [1, 3]);
  const two = tensor([10], []);
  assertEquals([...(await session.run({ x, two }))["m"]!.data], [10, 20, 30]);
  assertEquals([...(await session.run({ x }))["m"]!.data], [2, 4, 6]);
  // Before version 4 of the format, listed initializers are constants.
  const old = modelBytes({ ...model, irVersion: 3, opset: 8 });
  await using constant = await createSession(old);
  await assertFails(constant.run({ x, two }), OptionError, '"two"');
});

Deno.test("shapes may depend on elements of feeds", async () => {
  await using session = await createSession(modelBytes({
    nodes: [
      { op: "Add", inputs: ["a", "b"], outputs: ["shape"] },
      { op: "Expand", inputs: ["x", "shape"], outputs: ["wide"] },
      { op: "Reshape", inputs: ["wide", "flat"], outputs: ["y"] },
    ],
    inputs: {
      x: { type: "float32", dims: [1] },
      a: { type: "int64", dims: [2] },
      b: { type: "int64", dims: [2] },
    },
    outputs: ["y"],
    initializers: { flat: values("int64", [1], [-1]) },
  }));
  const x = tensor([7], [1]);
  const run = async (a: number[], b: number[]) =>
    (await session.run({
      x,
      a: values("int64", [2], a),
      b: values("int64", [2], b),
    }))["y"]!.dims;
  assertEquals(await run([1, 2], [1, 1]), [6]);
  assertEquals(await run([1, 2], [1, 0]), [4]);
  assertEquals(await run([1, 2], [1, 1]), [6]);
  await assertFails(run([-9, 2], [1, 1]), ShapeError, "node 1 (Expand)");
});

Deno.test("an output may be an input, a constant, or twice the same value", async () => {
  await using session = await createSession(modelBytes({
    nodes: [
      { op: "Identity", inputs: ["x"], outputs: ["same"] },
      { op: "Neg", inputs: ["x"], outputs: ["y"] },
      { op: "Identity", inputs: ["y"], outputs: ["again"] },
    ],
    inputs: { x: { type: "float32", dims: [2] } },
    outputs: ["same", "y", "again", "c", "x"],
    initializers: { c: values("float32", [1], [5]) },
  }));
  const x = tensor([1, 2], [2]);
  const outputs = await session.run({ x });
  const arrays = Object.values(outputs).map(({ data }) => data);
  assertEquals(arrays.map((data) => [...data]), [[1, 2], [-1, -2], [-1, -2], [
    5,
  ], [1, 2]]);
  // Arrays of their own, each.
  assertEquals(new Set([x.data, ...arrays]).size, 6);
  outputs["c"]!.data.fill(0 as never);
  assertEquals([...(await session.run({ x }))["c"]!.data], [5]);
});

Deno.test("a value is not overwritten while it is needed", async () => {
  // Relu could be computed in the place of `a`, which Add needs later.
  await using session = await createSession(modelBytes({
    nodes: [
      { op: "Neg", inputs: ["x"], outputs: ["a"] },
      { op: "Relu", inputs: ["a"], outputs: ["b"] },
      { op: "Neg", inputs: ["b"], outputs: ["c"] },
      { op: "Add", inputs: ["a", "c"], outputs: ["y"] },
    ],
    inputs: { x: { type: "float32", dims: [4] } },
    outputs: ["y"],
  }));
  const x = tensor([1, -2, 3, -4], [4]);
  const { y } = await session.run({ x });
  assertEquals([...y!.data], [-1, 0, -3, 0]);
  assertEquals([...x.data], [1, -2, 3, -4]);
});

Deno.test("a run that fails half-way leaves the target alone", async () => {
  await using session = await createSession(modelBytes({
    nodes: [
      { op: "Gather", inputs: ["table", "i"], outputs: ["g"] },
      { op: "Neg", inputs: ["x"], outputs: ["y"] },
    ],
    inputs: {
      x: { type: "float32", dims: [1] },
      i: { type: "int64", dims: [1] },
    },
    outputs: ["y", "g"],
    initializers: { table: values("float32", [2], [10, 20]) },
  }));
  const x = tensor([1], [1]);
  const y = tensor([0], [1]);
  const at = (index: number) => values("int64", [1], [index]);
  await assertFails(
    session.run({ x, i: at(2) }, { y }),
    ShapeError,
    "node 0 (Gather)",
    "index 2",
  );
  assertEquals([...y.data], [0]);
  const { g } = await session.run({ x, i: at(-1) });
  assertEquals([...g!.data], [20]);
});

Deno.test("integers divided by zero are an error, not a wrong number", async () => {
  for (const type of ["int32", "int64", "uint8"] as const) {
    await using session = await createSession(modelBytes({
      nodes: [{
        op: "Div",
        inputs: ["a", "b"],
        outputs: ["y"],
        name: "quotient",
      }],
      inputs: { a: { type }, b: { type } },
      outputs: ["y"],
    }));
    const a = values(type, [2], [1, 2]);
    const b = values(type, [2], [1, 0]);
    await assertFails(session.run({ a, b }), OptionError, '"quotient"', "zero");
  }
});

Deno.test("a released session says so", async () => {
  const session = await createSession(modelBytes(AFFINE));
  await session.release();
  await session.release();
  await assertFails(
    session.run({ x: tensor([1, 2, 3], [1, 3]) }),
    OptionError,
    "released",
  );
});

Deno.test("a session is a runner for recalibrate", async () => {
  const load = (bytes: Uint8Array): Promise<OnnxRunner> => createSession(bytes);
  const runner = await load(modelBytes(AFFINE));
  const x = tensor([1, 2, 3], [1, 3]);
  const wanted: readonly string[] = Object.freeze(["m"]);
  const outputs = await runner.run({ x }, wanted);
  assertEquals(Object.keys(outputs), ["m"]);
  assertEquals(outputs.m!.data, Float32Array.of(2, 4, 6));
  await runner.dispose!();
  await assertFails(runner.run({ x }), OptionError, "released");
});

Deno.test("options are checked", async () => {
  const model = modelBytes(AFFINE);
  await assertFails(
    createSession(model, { threads: 2 } as never),
    OptionError,
    '"threads"',
    "kernels",
  );
  await assertFails(
    createSession(model, { kernels: "gpu" as never }),
    OptionError,
  );
  await assertFails(
    createSession(model, { externalData: 1 as never }),
    OptionError,
  );
});

for (const kernels of ["wasm", "typed-array"] as const) {
  Deno.test(`both kernels give the same bits: ${kernels}`, async () => {
    const layer = randomLayer(random(3), { axis: -1 }, [2, 5, 7]);
    const model = buildOnnx(layer, { inputShape: [null, 5, 7] });
    const x = randomTensor(random(4), [2, 5, 7]);
    await using session = await createSession(model, { kernels });
    const { y } = await session.run({ x });
    assertEquals(y!.data, layer.call(x).data);
  });
}

Deno.test("many shapes, one after the other and again", async () => {
  await using session = await createSession(modelBytes(AFFINE));
  for (let round = 0; round < 2; round++) {
    for (let n = 0; n < 20; n++) {
      const x = tensor(new Array(3 * n).fill(n), [n, 3]);
      const { y } = await session.run({ x });
      assertEquals(y!.dims, [n, 3]);
      assertEquals(
        [...y!.data].slice(0, 3),
        n === 0 ? [] : [
          2 * n + 1,
          2 * n + 2,
          2 * n + 3,
        ],
      );
    }
  }
});

Deno.test("runs that were started together do not mix", async () => {
  await using session = await createSession(modelBytes(AFFINE));
  const results = await Promise.all(
    [1, 2, 3].map((n) => session.run({ x: tensor([n, n, n], [1, 3]) })),
  );
  assertEquals(results.map(({ m }) => [...m!.data][0]), [2, 4, 6]);
});

/** `scaled(x) = x * factor`, the factor an attribute of the call. */
const SCALED = {
  name: "scaled",
  domain: "test",
  input: ["x"],
  output: ["y"],
  attribute: ["factor"],
  opsetImport: [{ domain: "", version: 15 }],
  node: [
    {
      opType: "Constant",
      output: ["c"],
      attribute: [{
        name: "value",
        refAttrName: "factor",
        type: onnx.AttributeProto.AttributeType.TENSOR,
      }],
    },
    nodeProto({ op: "Mul", inputs: ["x", "c"], outputs: ["y"] }),
  ],
};

Deno.test("functions that the model defines are run", async () => {
  const twice = {
    ...SCALED,
    name: "twice",
    attribute: [],
    node: [
      nodeProto({
        op: "scaled",
        domain: "test",
        inputs: ["x"],
        outputs: ["c"],
        attributes: { factor: values("float32", [], [2]) },
      }),
      nodeProto({ op: "Neg", inputs: ["c"], outputs: ["y"] }),
    ],
  };
  const model: TestModel = {
    nodes: [
      { op: "twice", domain: "test", inputs: ["x"], outputs: ["c"] },
      { op: "twice", domain: "test", inputs: ["c"], outputs: ["y"] },
    ],
    inputs: { x: { type: "float32", dims: [2] } },
    outputs: ["y"],
    functions: [SCALED, twice],
    domains: ["test"],
  };
  await using session = await createSession(modelBytes(model));
  const { y } = await session.run({ x: tensor([1, 2], [2]) });
  assertEquals([...y!.data], [4, 8]);
});

Deno.test("all errors are Evenkeel's", async () => {
  const error = await assertRejects(() => createSession(new Uint8Array()));
  assert(error instanceof EvenkeelError);
});
