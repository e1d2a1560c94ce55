// Files with other weights in them, and everything else as it was.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { zipSync } from "fflate";
import {
  FormatError,
  OptionError,
  ShapeError,
  UnsupportedError,
} from "../errors.ts";
import { BatchNormalization } from "../layer/batch_normalization.ts";
import { castTensor, type Tensor, tensor, widen } from "../tensor.ts";
import { loadKeras } from "./load.ts";
import type { KerasModel, LoadKerasOptions } from "./load/types.ts";
import { replaceWeights } from "./replace_weights.ts";
import { fixtureBytes, recordedCases } from "./testing/fixtures.ts";
import { filesIn, tfjsFiles } from "./testing/tfjs_fixtures.ts";

/** Values that every type has exactly, other ones for each variable: multiples of 1/8. */
function changed(old: Tensor, variable: number): Tensor {
  const data = Float64Array.from(
    old.data,
    (_, i) => variable + (i % 8) / 8 + 0.125,
  );
  return castTensor({ type: "float64", dims: old.dims, data }, old.type);
}

function change(model: KerasModel): Map<string, BatchNormalization> {
  for (const layer of model.batchNormalizations.values()) {
    layer.setWeights(layer.getWeights().map(changed));
  }
  return model.batchNormalizations;
}

function weightsOf(model: KerasModel): Record<string, Tensor[]> {
  return Object.fromEntries(
    [...model.batchNormalizations]
      .map(([key, layer]) => [key, layer.getWeights()]),
  );
}

function differences(a: Uint8Array, b: Uint8Array): number {
  assertEquals(a.length, b.length);
  return a.reduce((count, byte, i) => count + (byte === b[i] ? 0 : 1), 0);
}

/** What is not HDF5, or has other variables than its layer. */
const NOT_REPLACED = ["k3_functional_rank4_npz", "k113_class_aliases"];

Deno.test("in every recorded file, nothing but the variables changes", async () => {
  let files = 0;
  for (const { case: name, file } of recordedCases()) {
    if (NOT_REPLACED.includes(name)) continue;
    const bytes = fixtureBytes(file);
    const before = bytes.slice();
    const model = await loadKeras(bytes);
    if (model.batchNormalizations.size === 0) continue;
    const same = await replaceWeights(bytes, model.batchNormalizations);
    assertEquals(differences(bytes, same), 0, file);
    const layers = change(model);
    const result = await replaceWeights(bytes, layers);
    assertEquals(bytes, before, file);
    assertEquals(weightsOf(await loadKeras(result)), weightsOf(model), file);
    const elements = model.layers.filter(({ loaded }) => loaded)
      .flatMap(({ weights }) => weights)
      .reduce((sum, { dims }) => sum + dims.reduce((a, b) => a * b, 1), 0);
    // At most 8 bytes per element, and in an archive two checksums.
    const most = 8 * elements + (file.endsWith(".keras") ? 8 : 0);
    const count = differences(bytes, result);
    assert(count > 0 && count <= most, `${file}: ${count} of ${most}`);
    files++;
  }
  assert(files > 50, `${files}`);
});

/** Arrays that name their layers by themselves. */
const ARRAYS: readonly [string, LoadKerasOptions][] = [
  ["evenkeel.npz", {}],
  ["evenkeel.safetensors", {}],
  ["rows.npy", {}],
  ["rows_fortran_big.npy", {}],
  ["rows_bfloat16.npy", {}],
  ["named_compressed.npz", {}],
  ["zip64.npz", {}],
  ["types.npz", {}],
  ["types.safetensors", {}],
  ["positional.npz", {}],
];

const arrays = filesIn("keras_arrays");

for (const [file, options] of ARRAYS) {
  Deno.test(`replaces the variables of ${file}`, async () => {
    const bytes = arrays.get(file)!;
    const model = await loadKeras(bytes, options);
    assert(model.batchNormalizations.size > 0);
    const layers = change(model);
    const result = await replaceWeights(bytes, layers);
    assertEquals(weightsOf(await loadKeras(result, options)), weightsOf(model));
    if (file !== "named_compressed.npz") differences(bytes, result);
  });
}

for (
  const name of [
    "tfk_nested",
    "tfk_sequential_groups",
    "k3_nested",
    "tfjs_functional",
    "graph_fused",
    "graph_fused_float16",
    "tfk_rank4_float16",
  ]
) {
  Deno.test(`replaces the weights of the TensorFlow.js model ${name}`, async () => {
    const files = tfjsFiles(name);
    const model = await loadKeras(files);
    const same = await replaceWeights(files, model.batchNormalizations);
    assertEquals(same, files);
    const layers = change(model);
    const result = await replaceWeights(files, layers);
    assertEquals([...result.keys()], [...files.keys()]);
    assertEquals(result.get("model.json"), files.get("model.json"));
    assertEquals(weightsOf(await loadKeras(result)), weightsOf(model));
    const bytes = [...files].reduce(
      (sum, [file, old]) => sum + differences(old, result.get(file)!),
      0,
    );
    const elements = [...layers.values()].flatMap(({ weights }) => weights)
      .reduce((sum, { data }) => sum + data.length, 0);
    assert(bytes > 0 && bytes <= 4 * elements);
  });
}

for (const [name, levels] of [["uint8", 0xff], ["uint16", 0xffff]] as const) {
  Deno.test(`a weight that is quantized to ${name} gets a new scale`, async () => {
    const files = tfjsFiles(`tfk_rank4_${name}`);
    const model = await loadKeras(files);
    const layers = change(model);
    const result = await replaceWeights(files, layers);
    const again = weightsOf(await loadKeras(result));
    for (const [key, layer] of layers) {
      layer.getWeights().forEach((wanted, i) => {
        const values = widen(wanted);
        const range = Math.max(...values) - Math.min(...values);
        const actual = widen(again[key]![i]!);
        values.forEach((value, j) => {
          // Half a step, of which zero's level can take another half, and the
          // float32 that it is rounded to.
          const bound = range / levels + Math.abs(value) * 2 ** -24;
          assert(Math.abs(actual[j]! - value) <= bound, `${key} ${i} ${j}`);
        });
      });
    }
    const parse = (bytes: Uint8Array) =>
      JSON.parse(new TextDecoder().decode(bytes));
    const [before, after] = [files, result]
      .map((each) => parse(each.get("model.json")!));
    for (const json of [before, after]) {
      for (const weight of json.weightsManifest[0].weights) {
        if (/bn/.test(weight.name)) delete weight.quantization;
      }
    }
    assertEquals(after, before);
  });
}

Deno.test("replaces weights in shards", async () => {
  const files = filesIn("keras_shards");
  const config = new TextDecoder().decode(files.get("sharded.json"));
  const shards = new Map(
    [...files].filter(([name]) => /^sharded.*\.weights\./.test(name)),
  );
  const model = await loadKeras(shards, { config });
  const layers = change(model);
  const result = await replaceWeights(shards, layers, { config });
  assertEquals(
    weightsOf(await loadKeras(result, { config })),
    weightsOf(model),
  );
  assertEquals(
    result.get("sharded_00002.weights.h5"),
    shards.get("sharded_00002.weights.h5"),
  );
  assertEquals(
    result.get("sharded.weights.json"),
    shards.get("sharded.weights.json"),
  );
});

Deno.test("only the given layers are replaced, by key, name or location", async () => {
  const bytes = fixtureBytes("tfk_nested.h5");
  const model = await loadKeras(bytes);
  const before = weightsOf(model);
  const layer = model.batchNormalizations.get("inner_block/inner_bn")!;
  layer.setWeights(layer.getWeights().map(changed));
  const result = await replaceWeights(bytes, new Map([["inner_bn", layer]]));
  assertEquals(weightsOf(await loadKeras(result)), {
    ...before,
    "inner_block/inner_bn": layer.getWeights(),
  });
});

Deno.test("a deflated member is deflated again, and the rest of the archive moves", async () => {
  const { batchNormalizations } = await loadKeras(
    fixtureBytes("tfk_functional_rank4_archive.keras"),
  );
  const { openZip } = await import("./zip/zip.ts");
  const archive = await openZip(
    fixtureBytes("tfk_functional_rank4_archive.keras"),
  );
  // The weights in front, so that the others come to lie elsewhere.
  const names = [
    "model.weights.h5",
    "assets/x.txt",
    "config.json",
    "metadata.json",
  ];
  const members = Object.fromEntries(names.map((name) => [
    name,
    name.startsWith("assets")
      ? new TextEncoder().encode("an asset".repeat(100))
      : archive.read(name),
  ]));
  const bytes = zipSync(members, { level: 6 });
  const layers = new Map([...batchNormalizations]);
  for (const layer of layers.values()) {
    layer.setWeights(layer.getWeights().map(changed));
  }
  const result = await replaceWeights(bytes, layers);
  const after = await openZip(result);
  assertEquals(after.names, names);
  for (const name of names.slice(1)) {
    assertEquals(after.read(name), members[name]);
  }
  assertEquals(
    weightsOf(await loadKeras(result)),
    Object.fromEntries(
      [...layers].map(([key, layer]) => [key, layer.getWeights()]),
    ),
  );
});

Deno.test("what cannot be replaced is refused", async () => {
  const bytes = fixtureBytes("tfk_sequential.h5");
  const { batchNormalizations } = await loadKeras(bytes);
  const layer = batchNormalizations.get("batch_normalization")!;
  const one = new Map([["batch_normalization", layer]]);
  await assertRejects(
    () => replaceWeights(bytes, new Map([["bn", layer]])),
    OptionError,
    'the file has "batch_normalization"',
  );
  await assertRejects(
    () => replaceWeights(bytes, new Map()),
    OptionError,
    "at least one",
  );
  await assertRejects(
    () => replaceWeights(bytes, one, { only: [] } as object),
    OptionError,
    'the option "only"',
  );
  await assertRejects(
    () => replaceWeights("x.h5" as never, one),
    OptionError,
    "expected the bytes",
  );
  const short = new BatchNormalization();
  short.setWeights([1, 2, 3, 4].map((value) => tensor([value], [1])));
  await assertRejects(
    () => replaceWeights(bytes, new Map([["batch_normalization", short]])),
    ShapeError,
    "Cannot replace gamma",
  );
  const plain = new BatchNormalization({ scale: false });
  plain.setWeights(layer.getWeights().slice(1));
  await assertRejects(
    () => replaceWeights(bytes, new Map([["batch_normalization", plain]])),
    ShapeError,
    "and the layer beta, moving_mean",
  );
  await assertRejects(
    () =>
      replaceWeights(
        bytes,
        new Map([["batch_normalization", layer], [
          "batch_normalization/gamma",
          layer,
        ]]),
      ),
    OptionError,
  );
  await assertRejects(
    () => replaceWeights(new Uint8Array(bytes.subarray(0, 3000)), one),
    FormatError,
  );
  const npz = fixtureBytes("k3_functional_rank4_npz.keras");
  const pickled = await loadKeras(npz);
  await assertRejects(
    () => replaceWeights(npz, pickled.batchNormalizations),
    UnsupportedError,
    "pickled",
  );
  const infinite = tfjsFiles("tfk_rank4_uint8");
  const quantized = (await loadKeras(infinite)).batchNormalizations;
  for (const each of quantized.values()) each.movingMean.data[0] = Infinity;
  await assertRejects(
    () => replaceWeights(infinite, quantized),
    FormatError,
    "which has no infinity and no NaN",
  );
});

Deno.test("two names of one layer are refused", async () => {
  const bytes = fixtureBytes("tfk_nested.h5");
  const { batchNormalizations } = await loadKeras(bytes);
  const layer = batchNormalizations.get("inner_block/inner_bn")!;
  await assertRejects(
    () =>
      replaceWeights(
        bytes,
        new Map([["inner_block/inner_bn", layer], ["inner_bn", layer]]),
      ),
    UnsupportedError,
    "holds more than one of them",
  );
});
