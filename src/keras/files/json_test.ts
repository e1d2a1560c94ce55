import { assertEquals, assertThrows } from "@std/assert";
import * as fc from "fast-check";
import { FormatError } from "../../errors.ts";
import {
  checkUniqueKeys,
  NAN_TEXT,
  parseJsonObject,
  parseNumbers,
} from "./json.ts";

Deno.test("parseJsonObject() reads what Python writes for numbers", () => {
  assertEquals(
    parseJsonObject(
      String
        .raw`{"a": -Infinity, "b": [Infinity], "NaN": NaN, "c\"": "NaN \" Infinity"}`,
      "it",
    ),
    { a: -Infinity, b: [Infinity], NaN: null, 'c"': 'NaN " Infinity' },
  );
});

Deno.test("parseJsonObject() refuses what is no object", () => {
  for (
    const [text, message] of [
      [`{"a": 1`, `Cannot read it: expected JSON, got "{"a": 1"`],
      ["[1]", `Cannot read it: expected a JSON object, got "[1]"`],
      ["null", "expected a JSON object"],
      ["", `got ""`],
      ["x".repeat(100), `"${"x".repeat(60)}..."`],
    ] as const
  ) {
    assertThrows(() => parseJsonObject(text, "it"), FormatError, message);
  }
});

Deno.test("parseJsonObject() refuses __proto__ at any depth", () => {
  assertThrows(
    () => parseJsonObject(`{"a": [{"__proto__": {"x": 1}}]}`, "it"),
    FormatError,
    `it has a key "__proto__"`,
  );
});

Deno.test("parseJsonObject() takes no longer for escapes without an end", () => {
  for (const text of [`{"a":"${'\\"'.repeat(500_000)}`, "\\".repeat(999_999)]) {
    assertThrows(() => parseJsonObject(text, "it"), FormatError, "got ");
  }
});

Deno.test("parseJsonObject() reads long strings, also in Python's dialect", () => {
  const long = "x".repeat(30_000_000);
  for (const value of ["1", "NaN"]) {
    const parsed = parseJsonObject(`{"a":"${long}","b":${value}}`, "it");
    assertEquals((parsed.a as string).length, long.length);
    assertEquals(parsed.b, value === "1" ? 1 : null);
  }
});

Deno.test("parseJsonObject() refuses deep nesting", () => {
  for (const depth of [400, 5000, 1_000_000]) {
    const text = `{"a":${"[".repeat(depth)}${"]".repeat(depth)}}`;
    assertThrows(
      () => parseJsonObject(text, "it"),
      FormatError,
      "Cannot read it: ",
    );
  }
});

Deno.test("parseNumbers() tells NaN from null", () => {
  assertEquals(parseNumbers(`[NaN, null, -Infinity, "NaN", 1]`, "it"), [
    NAN_TEXT,
    null,
    -Infinity,
    "NaN",
    1,
  ]);
});

Deno.test("checkUniqueKeys() finds a key that an object has twice", () => {
  for (
    const text of [
      `{"a": 1, "a": 1}`,
      `[{"b": {"a": 1, "c": {"a": 2}, "a": 3}}]`,
      `{"\\u0061": 1, "a": 2}`,
      `{"a\\"": 1, "a\\"" : 2}`,
      `{"a"\n\t:1,"a"\n:2}`,
      `{"": 1, "": 2}`,
    ]
  ) {
    JSON.parse(text);
    assertThrows(() => checkUniqueKeys(text, "it"), FormatError, "twice");
  }
  for (
    const text of [
      `{"a": {"a": {"a": "a"}}, "b": ["a", "a"], "c": "{\\"a\\": 1, \\"a\\": 2}"}`,
      `[{"a": 1}, {"a": 2}]`,
      `"a"`,
      `{"a\\\\": 1, "a": "\\\\"}`,
    ]
  ) {
    JSON.parse(text);
    checkUniqueKeys(text, "it");
  }
});

Deno.test("checkUniqueKeys() accepts whatever JSON.stringify() writes", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.nat({ max: 3 }), (value, indent) => {
      checkUniqueKeys(JSON.stringify(value, null, indent), "it");
    }),
    { numRuns: 300, seed: 9 },
  );
});
