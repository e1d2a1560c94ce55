/**
 * What every bundled worker is tried with, in whatever runtime it runs: its
 * answers have the bits that the models give in this process, and requests
 * that cannot be served are refused with the reason.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { assertSameBits } from "../../kernels/testing/bits.ts";
import { randomFloat32 } from "../../kernels/testing/random.ts";
import { loadKeras } from "../../keras/load.ts";
import { elementTypeNamed, type OnnxType } from "../../onnx/element_types.ts";
import { createSession } from "../../session/session.ts";
import { modelBytes, values } from "../../session/testing/models.ts";
import type { SessionTensor } from "../../session/types.ts";
import { MOST_BODY_BYTES } from "../edge_handler.ts";

const TESTDATA = new URL("../../../testdata/", import.meta.url);
/** A Keras file with three BatchNormalizations. */
export const KERAS: URL = new URL("keras/tfk_many_layers.h5", TESTDATA);
const EXTERNAL = new URL("onnx/models/external_data.onnx", TESTDATA);
const EXTERNAL_FILE = new URL("onnx/models/external_data.bin", TESTDATA);

/** A graph with several inputs and outputs of all types that JSON carries. */
function typesModel(): Uint8Array {
  const cast = (to: number) => ({ to });
  return modelBytes({
    opset: 15,
    inputs: {
      x: { type: "float32", dims: ["N", 3] },
      counts: { type: "int64", dims: ["N"] },
      flags: { type: "bool", dims: ["N"] },
      wide: { type: "float64", dims: [] },
    },
    outputs: ["y", "doubled", "inverse", "root", "bytes"],
    initializers: {
      scale: values("float32", [3], [1, -2, 0.5]),
      shift: values("float32", [3], [0, 1, -1]),
      mean: values("float32", [3], [0.5, -0.25, 3]),
      variance: values("float32", [3], [1, 0.3, 7]),
    },
    nodes: [
      {
        op: "BatchNormalization",
        inputs: ["x", "scale", "shift", "mean", "variance"],
        outputs: ["normalized"],
      },
      { op: "Relu", inputs: ["normalized"], outputs: ["y"] },
      { op: "Add", inputs: ["counts", "counts"], outputs: ["doubled"] },
      { op: "Not", inputs: ["flags"], outputs: ["inverse"] },
      { op: "Sqrt", inputs: ["wide"], outputs: ["root"] },
      {
        op: "Cast",
        inputs: ["flags"],
        outputs: ["bytes"],
        attributes: cast(elementTypeNamed("uint8").code),
      },
    ],
  });
}

/**
 * Writes the models of a trial that are no fixtures.
 *
 * @param folder An empty folder.
 * @returns The MODEL arguments of `evenkeel bundle`.
 */
export async function writeTrialModels(folder: string): Promise<string[]> {
  const types = `${folder}/types.onnx`;
  await Deno.writeFile(types, typesModel());
  return [KERAS.pathname, `outside=${EXTERNAL.pathname}`, types];
}

/** The protocol's names, written out: the worker's table is what is tried. */
const DATATYPES: Readonly<Partial<Record<OnnxType, string>>> = {
  float32: "FP32",
  float64: "FP64",
  int64: "INT64",
  bool: "BOOL",
  uint8: "UINT8",
};

/** JSON of an element, NaN and infinities as strings. */
function elementJson(type: OnnxType, value: number | bigint): string {
  if (type === "bool") return value ? "true" : "false";
  if (Object.is(value, -0)) return "-0";
  return typeof value === "bigint" || Number.isFinite(value)
    ? `${value}`
    : `"${value}"`;
}

/** JSON of elements: flat, or as lists in lists. */
function dataJson({ type, dims, data }: SessionTensor, nested: boolean) {
  let parts = Array.from(
    data as ArrayLike<number | bigint>,
    (value) => elementJson(type, value),
  );
  for (const extent of nested ? dims.slice(1).reverse() : []) {
    const joined: string[] = [];
    for (let i = 0; i < parts.length; i += extent) {
      joined.push(`[${parts.slice(i, i + extent)}]`);
    }
    parts = joined;
  }
  return `[${parts}]`;
}

function requestJson(
  feeds: Readonly<Record<string, SessionTensor>>,
  { nested = false, more = "" } = {},
): string {
  const inputs = Object.entries(feeds).map(([name, tensor]) =>
    `{"name": "${name}", "shape": [${tensor.dims}], "datatype": "${
      DATATYPES[tensor.type]
    }", "data": ${dataJson(tensor, nested)}}`
  );
  return `{${more}"inputs": [${inputs}]}`;
}

/** An output as a worker writes it. */
interface Output {
  readonly name: string;
  readonly shape: number[];
  readonly datatype: string;
  readonly data: unknown[];
}

/** How a worker is asked. */
export type Send = (path: string, init?: RequestInit) => Promise<Response>;

const post = (body: BodyInit): RequestInit => ({ method: "POST", body });

function assertOutput(
  outputs: readonly Output[],
  name: string,
  expected: SessionTensor,
): void {
  const output = outputs.find((each) => each.name === name);
  if (!output) throw new Error(`Expected an output ${name}`);
  assertEquals(output.shape, [...expected.dims]);
  assertEquals(output.datatype, DATATYPES[expected.type]);
  const { Data } = elementTypeNamed(expected.type);
  const data = new Data(output.data.length);
  output.data.forEach((value, i) => {
    (data as { [index: number]: unknown })[i] = data instanceof BigInt64Array
      ? BigInt(value as number)
      : Number(value);
  });
  if (data instanceof Float32Array || data instanceof Float64Array) {
    assertSameBits(data, expected.data as Float32Array, name);
  } else {
    assertEquals(data, expected.data);
  }
}

function random(dims: readonly number[], seed: number): SessionTensor {
  const next = randomFloat32(seed);
  const length = dims.reduce((a, b) => a * b, 1);
  return { type: "float32", dims, data: Float32Array.from({ length }, next) };
}

async function infer(
  send: Send,
  model: string,
  body: string,
): Promise<Output[]> {
  const response = await send(`/v2/models/${model}/infer`, post(body));
  const text = await response.text();
  assertEquals(response.status, 200, text);
  assertEquals(response.headers.get("content-type"), "application/json");
  const { model_name, outputs } = JSON.parse(text);
  assertEquals(model_name, model);
  return outputs;
}

/** Any bit patterns, several shapes, in both forms of data. */
async function tryLayers(send: Send): Promise<number> {
  const { batchNormalizations } = await loadKeras(KERAS);
  let tried = 0;
  for (const [name, layer] of batchNormalizations) {
    for (
      const dims of [[2, 3, 5, 4], [1, 1, 1, 4], [0, 2, 2, 4], [9, 8, 8, 4]]
    ) {
      const x = random(dims, tried);
      const outputs = await infer(
        send,
        name.replaceAll("/", "_"),
        requestJson({ x }, { nested: tried % 2 === 1 && dims[0] !== 0 }),
      );
      assertOutput(
        outputs,
        "y",
        layer.call(x as Parameters<typeof layer.call>[0]),
      );
      tried++;
    }
  }
  assert(tried >= 12);
  return tried;
}

async function tryGraphs(send: Send): Promise<number> {
  const graphs = [
    {
      name: "outside",
      model: await Deno.readFile(EXTERNAL),
      feeds: { x: random([4, 3, 2], 71) },
    },
    {
      name: "types",
      model: typesModel(),
      feeds: {
        x: random([3, 3], 72),
        counts: values("int64", [3], [-1, 2 ** 40, 0]),
        flags: values("bool", [3], [1, 0, 1]),
        wide: values("float64", [], [-2]), // whose root is NaN
      },
    },
  ];
  const externalData = new Map([
    ["external_data.bin", await Deno.readFile(EXTERNAL_FILE)],
  ]);
  for (const { name, model, feeds } of graphs) {
    await using session = await createSession(model, { externalData });
    const expected = await session.run(feeds);
    const outputs = await infer(send, name, requestJson(feeds));
    assertEquals(outputs.map(({ name }) => name), [...session.outputNames]);
    for (const [name, tensor] of Object.entries(expected)) {
      assertOutput(outputs, name, tensor);
    }
  }
  const some = await infer(
    send,
    "types",
    requestJson(graphs[1]!.feeds, { more: `"outputs": [{"name": "root"}], ` }),
  );
  assertEquals(some, [
    { name: "root", shape: [], datatype: "FP64", data: ["NaN"] },
  ]);
  return graphs.length + 1;
}

const BN = "/v2/models/bn_last/infer";
const input = (fields: string) => post(`{"inputs": [{${fields}}]}`);
const X = `"name": "x", "datatype": "FP32"`;

/** Requests that are refused: the path, the request, the status, the reason. */
const REFUSED: readonly (readonly [string, RequestInit, number, RegExp])[] = [
  ["/", {}, 404, /POST to .*bn_last/],
  ["/v2/models/nope/infer", post("{}"), 404, /No model "nope".*bn_last/],
  [BN, {}, 405, /GET.*expected POST/],
  [BN, post(""), 400, /expected JSON/],
  [BN, post("{"), 400, /expected JSON/],
  [BN, post("[]"), 400, /expected \{"inputs"/],
  [BN, post(new Uint8Array([0x7b, 0xff])), 400, /expected UTF-8/],
  [BN, post(`{"inputs": []}`), 400, /input "x" is missing/],
  [BN, post(`{"inputs": [7]}`), 400, /Cannot use an input.*got 7/],
  [BN, input(`"name": "x"`), 400, /expected the datatype .*FP32.*nothing/],
  [BN, input(`"name": "x", "datatype": "FP16"`), 400, /got "FP16"/],
  [BN, input(X), 400, /the shape of input "x"/],
  [BN, input(`${X}, "shape": [1, -4]`), 400, /non-negative.*\[1,-4\]/],
  [BN, input(`${X}, "shape": [1, 4]`), 400, /data of input "x".*nothing/],
  [
    BN,
    input(`${X}, "shape": [1, 4], "data": [1, 2]`),
    400,
    /expected 4 elements.*got 2/,
  ],
  [
    BN,
    input(`${X}, "shape": [2, 2], "data": [[1, 2], [3]]`),
    400,
    /lists in lists as \[2,2\].*got \[3\] at depth 1/,
  ],
  [
    BN,
    input(`${X}, "shape": [1], "data": ["1"]`),
    400,
    /expected FP32, got "1"/,
  ],
  [BN, input(`${X}, "shape": [1], "data": [1e39]`), 400, /expected FP32/],
  [BN, input(`${X}, "shape": [1], "data": [1e999]`), 400, /expected FP32/],
  [
    BN,
    input(`${X}, "shape": [1, 4], "data": [1, 2, 3, 4]`),
    400,
    /expected extents \[.*, 4\], got \[1, 4\]/,
  ],
  [
    BN,
    input(
      `"name": "x", "datatype": "FP64", "shape": [1, 1, 1, 1], "data": [1]`,
    ),
    400,
    /expected a tensor of float32/,
  ],
  [
    BN,
    input(`"name": "z", "datatype": "FP32", "shape": [1], "data": [1]`),
    400,
    /no input "z", expected x/,
  ],
  [
    BN,
    post(
      `{"inputs": [{${X}, "shape": [0], "data": []}, {${X}, "shape": [0], "data": []}]}`,
    ),
    400,
    /input "x": it came twice/,
  ],
  [
    BN,
    post(
      `{"outputs": [{"name": "w"}], "inputs": [{${X}, "shape": [0, 1, 1, 4], "data": []}]}`,
    ),
    400,
    /no output "w"/,
  ],
  [BN, post(`{"outputs": [1], "inputs": []}`), 400, /"outputs"/],
  [
    "/v2/models/types/infer",
    input(`"name": "counts", "datatype": "INT64", "shape": [1], "data": [0.5]`),
    400,
    /expected INT64, got 0\.5/,
  ],
  [
    "/v2/models/types/infer",
    input(
      `"name": "counts", "datatype": "INT64", "shape": [1], "data": [9007199254740993]`,
    ),
    400,
    /expected INT64/,
  ],
  [BN, post(" ".repeat(MOST_BODY_BYTES + 1)), 413, /at most 4194304 bytes/],
];

async function tryRefused(send: Send, graphs: boolean): Promise<number> {
  for (const [path, init, status, reason] of REFUSED) {
    if (path.includes("/types/") && !graphs) continue;
    const response = await send(path, init);
    const text = await response.text();
    assertEquals([path, response.status], [path, status], text);
    const { error, ...rest } = JSON.parse(text);
    assertMatch(error, reason);
    assertEquals(rest, {});
  }
  return REFUSED.length;
}

/**
 * Tries a worker that serves the trial's models.
 *
 * @param send Asks it.
 * @param graphs Whether it serves the graphs too, or the layers alone.
 * @returns How many requests were made.
 *
 * @throws {Error} If an answer is wrong.
 */
export async function tryWorker(send: Send, graphs = true): Promise<number> {
  const answered = await tryLayers(send) +
    (graphs ? await tryGraphs(send) : 0);
  const refused = await tryRefused(send, graphs);
  // It serves on after what it refused.
  return answered + refused + await tryLayers(send);
}
