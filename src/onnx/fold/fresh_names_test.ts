import { assertEquals } from "@std/assert";
import { FreshNames } from "./fresh_names.ts";

Deno.test("names are taken, reserved, or neither, and none is given twice", () => {
  const taken = new Set(["w", "w_2"]);
  const fresh = new FreshNames(taken);
  assertEquals(
    ["w", "w", "b", "b"].map((name) => fresh.reserve(name)),
    ["w_1", "w_3", "b", "b_1"],
  );
  // A reserved name is not the model's yet.
  assertEquals([...taken], ["w", "w_2"]);
  assertEquals(fresh.take("w"), "w_4");
  assertEquals(fresh.reserve("b_1"), "b_1_1");
  assertEquals([...taken], ["w", "w_2", "w_4"]);
});

Deno.test("a name that all want is not counted from the start each time", () => {
  // From the start, these would be 2 * 10^10 tries.
  const fresh = new FreshNames(new Set());
  const names = Array.from({ length: 200_000 }, () => fresh.reserve("w"));
  assertEquals(names.at(-1), "w_199999");
  assertEquals(new Set(names).size, names.length);
});
