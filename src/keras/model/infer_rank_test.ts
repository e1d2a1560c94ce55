import { assert, assertEquals } from "@std/assert";
import type { KerasConfig } from "../../layer/config.ts";
import { loadKeras } from "../load.ts";
import { fixtureBytes, recordedCases } from "../testing/fixtures.ts";
import { inferRanks } from "./infer_rank.ts";

Deno.test("a rank that is inferred is the one that Keras recorded", async () => {
  let inferred = 0;
  const open: string[] = [];
  for (const { file, layers } of recordedCases()) {
    const { config } = await loadKeras(fixtureBytes(file), { only: [] });
    if (!config) continue;
    const ranks = inferRanks(config);
    for (const { path, inputShape } of layers) {
      const rank = ranks.get(path.join("/"));
      if (rank === undefined) {
        open.push(`${file} ${path.join("/")}`);
        continue;
      }
      assertEquals(rank, inputShape.length, `${file} ${path}`);
      inferred++;
    }
  }
  assert(inferred > 140, `${inferred}`);
  // Layers in a TimeDistributed, for which Keras folds the steps into the
  // batch, and one behind an RNN of a cell.
  assertEquals(open.filter((each) => !each.includes("each_step")), [
    "k3_recurrent.keras after",
  ]);
});

/** A layer of a sequential model. */
function layer(
  className: string,
  name: string,
  config: KerasConfig = {},
): KerasConfig {
  return {
    class_name: className,
    config: { name, trainable: true, ...config },
  };
}

function sequential(...layers: KerasConfig[]): KerasConfig {
  return {
    class_name: "Sequential",
    config: {
      name: "model",
      layers: [
        layer("InputLayer", "input", {
          batch_input_shape: [null, 8, 8, 3],
        }),
        ...layers,
        layer("BatchNormalization", "bn"),
      ],
    },
  };
}

/** What stands between an input of rank 4 and the layer, and the rank there. */
const CHAINS: readonly (readonly [KerasConfig[], number | undefined])[] = [
  [[], 4],
  [[layer("Conv2D", "a"), layer("MaxPooling2D", "b")], 4],
  [[layer("Dense", "a")], 4],
  [[layer("Flatten", "a"), layer("Dense", "b")], 2],
  [[layer("GlobalAveragePooling2D", "a")], 2],
  [[layer("GlobalAveragePooling2D", "a", { keepdims: true })], 4],
  [[layer("Reshape", "a", { target_shape: [64, 3] })], 3],
  [[
    layer("Reshape", "a", { target_shape: [64, 3] }),
    layer("LSTM", "b", { return_sequences: true }),
  ], 3],
  [[layer("LSTM", "a")], 2],
  [[layer("LSTM", "a", { return_state: true })], undefined],
  [[layer("Embedding", "a")], 5],
  // What they do is not known, whatever they are called.
  [[layer("Mine", "a")], undefined],
  [[layer("Lambda", "a")], undefined],
  [[layer("Mine>Conv2D", "a")], undefined],
  [[{ ...layer("Conv2D", "a"), module: "mine.layers" }], undefined],
  [[{ ...layer("Conv2D", "a"), module: "keras.layers" }], 4],
  // Nor is what a layer gets from them, although this one always gives a matrix.
  [[layer("Mine", "a"), layer("Flatten", "b")], undefined],
];

for (const [chain, rank] of CHAINS) {
  const names = chain.map(({ class_name, module }) =>
    `${module ?? ""} ${class_name}`.trim()
  );
  Deno.test(`the rank behind [${names.join(", ")}] is ${rank}`, () => {
    assertEquals(inferRanks(sequential(...chain)).get("bn"), rank);
  });
}

Deno.test("a layer in a wrapper has no rank", () => {
  const ranks = inferRanks(sequential(
    layer("TimeDistributed", "time", {
      layer: layer("BatchNormalization", "inner"),
    }),
  ));
  assertEquals([...ranks.keys()], ["input"]);
  // Neither have those in a wrapped model.
  const nested = inferRanks(sequential(
    layer("TimeDistributed", "time", {
      layer: sequential(layer("Flatten", "flat")),
    }),
  ));
  assertEquals([...nested.keys()].filter((key) => key.includes("bn")), []);
});

function functional(
  shapes: readonly (number | null)[][],
  className: string,
): KerasConfig {
  const inputs = shapes.map((shape, i) => ({
    ...layer("InputLayer", `input_${i}`, { batch_shape: shape }),
    name: `input_${i}`,
    inbound_nodes: [],
  }));
  const names = inputs.map(({ name }) => [name, 0, 0, {}]);
  return {
    class_name: "Functional",
    config: {
      name: "model",
      layers: [
        ...inputs,
        { ...layer(className, "merge"), inbound_nodes: [names] },
        {
          ...layer("BatchNormalization", "bn"),
          inbound_nodes: [[["merge", 0, 0, {}]]],
        },
      ],
      input_layers: inputs.map(({ name }) => [name, 0, 0]),
      output_layers: [["bn", 0, 0]],
    },
  };
}

Deno.test("what merges has a rank if its inputs have the same", () => {
  const same = [[null, 3], [null, 3]];
  const other = [[null, 3], [null, 2, 3]];
  for (const merge of ["Add", "Concatenate"]) {
    assertEquals(inferRanks(functional(same, merge)).get("bn"), 2);
    assertEquals(inferRanks(functional(other, merge)).get("bn"), undefined);
  }
  // A layer that is none of those, with several inputs.
  assertEquals(inferRanks(functional(same, "Dense")).get("bn"), undefined);
});

Deno.test("a layer that is used for two ranks has none", () => {
  const model = functional([[null, 3], [null, 2, 3]], "Add");
  const { layers } = model.config as { layers: KerasConfig[] };
  const uses = [0, 1].map((i) => [[`input_${i}`, 0, 0, {}]]);
  Object.assign(layers.at(-1)!, { inbound_nodes: uses });
  assertEquals(inferRanks(model).get("bn"), undefined);
  Object.assign(layers.at(-1)!, { inbound_nodes: uses.slice(0, 1) });
  assertEquals(inferRanks(model).get("bn"), 2);
});

Deno.test("a configuration that is no model's tells nothing", () => {
  for (
    const config of [{}, { class_name: "Mine", config: {} }, {
      class_name: "Functional",
      config: { layers: [{ class_name: 3 }] },
    }]
  ) assertEquals([...inferRanks(config as KerasConfig)], []);
});
