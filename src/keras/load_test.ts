// What the options do, and what files say that real Keras did not write for
// testdata.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { strToU8, unzipSync, zipSync } from "fflate";
import { FormatError, OptionError } from "../errors.ts";
import { startThreads } from "../kernels/threads/pool.ts";
import { loadKeras } from "./load.ts";
import type { KerasModel } from "./load/types.ts";
import { fixtureBytes, fixtureUrl } from "./testing/fixtures.ts";
import {
  buildHdf5,
  type BuiltDataset,
  type BuiltGroup,
  vector,
} from "./testing/hdf5_builder.ts";
import {
  FOUR,
  layerGroup,
  oneLayer,
  serialized,
  wholeModel,
} from "./testing/legacy_model.ts";

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

Deno.test("only: loads what is named, by key, name or location", async () => {
  const file = fixtureUrl("tfk_nested.h5");
  for (const name of ["inner_block/inner_head/deep_bn", "deep_bn"]) {
    const model = await loadKeras(file, { only: [name] });
    assertEquals(keys(model), ["inner_block/inner_head/deep_bn"]);
  }
  const weights = fixtureUrl("tfk_nested_variables.weights.h5");
  assertEquals(
    keys(await loadKeras(weights, { only: ["layers/batch_normalization"] })),
    ["batch_normalization"],
  );
  await assertRejects(
    () => loadKeras(file, { only: ["inner_nb"] }),
    OptionError,
    `Cannot use "inner_nb" in the option only: the file has no such layer; near matches: `,
  );
});

Deno.test("only: does not read the other layers' weights", async () => {
  const bytes = await wholeModel([
    serialized("BatchNormalization", "good"),
    serialized("BatchNormalization", "bad"),
  ], {
    good: layerGroup(FOUR, "good"),
    bad: layerGroup({ ...FOUR, "beta:0": vector(1, 2, 3) }, "bad"),
  });
  assertEquals(keys(await loadKeras(bytes, { only: ["good"] })), ["good"]);
  await assertRejects(() => loadKeras(bytes), FormatError);
});

Deno.test("other layers' members of an npz are not expanded", async () => {
  const members = unzipSync(fixtureBytes("k3_functional_rank4_npz.keras"));
  const npz = unzipSync(members["model.weights.npz"]!);
  const others = Object.keys(npz).filter((name) =>
    !name.includes("batch_normalization")
  );
  assert(others.length > 3);
  for (const name of others) npz[name] = strToU8("unreadable");
  const file = zipSync({ ...members, "model.weights.npz": zipSync(npz) });
  assertEquals(keys(await loadKeras(file)), ["bn_in", "bn_1"]);
});

Deno.test("kerasVersion: the file's release, unless the caller knows better", async () => {
  const versionOf = async (written: string, kerasVersion?: "3") => {
    const bytes = await wholeModel(
      [serialized("BatchNormalization", "bn")],
      { bn: layerGroup(FOUR) },
      written,
    );
    const model = await loadKeras(bytes, kerasVersion ? { kerasVersion } : {});
    assertEquals(model.kerasVersion, written);
    return model.batchNormalizations.get("bn")!.options.kerasVersion;
  };
  assertEquals(await versionOf("1.2.2"), "2.4");
  assertEquals(await versionOf("2.2.4-tf"), "2.4");
  assertEquals(await versionOf("2.6.0"), "2.6");
  assertEquals(await versionOf("3.15.1"), "3");
  assertEquals(await versionOf("2.4.0", "3"), "3");
});

Deno.test("config: gives names and settings to weights", async () => {
  const config = {
    class_name: "Sequential",
    config: {
      name: "s",
      layers: [
        serialized("Dense", "first"),
        serialized("BatchNormalization", "norm", { epsilon: 0.5 }),
      ],
    },
  };
  const bytes = await buildHdf5({
    members: {
      layers: {
        members: { dense: variables(vector(1)), batch_normalization: BN },
      },
    },
  });
  for (const given of [config, JSON.stringify(config)]) {
    const model = await loadKeras(bytes, { config: given });
    assertEquals(model.layers.map(({ key }) => key), ["first", "norm"]);
    assertEquals(model.batchNormalizations.get("norm")!.options.epsilon, 0.5);
    assertEquals(model.layers[1]!.assumed, []);
  }
  await assertRejects(
    () => loadKeras(bytes, { config: "{" }),
    FormatError,
    "Cannot read the option config: expected JSON",
  );
});

Deno.test("layers: names BatchNormalization layers and configures them", async () => {
  const bytes = await buildHdf5({
    members: {
      norm: variables(vector(1, 2), vector(3, 4), vector(5, 6)),
      pair: variables(vector(1, 2), vector(3, 4)),
    },
  });
  const unnamed = await loadKeras(bytes);
  assertEquals(keys(unnamed), []);
  assertEquals(
    reasons(unnamed).map((reason) => reason?.slice(0, 46)),
    [
      "3 arrays of shape [2] are those of a BatchNorm",
      "2 arrays of shape [2] can be a BatchNormalizat",
    ],
  );
  const model = await loadKeras(bytes, {
    layers: { norm: { center: false, epsilon: 0.25, axis: 1 }, pair: {} },
  });
  assertEquals(keys(model), ["norm", "pair"]);
  const norm = model.batchNormalizations.get("norm")!;
  assertEquals(norm.gamma?.data, new Float32Array([1, 2]));
  assertEquals(norm.beta, undefined);
  assertEquals(norm.movingVariance.data, new Float32Array([5, 6]));
  assertEquals(norm.options.epsilon, 0.25);
  assertEquals(model.layers[0]!.assumed, ["momentum", "dtype"]);
  assertEquals(model.layers[0]!.weights.map(({ role }) => role), [
    "gamma",
    "moving_mean",
    "moving_variance",
  ]);
  assertEquals(keys(await loadKeras(bytes, { layers: ["pair"] })), ["pair"]);
  await assertRejects(
    () => loadKeras(bytes, { layers: ["norm"] }),
    OptionError,
    `Cannot load layer "norm" from 3 variables: give { scale: false }`,
  );
  await assertRejects(
    () => loadKeras(bytes, { layers: { nrom: {} } }),
    OptionError,
    `near matches: "norm"`,
  );
  await assertRejects(
    () => loadKeras(bytes, { layers: { norm: 1 } as never }),
    OptionError,
    "Cannot use the option layers",
  );
});

Deno.test("layers: a given configuration goes before the file's", async () => {
  const bytes = await oneLayer(layerGroup(FOUR), { epsilon: 0.1 });
  const model = await loadKeras(bytes, { layers: { bn: { epsilon: 0.2 } } });
  assertEquals(model.batchNormalizations.get("bn")!.options.epsilon, 0.2);
});

Deno.test("two layers of the same path get different keys", async () => {
  const bytes = await wholeModel([
    serialized("BatchNormalization", "a/b"),
    serialized("Functional", "a", {
      layers: [serialized("BatchNormalization", "b")],
    }),
  ], { "a/b": layerGroup(FOUR, "a/b"), a: layerGroup(FOUR, "b") });
  const model = await loadKeras(bytes);
  assertEquals(keys(model), ["a/b", "a/b#2"]);
});

Deno.test("a layer that is saved in one place only is loaded once", async () => {
  const members = unzipSync(fixtureBytes("k3_nested_archive.keras"));
  const config = JSON.parse(new TextDecoder().decode(members["config.json"]));
  const layers: { config: { name: string; layers: unknown[] } }[] =
    config.config.layers;
  const outer = layers.find((layer) => layer.config.name === "outer_bn")!;
  layers.find((layer) => layer.config.name === "inner_block")!
    .config.layers.push(structuredClone(outer));
  const file = zipSync({
    ...members,
    "config.json": strToU8(JSON.stringify(config)),
  });
  assertEquals(
    keys(await loadKeras(file)),
    keys(await loadKeras(fixtureUrl("k3_nested_archive.keras"))),
  );
});

Deno.test("loadKeras() refuses invalid options before it reads", async () => {
  for (
    const [options, message] of [
      [null, "Cannot use the options of loadKeras: expected an object"],
      [
        { layer: ["bn"] },
        'Cannot use the option "layer" of loadKeras: expected one of config, layers, only, kerasVersion, signal, kernels',
      ],
      [{ kernels: "gpu" }, 'Cannot use kernels "gpu": expected "auto", '],
      [{ kerasVersion: "4" }, 'Cannot use kerasVersion "4": expected "2.4", '],
      [
        { only: "bn" },
        'Cannot use the option only: expected a list of names, such as ["bn"]',
      ],
      [{ only: [1] }, "Cannot use the option only: expected a list of names"],
      [{ layers: [1] }, "Cannot use the option layers: expected a list"],
      [{ config: 1 }, "Cannot use the option config: expected the model's"],
      [{ signal: 10 }, "Cannot use the option signal: expected an AbortSignal"],
    ] as const
  ) {
    await assertRejects(
      () => loadKeras("missing.h5", options as never),
      OptionError,
      message,
    );
  }
});

Deno.test("loaded layers run on a pool of threads", async () => {
  await using pool = await startThreads({ threads: 2, memoryBytes: 2 ** 20 });
  const options = { kernels: pool };
  const model = await loadKeras(
    fixtureUrl("tfk_subclassed_weights.h5"),
    options,
  );
  for (const layer of model.batchNormalizations.values()) {
    assertEquals(layer.options.kernels, pool);
  }
});

Deno.test("the axis is told from the moving mean, whatever else the group holds", async () => {
  const model = await loadKeras(fixtureUrl("tfk_subclassed_weights.h5"));
  assertEquals(model.batchNormalizations.get("block")!.options.axis, -1);
});
