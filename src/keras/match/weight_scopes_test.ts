import { assertEquals } from "@std/assert";
import type { FileVariable } from "../contents/contents.ts";
import {
  flagsOf,
  hasStatistics,
  scopeOfPath,
  scopesOf,
} from "./weight_scopes.ts";

function variable(name: string): FileVariable {
  return {
    name,
    location: name,
    type: "float32",
    dims: [1],
    read: () => {
      throw new Error("nothing is read");
    },
  };
}

function scopes(...names: string[]): ReturnType<typeof scopesOf> {
  return scopesOf(names.map(variable));
}

/** A layer's four variables. */
function norm(scope: string): string[] {
  return ["gamma", "beta", "moving_mean", "moving_variance"]
    .map((name) => `${scope}/${name}:0`);
}

Deno.test("scopesOf() reads the names of all releases", () => {
  for (
    const [names, scope] of [
      [norm("outer/bn"), "outer/bn"],
      [["bn/gamma", "bn/beta", "bn/moving_mean", "bn/moving_variance"], "bn"],
      [[
        "bn/gamma_1:0",
        "bn/beta_1:0",
        "bn/moving_mean_1:0",
        "bn/moving_variance_1:0",
      ], "bn"],
      [
        ["bn_gamma:0", "bn_beta:0", "bn_running_mean:0", "bn_running_std:0"],
        "bn",
      ],
      [
        ["s/bn_gamma", "s/bn_beta", "s/bn_running_mean", "s/bn_running_std"],
        "s/bn",
      ],
    ] as const
  ) {
    const found = scopes(...names);
    assertEquals(found.map(({ name }) => name), [scope]);
    assertEquals([...found[0]!.roles.keys()], [
      "gamma",
      "beta",
      "moving_mean",
      "moving_variance",
    ]);
    assertEquals(flagsOf(found[0]!), {
      scale: true,
      center: true,
      renorm: false,
    });
    assertEquals(hasStatistics(found[0]!), true);
  }
});

Deno.test("scopesOf() orders by the moving means", () => {
  const found = scopes(
    "b/gamma:0",
    "c/kernel:0",
    "a/gamma:0",
    "a/moving_mean:0",
    "a/moving_variance:0",
    "b/moving_mean:0",
    "b/moving_variance:0",
  );
  assertEquals(found.map(({ name }) => name), ["c", "a", "b"]);
});

Deno.test("scopeOfPath() prefers the layer's own name, then what is nearest", () => {
  const find = (path: string, ...names: string[]): string | undefined =>
    scopeOfPath(scopes(...names.flatMap(norm)), path.split("|"))?.name;
  assertEquals(find("bn", "bn", "x"), "bn");
  assertEquals(find("outer|bn", "x/bn", "outer/bn"), "outer/bn");
  assertEquals(find("bn", "x/y/bn", "bn"), "bn");
  assertEquals(find("conv1/bn", "bn", "conv1/bn"), "conv1/bn");
  assertEquals(find("bn", "bn_1"), "bn_1");
  assertEquals(find("bn", "bn_1", "bn"), "bn");
  assertEquals(find("each_step|wrapped", "each_step"), "each_step");
  assertEquals(find("a|b|wrapped", "a", "b"), "b");
  assertEquals(find("bn", "abn", "bnx"), undefined);
});
