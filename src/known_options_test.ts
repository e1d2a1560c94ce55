import { assertEquals, assertThrows } from "@std/assert";
import { OptionError } from "./errors.ts";
import { checkKnown, unknownOption } from "./known_options.ts";

const KNOWN = { mode: true, weight: true } as const;

Deno.test("unknownOption names the first unknown option and all known", () => {
  assertEquals(unknownOption({}, KNOWN), undefined);
  assertEquals(unknownOption({ weight: 1, mode: undefined }, KNOWN), undefined);
  assertEquals(
    unknownOption({ mode: 1, toString: 2, other: 3 }, KNOWN),
    'unknown option "toString", expected mode, weight',
  );
});

Deno.test("checkKnown takes objects with known keys only", () => {
  checkKnown("f", {}, KNOWN);
  checkKnown("f", { mode: 1, weight: undefined }, KNOWN);
  const cases: readonly (readonly [unknown, string])[] = [
    [null, "s of f: expected an object with mode, weight, got null"],
    ["mode", "s of f: expected an object with mode, weight, got mode"],
    [[], "s of f: expected an object with mode, weight, got an array"],
    [{ Mode: 1 }, ' "Mode" of f: expected one of mode, weight'],
  ];
  for (const [options, message] of cases) {
    const error = assertThrows(
      () => checkKnown("f", options, KNOWN),
      OptionError,
    );
    assertEquals(error.message.startsWith("Cannot use the option"), true);
    assertEquals(error.message.endsWith(message), true, error.message);
  }
});
