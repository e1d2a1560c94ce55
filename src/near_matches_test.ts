import { assertEquals } from "@std/assert";
import { didYouMean, editDistance, nearMatches } from "./near_matches.ts";

Deno.test("editDistance() counts insertions, deletions and replacements", () => {
  for (
    const [a, b, distance] of [
      ["", "", 0],
      ["", "abc", 3],
      ["abc", "", 3],
      ["gamma", "gamma", 0],
      ["kitten", "sitting", 3],
      ["flaw", "lawn", 2],
    ] as const
  ) {
    assertEquals(editDistance(a, b), distance);
    assertEquals(editDistance(b, a), distance);
  }
});

Deno.test("nearMatches() finds misspelt names and names with a prefix", () => {
  const names = [
    "outer/bn_1/moving_variance:0",
    "bn_1/moving_varience:0",
    "bn_1/gamma:0",
    "dense/kernel:0",
    "x",
  ];
  assertEquals(nearMatches("bn_1/moving_variance:0", names), [
    "outer/bn_1/moving_variance:0",
    "bn_1/moving_varience:0",
  ]);
});

Deno.test("nearMatches() lists at most three, each once, the nearest first", () => {
  assertEquals(
    nearMatches("bn_1", ["bn_22", "bn_3", "bn_1", "bn_3", "cn_4", "bn_5"]),
    ["bn_1", "bn_3", "bn_5"],
  );
});

Deno.test("didYouMean() says nothing without a near match", () => {
  assertEquals(didYouMean("gamma", ["kernel", "x"]), "");
  assertEquals(didYouMean("gamma", ["gama"]), `; near matches: "gama"`);
});
