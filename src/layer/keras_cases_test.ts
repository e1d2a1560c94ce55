// Every layer of the fixtures, as real Keras configured and ran it.

import { assert, assertEquals } from "@std/assert";
import { KERNELS } from "../kernels/dispatch.ts";
import { BatchNormalization } from "./batch_normalization.ts";
import { kerasVersionOf } from "./keras_version.ts";
import { decodeTensor, kerasCases, weightsOf } from "./testing/keras_cases.ts";
import { assertNearKeras } from "./testing/tolerance.ts";

const cases = kerasCases();

function load(
  { madeWith }: (typeof cases)[number],
  layer: (typeof cases)[number]["layers"][number],
  kernels?: "wasm" | "typed-array",
): BatchNormalization {
  const release = madeWith.tf_keras ?? madeWith.keras!;
  // Keras does not save `fused`, so a file cannot tell fused=False.
  const config = layer.name.endsWith("_not_fused")
    ? { ...layer.config, fused: false }
    : layer.config;
  const loaded = BatchNormalization.fromConfig(
    { class_name: layer.className, config },
    {
      kerasVersion: kerasVersionOf(release)!,
      ...(kernels ? { kernels } : {}),
    },
  );
  loaded.setWeights(weightsOf(layer));
  return loaded;
}

Deno.test("there are cases of every release and rank", () => {
  const versions = new Set(
    cases.map(({ madeWith }) =>
      kerasVersionOf(madeWith.tf_keras ?? madeWith.keras!)
    ),
  );
  for (const version of ["2.4", "2.12", "3"] as const) {
    assert(versions.has(version), version);
  }
  const ranks = new Set(
    cases.flatMap(({ layers }) => layers.map((l) => l.inputShape.length)),
  );
  assertEquals([...ranks].sort(), [2, 3, 4, 5]);
});

for (const testCase of cases) {
  for (const layer of testCase.layers) {
    // TF up to 1.14 kept renorm's averages in other variables; the file
    // readers convert them, and test that.
    if (
      testCase.madeWith.tensorflow?.startsWith("1.13") &&
      layer.name === "bn_renorm"
    ) continue;
    const title = `${testCase.case}: ${layer.path.join("/")}`;
    Deno.test(`${title}: configuration comes back as it was`, () => {
      const loaded = BatchNormalization.fromConfig(layer.config);
      if (layer.config.virtual_batch_size === undefined) {
        assertEquals(loaded.getConfig(), layer.config);
        return;
      }
      // Keras' own axis is off by one there, and no Keras can build it.
      assertEquals(layer.config.axis, layer.axis.map((a) => a + 1));
      const rank = layer.inputShape.length;
      loaded.build(layer.inputShape);
      const config = loaded.getConfig();
      assertEquals(config, {
        ...layer.config,
        axis: layer.axis.map((a) => a - rank),
      });
      const again = BatchNormalization.fromConfig(config);
      again.build(layer.inputShape);
      assertEquals(again.axes, layer.axis);
    });

    Deno.test(`${title}: resolves as Keras does`, () => {
      const loaded = load(testCase, layer);
      loaded.build(layer.inputShape);
      assertEquals(loaded.axes, layer.axis);
      if (layer.fused !== null) assertEquals(loaded.fused, layer.fused);
      assertEquals(loaded.effectiveEpsilon, layer.usedEpsilon);
    });

    for (const { name } of KERNELS) {
      Deno.test(`${title}: output on ${name}`, () => {
        const loaded = load(testCase, layer, name);
        const x = decodeTensor(layer.input);
        assertNearKeras(
          loaded,
          x,
          loaded.call(x),
          decodeTensor(layer.output),
        );
      });
    }
  }
}
