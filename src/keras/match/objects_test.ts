// Which group of a tree belongs to which layer of a configuration.

import { assertEquals, assertRejects } from "@std/assert";
import { FormatError } from "../../errors.ts";
import { loadKeras } from "../load.ts";
import {
  buildHdf5,
  type BuiltDataset,
  type BuiltGroup,
  vector,
} from "../testing/hdf5_builder.ts";
import { serialized } from "../testing/legacy_model.ts";

/** A layer whose moving mean tells which one it is. */
function norm(mark: number, name?: string): BuiltGroup {
  return object([1, 0, mark, 1].map((value) => vector(value)), name);
}

function object(datasets: readonly BuiltDataset[], name?: string): BuiltGroup {
  return {
    members: {
      vars: {
        ...(name === undefined ? {} : { attributes: { name } }),
        members: Object.fromEntries(datasets.entries()),
      },
    },
  };
}

const EMPTY = object([]);

/** The marks of the layers by key. */
async function marks(
  members: BuiltGroup["members"] & object,
  layers: readonly object[],
): Promise<Record<string, number>> {
  const model = await loadKeras(await buildHdf5({ members }), {
    config: { class_name: "Functional", config: { name: "m", layers } },
  });
  return Object.fromEntries(
    [...model.batchNormalizations].map(([key, layer]) => [
      key,
      layer.movingMean.data[0]!,
    ]),
  );
}

const bn = (name: string): object => serialized("BatchNormalization", name);

Deno.test("groups are matched by class and place in the model", async () => {
  const layers = Array.from({ length: 12 }, (_, i) => bn(`n${i}`));
  const groups = Object.fromEntries(
    layers.map((_, i) => [`batch_normalization${i ? `_${i}` : ""}`, norm(i)]),
  );
  assertEquals(
    await marks({ layers: { members: { dense: EMPTY, ...groups } } }, [
      serialized("Dense", "d"),
      ...layers,
    ]),
    Object.fromEntries(layers.map((_, i) => [`n${i}`, i])),
  );
});

Deno.test("names in the file go before places", async () => {
  assertEquals(
    await marks({
      layers: {
        members: {
          batch_normalization: norm(1, "b"),
          batch_normalization_1: norm(2, "a"),
        },
      },
    }, [bn("a"), bn("b")]),
    { a: 2, b: 1 },
  );
});

Deno.test("doubled counters of Keras 2.12 rise in the model's order", async () => {
  assertEquals(
    await marks({
      _layer_checkpoint_dependencies: {
        members: {
          batch_normalization: norm(1),
          batch_normalization_2: norm(2),
          batch_normalization_10: norm(3),
        },
      },
    }, [bn("a"), bn("b"), bn("c")]),
    { a: 1, b: 2, c: 3 },
  );
});

Deno.test("groups that were left out because they are empty do not shift others", async () => {
  assertEquals(
    await marks({
      layers: {
        members: {
          sequential_1: {
            members: { layers: { members: { batch_normalization: norm(1) } } },
          },
        },
      },
    }, [
      serialized("Sequential", "empty", { layers: [] }),
      serialized("Sequential", "full", { layers: [bn("a")] }),
    ]),
    { "full/a": 1 },
  );
});

Deno.test("wrappers, lists of cells and undescribed objects are followed", async () => {
  assertEquals(
    await marks({
      layers: {
        members: {
          time_distributed: { members: { layer: norm(1) } },
          bidirectional: {
            members: {
              forward_layer: {
                members: {
                  cells: {
                    members: { my_cell: norm(9), batch_normalization: norm(2) },
                  },
                },
              },
            },
          },
          block: {
            members: {
              norm: norm(3),
              list: { members: { batch_normalization: norm(4) } },
            },
          },
        },
      },
      extra: norm(5),
      optimizer: norm(6),
      metrics: { members: { mean: norm(7) } },
    }, [
      serialized("TimeDistributed", "t", { layer: bn("a") }),
      serialized("Bidirectional", "b", {
        layer: serialized("RNN", "r", { cells: [bn("c")] }),
      }),
      serialized("my>Block", "k"),
    ]),
    {
      "t/a": 1,
      "b/r/c": 2,
      "b/r/cells/my_cell": 9,
      "k/list/batch_normalization": 4,
      "k/norm": 3,
      extra: 5,
    },
  );
});

Deno.test("a layer without a group is named", async () => {
  await assertRejects(
    () =>
      marks({
        layers: { members: { batch_normalization: norm(1, "bn_a") } },
      }, [bn("bn_a"), bn("bn_b")]),
    FormatError,
    `Cannot load layer "bn_b": expected gamma, beta, moving_mean, moving_variance, found no variables for it in the file`,
  );
});

Deno.test("a tree without end is refused", async () => {
  let group = norm(1);
  for (let i = 0; i < 80; i++) {
    group = { members: { layer: group, ...EMPTY.members } };
  }
  await assertRejects(
    async () => await loadKeras(await buildHdf5(group)),
    FormatError,
    "nested more than 64 deep",
  );
});
