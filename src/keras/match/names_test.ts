// Files of real Keras whose names are hard to tell apart, written by
// scripts/fixtures/keras_names.py.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { OptionError } from "../../errors.ts";
import type { BatchNormalization } from "../../layer/batch_normalization.ts";
import type { KerasConfig } from "../../layer/config.ts";
import type { Tensor } from "../../tensor.ts";
import type { FileVariable, NamedGroup } from "../contents/contents.ts";
import { loadKeras } from "../load.ts";
import { configLayers } from "../model/config.ts";
import { matchNamed } from "./named.ts";
import { openAxes } from "./recognize.ts";

type Weights = Readonly<Record<string, readonly number[]>>;

const FOLDER = new URL("../../../testdata/keras_names/", import.meta.url);

const EXPECTED: Readonly<Record<string, Readonly<Record<string, Weights>>>> =
  JSON.parse(await Deno.readTextFile(new URL("expected.json", FOLDER)));

function weightsOf(layer: BatchNormalization): Weights {
  const values = (tensor: Tensor | undefined): number[] =>
    [...tensor!.data].map((value) => Math.round(value * 1e4) / 1e4);
  return {
    gamma: values(layer.gamma),
    beta: values(layer.beta),
    moving_mean: values(layer.movingMean),
    moving_variance: values(layer.movingVariance),
  };
}

function loadedWeights(
  layers: ReadonlyMap<string, BatchNormalization>,
): Record<string, Weights> {
  return Object.fromEntries(
    [...layers].map(([key, layer]) => [key, weightsOf(layer)]),
  );
}

for (const file of ["wrapped.h5", "wrapped_alike.h5", "custom.h5", "utf8.h5"]) {
  Deno.test(`${file} gives each layer the weights that Keras gives it`, async () => {
    const model = await loadKeras(new URL(file, FOLDER));
    assertEquals(loadedWeights(model.batchNormalizations), EXPECTED[file]);
  });
}

Deno.test("a layer inside a custom layer has the last part of its scope as its name", async () => {
  const { layers } = await loadKeras(new URL("custom.h5", FOLDER));
  const norm = layers.find(({ loaded }) => loaded)!;
  assertEquals(norm.name, "norm");
  assertEquals(norm.path, ["inner", "block", "norm"]);
});

Deno.test("names that are not ASCII are those of the configuration and the weights", async () => {
  const { layers } = await loadKeras(new URL("utf8.h5", FOLDER));
  const norm = layers.find(({ name }) => name === "Ünorm")!;
  assertEquals(norm.weights.map(({ role, location }) => [role, location]), [
    ["gamma", "model_weights/Ünorm/Ünorm/gamma"],
    ["beta", "model_weights/Ünorm/Ünorm/beta"],
    ["moving_mean", "model_weights/Ünorm/Ünorm/moving_mean"],
    ["moving_variance", "model_weights/Ünorm/Ünorm/moving_variance"],
  ]);
});

Deno.test("several axes that a file of weights does not tell are asked for, and the other layers load", async () => {
  const url = new URL("axes.h5", FOLDER);
  const { several, usual } = EXPECTED["axes.h5"]!;
  const model = await loadKeras(url);
  assertEquals(loadedWeights(model.batchNormalizations), { usual: usual! });
  const listed = model.layers.find(({ name }) => name === "several")!;
  assertEquals(listed.loaded, false);
  assert(listed.reason!.includes("[1, 3, 1] is that of several axes"));

  const error = await assertRejects(
    () => loadKeras(url, { layers: ["several"] }),
    OptionError,
  );
  assert(error.message.includes("give its list of axes in the option layers"));

  const told = await loadKeras(url, { layers: { several: { axis: [1, 2] } } });
  assertEquals(loadedWeights(told.batchNormalizations), {
    several: several!,
    usual: usual!,
  });
});

Deno.test("openAxes() finds the shapes that more than one list of axes has", () => {
  for (const dims of [[3], [1], [], [1, 3, 4], [1, 2, 1, 3]]) {
    assertEquals(openAxes(dims), undefined);
  }
  for (const dims of [[1, 3, 1], [3, 1], [1, 1], [1, 1, 3], [1, 1, 3, 4]]) {
    assert(openAxes(dims));
  }
});

/** A group with the variables of BatchNormalizations. */
function group(name: string, ...scopes: string[]): NamedGroup {
  const variable = (location: string): FileVariable => ({
    name: location,
    location,
    type: "float32",
    dims: [1],
    read: () => {
      throw new Error("nothing is read");
    },
  });
  return {
    name,
    location: name,
    variables: scopes.flatMap((scope) =>
      ["gamma", "beta", "moving_mean", "moving_variance"].map((role) =>
        variable(`${scope}/${role}:0`)
      )
    ),
  };
}

function norm(name: string): KerasConfig {
  return {
    class_name: "BatchNormalization",
    config: { name, trainable: true },
  };
}

function wrapper(name: string, layer: KerasConfig): KerasConfig {
  return {
    class_name: "TimeDistributed",
    config: { name, trainable: true, layer },
  };
}

function model(name: string, ...layers: KerasConfig[]): KerasConfig {
  return { class_name: "Functional", config: { name, layers } };
}

/** The scope that each layer gets. */
function matched(
  inner: KerasConfig,
  ...scopes: string[]
): Record<string, string | undefined> {
  const found = matchNamed(
    [group("inner", ...scopes)],
    configLayers(model("model", inner)),
  );
  return Object.fromEntries(
    found.filter(({ roles }) => roles).map(({ path, roles }) => [
      path.slice(1).join("/"),
      roles!.get("moving_mean")!.name.replace("/moving_mean:0", ""),
    ]),
  );
}

Deno.test("no layer is given a scope that is more clearly another's", () => {
  // The custom layer's scope is in no configuration, so that the order of the
  // scopes does not tell anything.
  assertEquals(
    matched(
      model("inner", wrapper("each", norm("bn")), norm("bn_1")),
      "custom/x",
      "bn_1",
      "each",
    ),
    { "each/bn": "each", "bn_1": "bn_1", "custom/x": "custom/x" },
  );
  assertEquals(
    matched(
      model("inner", wrapper("each", norm("bn")), norm("bn")),
      "custom/x",
      "bn",
      "each",
    ),
    { "each/bn": "each", "bn": "bn", "custom/x": "custom/x" },
  );
  // A counter of a name that the configuration has is no counter.
  assertEquals(
    matched(model("inner", norm("bn"), norm("bn_1")), "bn_1", "x", "y"),
    { "bn_1": "bn_1", "x": "x", "y": "y" },
  );
});

Deno.test("a layer that was built before it was wrapped has the scope of its own name", () => {
  assertEquals(
    matched(model("inner", wrapper("each", norm("bn"))), "bn", "x"),
    { "each/bn": "bn", "x": "x" },
  );
});

Deno.test("names with counters are told apart by the layers' order", () => {
  // TensorFlow 1 counts on where two nested models have a layer of one name.
  assertEquals(
    matched(
      model(
        "inner",
        model("a", norm("bn")),
        model("b", norm("bn")),
        norm("bn_1"),
      ),
      "bn",
      "bn_1",
      "bn_1_1",
    ),
    { "a/bn": "bn", "b/bn": "bn_1", "bn_1": "bn_1_1" },
  );
  assertEquals(
    matched(
      model(
        "inner",
        model("a", wrapper("each", norm("bn"))),
        model("b", wrapper("each", norm("bn"))),
      ),
      "each",
      "each_1",
    ),
    { "a/each/bn": "each", "b/each/bn": "each_1" },
  );
  // Names that fit exactly are not overruled by it.
  assertEquals(
    matched(model("inner", norm("bn"), norm("bn_1")), "bn_1", "bn"),
    { "bn": "bn", "bn_1": "bn_1" },
  );
});
