import { assert, assertEquals, assertThrows } from "@std/assert";
import { OptionError, UnsupportedError } from "../errors.ts";
import { resolveConstraint } from "./constraints.ts";
import { HeNormal, resolveInitializer } from "./initializers.ts";
import type { KerasObject, SerializedObject } from "./keras_object.ts";
import { type FamilyName, FIXTURE, LINES } from "./testing/keras_objects.ts";
import type { KerasVersion } from "./keras_version.ts";
import { L2, resolveRegularizer } from "./regularizers.ts";

interface Resolved {
  toConfig(version: KerasVersion): SerializedObject;
}

type Resolve = (
  identifier: KerasObject | string,
  options: { kerasVersion?: KerasVersion; lenient?: boolean },
) => Resolved;

const RESOLVE: Readonly<Record<FamilyName, Resolve>> = {
  initializers: resolveInitializer,
  regularizers: (identifier, options) =>
    resolveRegularizer(identifier, options)!,
  constraints: (identifier, options) => resolveConstraint(identifier, options)!,
};
const FAMILIES = Object.keys(RESOLVE) as FamilyName[];

/**
 * Keras 3.15's JSON without what we leave out, the two keys that only 3.14 and
 * later know and that are null, and with what it forgets, Identity's gain.
 */
function asWeSave(saved: KerasObject): KerasObject {
  const config = structuredClone(saved.config) as Record<string, unknown>;
  if (config.input_axes === null) delete config.input_axes;
  if (config.output_axes === null) delete config.output_axes;
  if (saved.class_name === "Identity") config.gain = 1;
  return { ...saved, config } as KerasObject;
}

for (const [version, line] of LINES) {
  for (const family of FAMILIES) {
    Deno.test(`${family} are saved as Keras ${version} saves them`, () => {
      assert(line.configs[family].length > 10);
      for (const { identifier, keras2, keras3 } of line.configs[family]) {
        const made = RESOLVE[family](identifier, { kerasVersion: version });
        const given = JSON.stringify(identifier);
        if (keras2) {
          // As text, because the order of the keys is Keras' too.
          assertEquals(
            JSON.stringify(made.toConfig("2.4")),
            JSON.stringify(keras2),
          );
          // tf-keras writes `.keras` files in the form of Keras 3.
          assertEquals(made.toConfig("3"), keras3, given);
        } else {
          assertEquals(
            JSON.stringify(made.toConfig("3")),
            JSON.stringify(asWeSave(keras3)),
            given,
          );
        }
      }
    });

    Deno.test(`${family} of Keras ${version} survive a round trip`, () => {
      for (const { keras2, keras3 } of line.configs[family]) {
        for (const saved of [keras2, keras3]) {
          if (!saved) continue;
          const made = RESOLVE[family](saved, { kerasVersion: version });
          const form = "module" in saved ? "3" : "2.4";
          if (version === "3" && saved.class_name === "Identity") continue;
          assertEquals(made.toConfig(form), saved);
        }
      }
    });

    Deno.test(`${family} that Keras ${version} refuses are refused`, () => {
      for (const { identifier, fault } of line.faults[family]) {
        // Keras 3 documents this name, but does not know it.
        if (version === "3" && identifier === "l1_l2") continue;
        const resolve = () =>
          RESOLVE[family](identifier as string, { kerasVersion: version });
        if (fault) assertThrows(resolve, OptionError);
        else resolve();
      }
    });
  }

  Deno.test(`custom objects are saved as Keras ${version} saves them`, () => {
    class MyInitializer {
      call(): number[] {
        return [];
      }
      getConfig(): { spread: number } {
        return { spread: 2 };
      }
    }
    function my_function(): number[] {
      return [];
    }
    const { class: ofClass, function: ofFunction } = line.custom;
    for (const given of [new MyInitializer(), MyInitializer]) {
      const made = resolveInitializer(given);
      assertEquals(made.toConfig("3"), ofClass.keras3);
      if (ofClass.keras2) {
        assertEquals(made.toConfig("2.4"), ofClass.keras2);
      }
    }
    const made = resolveInitializer(my_function);
    assertEquals(made.toConfig("3"), ofFunction.keras3);
    if (ofFunction.keras2) {
      assertEquals(made.toConfig("2.4"), ofFunction.keras2);
    }
  });
}

Deno.test("resolving keeps what is resolved already, and makes classes", () => {
  const made = new HeNormal({ seed: 3 });
  assert(resolveInitializer(made) === made);
  assertEquals(resolveInitializer(HeNormal).className, "HeNormal");
  assertEquals(
    resolveRegularizer(L2, { kerasVersion: "3" })!.toConfig("3"),
    FIXTURE.lines["3"].configs.regularizers.find((row) =>
      row.identifier === "l2"
    )!.keras3,
  );
});

Deno.test("resolving tolerates keys that say nothing about the object", () => {
  const made = resolveInitializer({
    class_name: "Constant",
    config: { value: 3 },
    __passive_serialization__: true,
    shared_object_id: 12,
  });
  assertEquals(made.toConfig("2.4"), {
    class_name: "Constant",
    config: { value: 3 },
  });
});

Deno.test("a config of null is an empty one", () => {
  const saved = { class_name: "Ones", config: null } as unknown as KerasObject;
  assertEquals(resolveInitializer(saved).className, "Ones");
});

Deno.test("messages name what came and what is known", () => {
  const cases: [() => unknown, string][] = [
    [() => resolveInitializer("he-normal"), 'Unknown initializer: "he-normal"'],
    [() => resolveInitializer("he-normal"), "HeNormal, LecunUniform"],
    [
      () => resolveRegularizer({ class_name: "L2", config: { x: 1 } }),
      'Unknown argument "x" of regularizer L2: expected l2, l',
    ],
    [
      () => resolveConstraint(3 as unknown as string),
      "Could not interpret constraint identifier",
    ],
    [
      () => resolveConstraint({ class_name: "MaxNorm" } as KerasObject),
      "Improper config format for constraint",
    ],
  ];
  for (const [action, text] of cases) assertThrows(action, OptionError, text);
});

const UNKNOWN: SerializedObject[] = [
  { class_name: "Custom>Mine", config: { deep: { list: [1, null, "x"] } } },
  {
    module: "my_package.parts",
    class_name: "Zeros", // of the same name as Keras' own
    config: {},
    registered_name: "my_package>Zeros",
  },
  { module: null, class_name: "Ones", config: {}, registered_name: "Ones" },
  { class_name: "Ones", config: {}, registered_name: "P>Ones" },
  {
    module: "builtins",
    class_name: "function",
    config: "mine",
    registered_name: "function",
  },
  { class_name: "MaxNorm", config: { from_the_future: 1 } },
  { class_name: "L2", config: { from_the_future: 1 } },
  "mine",
];

Deno.test("lenient resolving keeps the unknown, and fails on use only", () => {
  const weights = new Float64Array(2);
  for (const saved of UNKNOWN as (KerasObject | string)[]) {
    const lenient = { lenient: true };
    const name = typeof saved === "string" || saved.class_name === "function"
      ? "mine"
      : saved.class_name;
    const initializer = resolveInitializer(saved, lenient);
    const regularizer = resolveRegularizer(saved, lenient)!;
    const constraint = resolveConstraint(saved, lenient)!;
    for (const made of [initializer, regularizer, constraint]) {
      assertEquals(made.className, name);
      assertEquals(made.toConfig("2.4"), saved);
      assertEquals(made.toConfig("3"), saved);
    }
    for (
      const use of [
        () => initializer.call([2]),
        () => regularizer.loss(weights),
        () => regularizer.gradient(weights, weights),
        () => constraint.apply(weights, [2]),
      ]
    ) assertThrows(use, UnsupportedError, `"${name}"`);
    assertThrows(() => resolveInitializer(saved), OptionError, "Unknown");
    assertThrows(() => resolveRegularizer(saved), OptionError, "Unknown");
    assertThrows(() => resolveConstraint(saved), OptionError, "Unknown");
  }
});

Deno.test("lenient resolving still refuses wrong values", () => {
  const wrong = { class_name: "VarianceScaling", config: { scale: -1 } };
  assertThrows(
    () => resolveInitializer(wrong, { lenient: true }),
    OptionError,
    "scale",
  );
});
