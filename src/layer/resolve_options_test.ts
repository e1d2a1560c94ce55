// What real Keras makes of these arguments is in keras_version_test.ts.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { OptionError } from "../errors.ts";
import { KERAS_VERSIONS } from "./keras_version.ts";
import type { BatchNormalizationOptions } from "./options.ts";
import { resolveOptions } from "./resolve_options.ts";

function refuses(
  options: Record<string, unknown>,
  ...messages: string[]
): void {
  const error = assertThrows(
    () => resolveOptions(options as BatchNormalizationOptions),
    OptionError,
  );
  for (const message of messages) {
    assert(error.message.includes(message), `${error.message} / ${message}`);
  }
}

Deno.test("the defaults are Keras'", () => {
  const options = resolveOptions({});
  const {
    axis,
    momentum,
    epsilon,
    center,
    scale,
    renorm,
    renormClipping,
    renormMomentum,
    fused,
    trainable,
    virtualBatchSize,
    adjustment,
    synchronized,
    name,
    batchInputShape,
    weights,
    autocast,
    dynamic,
    kerasVersion,
    kernels,
  } = options;
  assertEquals([axis, momentum, epsilon], [-1, 0.99, 1e-3]);
  assertEquals([center, scale, trainable, autocast], [true, true, true, true]);
  assertEquals([renorm, synchronized, dynamic], [false, false, false]);
  assertEquals([renormClipping, renormMomentum], [{}, 0.99]);
  assertEquals(
    [fused, virtualBatchSize, adjustment, name, batchInputShape, weights],
    [null, null, null, null, null, null],
  );
  assertEquals([kerasVersion, kernels], ["2.4", undefined]);
  assertEquals(
    [
      options.betaInitializer,
      options.gammaInitializer,
      options.movingMeanInitializer,
      options.movingVarianceInitializer,
    ].map(({ className }) => className),
    ["Zeros", "Ones", "Zeros", "Ones"],
  );
  for (
    const object of [
      options.betaRegularizer,
      options.gammaRegularizer,
      options.betaConstraint,
      options.gammaConstraint,
      options.activityRegularizer,
    ]
  ) assertEquals(object, null);
});

Deno.test("undefined is the default, of every option", () => {
  const all = Object.keys(resolveOptions({}));
  const nothing = Object.fromEntries(all.map((key) => [key, undefined]));
  const show = (options: unknown) => JSON.stringify(options);
  assertEquals(
    show(resolveOptions(nothing as BatchNormalizationOptions)),
    show(resolveOptions({})),
  );
});

Deno.test("an unknown option is refused, however it is spelled", () => {
  for (const key of ["bogus", "Axis", "beta_initializer", "mode", "toString"]) {
    refuses(
      { [key]: 1 },
      `Cannot use the option "${key}": keyword argument not understood`,
      "axis, momentum, epsilon",
    );
  }
  refuses(JSON.parse('{"__proto__": {"center": false}}'), '"__proto__"');
});

Deno.test("an unknown kerasVersion or kernel is refused", () => {
  for (const kerasVersion of ["2", "2.5", "3.1", 3, "", null]) {
    const [versions] = [KERAS_VERSIONS.map((v) => `"${v}"`).join(", ")];
    if (kerasVersion === null) {
      assertEquals(
        resolveOptions({ kerasVersion: null as never }).kerasVersion,
        "2.4",
      );
    } else refuses({ kerasVersion }, `expected ${versions}`);
  }
  refuses({ kernels: "simd" }, 'Cannot use kernels "simd"');
});

Deno.test("numbers are finite numbers", () => {
  for (const value of [NaN, Infinity, "0.9", true, null, [], {}]) {
    refuses({ momentum: value }, "Cannot use momentum", "finite number");
    refuses({ epsilon: value }, "Cannot use epsilon", "finite number");
    refuses({ renorm: true, renormMomentum: value }, "renormMomentum");
    // Which nobody looks at without renorm.
    const unused = { renormMomentum: value } as BatchNormalizationOptions;
    assertEquals(resolveOptions(unused).renormMomentum, 0.99);
  }
  for (const value of [-1, 0, 2, 1e300]) {
    const { momentum, epsilon } = resolveOptions({
      momentum: value,
      epsilon: value,
    });
    assertEquals([momentum, epsilon], [value, value]);
  }
});

Deno.test("switches are true, false, 1 or 0", () => {
  for (
    const key of [
      "center",
      "scale",
      "renorm",
      "trainable",
      "synchronized",
      "autocast",
      "dynamic",
      "fused",
    ] as const
  ) {
    for (const value of ["yes", "", 2, [], {}]) {
      refuses({ [key]: value }, `Cannot use ${key}`, "expected true or false");
    }
    if (key !== "fused") refuses({ [key]: null }, `Cannot use ${key} null`);
    for (const value of [true, false, 1, 0]) {
      const options = { [key]: value } as BatchNormalizationOptions;
      assertEquals(
        resolveOptions(options)[key],
        Boolean(value),
        `${key} ${value}`,
      );
    }
  }
});

Deno.test("fused: what forbids it, and what it is then", () => {
  const fused = (options: BatchNormalizationOptions) =>
    resolveOptions(options).fused;
  assertEquals(fused({ fused: true }), true);
  assertEquals(fused({ fused: false }), false);
  assertEquals(fused({}), null);
  const forbid: [BatchNormalizationOptions, string][] = [
    [{ renorm: true }, "renorm is on"],
    [{ axis: 2 }, "axis is 2"],
    [{ axis: [1, 3] }, "axis is [1, 3]"],
    [{ virtualBatchSize: 2 }, "virtualBatchSize is given"],
    [{ adjustment: () => [null!, null!] }, "adjustment is given"],
    [{ dtype: "float64" }, "float64"],
    [{ synchronized: true }, "synchronized: true"],
  ];
  for (const [options, reason] of forbid) {
    assertEquals(fused(options), false);
    assertEquals(fused({ ...options, fused: false }), false);
    refuses({ ...options, fused: true }, "Cannot use fused: true", reason);
  }
  refuses({ axis: [] }, "Cannot use an empty list of axes");
  assertEquals(fused({ axis: [], fused: false }), false);
});

Deno.test("Keras 3 refuses what it does not have", () => {
  const given = {
    fused: false,
    virtualBatchSize: 2,
    adjustment: () => [null!, null!],
    dynamic: true,
    batchInputShape: [null, 2],
    batchSize: 4,
    implementation: 1,
    weights: [],
  };
  for (const [key, value] of Object.entries(given)) {
    refuses({ [key]: value, kerasVersion: "3" }, `Cannot use ${key} with`);
    resolveOptions({ [key]: value });
    resolveOptions({ [key]: undefined, kerasVersion: "3" });
  }
  refuses({ kerasVersion: "3", axis: [1] }, "Keras 3 takes one integer");
  refuses({ kerasVersion: "3", name: "a/b" }, 'without "/"');
  assertEquals(resolveOptions({ name: "a/b" }).name, "a/b");
});

Deno.test("renormClipping has three keys, each optional", () => {
  const clip = (renormClipping: unknown, kerasVersion = "2.4") =>
    resolveOptions({
      renorm: true,
      renormClipping,
      kerasVersion,
    } as BatchNormalizationOptions).renormClipping;
  const all = { rmax: 3, rmin: 0.3, dmax: 5 };
  assertEquals(clip(all), all);
  assertEquals(clip({ dmax: 0 }), { dmax: 0 });
  assertEquals(clip({ rmax: null, rmin: undefined }), {});
  assertEquals(clip(null), {});
  // Only Keras 3 compares them.
  for (const odd of [{ rmax: 1, rmin: 2 }, { dmax: -1 }]) {
    assertEquals(clip(odd), odd);
    assertThrows(
      () => clip(odd, "3"),
      OptionError,
      "Cannot use renormClipping",
    );
  }
  assertEquals(clip({ rmax: 1, rmin: 1, dmax: 0 }, "3"), {
    rmax: 1,
    rmin: 1,
    dmax: 0,
  });
  for (
    const bad of [
      { Rmax: 1 },
      { rmax: 1, x: 1 },
      { rmax: "1" },
      { dmax: NaN },
      5,
      "rmax",
    ]
  ) {
    assertThrows(() => clip(bad), OptionError, "renormClipping");
    // Which nobody looks at without renorm.
    const unused = { renormClipping: bad } as BatchNormalizationOptions;
    assertEquals(resolveOptions(unused).renormClipping, {});
  }
});

Deno.test("an adjustment is a function", () => {
  for (const adjustment of [5, "x", {}, false]) {
    refuses({ adjustment }, "Cannot use adjustment", "a function");
  }
});

Deno.test("a name is a string", () => {
  for (const name of [5, true, ["a"], {}]) refuses({ name }, "Cannot use name");
  assertEquals(resolveOptions({ name: "" }).name, "");
});

Deno.test("the input's shape comes in three forms", () => {
  const shape = (options: BatchNormalizationOptions) =>
    resolveOptions(options).batchInputShape;
  assertEquals(shape({ inputShape: [null, 3] }), [null, null, 3]);
  assertEquals(shape({ inputShape: [] }), [null]);
  assertEquals(shape({ inputShape: [3], batchSize: 4 }), [4, 3]);
  assertEquals(shape({ inputDim: 3 }), [null, 3]);
  assertEquals(shape({ inputDim: 0 }), [null, 0]);
  assertEquals(shape({ inputDim: 3, batchSize: 4 }), [4, 3]);
  assertEquals(shape({ inputDim: 3, inputShape: [5] }), [null, 5]);
  assertEquals(shape({ batchInputShape: [4, 3], inputShape: [5] }), [4, 3]);
  assertEquals(shape({ batchInputShape: [] }), []);
  assertEquals(shape({ batchSize: 4 }), null);
  assertEquals(
    shape({ inputShape: null, batchInputShape: null, inputDim: null }),
    null,
  );
  for (const bad of [3, "x", [1.5], [-1], ["3"], [undefined], {}]) {
    refuses({ inputShape: bad }, "Cannot use inputShape", "list of extents");
    refuses({ batchInputShape: bad }, "Cannot use batchInputShape");
  }
  for (const bad of [1.5, -1, "3", [3]]) {
    refuses({ inputDim: bad }, "Cannot use inputDim");
    refuses({ inputDim: 3, batchSize: bad }, "Cannot use batchSize");
  }
});

Deno.test("unknown initializers, regularizers and constraints are refused", () => {
  for (
    const [kind, keys] of [
      ["initializer", [
        "betaInitializer",
        "gammaInitializer",
        "movingMeanInitializer",
        "movingVarianceInitializer",
      ]],
      ["regularizer", [
        "betaRegularizer",
        "gammaRegularizer",
        "activityRegularizer",
      ]],
      ["constraint", ["betaConstraint", "gammaConstraint"]],
    ] as const
  ) {
    for (const key of keys) {
      refuses({ [key]: "bogus" }, `Unknown ${kind}: "bogus"`);
      refuses({ [key]: 5 }, `Could not interpret ${kind} identifier`);
      refuses(
        { [key]: { class_name: "Bogus", config: {} } },
        `Unknown ${kind}: "Bogus"`,
      );
    }
  }
});

Deno.test("what is given is not kept", () => {
  const axis = [1, 2];
  const batchInputShape = [null, 2, 3];
  const renormClipping = { rmax: 3 };
  const options = resolveOptions({
    axis,
    batchInputShape,
    renormClipping,
    renorm: true,
  });
  axis[0] = 9;
  batchInputShape[1] = 9;
  renormClipping.rmax = 9;
  assertEquals(options.axis, [1, 2]);
  assertEquals(options.batchInputShape, [null, 2, 3]);
  assertEquals(options.renormClipping, { rmax: 3 });
});
