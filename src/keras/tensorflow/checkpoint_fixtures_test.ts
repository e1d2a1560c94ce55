// Checkpoints and SavedModels of real TensorFlow, the weights in them and what
// Keras computed.

import { assert, assertEquals } from "@std/assert";
import type { BatchNormalization } from "../../layer/batch_normalization.ts";
import { loadKeras } from "../load.ts";
import type { KerasModel, LoadKerasOptions } from "../load/types.ts";
import {
  fixtureUrl,
  type RecordedCase,
  recordedCases,
} from "../testing/fixtures.ts";
import {
  checkConfig,
  checkOutput,
  checkWeights,
} from "../testing/recorded_checks.ts";

const FOLDER = "keras_checkpoints";
const cases = recordedCases(FOLDER);

/** The path that a user gives: a SavedModel's folder, a checkpoint's prefix. */
function sourceOf({ file, files }: RecordedCase): URL {
  const index = files!.find((name) => name.endsWith(".index"))!;
  return files!.includes("saved_model.pb")
    ? fixtureUrl(file, FOLDER)
    : fixtureUrl(`${file}/${index.slice(0, -".index".length)}`, FOLDER);
}

function asMap({ file, files }: RecordedCase): Map<string, Uint8Array> {
  return new Map(files!.map((name) => [
    name,
    Deno.readFileSync(fixtureUrl(`${file}/${name}`, FOLDER)),
  ]));
}

/**
 * What layers are called where no configuration tells: by the scope of their
 * variables, which can be the container's, and by attributes and places.
 */
const KEYS: Readonly<Record<string, readonly string[]>> = {
  k24_checkpoint: ["model/norm", "model/norm_no_scale"],
  k24_subclassed: [
    "first_norm",
    "block/block",
    "step_norm_0",
    "step_norm_1",
    "named/extra_norm",
  ],
  k24_wrapped: ["layer_with_weights-0/each", "after"],
  k3_export: ["bn", "bn#2"],
  k3_nested: ["model/outer_bn", "model/3/bn", "model/3/3/bn", "model/4/bn"],
  k3_subclassed: ["first", "block/norm"],
  ...Object.fromEntries(
    ["k24_nested", "k24_snappy", "tfk_nested"].map((name) => [name, [
      "outer_bn",
      "layer_with_weights-1/bn",
      "layer_with_weights-1/layer_with_weights-2/bn",
      "layer_with_weights-2/bn",
    ]]),
  ),
};

/** What the variables leave open. */
const GIVEN: Readonly<Record<string, LoadKerasOptions>> = {
  k24_variants: { layers: { bn_virtual: { virtual_batch_size: 4, axis: 3 } } },
};

function layersOf(
  model: KerasModel,
  keys: readonly string[],
): BatchNormalization[] {
  assertEquals(
    [...model.batchNormalizations.keys()].sort(),
    keys.toSorted(),
  );
  return keys.map((key) => model.batchNormalizations.get(key)!);
}

/** Everything that a file with configurations must give. */
function checkDescribed(recorded: RecordedCase, model: KerasModel): void {
  const keys = recorded.layers.map(({ path }) => path.join("/"));
  layersOf(model, keys).forEach((layer, i) => {
    const entry = model.layers.find(({ key }) => key === keys[i])!;
    const expected = recorded.layers[i]!;
    assertEquals(entry.path, expected.path);
    assertEquals(entry.assumed, []);
    assertEquals(entry.className, expected.className);
    checkWeights(layer, expected);
    checkConfig(layer, entry);
    checkOutput(layer, expected);
  });
}

function checkUndescribed(recorded: RecordedCase, model: KerasModel): void {
  const keys = KEYS[recorded.case] ??
    recorded.layers.map(({ path }) => path.join("/"));
  layersOf(model, keys).forEach((layer, i) => {
    const entry = model.layers.find(({ key }) => key === keys[i])!;
    assert(entry.reason?.includes("named as a BatchNormalization's"));
    assert(entry.assumed.includes("epsilon"));
    checkWeights(layer, recorded.layers[i]!);
  });
}

for (const recorded of cases) {
  const { format, kerasVersion, model: config } = recorded;

  Deno.test(`loads the ${format} ${recorded.case}`, async () => {
    for (const source of [sourceOf(recorded), asMap(recorded)]) {
      const model = await loadKeras(source, GIVEN[recorded.case] ?? {});
      assertEquals(model.format, format);
      assertEquals(model.kerasVersion ?? null, kerasVersion);
      const isDescribed = model.layers.some((layer) => layer.config);
      if (isDescribed) checkDescribed(recorded, model);
      else checkUndescribed(recorded, model);
    }
  });

  if (config == null) continue;
  Deno.test(`loads the ${format} ${recorded.case} with a configuration`, async () => {
    for (const kernels of ["typed-array", "wasm"] as const) {
      const model = await loadKeras(sourceOf(recorded), { config, kernels });
      checkDescribed(recorded, model);
    }
  });
}

Deno.test("the fixtures have what they are for", () => {
  const formats = new Set(cases.map(({ format }) => format));
  assertEquals([...formats].sort(), [
    "saved-model",
    "tf-checkpoint",
    "tf-checkpoint-v1",
  ]);
  const shards = cases.map(({ files }) =>
    files!.filter((name) => name.includes(".data-")).length
  );
  assert(shards.some((count) => count > 1));
});
