import { assert, assertEquals, assertThrows } from "@std/assert";
import { UnsupportedError } from "../../errors.ts";
import type { KerasConfig } from "../../layer/config.ts";
import { arraysUrl } from "../testing/arrays.ts";
import { configLayers } from "./config.ts";
import { layersInOrder } from "./weight_counts.ts";

interface Case {
  readonly package: string;
  readonly layer: KerasConfig;
  readonly count: number;
}

/** Layers that are around others, or of which the number is not known here. */
const UNKNOWN = ["Bidirectional"];

function countOf(layer: KerasConfig): number {
  const model = { class_name: "Sequential", config: { layers: [layer] } };
  return layersInOrder(configLayers(model))
    .reduce((sum, { count }) => sum + count, 0);
}

Deno.test("every layer has as many arrays as in Keras 3 and tf-keras", () => {
  const cases: Case[] = JSON.parse(
    Deno.readTextFileSync(arraysUrl("weight_counts.json")),
  );
  const classes = new Set(cases.map(({ layer }) => layer.class_name));
  assert(classes.size > 60, String(classes.size));
  for (const each of cases) {
    const { layer, count } = each;
    if (UNKNOWN.includes(layer.class_name as string)) {
      assertThrows(() => countOf(layer), UnsupportedError, "is not known");
    } else assertEquals(countOf(layer), count, JSON.stringify(each));
  }
});

Deno.test("a nested model's layers stand in its place", () => {
  const layer = (class_name: string, name: string, config = {}) => ({
    class_name,
    config: { name, trainable: true, ...config },
  });
  const model = {
    class_name: "Functional",
    config: {
      layers: [
        layer("Dense", "a"),
        layer("Sequential", "inner", {
          layers: [layer("BatchNormalization", "bn", { renorm: true })],
        }),
        layer("Dense", "b", { use_bias: false }),
      ],
    },
  };
  assertEquals(
    layersInOrder(configLayers(model)).map((
      { layer, count },
    ) => [layer.path.join("/"), count]),
    [["a", 2], ["inner/bn", 7], ["b", 1]],
  );
});
