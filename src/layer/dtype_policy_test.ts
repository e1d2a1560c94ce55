// What real Keras makes of these arguments is in keras_version_test.ts.

import { assertEquals, assertThrows } from "@std/assert";
import { OptionError } from "../errors.ts";
import { resolveDtype } from "./dtype_policy.ts";
import { KERAS_VERSIONS } from "./keras_version.ts";

/** Policy: compute type, variables in Keras 2, variables in Keras 3. */
const POLICIES: Readonly<Record<string, readonly [string, string, string]>> = {
  float32: ["float32", "float32", "float32"],
  float64: ["float64", "float64", "float64"],
  float16: ["float16", "float32", "float16"],
  bfloat16: ["bfloat16", "float32", "bfloat16"],
  mixed_float16: ["float16", "float32", "float32"],
  mixed_bfloat16: ["bfloat16", "float32", "float32"],
};

Deno.test("a policy is a compute and a variable type", () => {
  for (const kerasVersion of KERAS_VERSIONS) {
    for (
      const [name, [compute, variable2, variable3]] of Object.entries(POLICIES)
    ) {
      const variable = kerasVersion === "3" ? variable3 : variable2;
      const expected = { name, compute, variable } as unknown;
      const spellings = [
        name,
        { class_name: "Policy", config: { name } },
        { class_name: "PolicyV1", config: { name, loss_scale: null } },
        {
          module: "keras",
          class_name: "DTypePolicy",
          config: { name },
          registered_name: null,
        },
        { class_name: "FloatDTypePolicy", config: { name } },
      ];
      for (const dtype of spellings) {
        assertEquals(resolveDtype(dtype, kerasVersion), expected);
      }
    }
    for (const none of [undefined, null]) {
      assertEquals(resolveDtype(none, kerasVersion).name, "float32");
    }
  }
});

Deno.test("TensorFlow's aliases are types of Keras 2", () => {
  const aliases = { half: "float16", float: "float32", double: "float64" };
  for (const [alias, name] of Object.entries(aliases)) {
    assertEquals(resolveDtype(alias, "2.4"), resolveDtype(name, "2.4"));
    assertThrows(() => resolveDtype(alias, "3"), OptionError);
    assertThrows(
      () =>
        resolveDtype({ class_name: "Policy", config: { name: alias } }, "2.4"),
      OptionError,
    );
  }
});

Deno.test("anything else is refused, with what is known", () => {
  const wrong = [
    "int8",
    "Float32",
    "",
    "__proto__",
    "constructor",
    5,
    true,
    [],
    {},
    { name: "float16" },
    { config: { name: "float16" } },
    { class_name: "Bogus", config: { name: "float16" } },
    { class_name: "Policy" },
    { class_name: "Policy", config: "float16" },
    { class_name: "Policy", config: null },
    { class_name: "Policy", config: { name: 5 } },
  ];
  for (const dtype of wrong) {
    for (const kerasVersion of KERAS_VERSIONS) {
      assertThrows(
        () => resolveDtype(dtype, kerasVersion),
        OptionError,
        `Cannot use dtype ${
          JSON.stringify(dtype)
        }: expected "float32", "float64"`,
      );
    }
  }
});
