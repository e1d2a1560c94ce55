import { assert, assertEquals, assertRejects } from "@std/assert";
import { FormatError } from "../../errors.ts";
import { loadKeras } from "../load.ts";
import type { KerasModel } from "../load/types.ts";

const encode = (value: string): Uint8Array<ArrayBuffer> =>
  new TextEncoder().encode(value);

function load(value: unknown): Promise<KerasModel> {
  return loadKeras(
    encode(typeof value === "string" ? value : JSON.stringify(value)),
  );
}

const ROWS = [[2, 1], [0, 1], [-1, 3], [4, 1]];
const NAMED = {
  gamma: ROWS[0]!,
  beta: ROWS[1]!,
  moving_mean: ROWS[2]!,
  moving_variance: ROWS[3]!,
};

Deno.test("one layer: a list of lists, or variables by name", async () => {
  for (const value of [ROWS, NAMED, { layer: ROWS }, { layer: NAMED }]) {
    const { format, batchNormalizations } = await load(value);
    assertEquals(format, "json");
    assertEquals([...batchNormalizations.keys()], ["layer"]);
    assertEquals(
      batchNormalizations.get("layer")!.getWeights().map(({ data }) => [
        ...data,
      ]),
      ROWS,
    );
  }
});

Deno.test("several layers: nested objects, or names with any separator", async () => {
  for (
    const value of [
      { a: NAMED, b: { c: NAMED } },
      { a: ROWS, b: { c: ROWS } },
      Object.fromEntries(
        ["a", "b/c"].flatMap((layer) =>
          Object.entries(NAMED).map((
            [name, list],
          ) => [`${layer}/${name}:0`, list])
        ),
      ),
      Object.fromEntries(
        ["a", "b.c"].flatMap((layer) =>
          Object.entries(NAMED).map((
            [name, list],
          ) => [`${layer}.${name}`, list])
        ),
      ),
      Object.fromEntries(
        ["a", "b/c"].flatMap((layer) =>
          Object.entries(NAMED).map((
            [name, list],
          ) => [`${layer}_${name}`, list])
        ),
      ),
      Object.fromEntries(
        ["a", "b/c"].flatMap((layer) =>
          ROWS.map((list, i) => [`${layer}/vars/${i}`, list])
        ),
      ),
    ]
  ) {
    const { batchNormalizations } = await load(value);
    assertEquals(
      [...batchNormalizations].map(([key, { name }]) => [key, name]),
      [["a", "a"], ["b/c", "c"]],
    );
  }
});

Deno.test("a matrix among named variables is no layer", async () => {
  // Its rows could be a BatchNormalization's.
  const { layers, batchNormalizations } = await load({
    "dense/kernel": [[1, 2], [1, 2], [1, 2], [1, 2]],
    "dense/bias": [0, 0],
    bn: NAMED,
  });
  assertEquals([...batchNormalizations.keys()], ["bn"]);
  assertEquals(layers.map(({ key }) => key), ["dense", "bn"]);
});

Deno.test("lists of other things are left out", async () => {
  const { layers } = await load({
    classes: ["cat", "dog"],
    mixed: [{ a: 1 }],
    none: null,
    version: 3,
    bn: NAMED,
  });
  assertEquals(layers.map(({ key }) => key), ["bn"]);
});

Deno.test("variables are float32 unless the caller says otherwise", async () => {
  const tenths = ROWS.map(() => [0.1]);
  const { batchNormalizations, layers } = await load(tenths);
  assertEquals(
    batchNormalizations.get("layer")!.getWeights()[0]!.data,
    Float32Array.of(0.1),
  );
  assert(layers[0]!.assumed.includes("dtype"));
  const wide = await loadKeras(encode(JSON.stringify(tenths)), {
    layers: { layer: { dtype: "float64" } },
  });
  assertEquals(
    wide.batchNormalizations.get("layer")!.getWeights()[0]!.data,
    Float64Array.of(0.1),
  );
});

Deno.test("NaN and infinities are read as Python writes them", async () => {
  const { batchNormalizations } = await load(
    "[[NaN, 1], [Infinity, -Infinity], [-0.0, 1e5], [NaN, 2]]",
  );
  assertEquals(
    batchNormalizations.get("layer")!.getWeights().map(({ data }) => [...data]),
    [[NaN, 1], [Infinity, -Infinity], [-0, 1e5], [NaN, 2]],
  );
});

Deno.test("what is no weights is refused", async () => {
  const deep = "[".repeat(500) + "]".repeat(500);
  for (
    const [value, message] of [
      ["[]", "expected what get_weights() gives"],
      ["{}", "expected what get_weights() gives"],
      ["[1, 2]", "expected what get_weights() gives"],
      [`["a"]`, "expected what get_weights() gives"],
      [`[["a"]]`, "expected what get_weights() gives"],
      [`{"a": 1}`, "expected what get_weights() gives"],
      [`{"a": []}`, "expected what get_weights() gives"],
      ["[[1, 2], [1", "expected JSON"],
      [deep, "nested more than 400 deep"],
      ["[".repeat(1e6), "expected JSON"],
      [`{"__proto__": [[1]]}`, 'it has a key "__proto__"'],
      [`{"bn": {"__proto__": {"gamma": [1]}}}`, 'it has a key "__proto__"'],
      [
        JSON.stringify({ ...NAMED, beta: [1, null] }),
        "expected a number, got null, which JavaScript writes for NaN and infinities",
      ],
      [
        JSON.stringify({ ...NAMED, beta: [1, "2"] }),
        'expected a number, got "2"',
      ],
      [
        JSON.stringify({ ...NAMED, beta: [[1], [2, 3]] }),
        "expected a vector",
      ],
    ] as const
  ) {
    await assertRejects(() => load(value), FormatError, message);
  }
  const utf16 = new Uint8Array([0x5b, 0xff, 0xfe, 0x5d]);
  await assertRejects(
    () => loadKeras(utf16),
    FormatError,
    "expected UTF-8 text",
  );
});

Deno.test("lists of different lengths are named", async () => {
  const matrices = ROWS.map((row) => [row, row]);
  matrices[3] = [[1, 2], [3]];
  await assertRejects(
    () =>
      loadKeras(encode(JSON.stringify({ bn: matrices })), {
        layers: { bn: { axis: [1, 2] } },
      }),
    FormatError,
    "expected a list of 2 as the first is, got a list of 1",
  );
});
