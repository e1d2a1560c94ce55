import { assertEquals } from "@std/assert";
import { FreshNames } from "./fresh_names.ts";

/** Those of the test that a model has. */
function takenOf(fresh: FreshNames): string[] {
  return ["w", "w_1", "w_2", "w_3", "w_4", "b", "b_1", "b_1_1"].filter((name) =>
    fresh.has(name)
  );
}

Deno.test("names are taken, reserved, or neither, and none is given twice", () => {
  const fresh = new FreshNames(["w", "w_2"]);
  assertEquals(
    ["w", "w", "b", "b"].map((name) => fresh.reserve(name)),
    ["w_1", "w_3", "b", "b_1"],
  );
  // A reserved name is not the model's yet.
  assertEquals(takenOf(fresh), ["w", "w_2"]);
  assertEquals(fresh.take("w"), "w_4");
  assertEquals(fresh.reserve("b_1"), "b_1_1");
  assertEquals(takenOf(fresh), ["w", "w_2", "w_4"]);
});

Deno.test("a reserved name can be taken, once", () => {
  const fresh = new FreshNames(["w"]);
  assertEquals(fresh.reserve("w"), "w_1");
  assertEquals(fresh.take("w_1"), "w_1");
  assertEquals(fresh.take("w_1"), "w_1_1");
});

Deno.test("what a copy takes stays free, and what it reserves", () => {
  const fresh = new FreshNames(["w"]);
  const copy = fresh.copy();
  assertEquals([copy.take("w"), copy.reserve("w")], ["w_1", "w_2"]);
  assertEquals(fresh.has("w_1"), false);
  assertEquals(fresh.take("w"), "w_1");
});

Deno.test("a name that all want is not counted from the start each time", () => {
  // From the start, these would be 2 * 10^10 tries.
  const fresh = new FreshNames([]);
  const names = Array.from({ length: 200_000 }, () => fresh.reserve("w"));
  assertEquals(names.at(-1), "w_199999");
  assertEquals(new Set(names).size, names.length);
});
