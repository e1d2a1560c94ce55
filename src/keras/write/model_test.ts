// Layers as `.keras`, `.weights.h5` and TensorFlow.js models. That the real
// libraries load them is checked by scripts/fixtures/keras_written_check.py
// and .mjs; here, what is written and what is refused.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { OptionError, ShapeError, UnsupportedError } from "../../errors.ts";
import { BatchNormalization } from "../../layer/batch_normalization.ts";
import type { BatchNormalizationOptions } from "../../layer/options.ts";
import { weightNames } from "../../layer/weights.ts";
import { tensor } from "../../tensor.ts";
import { loadKeras } from "../load.ts";
import {
  fixtureBytes,
  recordedCases,
  recordedTensor,
} from "../testing/fixtures.ts";
import { writeTfjs } from "../write_tfjs.ts";
import { openZip } from "../zip/zip.ts";
import { writeKerasArchive } from "./keras_archive.ts";
import { writeWeightsH5 } from "./weights_h5.ts";
import { writableLayers } from "./writable.ts";

/** A layer with variables of 1, 2, 3 and so on, of some shape. */
function layerOf(
  options: BatchNormalizationOptions = {},
  dims: readonly number[] = [3],
): BatchNormalization {
  const layer = new BatchNormalization(options);
  const count = dims.reduce((a, b) => a * b, 1);
  layer.setWeights(
    weightNames(layer.options).map((_, role) =>
      tensor(Array.from({ length: count }, (_, i) => 1 + role + i / 8), dims)
    ),
  );
  return layer;
}

function map(
  layers: Record<string, BatchNormalization>,
): Map<string, BatchNormalization> {
  return new Map(Object.entries(layers));
}

Deno.test("what is written computes what the real library recorded", async () => {
  let compared = 0;
  for (const { file, layers } of recordedCases()) {
    const model = await loadKeras(fixtureBytes(file));
    // Weights without a model do not say which axis is theirs.
    const certain = new Set(
      model.layers.filter(({ loaded, assumed }) =>
        loaded && assumed.length === 0
      ).map(({ key }) => key),
    );
    const known = layers.filter(({ path }) => certain.has(path.join("/")));
    if (known.length === 0) continue;
    const wanted = new Map(known.map(({ path }) => {
      const key = path.join("/");
      return [key, model.batchNormalizations.get(key)!];
    }));
    const inputShapes = new Map(
      known.map(({ path, inputShape }) => [path.join("/"), inputShape]),
    );
    const bytes = await writeKerasArchive(writableLayers(wanted), {
      inputShapes,
    });
    const again = await loadKeras(bytes);
    assertEquals(again.format, "keras");
    for (const { path, input } of known) {
      const key = path.join("/");
      const written = again.batchNormalizations.get(key.replaceAll("/", "_"))!;
      const original = wanted.get(key)!;
      assertEquals(
        written.getWeights(),
        original.getWeights(),
        `${file} ${key}`,
      );
      const x = recordedTensor(input);
      assertEquals(written.call(x), original.call(x), `${file} ${key}`);
      assertEquals(written.trainable, original.trainable);
      compared++;
    }
  }
  assert(compared > 100, `${compared}`);
});

Deno.test("a .weights.h5 has the layers in their order, with their names", async () => {
  const layers = map({
    "block/b": layerOf({ center: false }),
    a: layerOf({ renorm: true }),
  });
  const bytes = await writeWeightsH5(writableLayers(layers));
  assertEquals(await writeWeightsH5(writableLayers(layers)), bytes);
  const model = await loadKeras(bytes, {
    layers: { block_b: { center: false } },
  });
  assertEquals(model.format, "weights.h5");
  assertEquals(
    model.layers.filter(({ loaded }) => loaded)
      .map(({ name, location }) => [name, location]),
    [
      ["block_b", "layers/batch_normalization"],
      ["a", "layers/batch_normalization_1"],
    ],
  );
  assertEquals(
    model.batchNormalizations.get("a")!.getWeights(),
    layers.get("a")!.getWeights(),
  );
});

Deno.test("half floats are written as float32, without loss", async () => {
  const dims = [2];
  for (const dtype of ["float16", "bfloat16"] as const) {
    const layer = layerOf({ dtype, kerasVersion: "3" }, dims);
    const bytes = await writeKerasArchive(writableLayers(map({ bn: layer })));
    const again = (await loadKeras(bytes)).batchNormalizations.get("bn")!;
    assertEquals(again.getWeights(), layer.getWeights());
    assertEquals(again.options.dtype, layer.options.dtype);
  }
});

Deno.test("names that are the same without slashes are told apart", async () => {
  const layers = map({ "a/b": layerOf(), "a_b": layerOf({}, [2]) });
  const bytes = await writeKerasArchive(writableLayers(layers));
  const { batchNormalizations } = await loadKeras(bytes);
  assertEquals(
    [...batchNormalizations].map(([key, { gamma }]) => [key, gamma!.dims]),
    [["a_b", [3]], ["a_b_1", [2]]],
  );
});

Deno.test("the epsilon is the one that the layer really uses", async () => {
  const options = { epsilon: 1e-6, axis: 3, kerasVersion: "2.4" } as const;
  const layers = map({ bn: layerOf(options) });
  const bytes = await writeKerasArchive(writableLayers(layers));
  const [layer] = (await loadKeras(bytes)).batchNormalizations.values();
  assertEquals(layer!.options.epsilon, 1.001e-5);
  assertEquals(layer!.options.kerasVersion, "2.12");
});

/** The input shape in a `.keras` file's configuration. */
async function writtenShape(
  layer: BatchNormalization,
  inputShape?: (number | null)[],
): Promise<unknown> {
  const bytes = await writeKerasArchive(
    writableLayers(map({ bn: layer })),
    inputShape ? { inputShapes: new Map([["bn", inputShape]]) } : {},
  );
  const archive = await openZip(bytes);
  const { config } = JSON.parse(
    new TextDecoder().decode(archive.read("config.json")),
  );
  return config.layers[0].config.batch_input_shape;
}

Deno.test("the input's shape is given, or the least that the layer tells", async () => {
  assertEquals(await writtenShape(layerOf()), [null, 3]);
  assertEquals(await writtenShape(layerOf({ axis: 1 })), [null, 3]);
  assertEquals(await writtenShape(layerOf({ axis: 3 })), [null, null, null, 3]);
  assertEquals(await writtenShape(layerOf({ axis: -2 })), [null, 3, null]);
  assertEquals(
    await writtenShape(layerOf({ axis: [1, 3] }, [1, 2, 1, 3])),
    [null, 2, null, 3],
  );
  assertEquals(
    await writtenShape(layerOf({ virtualBatchSize: 2 }, [1, 1, 3])),
    [null, 3],
  );
  const built = layerOf();
  built.build([null, 4, 5, 3]);
  assertEquals(await writtenShape(built), [null, null, null, 3]);
  assertEquals(await writtenShape(layerOf(), [null, 7, 3]), [null, 7, 3]);
});

Deno.test("shapes that do not fit are refused", async () => {
  await assertRejects(
    () => writtenShape(layerOf(), [null, 4]),
    ShapeError,
    "would have the shape [4], but have [3]",
  );
  await assertRejects(
    () =>
      writeKerasArchive(writableLayers(map({ bn: layerOf() })), {
        inputShapes: new Map([["other", [null, 3]]]),
      }),
    OptionError,
    'there is no layer "other"',
  );
});

Deno.test("layers of Keras 2 and of Keras 3 are not put into one model", async () => {
  const layers = map({
    old: layerOf({ kerasVersion: "2.4" }),
    new: layerOf({ kerasVersion: "3" }),
  });
  await assertRejects(
    () => writeKerasArchive(writableLayers(layers)),
    OptionError,
    '"old" follows Keras 2 and "new" Keras 3',
  );
});

Deno.test("an adjustment cannot be written", async () => {
  const layers = map({
    bn: layerOf({ adjustment: () => [tensor([1], [1]), tensor([0], [1])] }),
  });
  await assertRejects(
    () => writeKerasArchive(writableLayers(layers)),
    UnsupportedError,
    "its adjustment is a function",
  );
});

Deno.test("a TensorFlow.js model is read again as it was", async () => {
  const layers = map({
    plain: layerOf({ kerasVersion: "3", epsilon: 0.5, momentum: 0.75 }),
    half: layerOf({ kerasVersion: "3", dtype: "float16", scale: false }),
    frozen: layerOf({ kerasVersion: "3", axis: 1, trainable: false }),
  });
  const model = await loadKeras(writeTfjs(layers));
  assertEquals(model.format, "tfjs-layers");
  for (const [key, layer] of layers) {
    const again = model.batchNormalizations.get(key)!;
    const { epsilon, momentum, axis, scale } = layer.options;
    const options = again.options;
    assertEquals(
      [options.epsilon, options.momentum, options.axis, options.scale],
      [epsilon, momentum, axis, scale],
    );
    assertEquals(again.trainable, layer.trainable);
    assertEquals(
      again.getWeights().map(({ data }) => [...data]),
      // 1, 1.125 and so on are floats of any type.
      layerOf({ scale }).getWeights().map(({ data }) => [...data]),
    );
  }
});

Deno.test("regularizers are written as TensorFlow.js has them", () => {
  const layer = layerOf({
    gammaRegularizer: "l2",
    betaRegularizer: { class_name: "L1L2", config: { l1: 0.5, l2: 0.25 } },
    gammaConstraint: "non_neg",
    gammaInitializer: "identity",
  });
  const json = JSON.parse(
    new TextDecoder().decode(writeTfjs(map({ bn: layer })).get("model.json")),
  );
  const { config } = json.modelTopology.config.layers[1];
  assertEquals(config.gamma_regularizer.class_name, "L1L2");
  assertEquals(config.gamma_regularizer.config.l1, 0);
  assertEquals(config.beta_regularizer.config, { l1: 0.5, l2: 0.25 });
  assertEquals(config.gamma_constraint.class_name, "NonNeg");
  assertEquals(config.gamma_initializer, { class_name: "Ones", config: {} });
});

const NOT_IN_TFJS: readonly [string, BatchNormalization][] = [
  ["several axes", layerOf({ axis: [1, 2] }, [1, 2, 3])],
  ["renorm", layerOf({ renorm: true })],
  ["ghost batches", layerOf({ virtualBatchSize: 2 }, [1, 1, 3])],
  ["more than 4 dimensions", layerOf({ axis: 4 })],
  [
    "no OrthogonalRegularizer",
    layerOf({
      gammaRegularizer: "orthogonal_regularizer",
    }),
  ],
];

for (const [what, layer] of NOT_IN_TFJS) {
  Deno.test(`TensorFlow.js is not given ${what}`, () => {
    assertThrows(() => writeTfjs(map({ bn: layer })), UnsupportedError, what);
  });
}
