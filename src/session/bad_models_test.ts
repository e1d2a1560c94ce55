// Models that lie, loop or ask for too much: a typed error, soon, and without
// the memory that they ask for.

import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import {
  EvenkeelError,
  FormatError,
  ShapeError,
  UnsupportedError,
} from "../errors.ts";
import { buildOnnx } from "../onnx/build.ts";
import { BatchNormalization } from "../layer/batch_normalization.ts";
import { encodeFields } from "../onnx/edit.ts";
import { onnx } from "../onnx/testing/onnx_proto.ts";
import { readFields } from "../onnx/wire_reader.ts";
import { tensor } from "../tensor.ts";
import { createSession } from "./session.ts";
import {
  modelBytes,
  nodeProto,
  type TestModel,
  type TestNode,
  values,
} from "./testing/models.ts";

const BASE: TestModel = {
  nodes: [{ op: "Neg", inputs: ["x"], outputs: ["y"] }],
  inputs: { x: { type: "float32", dims: [2] } },
  outputs: ["y"],
};

async function assertRefused(
  model: Partial<TestModel>,
  Class: new (...args: never[]) => Error,
  ...parts: string[]
): Promise<void> {
  const bytes = modelBytes({ ...BASE, ...model });
  const { message } = await assertRejects(() => createSession(bytes), Class);
  for (const part of parts) assert(message.includes(part), message);
}

/** A graph of one node on x. */
function one(node: Partial<TestNode>, more: Partial<TestModel> = {}) {
  return {
    nodes: [{ op: "Neg", inputs: ["x"], outputs: ["y"], ...node }],
    ...more,
  };
}

Deno.test("another operator is named with its node, at load", async () => {
  await assertRefused(
    one({ op: "Conv", name: "conv1" }),
    UnsupportedError,
    '"conv1"',
    "(Conv)",
  );
  await assertRefused(
    one({ op: "Gelu", domain: "com.microsoft" }, {
      domains: ["com.microsoft"],
    }),
    UnsupportedError,
    "node 0",
    "com.microsoft.Gelu",
  );
  // Also where no output depends on it.
  await assertRefused(
    {
      nodes: [...BASE.nodes, { op: "If", inputs: ["x"], outputs: ["z"] }],
    },
    UnsupportedError,
    "(If)",
  );
  // Not a property that every object has.
  await assertRefused(one({ op: "toString" }), UnsupportedError, "toString");
});

Deno.test("versions of operators are checked", async () => {
  await assertRefused({ opset: 99 }, UnsupportedError, "99");
  await assertRefused({ opset: 0 }, FormatError);
  await assertRefused(
    one({ op: "Where", inputs: ["x", "x", "x"] }, { opset: 8 }),
    FormatError,
    "opset 9",
  );
});

Deno.test("a cycle", async () => {
  await assertRefused(
    {
      nodes: [
        { op: "Add", inputs: ["x", "b"], outputs: ["a"], name: "first" },
        { op: "Neg", inputs: ["a"], outputs: ["b"] },
        { op: "Neg", inputs: ["b"], outputs: ["y"] },
      ],
    },
    FormatError,
    "cycle",
    '"first"',
  );
  await assertRefused(
    one({ op: "Add", inputs: ["x", "y"] }),
    FormatError,
    "cycle",
  );
});

Deno.test("nodes in any order are sorted", async () => {
  const session = await createSession(modelBytes({
    ...BASE,
    nodes: [
      { op: "Abs", inputs: ["b"], outputs: ["y"] },
      { op: "Neg", inputs: ["a"], outputs: ["b"] },
      { op: "Add", inputs: ["x", "x"], outputs: ["a"] },
    ],
  }));
  const { y } = await session.run({ x: tensor([1, -2], [2]) });
  assertEquals([...y!.data], [2, 4]);
});

Deno.test("values that no one or two things make", async () => {
  await assertRefused(one({ inputs: ["nothing"] }), FormatError, '"nothing"');
  await assertRefused({ outputs: ["z"] }, FormatError, '"z"');
  await assertRefused({ outputs: ["y", "y"] }, FormatError, '"y"');
  await assertRefused(
    { nodes: [BASE.nodes[0]!, { op: "Abs", inputs: ["x"], outputs: ["y"] }] },
    FormatError,
    '"y"',
    "(Abs)",
  );
  await assertRefused(one({ outputs: ["x"] }), FormatError, '"x"');
});

Deno.test("numbers of inputs and outputs", async () => {
  await assertRefused(one({ inputs: [] }), FormatError, "1 inputs");
  await assertRefused(one({ inputs: ["x", "x"] }), FormatError);
  await assertRefused(one({ op: "Add", inputs: ["", "x"] }), FormatError);
  await assertRefused(one({ outputs: ["y", "z"] }), FormatError, "outputs");
  await assertRefused(
    one({ op: "BatchNormalization", inputs: ["x", "x"] }),
    FormatError,
    "5 inputs",
  );
});

Deno.test("attributes of another type", async () => {
  await assertRefused(
    one({ op: "Transpose", attributes: { perm: 1 } }),
    FormatError,
    "perm",
    "ints",
    "int",
  );
  await assertRefused(
    one({ op: "LeakyRelu", attributes: { alpha: 1 } }),
    FormatError,
    "alpha",
    "float",
  );
  await assertRefused(
    one({ op: "Cast", attributes: { to: 8 } }),
    UnsupportedError,
    "type 8",
  );
  await assertRefused(one({ op: "Cast" }), FormatError, '"to"');
  await assertRefused(one({ op: "Constant", inputs: [] }), FormatError);
});

Deno.test("shapes that do not fit, at load where they are fixed", async () => {
  const c = (...dims: number[]) =>
    values("float32", dims, new Array(dims.reduce((a, b) => a * b, 1)).fill(1));
  await assertRefused(
    one({ op: "Add", inputs: ["x", "c"], name: "sum" }, {
      initializers: { c: c(3) },
    }),
    ShapeError,
    '"sum"',
    "[2]",
    "[3]",
  );
  await assertRefused(
    one({ op: "Transpose", attributes: { perm: [0, 0] } }),
    ShapeError,
    "perm",
  );
  await assertRefused(
    one({ op: "BatchNormalization", inputs: ["x", "c", "c", "c", "c"] }, {
      inputs: { x: { type: "float32", dims: [2, 4] } },
      initializers: { c: c(3) },
    }),
    ShapeError,
    "[4]",
    "[3]",
  );
  const list = (...numbers: number[]) => ({
    initializers: { c: values("int64", [numbers.length], numbers) },
  });
  for (const shape of [[3], [-1, -1], [-2], [0, 0], [4, -1], [1, 2, 0, -1]]) {
    await assertRefused(
      one({ op: "Reshape", inputs: ["x", "c"] }, list(...shape)),
      ShapeError,
      "(Reshape)",
    );
  }
  for (const axes of [[5], [-5], [0, 0], [0, -3]]) {
    await assertRefused(
      one({ op: "Unsqueeze", inputs: ["x", "c"] }, list(...axes)),
      ShapeError,
    );
  }
  await assertRefused(
    one({ op: "Squeeze", inputs: ["x", "c"] }, list(0)),
    ShapeError,
  );
  await assertRefused(
    one({ op: "Flatten", attributes: { axis: 2 } }),
    ShapeError,
  );
  await assertRefused(
    one({ op: "Relu" }, { inputs: { x: { type: "bool", dims: [2] } } }),
    FormatError,
    "bool",
  );
});

Deno.test("no more than 2 GB per value, found before it is made", async () => {
  for (
    const shape of [[2 ** 30, 2], [2 ** 31, 2 ** 31, 2], [2 ** 53, 2 ** 53]]
  ) {
    await assertRefused(
      one({ op: "Expand", inputs: ["x", "c"] }, {
        inputs: { x: { type: "float32", dims: [1] } },
        initializers: { c: values("int64", [shape.length], shape) },
      }),
      UnsupportedError,
      "2 GB",
    );
    await assertRefused(
      one({ op: "ConstantOfShape", inputs: ["c"] }, {
        initializers: { c: values("int64", [shape.length], shape) },
      }),
      UnsupportedError,
      "2 GB",
    );
  }
  await assertRefused(
    one({ op: "ConstantOfShape", inputs: ["c"] }, {
      initializers: { c: values("int64", [2], [-1, 5]) },
    }),
    ShapeError,
    "negative",
  );
});

Deno.test("a value of a gigabyte is planned without being made", async () => {
  // 2^28 float32: below the limit, and folded it would fill the memory.
  const bytes = modelBytes({
    nodes: [
      { op: "Expand", inputs: ["one", "c"], outputs: ["wide"] },
      { op: "ReduceMean", inputs: ["wide"], outputs: ["y"] },
    ],
    outputs: ["y"],
    initializers: {
      one: values("float32", [1], [1]),
      c: values("int64", [1], [2 ** 28]),
    },
  });
  const before = Deno.memoryUsage().rss;
  await using _session = await createSession(bytes);
  assert(Deno.memoryUsage().rss - before < 2 ** 29);
});

Deno.test("functions that call themselves, or too many", async () => {
  const call = (op: string, input: string, output: string) =>
    nodeProto({ op, domain: "f", inputs: [input], outputs: [output] });
  const define = (name: string, ...node: ReturnType<typeof call>[]) => ({
    name,
    domain: "f",
    input: ["a"],
    output: ["b"],
    opsetImport: [{ domain: "", version: 15 }, { domain: "f", version: 1 }],
    node,
  });
  const model = { domains: ["f"] };
  await assertRefused(
    one({ op: "loop", domain: "f" }, {
      ...model,
      functions: [define("loop", call("loop", "a", "b"))],
    }),
    FormatError,
    "deep",
  );
  // Each calls the next one twice: 2^40 nodes.
  const doubling = Array.from({ length: 40 }, (_, i) =>
    define(
      `f${i}`,
      ...(i === 39
        ? [nodeProto({ op: "Neg", inputs: ["a"], outputs: ["b"] })]
        : [call(`f${i + 1}`, "a", "m"), call(`f${i + 1}`, "m", "b")]),
    ));
  await assertRefused(
    one({ op: "f0", domain: "f" }, { ...model, functions: doubling }),
    UnsupportedError,
    "nodes",
  );
  const twice = define(
    "loop",
    nodeProto({ op: "Neg", inputs: ["a"], outputs: ["b"] }),
  );
  await assertRefused(
    { ...model, functions: [twice, twice] },
    FormatError,
    "twice",
  );
  await assertRefused(
    one({ op: "none", domain: "f" }, {
      ...model,
      functions: [define("none")],
    }),
    FormatError,
    '"b"',
  );
});

Deno.test("functions that are large, and called often", async () => {
  const many = (count: number, name: string) =>
    Array.from({ length: count }, (_, i) => `${name}${i}`);
  const define = (
    input: string[],
    output: string[],
    node: ReturnType<typeof nodeProto>[],
  ) => ({
    name: "large",
    domain: "f",
    input,
    output,
    opsetImport: [{ domain: "", version: 15 }],
    node,
  });
  const neg = nodeProto({ op: "Neg", inputs: ["a"], outputs: ["b"] });
  const large = {
    "inputs": define(["a", ...many(50_000, "i")], ["b"], [neg]),
    "outputs": define(["a"], ["b", ...many(50_000, "o")], [neg]),
    "inputs of a node": define(["a"], ["b"], [
      neg,
      nodeProto({
        op: "Max",
        inputs: many(50_000, "").map(() => "a"),
        outputs: ["c"],
      }),
    ]),
    "attributes of a node": define(["a"], ["b"], [
      nodeProto({
        op: "Neg",
        inputs: ["a"],
        outputs: ["b"],
        attributes: Object.fromEntries(
          many(50_000, "attribute").map((name) => [name, 1]),
        ),
      }),
    ]),
  };
  const called = (count: number, definition: ReturnType<typeof define>) => ({
    nodes: many(count, "n").map((name, i) => ({
      op: "large",
      domain: "f",
      name,
      inputs: ["x"],
      outputs: [i === 0 ? "y" : `y${i}`],
    })),
    domains: ["f"],
    functions: [definition],
  });
  for (const definition of Object.values(large)) {
    // The twentieth call would be more than a million.
    await assertRefused(
      called(30_000, definition),
      UnsupportedError,
      'node "n19" (f.large)',
      "1000000 inputs, outputs and attributes",
    );
  }
  const bytes = modelBytes({ ...BASE, ...called(19, large.inputs) });
  await using session = await createSession(bytes);
  const { y } = await session.run({ x: tensor([1, -2], [2]) });
  assertEquals([...y!.data], [-1, 2]);
});

Deno.test("defaults of a function's attributes are refused where it is called", async () => {
  // onnx-proto does not know of them: they are written by hand.
  const withDefault = encodeFields((writer) => {
    writer.message(25, (definition) => {
      const encoded = onnx.FunctionProto.encode({
        name: "with",
        domain: "f",
        input: ["a"],
        output: ["b"],
        opsetImport: [{ domain: "", version: 15 }],
        node: [nodeProto({ op: "Neg", inputs: ["a"], outputs: ["b"] })],
      }).finish();
      for (const field of readFields(encoded, 0, encoded.length)) {
        definition.bytes(field.number, field.data());
      }
      definition.bytes(
        11,
        onnx.AttributeProto.encode({
          name: "axis",
          type: onnx.AttributeProto.AttributeType.INT,
          i: 1,
        }).finish(),
      );
    });
  });
  const model = (op: string, domain: string) =>
    new Uint8Array([
      ...modelBytes({ ...BASE, ...one({ op, domain }, { domains: ["f"] }) }),
      ...withDefault,
    ]);
  const { message } = await assertRejects(
    () => createSession(model("with", "f")),
    UnsupportedError,
  );
  assert(message.includes("node 0 (f.with)"), message);
  assert(message.includes("defaults of attributes"), message);
  // No one needs them where no one calls.
  await using session = await createSession(model("Neg", ""));
  const { y } = await session.run({ x: tensor([1, -2], [2]) });
  assertEquals(y!.data, Float32Array.of(-1, 2));
});

Deno.test("elements that are more or fewer than their extents", async () => {
  const bytes = modelBytes({
    ...one({ op: "Add", inputs: ["x", "c"] }),
    inputs: BASE.inputs!,
    outputs: ["y"],
    initializers: { c: values("float32", [2], [1, 2]) },
  });
  const message = onnx.ModelProto.decode(bytes);
  for (const dims of [[3], [2 ** 40, 2 ** 40], [-2], [0]]) {
    message.graph!.initializer![0]!.dims = dims;
    const changed = onnx.ModelProto.encode(message).finish();
    await assertRejects(() => createSession(changed), FormatError);
  }
});

Deno.test("a model without its operators' version", async () => {
  const message = onnx.ModelProto.decode(modelBytes(BASE));
  message.opsetImport = [];
  await assertRejects(
    () => createSession(onnx.ModelProto.encode(message).finish()),
    FormatError,
    "version",
  );
});

Deno.test("what is no model", async () => {
  for (const bytes of [[], [0], [255, 255, 255], [8, 7]]) {
    await assertRejects(
      () => createSession(Uint8Array.from(bytes)),
      FormatError,
    );
  }
  await assertRejects(() => createSession("model.onnx" as never), FormatError);
});

Deno.test("a damaged model gives Evenkeel's error, or runs", async () => {
  const layer = new BatchNormalization({ axis: -1, name: "bn" });
  const model = buildOnnx(layer, { inputShape: [2, 3, 4] });
  const x = tensor(new Float32Array(24), [2, 3, 4]);
  await fc.assert(
    fc.asyncProperty(
      fc.nat(model.length - 1),
      fc.nat(255),
      fc.boolean(),
      async (at, byte, cut) => {
        const changed = model.slice(0, cut ? at : undefined);
        if (!cut) changed[at] = byte;
        try {
          await using session = await createSession(changed);
          await session.run({ x });
        } catch (error) {
          assert(error instanceof EvenkeelError, String(error));
        }
      },
    ),
    { numRuns: 3000, seed: 4 },
  );
});
