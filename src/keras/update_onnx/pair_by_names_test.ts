import { assertEquals } from "@std/assert";
import type { NormLayer } from "./layers.ts";
import { pairByNames } from "./pair_by_names.ts";
import type { Site } from "./sites.ts";

/** Pairs layers with nodes; all fit each other. */
function pair(
  layers: readonly string[],
  nodes: readonly string[],
  modelName?: string,
): Record<string, string> {
  const sites = nodes.map((name) => ({
    kind: "op",
    name,
    nodes: [{ name, outputs: [`${name}:0`] }],
  } as unknown as Site));
  const candidates = new Map(layers.map((key) => [
    { key, path: key.split("/"), place: 0 } as unknown as NormLayer,
    sites,
  ]));
  const { pairs } = pairByNames(candidates, modelName);
  return Object.fromEntries(
    [...pairs].map(([{ key }, { name }]) => [key, name]),
  );
}

const FUSED = "FusedBatchNormV3";

Deno.test("Keras 2: scopes are the layers' paths", () => {
  assertEquals(
    pair(["bn", "bn_1", "block/bn"], [
      `net/block/bn/${FUSED}`,
      `net/bn_1/${FUSED}`,
      `net/bn/${FUSED}`,
    ]),
    {
      bn: `net/bn/${FUSED}`,
      bn_1: `net/bn_1/${FUSED}`,
      "block/bn": `net/block/bn/${FUSED}`,
    },
  );
});

Deno.test("Keras 3: a counter more, for all layers", () => {
  assertEquals(
    pair(["bn", "bn_1", "bn_2"], [
      "net_1/bn_1_2/batchnorm/mul_1",
      "net_1/bn_1/batchnorm/mul_1",
      "net_1/bn_2_1/batchnorm/mul_1",
    ]),
    {
      bn: "net_1/bn_1/batchnorm/mul_1",
      bn_1: "net_1/bn_1_2/batchnorm/mul_1",
      bn_2: "net_1/bn_2_1/batchnorm/mul_1",
    },
  );
});

Deno.test("keras2onnx: nodes are called as the layers", () => {
  assertEquals(pair(["bn", "bn_1"], ["bn", "bn_1"]), {
    bn: "bn",
    bn_1: "bn_1",
  });
});

Deno.test("two spellings that fit as well: the model's name decides, or nothing", () => {
  const layers = ["bn", "bn_1"];
  const nodes = ["net_1/bn_1/batchnorm/mul_1", "net_1/nothing/mul"];
  assertEquals(pair(layers, nodes), {});
  assertEquals(pair(layers, nodes, "net"), { bn: nodes[0] });
  assertEquals(pair(layers, nodes, "net_1"), { bn_1: nodes[0] });
});

Deno.test("names that two nodes have tell nothing", () => {
  assertEquals(pair(["bn"], [`a/bn/${FUSED}`, `b/bn/${FUSED}`]), {});
});

Deno.test("other names are none", () => {
  assertEquals(
    pair(["bn"], ["net/bn2/mul", "net/my_bn/mul", "net/bn_x/mul"]),
    {},
  );
});
