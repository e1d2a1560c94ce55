// Configurations of real layers are in keras_cases_test.ts and
// keras_version_test.ts.

import {
  assert,
  assertEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import * as fc from "fast-check";
import { FormatError, OptionError, UnsupportedError } from "../errors.ts";
import { tensor } from "../tensor.ts";
import { BatchNormalization } from "./batch_normalization.ts";
import { CLASS_NAMES, type KerasConfig, parseConfig } from "./config.ts";
import { KERAS_VERSIONS, type KerasVersion } from "./keras_version.ts";
import type { BatchNormalizationOptions } from "./options.ts";

const { fromConfig } = BatchNormalization;
const FULL: KerasConfig = {
  name: "bn",
  trainable: true,
  dtype: "float32",
  axis: [3],
  momentum: 0.9,
  epsilon: 1e-5,
  center: true,
  scale: true,
  beta_initializer: { class_name: "Zeros", config: {} },
  gamma_initializer: { class_name: "Ones", config: {} },
  moving_mean_initializer: { class_name: "Zeros", config: {} },
  moving_variance_initializer: { class_name: "Ones", config: {} },
  beta_regularizer: null,
  gamma_regularizer: { class_name: "L2", config: { l2: 0.5 } },
  beta_constraint: null,
  gamma_constraint: null,
};

Deno.test("a configuration comes back as it was", () => {
  for (const config of [FULL, {}, { name: "bn" }, { axis: -1, bogus: [1] }]) {
    const layer = fromConfig(config);
    const { name: _, ...rest } = layer.getConfig();
    const { name: __, ...expected } = config as KerasConfig;
    assertEquals(rest, { trainable: true, ...expected });
  }
  assertEquals(fromConfig(FULL).getConfig(), FULL);
});

Deno.test("every class name of a serialized layer is read", () => {
  for (const class_name of CLASS_NAMES) {
    const layer = fromConfig({ class_name, config: FULL });
    assertEquals(layer.name, "bn");
    assertEquals(
      layer.options.synchronized,
      class_name === "SyncBatchNormalization",
    );
    assertEquals(layer.getConfig(), FULL);
  }
  // With what Keras 3 writes around.
  const layer = fromConfig({
    module: "keras.layers",
    class_name: "BatchNormalization",
    config: FULL,
    registered_name: null,
    build_config: { input_shape: [null, 2] },
    name: "other",
  });
  assertEquals(layer.getConfig(), FULL);
});

Deno.test("another class or no object is a format error", () => {
  assertThrows(
    () => fromConfig({ class_name: "LayerNormalization", config: FULL }),
    FormatError,
    'of class "LayerNormalization": expected "BatchNormalization"',
  );
  for (const bad of [null, undefined, 5, "bn", [FULL], true]) {
    assertThrows(
      () => fromConfig(bad as unknown as KerasConfig),
      FormatError,
      "expected an object, got",
    );
  }
});

Deno.test("the spelling tells Keras 3 from Keras 2", () => {
  const version = (config: KerasConfig) =>
    fromConfig(config).options.kerasVersion;
  assertEquals(version(FULL), "2.4");
  assertEquals(version({}), "2.4");
  assertEquals(version({ synchronized: false }), "3");
  const policy = { class_name: "DTypePolicy", config: { name: "float32" } };
  assertEquals(version({ dtype: { module: "keras", ...policy } }), "3");
  assertEquals(version({ dtype: policy }), "2.4");
  // Who knows better says so.
  for (const kerasVersion of KERAS_VERSIONS) {
    const layer = fromConfig({ ...FULL, synchronized: false }, {
      kerasVersion,
    });
    assertEquals(layer.options.kerasVersion, kerasVersion);
  }
});

Deno.test("Keras 3 reads a Keras 2 configuration", () => {
  const config = {
    ...FULL,
    batch_input_shape: [null, 1, 1, 2],
    dynamic: true,
  };
  const layer = fromConfig(config, { kerasVersion: "3" });
  assertEquals(layer.options.axis, 3);
  layer.build([null, 1, 1, 2]);
  assertEquals(layer.getConfig(), config);
  assertThrows(
    () => fromConfig({ axis: [1, 3] }, { kerasVersion: "3" }),
    OptionError,
    "Keras 3 takes one integer",
  );
});

Deno.test("a mixed policy is read in every spelling", () => {
  for (
    const dtype of [
      "mixed_float16",
      { class_name: "Policy", config: { name: "mixed_float16" } },
      {
        class_name: "PolicyV1",
        config: { name: "mixed_float16", loss_scale: null },
      },
      {
        module: "keras",
        class_name: "DTypePolicy",
        config: { name: "mixed_float16" },
        registered_name: null,
      },
    ]
  ) {
    const layer = fromConfig({ dtype });
    assertEquals(layer.options.dtype.compute, "float16");
    assertEquals(layer.options.dtype.variable, "float32");
    assertEquals(layer.getConfig().dtype, dtype);
  }
});

Deno.test("Keras 1: modes 0 and 2 are the layer, mode 1 is another", () => {
  const keras1 = {
    name: "batchnormalization_1",
    trainable: true,
    mode: 0,
    axis: -1,
    momentum: 0.99,
    epsilon: 0.001,
    beta_regularizer: null,
    gamma_regularizer: { name: "L1L2", l1: 0, l2: 0.5 },
  };
  for (const mode of [0, 2]) {
    const config = { ...keras1, mode, gamma_regularizer: null };
    const layer = fromConfig(config);
    assertEquals(layer.getConfig(), config);
    layer.build([null, 2]);
    assertEquals(layer.weights.length, 4);
  }
  assertThrows(
    () => fromConfig({ ...keras1, mode: 1 }),
    UnsupportedError,
    'Cannot load layer "batchnormalization_1": mode 1 of Keras 1',
  );
});

Deno.test("unknown keys are kept, and have no effect", () => {
  const config = {
    ...FULL,
    bogus: { deep: [1, { x: null }] },
    kernels: "none",
  };
  const layer = fromConfig(config);
  assertEquals(layer.getConfig(), config);
  assertEquals(layer.options.kernels, undefined);
});

Deno.test("a layer and its caller's objects do not share", () => {
  const config = structuredClone(FULL);
  const layer = fromConfig(config);
  (config.axis as number[])[0] = 1;
  (config.gamma_regularizer as { config: { l2: number } }).config.l2 = 9;
  config.bogus = true;
  assertEquals(layer.getConfig(), FULL);
  assertEquals(layer.options.axis, [3]);
  const given = layer.getConfig();
  (given.axis as number[]).push(7);
  given.name = "other";
  assertEquals(layer.getConfig(), FULL);

  const made = new BatchNormalization({ axis: [1, 2] });
  (made.getConfig().axis as number[]).push(7);
  assertEquals(made.getConfig().axis, [1, 2]);
  assertEquals(made.options.axis, [1, 2]);
});

Deno.test("a key named __proto__ is harmless", () => {
  const config = JSON.parse(
    '{"name": "bn", "__proto__": {"center": false, "polluted": 1}, "constructor": 5}',
  );
  const layer = fromConfig(config);
  layer.build([null, 2]);
  assertEquals(layer.weights.length, 4);
  assertEquals(({} as Record<string, unknown>).polluted, undefined);
  const object = JSON.parse(
    '{"class_name": "Zeros", "config": {"__proto__": {"x": 1}}}',
  );
  assertThrows(() => fromConfig({ gamma_initializer: object }), OptionError);
});

Deno.test("what Keras refuses is refused, null too", () => {
  for (
    const [key, value] of [
      ["axis", null],
      ["axis", "1"],
      ["epsilon", null],
      ["momentum", "x"],
      ["center", "yes"],
      ["dtype", "int8"],
      ["gamma_initializer", "bogus"],
      ["renorm", null],
    ] as const
  ) {
    assertThrows(
      () => fromConfig({ ...FULL, [key]: value }),
      OptionError,
      undefined,
      `${key} ${value}`,
    );
  }
});

Deno.test("unknown objects are kept when asked to, and fail when used", () => {
  const config = {
    ...FULL,
    beta_initializer: { class_name: "Mine>Wave", config: { length: 3 } },
    gamma_regularizer: "my_regularizer",
    beta_constraint: { class_name: "Box", config: {} },
  };
  assertThrows(() => fromConfig(config), OptionError);
  const layer = fromConfig(config, { lenient: true });
  assertEquals(layer.getConfig(), config);
  assertThrows(
    () => layer.build([null, 1, 1, 2]),
    UnsupportedError,
    'Cannot use the initializer "Mine>Wave"',
  );
  // Weights that are set need no initializer.
  const vector = tensor([1, 2], [2]);
  layer.setWeights([vector, vector, vector, vector]);
  layer.call(tensor([1, 2], [1, 1, 1, 2]));
  assertThrows(() => layer.losses(), UnsupportedError, "my_regularizer");
});

Deno.test("trainable is what it is now", () => {
  const layer = fromConfig({ ...FULL, trainable: false });
  assertEquals(layer.trainable, false);
  layer.trainable = true;
  assertEquals(layer.getConfig(), FULL);
  const made = new BatchNormalization({ trainable: false });
  assertEquals(made.getConfig().trainable, false);
  made.trainable = true;
  assertEquals(made.getConfig().trainable, true);
});

Deno.test("a built layer of Keras 2 writes its axes, in their order", () => {
  const axisOf = (options: BatchNormalizationOptions, rank: number) => {
    const layer = new BatchNormalization(options);
    assertEquals(layer.getConfig().axis, options.axis ?? -1);
    layer.build([null, 2, 3, 4, 5].slice(0, rank));
    return layer.getConfig().axis;
  };
  assertEquals(axisOf({}, 4), [3]);
  assertEquals(axisOf({ axis: 1 }, 4), [1]);
  assertEquals(axisOf({ axis: [-1, 1] }, 4), [3, 1]);
  assertEquals(axisOf({ kerasVersion: "3" }, 4), -1);
  const loaded = fromConfig({ axis: -1 });
  assertEquals(loaded.getConfig().axis, -1);
  loaded.build([null, 2, 3]);
  assertEquals(loaded.getConfig().axis, [2]);
  // Nothing is made up for a configuration that has none.
  assert(!("axis" in fromConfig({}).getConfig()));
});

Deno.test("the shifted axis of ghost batches is shifted back", () => {
  const axes = (config: KerasConfig, shape: (number | null)[]) => {
    const layer = fromConfig({ virtual_batch_size: 2, ...config });
    layer.build(shape);
    return layer.axes;
  };
  // What Keras writes for a built layer: off by one.
  assertEquals(axes({ axis: [2] }, [null, 3]), [1]);
  assertEquals(axes({ axis: [2, 4] }, [null, 3, 4, 5]), [1, 3]);
  // What it writes for one that is not built.
  assertEquals(axes({ axis: 2 }, [null, 3, 4]), [2]);
  assertEquals(axes({ axis: -1 }, [null, 3, 4]), [2]);
  assertEquals(axes({ axis: [1, 2] }, [null, 3, 4]), [1, 2]);
  assertEquals(axes({ axis: [-2, -1] }, [null, 3, 4]), [1, 2]);
  // Without ghost batches nothing is shifted.
  assertEquals(axes({ axis: [2], virtual_batch_size: null }, [null, 3, 4]), [
    2,
  ]);
});

Deno.test("a layer with ghost batches survives any number of round trips", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 5 }).chain((rank) =>
        fc.record({
          rank: fc.constant(rank),
          axis: fc.uniqueArray(fc.integer({ min: 1, max: rank - 1 }), {
            minLength: 1,
          }),
          negative: fc.boolean(),
          asNumber: fc.boolean(),
        })
      ),
      fc.array(fc.boolean(), { maxLength: 4 }),
      ({ rank, axis, negative, asNumber }, builds) => {
        const given = axis.map((a) => negative ? a - rank : a);
        const shape = [4, 2, 3, 4, 5].slice(0, rank);
        const first = new BatchNormalization({
          virtualBatchSize: 2,
          axis: given.length === 1 && asNumber ? given[0]! : given,
        });
        // An unbuilt list of axes all above 1 looks like a shifted one.
        first.build(shape);
        let layer = first;
        for (const build of builds) {
          if (build) layer.build(shape);
          layer = fromConfig(layer.getConfig());
        }
        layer.build(shape);
        assertEquals(layer.axes, first.axes);
      },
    ),
  );
});

Deno.test("a single axis with ghost batches is written as a number", () => {
  // A list would look like the shifted one of a built layer.
  const layer = new BatchNormalization({ virtualBatchSize: 2, axis: [2] });
  assertEquals(layer.getConfig().axis, 2);
});

const options: fc.Arbitrary<BatchNormalizationOptions> = fc.record({
  axis: fc.constantFrom<number | number[]>(-1, 1, [1], [-1], [1, -1], [2, 1]),
  momentum: fc.constantFrom(0.99, 0.5, 0),
  epsilon: fc.constantFrom(1e-3, 1e-6, 0),
  center: fc.boolean(),
  scale: fc.boolean(),
  trainable: fc.boolean(),
  dtype: fc.constantFrom("float32", "float64", "float16", "mixed_bfloat16"),
  gammaInitializer: fc.constantFrom("ones", "he_normal", null),
  betaRegularizer: fc.constantFrom("l2", null),
  gammaConstraint: fc.constantFrom("non_neg", null),
  renorm: fc.boolean(),
  renormClipping: fc.constantFrom(null, {}, { rmax: 3, dmax: 5 }),
  renormMomentum: fc.constantFrom(0.99, 0.25),
  inputShape: fc.constantFrom(null, [3, 4]),
  name: fc.constantFrom("bn", "a b", "ü"),
});

Deno.test("getConfig and fromConfig make the same layer", () => {
  fc.assert(
    fc.property(
      options,
      fc.constantFrom<KerasVersion>(...KERAS_VERSIONS),
      fc.boolean(),
      (given, kerasVersion, build) => {
        const usable = kerasVersion === "3" && Array.isArray(given.axis)
          ? { ...given, axis: 2 }
          : given;
        const layer = new BatchNormalization({ ...usable, kerasVersion });
        if (build) layer.build([null, 3, 4]);
        const config = layer.getConfig();
        // It is JSON.
        assertEquals(JSON.parse(JSON.stringify(config)), config);
        const again = fromConfig(config, { kerasVersion });
        assertEquals(again.getConfig(), config);
        // A built layer's axis is resolved, and with it whether it can fuse.
        // Keras 3 does not write the input's shape.
        const lost = kerasVersion === "3" ? { batchInputShape: null } : {};
        const show = ({ options }: BatchNormalization) =>
          JSON.stringify({ ...options, ...lost, axis: null, fused: null });
        assertEquals(show(again), show(layer));
        layer.build([null, 3, 4]);
        again.build([null, 3, 4]);
        assertEquals(again.axes, layer.axes);
        assertEquals(again.getConfig(), layer.getConfig());
        if (kerasVersion === "2.4" || kerasVersion === "3") {
          // Their spelling alone tells.
          assertEquals(fromConfig(config).options.kerasVersion, kerasVersion);
        }
      },
    ),
  );
});

Deno.test("functions and objects of the user's are written by name", () => {
  function my_regularizer() {
    return 0;
  }
  const layer = new BatchNormalization({ gammaRegularizer: my_regularizer });
  assertEquals(layer.getConfig().gamma_regularizer, "my_regularizer");
});

Deno.test("synchronized and fused are read, and written as Keras does", () => {
  for (const kerasVersion of ["2.4", "2.6", "2.12"] as const) {
    const layer = new BatchNormalization({
      kerasVersion,
      synchronized: true,
      dynamic: true,
      activityRegularizer: "l2",
    });
    const config = layer.getConfig();
    for (const key of ["synchronized", "fused", "activity_regularizer"]) {
      assert(!(key in config), key);
    }
    assertEquals("dynamic" in config, kerasVersion !== "2.12");
  }
  const config = new BatchNormalization({
    kerasVersion: "3",
    synchronized: true,
    activityRegularizer: "l2",
  }).getConfig();
  assertEquals(config.synchronized, true);
  assertEquals(
    (config.activity_regularizer as KerasConfig).class_name,
    "L2",
  );
  assertEquals(fromConfig({ fused: false }).options.fused, false);
  assertThrows(() => fromConfig({ fused: true, axis: 2 }), OptionError);
});

Deno.test("parseConfig gives the configuration without its wrapper", () => {
  const { source, options } = parseConfig({
    class_name: "BatchNormalization",
    config: FULL,
  });
  assertStrictEquals(source, FULL);
  assertEquals(options.kerasVersion, "2.4");
  // `config` without a class is a key like any other.
  assertEquals(parseConfig({ config: FULL }).options.epsilon, undefined);
});
