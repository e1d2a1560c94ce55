// Weights that travel without Keras: NumPy's, safetensors' and json's own
// files, recorded in testdata/keras_arrays.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { FormatError, UnsupportedError } from "../errors.ts";
import { type Tensor, tensor } from "../tensor.ts";
import { loadKeras } from "./load.ts";
import type { KerasModel, LoadKerasOptions } from "./load/types.ts";
import { encodeNpy } from "./numpy/npy_write.ts";
import { arraysBytes, arraysUrl, expectedArrays } from "./testing/arrays.ts";

const expected = expectedArrays();

/** What a file needs to be told, beside what it holds. */
const OPTIONS: Readonly<Record<string, LoadKerasOptions>> = {
  "model.npz": {
    config: Deno.readTextFileSync(arraysUrl("model_config.json")),
  },
  "torch_names.safetensors": {
    layers: { "features/1": { axis: 1, epsilon: 1e-5 } },
  },
};

function weightsOf(model: KerasModel): Map<string, Tensor[]> {
  return new Map(
    [...model.batchNormalizations].map((
      [key, layer],
    ) => [key, layer.getWeights()]),
  );
}

function keysOf(model: KerasModel): string[] {
  return [...model.batchNormalizations.keys()];
}

Deno.test("every file gives the recorded layers, bit for bit", async (t) => {
  assert(expected.size >= 12);
  for (const [file, layers] of expected) {
    await t.step(file, async () => {
      for (const source of [arraysUrl(file), arraysBytes(file)]) {
        const isBytes = source instanceof Uint8Array;
        const model = await loadKeras(source, OPTIONS[file]);
        assertEquals(
          model.format,
          file.slice(file.lastIndexOf(".") + 1) as KerasModel["format"],
        );
        const weights = weightsOf(model);
        assertEquals(weights.size, layers.size);
        const stem = file.slice(0, file.indexOf("."));
        for (const [key, tensors] of layers) {
          const name = key === stem && isBytes ? "layer" : key;
          assertEquals(weights.get(name), tensors, `${name} of ${file}`);
        }
      }
    });
  }
});

Deno.test("each layer says why it is one, and what is assumed", async () => {
  const model = await loadKeras(arraysUrl("positional.npz"));
  const [layer] = model.layers;
  assertEquals(
    layer!.reason,
    "4 arrays of shape [3], without a negative value where variances would be",
  );
  assertEquals(layer!.assumed, ["axis", "epsilon", "momentum", "dtype"]);
  assertEquals(layer!.weights.map(({ role, location }) => [role, location]), [
    ["gamma", "arr_0"],
    ["beta", "arr_1"],
    ["moving_mean", "arr_2"],
    ["moving_variance", "arr_3"],
  ]);
  const named = await loadKeras(arraysUrl("named_compressed.npz"));
  assertEquals(
    named.layers.map(({ key, loaded, reason }) => ({ key, loaded, reason })),
    [
      { key: "dense", loaded: false, reason: undefined },
      ...["bn", "block/bn"].map((key) => ({
        key,
        loaded: true,
        reason: "its variables are named as a BatchNormalization's are",
      })),
    ],
  );
});

Deno.test("PyTorch's names are listed, and not loaded unless named", async () => {
  const model = await loadKeras(arraysUrl("torch_names.safetensors"));
  assertEquals(keysOf(model), []);
  const [layer] = model.layers;
  assertEquals(layer!.key, "features/1");
  assert(layer!.reason!.includes("PyTorch's BatchNorm"));
});

Deno.test("a whole model's list is never guessed at", async () => {
  const model = await loadKeras(arraysUrl("model.npz"));
  assertEquals(keysOf(model), []);
  const possible = model.layers.filter(({ reason }) => reason);
  // The list has no negative number, so that every four vectors are possible.
  assert(possible.length > 1);
  for (const { reason } of possible) {
    assert(reason!.includes("in a row"), reason);
    assert(reason!.includes("give the option config"), reason);
  }
  const named = await loadKeras(arraysUrl("model.npz"), {
    layers: { arr_2: { epsilon: 0.01 } },
  });
  assertEquals(
    named.batchNormalizations.get("arr_2")!.getWeights(),
    expected.get("model.npz")!.get("bn")!,
  );
});

Deno.test("a configuration gives a whole model's list its layers, with their settings", async () => {
  const { batchNormalizations } = await loadKeras(
    arraysUrl("model.npz"),
    OPTIONS["model.npz"],
  );
  assertEquals(batchNormalizations.get("bn")!.options.epsilon, 0.01);
  assertEquals(
    batchNormalizations.get("inner/inner_bn")!.options.scale,
    false,
  );
  assertEquals(batchNormalizations.get("frozen_bn")!.trainable, false);
});

Deno.test("a configuration that does not fit a list is refused", async () => {
  const config = JSON.parse(OPTIONS["model.npz"]!.config as string);
  const layers = config.config.layers;
  const without = (name: string) => ({
    ...config,
    config: {
      ...config.config,
      layers: layers.filter((layer: { config: { name: string } }) =>
        layer.config.name !== name
      ),
    },
  });
  await assertRejects(
    () => loadKeras(arraysUrl("model.npz"), { config: without("dense") }),
    FormatError,
    "a list of 19 arrays: the configuration's layers have 17",
  );
  const custom = structuredClone(config);
  custom.config.layers.find(
    (layer: { class_name: string }) => layer.class_name === "Dense",
  ).class_name = "Mine";
  await assertRejects(
    () => loadKeras(arraysUrl("model.npz"), { config: custom }),
    UnsupportedError,
    'how many of them the layer "dense" of class Mine has',
  );
});

Deno.test("a configuration gives names their settings", async () => {
  const config = {
    class_name: "Sequential",
    config: {
      layers: ["bn", "block/bn"].map((name, i) => ({
        class_name: "BatchNormalization",
        config: { name, trainable: true, axis: -1, epsilon: 0.5 / (i + 1) },
      })),
    },
  };
  const model = await loadKeras(arraysUrl("named_compressed.npz"), { config });
  assertEquals(
    [...model.batchNormalizations].map((
      [key, { options }],
    ) => [key, options.epsilon]),
    [["bn", 0.5], ["block/bn", 0.25]],
  );
  assertEquals(weightsOf(model), expected.get("named_compressed.npz"));
});

Deno.test("an array with more rows than a layer has variables is one variable", async () => {
  const bytes = encodeNpy(tensor(new Float32Array(16), [8, 2]));
  const { layers } = await loadKeras(bytes);
  assertEquals(
    layers.map(({ loaded, weights }) => [loaded, weights[0]!.dims]),
    [[false, [8, 2]]],
  );
});

Deno.test("objects in NumPy's files are pickles, which are not read", async () => {
  await assertRejects(
    () => loadKeras(arraysUrl("objects.npy")),
    FormatError,
    "found |O, which are pickled; save the arrays with np.savez",
  );
});

Deno.test("a model's configuration is no file of weights", async () => {
  await assertRejects(
    () => loadKeras(arraysUrl("model_config.json")),
    FormatError,
    "it is a model's configuration without weights",
  );
});
