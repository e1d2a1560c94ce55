// What is taken for a BatchNormalization, and what is not.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { OptionError, UnsupportedError } from "../../errors.ts";
import { loadKeras } from "../load.ts";
import type { KerasModel } from "../load/types.ts";
import { fixtureUrl } from "../testing/fixtures.ts";
import {
  buildHdf5,
  type BuiltDataset,
  type BuiltGroup,
  vector,
} from "../testing/hdf5_builder.ts";
import {
  FOUR,
  layerGroup,
  serialized,
  wholeModel,
} from "../testing/legacy_model.ts";

/** An object's group of numbered variables. */
function variables(...datasets: BuiltDataset[]): BuiltGroup {
  return {
    members: { vars: { members: Object.fromEntries(datasets.entries()) } },
  };
}

const BN = variables(vector(2, 1), vector(0, 1), vector(1, 3), vector(4, 1));

function keys(model: KerasModel): string[] {
  return [...model.batchNormalizations.keys()];
}

function reasons(model: KerasModel): (string | undefined)[] {
  return model.layers.map(({ reason }) => reason);
}

Deno.test("unnamed variables are recognized by number, shape and sign", async () => {
  const negative = variables(
    ...[vector(1, 1), vector(1, 1), vector(1, 1), vector(1, -1)],
  );
  const matrices = variables(
    ...[1, 2, 3, 4].map(() => ({ dims: [1, 2], values: [1, 1] })),
  );
  const bytes = await buildHdf5({
    members: {
      plain: BN,
      renorm: variables(...[1, 2, 3, 4, 5, 6, 7].map(() => vector(1, 1))),
      negative,
      matrices,
      mixed: variables(vector(1), vector(1), vector(1), vector(1, 2)),
      integers: variables(
        ...[1, 2, 3, 4].map(() => ({ dims: [1], values: [1], dtype: "<i" })),
      ),
      optimizer: BN,
      layers: {
        members: {
          batch_normalization: negative,
          batch_normalization_1: variables(
            ...[1, 2, 3, 4].map(() => ({
              dims: [1, 2, 1, 3],
              values: [1, 1, 1, 1, 1, 1],
            })),
          ),
          batch_normalization_2: variables(
            ...[1, 2, 3, 4].map(() => ({ dims: [1, 1, 2], values: [1, 1] })),
          ),
          batch_normalization_3: variables(vector(1, 2), vector(1)),
        },
      },
    },
  });
  const model = await loadKeras(bytes);
  assertEquals(keys(model), [
    "batch_normalization",
    "batch_normalization_1",
    "plain",
    "renorm",
  ]);
  const by = new Map(model.layers.map((layer) => [layer.key, layer]));
  assertEquals(
    by.get("plain")!.reason,
    "4 arrays of shape [2], without a negative value where variances would be",
  );
  assertEquals(model.batchNormalizations.get("renorm")!.options.renorm, true);
  assertEquals(
    model.batchNormalizations.get("batch_normalization_1")!.options.axis,
    [1, 3],
  );
  assert(by.get("batch_normalization_2")!.reason!.includes("ghost batches"));
  assert(
    by.get("batch_normalization_3")!.reason!.includes("does not hold 2 to 7"),
  );
  for (const name of ["negative", "matrices", "mixed", "integers"]) {
    assertEquals(by.get(name)!.reason, undefined);
    assertEquals(by.get(name)!.loaded, false);
  }
  assertEquals(by.has("optimizer"), false);
  await assertRejects(
    () => loadKeras(bytes, { layers: ["batch_normalization_2"] }),
    OptionError,
    "give its virtual_batch_size",
  );
  const ghost = await loadKeras(bytes, {
    layers: { batch_normalization_2: { virtual_batch_size: 2, axis: 1 } },
  });
  assertEquals(
    ghost.batchNormalizations.get("batch_normalization_2")!.options
      .virtualBatchSize,
    2,
  );
});

Deno.test("modes of Keras 1 that do not use the moving statistics are not loaded", async () => {
  const file = fixtureUrl("k122_modes.h5");
  const model = await loadKeras(file);
  assertEquals(keys(model), ["bn_mode0"]);
  const reasonOf = (name: string) =>
    model.layers.find((layer) => layer.name === name)!.reason!;
  assert(reasonOf("bn_mode1").startsWith("mode 1 of Keras 1"));
  assert(reasonOf("bn_mode2").startsWith("mode 2 of Keras 1"));
  const named = await loadKeras(file, { layers: ["bn_mode2"] });
  assertEquals(keys(named), ["bn_mode0", "bn_mode2"]);
  await assertRejects(
    () => loadKeras(file, { layers: ["bn_mode1"] }),
    UnsupportedError,
    "mode 1",
  );
});

Deno.test("custom classes that look like a BatchNormalization are not loaded unless named", async () => {
  const bytes = await wholeModel([
    serialized("my>FrozenNorm", "bn", {
      epsilon: 0.1,
      momentum: 0.9,
      moving_variance_initializer: null,
    }),
  ], { bn: layerGroup(FOUR) });
  const model = await loadKeras(bytes);
  assertEquals(keys(model), []);
  assert(
    model.layers[0]!.reason!.startsWith(
      "the class FrozenNorm is not Keras' own",
    ),
  );
  const named = await loadKeras(bytes, { layers: ["bn"] });
  assertEquals(named.batchNormalizations.get("bn")!.options.epsilon, 0.1);
});

Deno.test("a class of another package is not taken for Keras' own", async () => {
  const bytes = await wholeModel([
    { ...serialized("BatchNormalization", "bn"), module: "my_package.layers" },
  ], { bn: layerGroup(FOUR) });
  const model = await loadKeras(bytes);
  assertEquals(model.layers[0]!.className, "BatchNormalization");
  assertEquals(
    model.layers[0]!.reason,
    "its variables are named as a BatchNormalization's are",
  );
});

Deno.test("names in pieces, and weights without names, of the old layout", async () => {
  const group = layerGroup(FOUR, "bn");
  const names = group.attributes!.weight_names as string[];
  const bytes = await buildHdf5({
    attributes: { layer_names0: ["in"], layer_names1: ["bn", "theano"] },
    members: {
      in: { attributes: { weight_names: [] } },
      bn: {
        ...group,
        attributes: {
          weight_names0: names.slice(0, 3),
          weight_names1: names.slice(3),
        },
      },
      theano: layerGroup(
        Object.fromEntries(
          Object.values(FOUR).map((data, i) => [`param_${i}`, data]),
        ),
        "theano",
      ),
    },
  });
  const unnamed = await loadKeras(bytes);
  assertEquals(keys(unnamed), ["bn", "theano"]);
  assertEquals(reasons(unnamed), [
    undefined,
    "its variables are named as a BatchNormalization's are",
    "4 arrays of shape [2], without a negative value where variances would be",
  ]);
  const config = {
    class_name: "Sequential",
    config: ["bn", "theano"].map((name) =>
      serialized("BatchNormalization", name)
    ),
  };
  const model = await loadKeras(bytes, { config });
  assertEquals(keys(model), ["bn", "theano"]);
  assertEquals(
    model.batchNormalizations.get("theano")!.movingMean.data,
    new Float32Array([1, 3]),
  );
});
