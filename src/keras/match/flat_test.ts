import { assertEquals, assertThrows } from "@std/assert";
import * as fc from "fast-check";
import { tensor } from "../../tensor.ts";
import type { FileVariable } from "../contents/contents.ts";
import { canonicalName } from "../contents/flat_names.ts";
import { configLayers } from "../model/config.ts";
import { matchFlat } from "./flat.ts";

function variable(name: string, values: readonly number[] = [1]): FileVariable {
  return {
    name,
    location: name,
    type: "float32",
    dims: [values.length],
    read: () => tensor(values, [values.length]),
  };
}

const ROLES = ["gamma", "beta", "moving_mean", "moving_variance"];

Deno.test("canonicalName() gives Keras' names", () => {
  for (
    const [name, canonical] of [
      ["bn/gamma", "bn/gamma"],
      ["bn/gamma:0", "bn/gamma:0"],
      ["/bn/gamma", "bn/gamma"],
      ["layers.3.moving_mean", "layers/3/moving_mean"],
      ["conv1.0/bn/beta", "conv1.0/bn/beta"],
      ["bn_1_moving_variance", "bn_1/moving_variance"],
      ["a/bn_gamma:0", "a/bn/gamma:0"],
      ["moving_mean", "moving_mean"],
      ["a/renorm_mean", "a/renorm_mean"],
      ["a/gamma_1:0", "a/gamma_1:0"],
      ["layers/bn/vars/2", "layers/bn/2"],
      ["vars/2", "2"],
      ["arr_0", "arr_0"],
    ] as const
  ) {
    assertEquals(canonicalName(name), canonical);
  }
});

Deno.test("any order of named variables gives the same layers", async () => {
  const names = ["a", "b/c", "b/d"].flatMap((layer) =>
    ROLES.map((role) => `${layer}/${role}`)
  );
  await fc.assert(
    fc.asyncProperty(
      fc.shuffledSubarray([...names, "dense/kernel", "dense/bias"], {
        minLength: names.length + 2,
      }),
      async (shuffled) => {
        const variables = shuffled.map((name) => variable(name));
        const found = await matchFlat({ name: "x", variables }, undefined);
        assertEquals(
          found.filter(({ verdict }) => verdict === "recognized")
            .map(({ path, roles }) => [
              path.join("/"),
              ROLES.map((role) => roles!.get(role as never)?.name),
            ]).sort(),
          ["a", "b/c", "b/d"].map((layer) => [
            layer,
            ROLES.map((role) => `${layer}/${role}`),
          ]),
        );
      },
    ),
    { numRuns: 50, seed: 12 },
  );
});

Deno.test("numbers are in their order, whatever the file's", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.shuffledSubarray(
        ["a", "b"].flatMap((scope) =>
          Array.from({ length: 12 }, (_, i) => `${scope}/${i}`)
        ),
        { minLength: 24 },
      ),
      async (shuffled) => {
        const variables = shuffled.map((name) => variable(name));
        const found = await matchFlat({ name: "x", variables }, undefined);
        for (const { name, variables } of found) {
          assertEquals(
            variables.map((each) => each.name),
            Array.from({ length: 12 }, (_, i) => `${name}/${i}`),
          );
        }
        assertEquals(found.length, 2);
      },
    ),
    { numRuns: 50, seed: 13 },
  );
});

Deno.test("numbered arrays are in the order of their numbers", async () => {
  const variables = ["arr_3", "arr_1", "arr_0", "arr_2"]
    .map((name) => variable(name));
  const [found] = await matchFlat({ name: "bn", variables }, undefined);
  assertEquals(found!.name, "bn");
  assertEquals(
    found!.variables.map(({ name }) => name),
    ["arr_0", "arr_1", "arr_2", "arr_3"],
  );
});

Deno.test("a bias in front of a layer's arrays leaves two possibilities, or one", async () => {
  const positive = [1, 1];
  for (
    const [mean, possible] of [
      [[1, 1], ["arr_0", "arr_1"]],
      [[1, -1], ["arr_1"]],
    ] as const
  ) {
    const variables = [positive, positive, positive, mean, positive]
      .map((values, i) => variable(`arr_${i}`, values));
    const found = await matchFlat({
      name: "x",
      variables: [...variables, variable("arr_5", [1])],
    }, undefined);
    assertEquals(
      found.filter(({ verdict }) => verdict === "possible")
        .map(({ name }) => name),
      [...possible],
    );
    assertEquals(
      found.some(({ verdict }) => verdict === "recognized"),
      false,
    );
  }
});

Deno.test("layers of a configuration are found behind a model's name", async () => {
  const layers = configLayers({
    class_name: "Sequential",
    config: {
      layers: ["bn", "block/bn"].map((name) => ({
        class_name: "BatchNormalization",
        config: { name, trainable: true },
      })),
    },
  });
  const variables = ["model/bn", "model/block/bn"].flatMap((scope) =>
    ROLES.map((role) => variable(`${scope}/${role}`))
  );
  const found = await matchFlat({ name: "x", variables }, layers);
  assertEquals(
    found.map(({ name, roles }) => [name, roles?.get("gamma")?.name]),
    [["bn", "model/bn/gamma"], ["block/bn", "model/block/bn/gamma"]],
  );
  assertThrows(() => configLayers({ name: "no model" }));
});

/** A model with a layer at its top, one in a model in it, and one deeper. */
const NESTED_MODELS = configLayers({
  class_name: "Sequential",
  config: {
    layers: [
      norm("bn"),
      {
        class_name: "Sequential",
        config: {
          name: "inner",
          trainable: true,
          layers: [norm("inner_bn"), {
            class_name: "Sequential",
            config: { name: "deep", trainable: true, layers: [norm("last")] },
          }],
        },
      },
    ],
  },
});

function norm(name: string) {
  return {
    class_name: "BatchNormalization",
    config: { name, trainable: true },
  };
}

/** The scopes in a file, and what is found in it for the three layers. */
const NESTED_SCOPES: readonly (readonly [
  string[],
  (string | undefined)[],
])[] = [
  [["bn", "inner_bn", "last"], ["bn", "inner_bn", "last"]],
  [
    ["bn", "inner/inner_bn", "inner/deep/last"],
    ["bn", "inner/inner_bn", "inner/deep/last"],
  ],
  [["bn", "inner_bn", "deep/last"], ["bn", "inner_bn", "deep/last"]],
  [["m/bn", "m/inner_bn", "m/last"], ["m/bn", "m/inner_bn", "m/last"]],
  [["bn", "x/inner_bn", "y/deep/last"], ["bn", "x/inner_bn", "y/deep/last"]],
  // Not without doubt.
  [["bn", "x/inner_bn", "y/inner_bn"], ["bn", undefined, undefined]],
  // Counters count something that the configuration does not tell.
  [["bn_1", "inner_bn_1", "last_1"], [undefined, undefined, undefined]],
];

for (const [scopes, expected] of NESTED_SCOPES) {
  Deno.test(`layers of nested models among ${scopes.join(", ")}`, async () => {
    const variables = scopes.flatMap((scope) =>
      ROLES.map((role) => variable(`${scope}/${role}`))
    );
    const found = await matchFlat({ name: "x", variables }, NESTED_MODELS);
    const keys = ["bn", "inner/inner_bn", "inner/deep/last"];
    assertEquals(
      keys.map((key) =>
        found.find(({ path }) => path.join("/") === key)
          ?.roles?.get("moving_mean")?.location
      ),
      expected.map((scope) => scope && `${scope}/moving_mean`),
    );
  });
}
