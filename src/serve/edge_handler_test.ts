import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { loadKeras } from "../keras/load.ts";
import { buildOnnx } from "../onnx/build.ts";
import { values } from "../session/testing/models.ts";
import { edgeHandler } from "./edge_handler.ts";
import type { ServedModel } from "./served_model.ts";
import { sessionModel } from "./session_model.ts";
import { readTensor, writeTensor } from "./json_tensors.ts";
import { KERAS, tryWorker, writeTrialModels } from "./testing/worker_trial.ts";

/** A model that gives what it is fed. */
const echo: ServedModel = {
  name: "echo",
  run: (feeds) => Promise.resolve(feeds as never),
};

function request(path: string, body: BodyInit): Request {
  return new Request(`http://127.0.0.1${path}`, { method: "POST", body });
}

Deno.test("the handler serves sessions, and refuses what is none", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const [, outside, types] = await writeTrialModels(folder);
    const external = outside!.slice("outside=".length);
    const { batchNormalizations } = await loadKeras(KERAS);
    const handler = edgeHandler([
      ...[...batchNormalizations].map(([name, layer]) =>
        sessionModel(
          name.replaceAll("/", "_"),
          buildOnnx(layer, { inputShape: [null, null, null, 4] }),
        )
      ),
      sessionModel(
        "outside",
        await Deno.readFile(external),
        new Map([[
          "external_data.bin",
          await Deno.readFile(external.replace(/onnx$/, "bin")),
        ]]),
      ),
      sessionModel("types", await Deno.readFile(types!)),
    ]);
    const tried = await tryWorker((path, init) =>
      handler(new Request(`http://127.0.0.1${path}`, init))
    );
    assert(tried > 50);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("an id is answered, whatever JSON it is", async () => {
  const handler = edgeHandler([echo]);
  const response = await handler(
    request("/v2/models/echo/infer", `{"id": "a\\"b", "inputs": []}`),
  );
  assertEquals(await response.json(), {
    model_name: "echo",
    id: 'a"b',
    outputs: [],
  });
});

Deno.test("a body without a length is read up to the limit only", async () => {
  const handler = edgeHandler([echo], { maxBodyBytes: 1000 });
  let pulled = 0;
  let cancelled = false;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      pulled++;
      controller.enqueue(new Uint8Array(100));
    },
    cancel() {
      cancelled = true;
    },
  });
  const response = await handler(request("/v2/models/echo/infer", body));
  assertEquals(response.status, 413);
  assertStringIncludes((await response.json()).error, "at most 1000 bytes");
  assert(cancelled);
  // The streams on the way hold a few more.
  assert(pulled < 20, `${pulled}`);
});

Deno.test("a body of exactly the limit is read", async () => {
  const text = `{"inputs": []}`;
  for (const [limit, status] of [[text.length, 200], [text.length - 1, 413]]) {
    const handler = edgeHandler([echo], { maxBodyBytes: limit! });
    const response = await handler(request("/v2/models/echo/infer", text));
    assertEquals(response.status, status);
    await response.body?.cancel();
  }
});

Deno.test("a defect is a 500 without its details", async () => {
  const logged: unknown[] = [];
  const { error } = console;
  console.error = (...values) => void logged.push(...values);
  try {
    const handler = edgeHandler([{
      name: "broken",
      run: () => Promise.reject(new TypeError("secret")),
    }]);
    const response = await handler(
      request("/v2/models/broken/infer", `{"inputs": []}`),
    );
    assertEquals(response.status, 500);
    assertEquals(await response.json(), { error: "Internal error" });
    assertStringIncludes(String(logged[0]), "secret");
  } finally {
    console.error = error;
  }
});

Deno.test("names from Object's prototype are no inputs", async () => {
  const handler = edgeHandler([echo]);
  const response = await handler(request(
    "/v2/models/echo/infer",
    `{"inputs": [{"name": "__proto__", "shape": [1], "datatype": "INT8", "data": [1]},
      {"name": "toString", "shape": [1], "datatype": "toString", "data": [1]}]}`,
  ));
  assertEquals(response.status, 400);
  assertStringIncludes((await response.json()).error, `input "toString"`);
});

Deno.test("an output without a JSON form is refused by name", async () => {
  const handler = edgeHandler([{
    name: "half",
    run: () => Promise.resolve({ h: values("float16", [1], [0]) } as never),
  }]);
  const response = await handler(
    request("/v2/models/half/infer", `{"inputs": []}`),
  );
  assertEquals(response.status, 400);
  assertStringIncludes((await response.json()).error, `"h": JSON has no form`);
});

for (
  const [datatype, element] of [
    ["FP64", fc.double()],
    ["FP32", fc.float()],
    ["INT8", fc.integer({ min: -128, max: 127 })],
    ["UINT16", fc.integer({ min: 0, max: 65535 })],
    ["UINT32", fc.integer({ min: 0, max: 2 ** 32 - 1 })],
    ["INT64", fc.maxSafeInteger()],
    ["UINT64", fc.maxSafeNat()],
    ["BOOL", fc.boolean()],
  ] as const
) {
  Deno.test(`${datatype} comes back from JSON as it was`, () => {
    fc.assert(fc.property(
      fc.array(element as fc.Arbitrary<number | boolean>),
      (elements) => {
        const read = (data: unknown) =>
          readTensor({
            name: "x",
            shape: [elements.length],
            datatype,
            data,
          })[1];
        const data = elements.map((value) =>
          typeof value === "boolean" || Number.isFinite(value)
            ? value
            : String(value)
        );
        const tensor = read(data);
        const written = JSON.parse(writeTensor("x", tensor as never));
        assertEquals(read(written.data), tensor);
        assertEquals(
          Array.from(tensor.data as ArrayLike<unknown>, Number),
          elements.map(Number),
        );
      },
    ));
  });
}

for (
  const [datatype, wrong] of [
    ["INT8", [128, -129, 0.5, "1", true, null]],
    ["UINT8", [256, -1]],
    ["UINT64", [-1, 2 ** 53]],
    ["INT64", [2 ** 53, -(2 ** 53), Infinity]],
    ["BOOL", [0, 1, "true"]],
    ["FP32", [3.5e38, true, null, "inf", [1]]],
    ["FP64", ["1", true]],
  ] as const
) {
  Deno.test(`${datatype} refuses ${JSON.stringify(wrong)}`, () => {
    for (const value of wrong) {
      let message = "";
      try {
        readTensor({ name: "x", shape: [1], datatype, data: [value] });
      } catch (error) {
        message = (error as Error).message;
      }
      assert(message.startsWith("Cannot use "), `${datatype} ${value}`);
    }
  });
}

for (const length of [undefined, "100000"]) {
  Deno.test(`nobody waits for the rest of a large body, with content-length ${length}`, async () => {
    const handler = edgeHandler([echo], { maxBodyBytes: 1000 });
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(100)),
    });
    const large = new Request("http://127.0.0.1/v2/models/echo/infer", {
      method: "POST",
      body,
      ...(length ? { headers: { "content-length": length } } : {}),
    });
    // As edge-runtime does; cancelling one of two ends only with the other.
    const copy = large.clone();
    const response = await handler(large);
    assertEquals(response.status, 413);
    await response.body?.cancel();
    await copy.body?.cancel();
  });
}
