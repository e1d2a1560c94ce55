// TensorFlow.js models: those of the real converter and of TF.js itself, and
// damaged ones.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { FormatError } from "../../errors.ts";
import type { BatchNormalization } from "../../layer/batch_normalization.ts";
import { widen } from "../../tensor.ts";
import { BytesFile } from "../files/source_file.ts";
import { loadKeras } from "../load.ts";
import type { KerasModel } from "../load/types.ts";
import {
  fixtureBytes,
  type RecordedCase,
  recordedCases,
  type RecordedLayer,
  recordedTensor,
} from "../testing/fixtures.ts";
import {
  decodedVectors,
  expectedCase,
  recordingFiles,
  tfjsFiles,
  tfjsModel,
} from "../testing/tfjs_fixtures.ts";
import { openTfjs } from "./model.ts";

/** The cases in testdata/keras that the converter was given. */
const CONVERTED: Readonly<Record<string, string>> = {
  tfk_nested: "tfk_nested",
  tfk_sequential_groups: "tfk_sequential",
  tfk_wrapped: "tfk_wrapped_and_shared",
  k113_class_aliases: "k113_class_aliases",
  k3_nested: "k3_nested_archive",
  k3_nested_h5: "k3_nested",
  k3_wrapped: "k3_wrapped_and_shared",
};

const QUANTIZED = ["tfk_rank4_uint8", "tfk_rank4_uint16", "tfk_rank4_float16"];

function recordedCase(name: string): RecordedCase {
  return recordedCases().find((each) => each.case === name)!;
}

/** A layer's variables by Keras' names. */
function weightsOf(model: KerasModel, key: string): Record<string, unknown> {
  const { weights } = model.layers.find((each) => each.key === key)!;
  const layer = model.batchNormalizations.get(key)!;
  return Object.fromEntries(
    weights.filter(({ role }) => role !== undefined)
      .map(({ role }, i) => [role, layer.weights[i]]),
  );
}

for (const [name, source] of Object.entries(CONVERTED)) {
  Deno.test(`the converter's ${name} loads as the model it was made of`, async () => {
    const recorded = recordedCase(source);
    const model = await loadKeras(tfjsFiles(name));
    const original = await loadKeras(fixtureBytes(recorded.file));
    assertEquals(model.format, "tfjs-layers");
    assertEquals(model.kerasVersion, original.kerasVersion);
    assertEquals(
      [...model.batchNormalizations.keys()].sort(),
      recorded.layers.map(({ path }) => path.join("/")).sort(),
    );
    for (const { path, input, weights } of recorded.layers) {
      const key = path.join("/");
      const layer = model.batchNormalizations.get(key)!;
      const same = original.batchNormalizations.get(key)!;
      assertEquals(layer.getWeights(), same.getWeights());
      for (const role of ["gamma", "beta"] as const) {
        const expected = weights[role] && recordedTensor(weights[role]);
        assertEquals(layer[role], expected);
      }
      const x = recordedTensor(input);
      assertEquals(layer.call(x), same.call(x));
    }
  });
}

for (const name of QUANTIZED) {
  Deno.test(`${name} has the values that TensorFlow.js reads`, async () => {
    const expected = decodedVectors()[name]!;
    const model = await loadKeras(tfjsFiles(name));
    const original = await loadKeras(fixtureBytes("tfk_functional_rank4.h5"));
    assertEquals(
      [...model.batchNormalizations.keys()],
      [...original.batchNormalizations.keys()],
    );
    let compared = 0;
    let rounded = 0;
    for (const key of model.batchNormalizations.keys()) {
      const unrounded = weightsOf(original, key);
      for (const [role, weight] of Object.entries(weightsOf(model, key))) {
        const tensor = recordedTensor(expected[`${key}/${role}`]!);
        assertEquals(weight, tensor);
        compared++;
        const { data } = unrounded[role] as { data: Float32Array };
        if (String(tensor.data) !== String(data)) rounded++;
      }
    }
    assertEquals(compared, 8);
    // Quantization shows: of float16, beta was left out.
    assert(rounded >= (name === "tfk_rank4_float16" ? 5 : 7), `${rounded}`);
  });
}

/** The unit roundoff of float32. */
const ROUNDOFF = 2 ** -24;

/**
 * How far two correct inferences can be apart, in units of
 * u * (|x * a| + |mean * a| + |beta| + |y|): `../fixtures_test.ts` has 14 without
 * the last term, for Keras; TF.js rounds once, from float64 (its CPU kernel),
 * so that the same bound holds.
 */
const TOLERANCE = 14;

function assertOutput(layer: BatchNormalization, recorded: RecordedLayer) {
  const { input, output, axis, usedEpsilon, weights } = recorded;
  const x = recordedTensor(input);
  const values = widen(x);
  const expected = widen(recordedTensor(output));
  const actual = widen(layer.call(x));
  const [a] = axis;
  const inner = x.dims.slice(a! + 1).reduce((size, d) => size * d, 1);
  const of = (name: string, fallback: number) => {
    const tensor = weights[name] && widen(recordedTensor(weights[name]));
    return (c: number) => tensor ? tensor[c]! : fallback;
  };
  const [gamma, beta] = [of("gamma", 1), of("beta", 0)];
  const [mean, variance] = [of("moving_mean", 0), of("moving_variance", 1)];
  actual.forEach((y, i) => {
    const c = Math.floor(i / inner) % x.dims[a!]!;
    const factor = Math.abs(gamma(c) / Math.sqrt(variance(c) + usedEpsilon));
    const terms = Math.abs(values[i]! * factor) +
      Math.abs(mean(c) * factor) + Math.abs(beta(c));
    const error = Math.abs(y - expected[i]!);
    assert(
      error <= TOLERANCE * ROUNDOFF * terms,
      `${recorded.name}[${i}]: ${y}, expected ${expected[i]}`,
    );
  });
}

for (const name of ["tfjs_functional", "tfjs_sequential"]) {
  Deno.test(`TensorFlow.js' own ${name} loads and computes the same`, async () => {
    const { layers } = expectedCase("keras_tfjs", name);
    const model = await loadKeras(tfjsFiles(name));
    assertEquals(model.kerasVersion, "tfjs-layers 4.22.0");
    assertEquals(
      [...model.batchNormalizations.keys()],
      layers.map(({ path }) => path.join("/")),
    );
    for (const recorded of layers) {
      const layer = model.batchNormalizations.get(recorded.path.join("/"))!;
      assertEquals(layer.options.kerasVersion, "3");
      assertEquals(
        weightsOf(model, recorded.path.join("/")),
        Object.fromEntries(
          Object.entries(recorded.weights)
            .map(([role, weight]) => [role, recordedTensor(weight)]),
        ),
      );
      // TF.js' CPU kernel takes any axis for the last one.
      if (recorded.axis[0] === recorded.inputShape.length - 1) {
        assertOutput(layer, recorded);
      }
    }
  });
}

Deno.test("operators of a graph model are layers, with their epsilon and axis", async () => {
  const { layers } = expectedCase("keras_tfjs", "graph_fused");
  const model = await loadKeras(tfjsFiles("graph_fused"));
  assertEquals(model.format, "tfjs-graph");
  assertEquals(model.config, undefined);
  assertEquals(
    model.layers.map(({ name, loaded }) => [name, loaded]),
    [["first_bn", true], ["after_conv_bn", false], ["last_bn", true]],
  );
  assert(model.layers[1]!.reason!.includes("folded it into the convolution"));
  for (const name of ["first_bn", "last_bn"]) {
    const recorded = layers.find((each) => each.name === name)!;
    const { key } = model.layers.find((each) => each.name === name)!;
    const layer = model.batchNormalizations.get(key)!;
    assertEquals(layer.options.axis, 3);
    assertEquals(
      Math.fround(layer.options.epsilon),
      Math.fround(recorded.usedEpsilon),
    );
    assertEquals(
      layer.movingMean,
      recordedTensor(recorded.weights.moving_mean!),
    );
    assertOutput(layer, recorded);
  }
  // The epsilon of 1e-6 is the one that TensorFlow used: no least one.
  const last = [...model.batchNormalizations.values()].at(-1)!;
  last.build([null, 4, 3, 4]);
  assertEquals(Math.fround(last.effectiveEpsilon), Math.fround(1e-6));
});

Deno.test("a graph model's weights can be quantized", async () => {
  const expected = decodedVectors().graph_fused_float16!;
  const model = await loadKeras(tfjsFiles("graph_fused_float16"));
  assertEquals(model.batchNormalizations.size, 2);
  for (const { weights, loaded, key } of model.layers) {
    if (!loaded) continue;
    const tensors = model.batchNormalizations.get(key)!.weights;
    assertEquals(weights.length, 4);
    weights.forEach(({ location }, i) =>
      assertEquals(tensors[i], recordedTensor(expected[location]!))
    );
  }
});

for (const name of ["graph_rank2", "graph_rank4"]) {
  Deno.test(`${name} says why nothing can be loaded`, async () => {
    const model = await loadKeras(tfjsFiles(name));
    assertEquals(model.batchNormalizations.size, 0);
    assertEquals(model.layers.length, 3);
    for (const { reason } of model.layers) {
      assert(/the converter has folded it(s variables)? into/.test(reason!));
    }
  });
}

Deno.test("weights without a topology are recognized by their names", async () => {
  const model = await loadKeras(tfjsFiles("tfk_nested_weights"));
  assertEquals(
    model.layers.filter(({ loaded }) => loaded)
      .map(({ key, reason, assumed }) => [key, reason, assumed.length]),
    ["outer_bn", "inner_bn", "deep_bn", "seq_bn"].map((name) => [
      name,
      "its variables are named as a BatchNormalization's are",
      4,
    ]),
  );
  const config = JSON.parse(
    new TextDecoder().decode(tfjsFiles("tfk_nested").get("model.json")),
  ).modelTopology.model_config;
  const whole = await loadKeras(tfjsFiles("tfk_nested_weights"), { config });
  assertEquals(
    [...whole.batchNormalizations.keys()].sort(),
    recordedCase("tfk_nested").layers.map(({ path }) => path.join("/")).sort(),
  );
});

/** Floats as a file has them. */
function floats(...values: number[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new Float32Array(values).buffer);
}

const ROLES = ["gamma", "beta", "moving_mean", "moving_variance"];

function specs(shape: unknown = [2], more: object = {}): object[] {
  return ROLES.map((role) => ({
    name: `bn/${role}`,
    shape,
    dtype: "float32",
    ...more,
  }));
}

function manifest(weights: unknown, paths: unknown = ["w.bin"]): object {
  return { weightsManifest: [{ paths, weights }] };
}

const EIGHT = floats(1, 2, 3, 4, 5, 6, 7, 8);

Deno.test("only the bytes of the variables that are needed are read", async () => {
  const weights = [
    { name: "dense/kernel", shape: [100, 100], dtype: "float32" },
    ...specs(),
    { name: "head/kernel", shape: [1000], dtype: "float32" },
  ];
  const data = new Uint8Array(40000 + 32 + 4000);
  data.set(EIGHT, 40000);
  const paths = ["a", "b", "c"];
  const shards = new Map([
    ["a", data.subarray(0, 40010)],
    ["b", data.subarray(40010, 40100)],
    ["c", data.subarray(40100)],
  ]);
  const { open, opened, reads } = recordingFiles(shards);
  const json = tfjsModel(manifest(weights, paths)).get("model.json")!;
  const contents = await openTfjs(new BytesFile("model.json", json), open);
  assertEquals(opened, []);
  const { weights: found } = contents;
  const variables = found.kind === "named" ? found.groups[0]!.variables : [];
  const [, gamma, beta] = variables;
  assertEquals([...(await gamma!.read()).data], [1, 2]);
  assertEquals([...(await beta!.read()).data], [3, 4]);
  assertEquals(opened, ["a", "b"]);
  assertEquals(reads, [["a", 40000, 8], ["a", 40008, 2], ["b", 0, 6]]);
});

Deno.test("weights behind texts are found from the end", async () => {
  const text = { name: "table", shape: [2], dtype: "string" };
  const files = {
    "w.bin": new Uint8Array([1, 0, 0, 0, 97, 0, 0, 0, 0, ...EIGHT]),
  };
  const model = await loadKeras(
    tfjsModel(manifest([text, ...specs()]), files),
  );
  const layer = model.batchNormalizations.get("bn")!;
  assertEquals([...layer.gamma!.data], [1, 2]);
  assertEquals([...layer.movingVariance.data], [7, 8]);
  await assertRejects(
    () =>
      loadKeras(
        tfjsModel(
          manifest([text, ...specs(), { ...text, name: "other" }]),
          files,
        ),
      ),
    FormatError,
    "it is between texts",
  );
});

Deno.test("a topology in TypeScript's spelling is read", async () => {
  const topology = {
    className: "Sequential",
    config: {
      name: "model",
      layers: [{
        className: "BatchNormalizationV2",
        config: {
          name: "bn",
          trainable: true,
          axis: -1,
          epsilon: 0.25,
          betaInitializer: { className: "Zeros", config: {} },
          movingVarianceInitializer: { className: "Ones", config: {} },
          batchInputShape: [null, 2],
        },
      }],
    },
    kerasVersion: "tfjs-layers 0.6.0",
  };
  const model = await loadKeras(
    tfjsModel({ modelTopology: topology, ...manifest(specs()) }, {
      "w.bin": EIGHT,
    }),
  );
  const layer = model.batchNormalizations.get("bn")!;
  assertEquals(layer.options.epsilon, 0.25);
  assertEquals(layer.options.kerasVersion, "3");
  assertEquals(
    Object.keys(layer.getConfig()).filter((key) => /[A-Z]/.test(key)),
    [],
  );
});

Deno.test("a uint8 weight is q * scale + min", async () => {
  const quantization = { dtype: "uint8", scale: 0.5, min: -1 };
  const model = await loadKeras(
    tfjsModel(manifest(specs([2], { quantization })), {
      "w.bin": new Uint8Array([0, 1, 2, 3, 4, 5, 6, 255]),
    }),
  );
  const layer = model.batchNormalizations.get("bn")!;
  assertEquals([...layer.gamma!.data], [-1, -0.5]);
  assertEquals([...layer.movingVariance.data], [2, 126.5]);
});

/** Damaged models: what is wrong, the model, and what the message says. */
const DAMAGED: readonly [string, unknown, string][] = [
  ["no list of groups", { weightsManifest: [7] }, "a group to be an object"],
  ["no manifest", { format: "layers-model" }, "weightsManifest to be a list"],
  ["no JSON", '{"weightsManifest": [', "expected JSON"],
  [
    "a path above the folder",
    manifest(specs(), ["../w.bin"]),
    "expected the name of a file in the same folder",
  ],
  [
    "an absolute path",
    manifest(specs(), ["/etc/passwd"]),
    "expected the name of a file in the same folder",
  ],
  [
    "a URL as path",
    manifest(specs(), ["https://example.com/w.bin"]),
    "expected the name of a file in the same folder",
  ],
  ["a path twice", manifest(specs(), ["w.bin", "./w.bin"]), "is listed twice"],
  ["paths that are none", manifest(specs(), [7]), "a list of file names"],
  ["a missing file", manifest(specs(), ["x.bin"]), "expected the file x.bin"],
  [
    "more bytes than there are",
    manifest(specs([3])),
    "expected 36 bytes or more in w.bin, found 32",
  ],
  [
    "far more bytes than there are",
    manifest(specs([2 ** 40])),
    "or more in w.bin, found 32",
  ],
  [
    "a shape that no file can hold",
    manifest(specs([2 ** 52])),
    "one that a file can hold",
  ],
  ["a negative extent", manifest(specs([-2])), "a list of extents"],
  ["a broken extent", manifest(specs([1.5])), "a list of extents"],
  ["a shape that is none", manifest(specs("2")), "a list of extents"],
  ["an unknown dtype", manifest(specs([2], { dtype: "int128" })), "float32"],
  ["a dtype of Object", manifest(specs([2], { dtype: "toString" })), "float32"],
  [
    "a quantization without a scale",
    manifest(specs([2], { quantization: { dtype: "uint8", min: 0 } })),
    "expected the scale in the quantization",
  ],
  [
    "a quantization with a text for min",
    manifest(
      specs([2], { quantization: { dtype: "uint8", scale: 1, min: "0" } }),
    ),
    "expected the min in the quantization",
  ],
  [
    "a quantization to int4",
    manifest(specs([2], { quantization: { dtype: "int4" } })),
    "uint8, uint16 or float16",
  ],
  [
    "a name twice",
    manifest([...specs(), ...specs()]),
    'it has "bn/gamma" twice',
  ],
  ["a name that is none", manifest([{ shape: [], dtype: "bool" }]), "text"],
  [
    "weights of integers",
    manifest(specs([2], { dtype: "int32" })),
    "expected float elements, found int32",
  ],
  [
    "a topology that is too deep",
    `{"weightsManifest": [], "modelTopology": ${"[".repeat(5000)}${
      "]".repeat(5000)
    }}`,
    "deep",
  ],
  [
    "a key __proto__",
    '{"weightsManifest": [], "modelTopology": {"__proto__": {}}}',
    "__proto__",
  ],
  [
    "a tree that is too deep",
    manifest([{
      name: `${"a/".repeat(100)}vars/0`,
      shape: [2],
      dtype: "float32",
    }]),
    "nested more than 64 deep",
  ],
];

for (const [what, model, message] of DAMAGED) {
  Deno.test(`a model with ${what} is a FormatError`, async () => {
    const files = tfjsModel(model, { "w.bin": EIGHT });
    await assertRejects(() => loadKeras(files), FormatError, message);
  });
}

Deno.test("nodes that pass on to each other end", async () => {
  const node = (name: string, op: string, input: string[]) => ({
    name,
    op,
    input,
  });
  const model = await loadKeras(tfjsModel({
    format: "graph-model",
    modelTopology: {
      node: [
        node("a", "Identity", ["b"]),
        node("b", "Identity", ["a:0"]),
        node("bn/FusedBatchNormV3", "FusedBatchNormV3", ["x", "a", "a", "a"]),
        null,
        { name: 7 },
      ],
    },
    weightsManifest: [],
  }));
  assertEquals(model.layers.map(({ key, reason }) => [key, reason]), [[
    "bn",
    "its gamma, beta, moving_mean, moving_variance are no weights, but computed",
  ]]);
});

Deno.test("an operator in training is not loaded", async () => {
  const weights = ROLES.map((name) => ({ name, shape: [2], dtype: "float32" }));
  const graph = (attr: object) =>
    tfjsModel({
      format: "graph-model",
      modelTopology: {
        node: [{
          name: "scope/bn/FusedBatchNorm_1",
          op: "FusedBatchNorm",
          input: ["x", ...ROLES, "^control"],
          attr,
        }],
      },
      ...manifest(weights),
    }, { "w.bin": EIGHT });
  const training = await loadKeras(graph({ is_training: { b: true } }));
  assertEquals(training.batchNormalizations.size, 0);
  assert(training.layers[0]!.reason!.includes("is_training"));
  // NCHW in base64; without an epsilon, TensorFlow's own default.
  const first = await loadKeras(graph({ data_format: { s: "TkNIVw==" } }));
  const layer = first.batchNormalizations.get("scope/bn")!;
  assertEquals([layer.options.axis, layer.options.epsilon], [1, 1e-4]);
});
