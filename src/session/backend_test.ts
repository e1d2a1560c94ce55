import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  InferenceSession,
  registerBackend,
  Tensor as OnnxTensor,
} from "onnxruntime-common";
import { FormatError, UnsupportedError } from "../errors.ts";
import { buildOnnx } from "../onnx/build.ts";
import { random, randomLayer, randomTensor } from "../onnx/testing/layers.ts";
import { onnx } from "../onnx/testing/onnx_proto.ts";
import { onnxruntimeBackend } from "./backend.ts";
import { modelBytes, values } from "./testing/models.ts";

registerBackend("evenkeel", onnxruntimeBackend, 10);
const options = { executionProviders: ["evenkeel"] };

Deno.test("code written for onnxruntime runs", async () => {
  const layer = randomLayer(random(1), { axis: -1 }, [2, 5, 3]);
  const model = buildOnnx(layer, { inputShape: [null, 5, 3] });
  const session = await InferenceSession.create(model, options);
  assertEquals(session.inputNames, ["x"]);
  assertEquals(session.outputNames, ["y"]);
  assertEquals(session.inputMetadata[0], {
    name: "x",
    isTensor: true,
    type: "float32",
    shape: ["N", 5, 3],
  });
  const input = randomTensor(random(2), [2, 5, 3]);
  const x = new OnnxTensor("float32", input.data as Float32Array, input.dims);
  const expected = layer.call(input).data;
  const { y } = await session.run({ x });
  assert(y instanceof OnnxTensor);
  assertEquals(y!.data, expected);
  assertEquals(await y!.getData(), expected);
  assertEquals(y!.dims, [2, 5, 3]);
  // Into a tensor of the caller's.
  const own = new OnnxTensor("float32", new Float32Array(30), [2, 5, 3]);
  await session.run({ x }, { y: own });
  assertEquals(own.data, expected);
  // By name.
  assertEquals(Object.keys(await session.run({ x }, ["y"])), ["y"]);
  session.startProfiling();
  session.endProfiling();
  await session.release();
  await assertRejects(() => session.run({ x }), "released");
});

Deno.test("float16, int64 and bool tensors go in and out", async () => {
  const session = await InferenceSession.create(
    modelBytes({
      nodes: [
        { op: "Identity", inputs: ["h"], outputs: ["h2"] },
        { op: "Add", inputs: ["i", "i"], outputs: ["i2"] },
        { op: "Not", inputs: ["b"], outputs: ["b2"] },
      ],
      inputs: {
        h: { type: "float16", dims: [2] },
        i: { type: "int64", dims: [1] },
        b: { type: "bool", dims: [2] },
      },
      outputs: ["h2", "i2", "b2"],
    }),
    options,
  );
  const bits = Uint16Array.of(0x3c00, 0xc000);
  const h = new OnnxTensor("float16", bits, [2]);
  const { h2, i2, b2 } = await session.run({
    h,
    i: new OnnxTensor("int64", BigInt64Array.of(2n ** 40n), [1]),
    b: new OnnxTensor("bool", [true, false], [2]),
  });
  assertEquals(h2!.type, "float16");
  assertEquals(h2!.data, h.data);
  assertEquals(i2!.data, BigInt64Array.of(2n ** 41n));
  assertEquals([...b2!.data as Uint8Array], [0, 1]);
});

Deno.test("a model by URL, and what a server may answer", async () => {
  const model = modelBytes({
    nodes: [{ op: "Neg", inputs: ["x"], outputs: ["y"] }],
    inputs: { x: { type: "float32", dims: [1] } },
    outputs: ["y"],
  });
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) =>
      request.url.endsWith("/model.onnx")
        ? new Response(model.slice())
        : new Response("no", { status: 404 }),
  );
  const base = `http://127.0.0.1:${server.addr.port}`;
  const session = await InferenceSession.create(`${base}/model.onnx`, options);
  const x = new OnnxTensor("float32", [2], [1]);
  assertEquals((await session.run({ x }))["y"]!.data, Float32Array.of(-2));
  const missing = await assertRejects(
    () => InferenceSession.create(`${base}/other.onnx`, options),
    FormatError,
  );
  assert((missing as Error).message.includes("404"));
  await assertRejects(
    () => InferenceSession.create("model.onnx", options),
    UnsupportedError,
    "bytes",
  );
});

Deno.test("external data in onnxruntime's way", async () => {
  const message = onnx.ModelProto.decode(modelBytes({
    nodes: [{ op: "Add", inputs: ["x", "c"], outputs: ["y"] }],
    inputs: { x: { type: "float32", dims: [2] } },
    outputs: ["y"],
    initializers: { c: values("float32", [2], [0, 0]) },
  }));
  const tensor = message.graph!.initializer![0]!;
  tensor.rawData = new Uint8Array();
  tensor.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
  tensor.externalData = [
    { key: "location", value: "weights.bin" },
    { key: "offset", value: "4" },
    { key: "length", value: "8" },
  ];
  const model = onnx.ModelProto.encode(message).finish();
  const data = new Uint8Array(Float32Array.of(9, 10, 20).buffer);
  for (const each of [data, data.buffer, new Blob([data])]) {
    const session = await InferenceSession.create(model, {
      ...options,
      externalData: [{ path: "./weights.bin", data: each }],
    });
    const x = new OnnxTensor("float32", [1, 2], [2]);
    assertEquals(
      (await session.run({ x }))["y"]!.data,
      Float32Array.of(11, 22),
    );
  }
  await assertRejects(
    () => InferenceSession.create(model, options),
    FormatError,
    "externalData",
  );
});

Deno.test("errors are Evenkeel's", async () => {
  const model = modelBytes({
    nodes: [{ op: "Conv", inputs: ["x"], outputs: ["y"], name: "first" }],
    inputs: { x: { type: "float32" } },
    outputs: ["y"],
  });
  await assertRejects(
    () => InferenceSession.create(model, options),
    UnsupportedError,
    "first",
  );
});
