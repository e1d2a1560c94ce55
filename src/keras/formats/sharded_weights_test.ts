// Keras 3's weights in shards, and models whose other layers are quantized or
// have LoRA.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { FormatError } from "../../errors.ts";
import { BytesFile } from "../files/source_file.ts";
import { loadKeras } from "../load.ts";
import type { KerasModel } from "../load/types.ts";
import { recordedTensor } from "../testing/fixtures.ts";
import { buildHdf5 } from "../testing/hdf5_builder.ts";
import {
  expectedCase,
  filesIn,
  recordingFiles,
} from "../testing/tfjs_fixtures.ts";
import { openShardedWeights } from "./sharded_weights.ts";

const FOLDER = "keras_shards";

const all = filesIn(FOLDER);

/** The index and its shards. */
const sharded = new Map(
  [...all].filter(([name]) => /\.weights\.(json|h5)$/.test(name)),
);

const config = new TextDecoder().decode(all.get("sharded.json"));

function assertLayers(model: KerasModel, name: string): void {
  const { layers } = expectedCase(FOLDER, name);
  assertEquals(
    [...model.batchNormalizations.keys()].sort(),
    layers.map(({ path }) => path.join("/")).sort(),
  );
  for (const { path, weights, input, output } of layers) {
    const layer = model.batchNormalizations.get(path.join("/"))!;
    assertEquals(
      layer.getWeights(),
      Object.values(weights).map(recordedTensor),
    );
    const y = layer.call(recordedTensor(input)).data;
    recordedTensor(output).data.forEach((expected, i) =>
      // Inputs, weights and outputs are of the order of 1: a few roundings.
      assert(Math.abs(y[i]! - expected) <= 1e-5, `${path}: ${y[i]}`)
    );
  }
}

Deno.test("weights in shards load, a layer's in two of them too", async () => {
  const model = await loadKeras(sharded, { config });
  assertEquals(model.format, "weights.json");
  assertLayers(model, "sharded");
  const norm = model.layers.find(({ key }) => key === "norm")!;
  assertEquals(
    new Set(norm.weights.map(({ location }) => location.split("#")[0])).size,
    2,
  );
});

Deno.test("without a configuration, their layers have the names in the shards", async () => {
  const model = await loadKeras(sharded, {
    layers: { "functional/inner_bn": { scale: false } },
  });
  assertEquals(
    model.layers.filter(({ loaded }) => loaded).map(({ name }) => name).sort(),
    ["inner_bn", "last", "norm"],
  );
});

for (const name of ["quantized", "lora"]) {
  Deno.test(`neighbours that are ${name} do not disturb`, async () => {
    assertLayers(await loadKeras(all.get(`${name}.keras`)!), name);
  });
}

Deno.test("shards are opened one after the other, and again when a weight is read", async () => {
  const { open, opened } = recordingFiles(sharded);
  const index = new BytesFile("i", sharded.get("sharded.weights.json")!);
  const contents = await openShardedWeights(index, open);
  assertEquals(opened.length, 5);
  const { weights } = contents;
  assert(weights.kind === "objects");
  const root = "root" in weights ? weights.root : undefined;
  const norm = root!.children.get("layers")!.children
    .get("batch_normalization")!;
  const tensors = await Promise.all(
    norm.variables.map((variable) => variable.read()),
  );
  assertEquals(tensors.length, 4);
  // The four are in two shards, and neither is the one that was open.
  assertEquals(opened.slice(5), [
    "sharded_00000.weights.h5",
    "sharded_00001.weights.h5",
  ]);
  contents.close();
});

async function shard(...numbers: number[]): Promise<Uint8Array> {
  const members = Object.fromEntries(
    numbers.map((i) => [String(i), { dims: [2], values: [i, i] }]),
  );
  return await buildHdf5({
    members: { "layers/batch_normalization/vars": { members } },
  });
}

function index(map: unknown): Uint8Array {
  return new TextEncoder().encode(
    JSON.stringify({ metadata: { total_size: 1 }, weight_map: map }),
  );
}

const PLACE = "/layers/batch_normalization/vars";

/** Damaged indices: what is wrong, the map in it, and what the message says. */
const DAMAGED: readonly [string, unknown, string][] = [
  ["a missing shard", { [PLACE]: "b.h5" }, "expected the file b.h5"],
  ["a path above", { [PLACE]: "../a.h5" }, "in the same folder"],
  ["an absolute path", { [PLACE]: ["/a.h5"] }, "in the same folder"],
  ["a number for a shard", { [PLACE]: 7 }, "expected the file name"],
  ["a list in a list", { [PLACE]: [["a.h5"]] }, "expected the file name"],
  ["a group that is not there", { "/x/vars": "a.h5" }, "found nothing"],
  ["a path of a variable", { [`${PLACE}/0`]: "a.h5" }, "end with /vars"],
  [
    "the same variable in two shards",
    { [PLACE]: ["a.h5", "same.h5"] },
    "are the same variable",
  ],
  ["a shard that is no HDF5", { [PLACE]: "text.h5" }, "HDF5"],
];

for (const [what, map, message] of DAMAGED) {
  Deno.test(`an index with ${what} is a FormatError`, async () => {
    const files = new Map([
      ["x.weights.json", index(map)],
      ["a.h5", await shard(0, 1, 2, 3)],
      ["same.h5", await shard(3)],
      ["text.h5", new TextEncoder().encode("no HDF5")],
    ]);
    await assertRejects(() => loadKeras(files), FormatError, message);
  });
}

Deno.test("an index whose paths have no end is a FormatError", async () => {
  const path = `${"/a".repeat(100)}/vars`;
  // One object within the other, as deep as HDF5 allows in one path.
  const bytes = await buildHdf5({
    members: {
      [path.slice(1)]: { members: { "0": { dims: [2], values: [1, 2] } } },
    },
  });
  const files = new Map([
    ["x.weights.json", index({ [path]: "a.h5" })],
    ["a.h5", bytes],
  ]);
  await assertRejects(() => loadKeras(files), FormatError, "64 deep");
});

Deno.test("made shards load", async () => {
  const files = new Map([
    // A name that is there twice is the same file.
    ["x.weights.json", index({ [PLACE]: ["a.h5", "b.h5", "a.h5"] })],
    ["a.h5", await shard(2, 3)],
    ["b.h5", await shard(0, 1)],
  ]);
  const model = await loadKeras(files);
  const [layer] = model.batchNormalizations.values();
  assertEquals(layer!.weights.map(({ data }) => data[0]), [0, 1, 2, 3]);
});
