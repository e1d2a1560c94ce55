import { assertEquals, assertThrows } from "@std/assert";
import { FormatError } from "../errors.ts";
import { parseJsonObject } from "./json.ts";

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
