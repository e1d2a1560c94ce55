// Models of real converters, updated and compared with a fresh conversion.

import {
  assert,
  assertEquals,
  AssertionError,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { FormatError, OptionError } from "../errors.ts";
import { BatchNormalization } from "../layer/batch_normalization.ts";
import { ROLES } from "../onnx/find.ts";
import { readFloatInput } from "../onnx/linear_form_input.ts";
import { openOnnx } from "../onnx/onnx_model.ts";
import { openModel } from "../onnx/open.ts";
import { runReference } from "../onnx/reference.ts";
import {
  magnitudeOf,
  magnitudesOf,
  toleranceOf,
} from "../onnx/testing/magnitudes.ts";
import { tensorOf } from "../onnx/testing/models.ts";
import { decode, onnx } from "../onnx/testing/onnx_proto.ts";
import { type Tensor, widen } from "../tensor.ts";
import { loadKeras } from "./load.ts";
import { type OpenedKeras, withKeras } from "./load/opened_keras.ts";
import {
  anonymous,
  CONVERTED,
  convertedBytes,
  type ConvertedCase,
  convertedCase,
  convertedPath,
  type ConvertedStage,
  inputName,
} from "./testing/converted.ts";
import { pairKeras, updateFromKeras } from "./update_onnx.ts";
import { affineOf, normLayers } from "./update_onnx/layers.ts";
import { type FoundPair, pairLayers } from "./update_onnx/pair_layers.ts";
import { foldedValues } from "./update_onnx/values.ts";
import { writeKeras } from "./write.ts";

const FORMS: Readonly<Record<string, string>> = {
  MulAdd: "Mul and Add",
  "BatchNormalization of mean 0 and variance 1":
    "BatchNormalization of mean 0, variance 1",
};

function formOf({ name }: ConvertedCase, form: string): string {
  // Statistics of a model that is not trained are 0 and 1 as well.
  const isFresh = name.startsWith("tfk_fresh");
  return isFresh && form === "BatchNormalization"
    ? "BatchNormalization of mean 0, variance 1"
    : FORMS[form] ?? form;
}

/** As update_onnx/values.ts derives it, for arithmetic in float32. */
const ROUNDINGS = 20 * 2 ** -24;

/** What keras2onnx leaves of epsilon; see update_onnx/values.ts. */
const LEFT_EPSILON = 1e-3;

/** The stages after `old`. */
function laterStages({ bn, new: all }: ConvertedCase): ConvertedStage[] {
  return bn ? [bn, all] : [all];
}

function isKeras2Onnx({ name }: ConvertedCase): boolean {
  return name.startsWith("k22");
}

/** A layer's numbers in a graph: those of its constants, or what they come to. */
interface Numbers {
  readonly scale: Float64Array;
  readonly shift: Float64Array;
}

function numbersIn({ site, way }: FoundPair): Numbers {
  switch (site.kind) {
    case "op": {
      const { parameters, epsilon } = site.op;
      const [gamma, beta, mean, variance] = ROLES.map((role) =>
        widen(parameters[role].tensor!)
      );
      const scale = gamma!.map((g, c) =>
        g / Math.sqrt(variance![c]! + epsilon)
      );
      return { scale, shift: beta!.map((b, c) => b - mean![c]! * scale[c]!) };
    }
    case "linear": {
      const { factor, summand } = site.linear;
      const inOrder = (values: Float64Array): Float64Array => {
        const result = new Float64Array(values.length);
        way.forEach((channel, i) => result[channel] = values[i]!);
        return result;
      };
      const scale = inOrder(widen(readFloatInput(factor, undefined)));
      return {
        scale,
        shift: summand
          ? inOrder(widen(readFloatInput(summand, undefined)))
          : new Float64Array(scale.length),
      };
    }
    case "folded": {
      const { weight, bias, channels } = site.folded;
      return {
        scale: widen(readFloatInput(weight, undefined)),
        shift: bias
          ? widen(readFloatInput(bias, undefined))
          : new Float64Array(channels),
      };
    }
  }
}

/** The magnitudes that a layer's shifts are made of. */
async function magnitudeIn({ layer, site }: FoundPair): Promise<Float64Array> {
  const affine = affineOf(layer.layer);
  return site.kind === "folded"
    ? (await foldedValues(layer, site.folded, affine)).magnitude
    : affine.magnitude;
}

async function pairsIn(
  model: Uint8Array,
  keras: OpenedKeras,
): Promise<readonly FoundPair[]> {
  const open = openModel(model, undefined);
  const layers = normLayers(keras);
  return (await pairLayers(open, layers, undefined, new Map())).pairs;
}

/** Asserts that an updated model has in each layer what a fresh conversion has. */
async function assertSameLayers(
  updated: Uint8Array,
  fresh: Uint8Array,
  kerasFile: string,
  left: number,
): Promise<void> {
  await withKeras(convertedPath(kerasFile), {}, async (keras) => {
    const ours = await pairsIn(updated, keras);
    const theirs = await pairsIn(fresh, keras);
    assertEquals(ours.length, keras.model.batchNormalizations.size);
    for (const [i, pair] of ours.entries()) {
      const other = theirs[i]!;
      const key = pair.layer.key;
      assertEquals(other.layer.key, key);
      assertEquals(pair.site.kind, other.site.kind, key);
      const [a, b] = [numbersIn(pair), numbersIn(other)];
      const magnitude = await magnitudeIn(pair);
      // Of keras2onnx' forms, what it leaves of epsilon.
      const slack = left * pair.layer.layer.effectiveEpsilon / 2;
      const isNear = (x: number, y: number, size: number): boolean =>
        Math.abs(x - y) <= (ROUNDINGS + slack) * size;
      assertEquals(a.scale.length, b.scale.length);
      assert(
        a.scale.every((x, c) => isNear(x, b.scale[c]!, Math.abs(x))),
        `${key}: ${a.scale} and ${b.scale}`,
      );
      assert(
        a.shift.every((x, c) => isNear(x, b.shift[c]!, magnitude[c]!)),
        `${key}: ${a.shift} and ${b.shift}`,
      );
      if (pair.site.kind !== "op" || other.site.kind !== "op") continue;
      if (left > 0) continue;
      // No arithmetic: the very same numbers.
      for (const role of ROLES) {
        assertEquals(
          pair.site.op.parameters[role].tensor,
          other.site.op.parameters[role].tensor,
        );
      }
      assertEquals(pair.site.op.epsilon, other.site.op.epsilon);
    }
  });
}

/**
 * A model that sums up magnitudes; see magnitudes.ts. A shift counts as what
 * it is a difference of.
 */
async function magnitudeModel(
  model: Uint8Array,
  kerasFile: string,
  keepSigmoid: boolean,
): Promise<Uint8Array> {
  const message = decode(magnitudesOf(model));
  await withKeras(convertedPath(kerasFile), {}, async (keras) => {
    for (const pair of await pairsIn(model, keras)) {
      const { site, way } = pair;
      const shift = site.kind === "linear"
        ? site.linear.summand
        : site.kind === "folded"
        ? site.folded.bias
        : undefined;
      if (!shift) continue;
      const magnitude = await magnitudeIn(pair);
      const tensor = message.graph!.initializer!.find(({ name }) =>
        name === shift.constant.origin.name
      )!;
      tensor.floatData = [];
      tensor.rawData = new Uint8Array(
        Float32Array.from(way, (channel) => magnitude[channel]!).buffer,
      );
    }
  });
  for (const node of message.graph!.node!) {
    // It lessens every distance, to a quarter at least.
    if (node.opType === "Sigmoid" && !keepSigmoid) node.opType = "Identity";
  }
  return new Uint8Array(onnx.ModelProto.encode(message).finish());
}

/** Asserts that a model gives the recorded output, as far as roundings allow. */
async function assertOutput(
  model: Uint8Array,
  stage: ConvertedStage,
  slack: number,
): Promise<void> {
  const name = inputName(model);
  const x = tensorOf(stage.input);
  const expected = widen(tensorOf(stage.output));
  const [actual] = Object.values(await runReference(model, { [name]: x }));
  const sums: Tensor[] = [];
  for (const keepSigmoid of [false, true]) {
    const sum = await magnitudeModel(model, stage.keras, keepSigmoid);
    const feeds = { [name]: magnitudeOf(x) };
    sums.push(Object.values(await runReference(sum, feeds))[0]!);
  }
  // And the constants' own roundings, on either side.
  const constants = 2 * stage.layers.length * (ROUNDINGS + slack);
  const tolerance = toleranceOf(model, "float32") + constants;
  const [sum, sigmoidSum] = sums.map(widen);
  assertEquals(actual!.data.length, expected.length);
  widen(actual!).forEach((value, i) => {
    const bound = tolerance * (sum![i]! + sigmoidSum![i]!);
    assert(
      Math.abs(value - expected[i]!) <= bound,
      `${i}: ${value} and ${expected[i]} differ by more than ${bound}`,
    );
  });
}

for (const row of CONVERTED) {
  const was = convertedPath(row.old.keras);
  const old = convertedBytes(row.old.onnx);

  Deno.test(`${row.name}: every layer is found, by names and by values`, async () => {
    for (const options of [{}, { was }]) {
      for (const { keras } of laterStages(row)) {
        const { pairs, unpaired, kept } = await pairKeras(
          old,
          convertedPath(keras),
          options,
        );
        assertEquals(unpaired, []);
        assertEquals(kept, []);
        assertEquals(
          pairs.map(({ layer, channels, form, nodes, into }) => ({
            layer,
            channels,
            form,
            nodes,
            into,
          })),
          row.old.layers.map(({ layer, channels, form, nodes, into }) => ({
            layer,
            channels,
            form: formOf(row, form),
            nodes,
            into,
          })),
        );
        // Layers that are not trained are all alike.
        const byValues = "was" in options && row.name !== "tfk_fresh_13";
        assert(
          pairs.every(({ by }) =>
            byValues ? by === "values" : by === "name" || by === "tensor name"
          ),
        );
      }
    }
  });

  Deno.test(`${row.name}: updated, each layer is that of a fresh conversion`, async () => {
    const left = isKeras2Onnx(row) ? LEFT_EPSILON : 0;
    for (const stage of laterStages(row)) {
      for (const options of [{}, { was }]) {
        const { bytes } = await updateFromKeras(
          old,
          convertedPath(stage.keras),
          options,
        );
        const fresh = convertedBytes(stage.onnx);
        await assertSameLayers(bytes, fresh, stage.keras, left);
      }
    }
  });

  // Where nothing else was trained, or all of it is in what is written.
  const whole = row.name === "k22_conv1d_12" ? row.new : row.bn;
  if (whole) {
    Deno.test(`${row.name}: updated, its output is that of a fresh conversion`, async () => {
      const { bytes, notices } = await updateFromKeras(
        old,
        convertedPath(whole.keras),
        { was },
      );
      assertEquals(notices, []);
      const slack = isKeras2Onnx(row) ? LEFT_EPSILON * 1e-3 / 2 : 0;
      await assertOutput(bytes, whole, slack);
      // And the bounds are not so wide that anything would do.
      await assertRejects(
        () => assertOutput(old, whole, slack),
        AssertionError,
      );
    });
  }

  Deno.test(`${row.name}: with the weights that it has, it stays as good as it is`, async () => {
    const { bytes } = await updateFromKeras(old, was, { was });
    const left = isKeras2Onnx(row) ? LEFT_EPSILON : 0;
    await assertSameLayers(bytes, old, row.old.keras, left);
  });

  Deno.test(`${row.name}: what is no layer's stays, bit for bit`, async () => {
    const { bytes, pairs } = await updateFromKeras(
      old,
      convertedPath(row.new.keras),
    );
    const [before, after] = [decode(old).graph!, decode(bytes).graph!];
    const own = new Set(pairs.flatMap(({ nodes }) => nodes));
    const written = new Set(
      before.node!.filter(({ name }) => own.has(name!))
        .flatMap(({ input }) => input!),
    );
    const tensors = new Map(after.initializer!.map((t) => [t.name, t]));
    for (const tensor of before.initializer!) {
      if (!written.has(tensor.name!)) {
        assertEquals(tensors.get(tensor.name), tensor);
      }
    }
    const known = new Set(before.node!.map(({ name }) => name));
    assertEquals(
      after.node!.filter(({ name }) => known.has(name) && !own.has(name!)),
      before.node!.filter(({ name }) => !own.has(name!)),
    );
    assertEquals(after.input, before.input);
    assertEquals(after.output, before.output);
  });
}

Deno.test("kernels that are not written are told of", async () => {
  const { old, new: all } = convertedCase("tfk_conv_13");
  const model = convertedBytes(old.onnx);
  for (const options of [{}, { was: convertedPath(old.keras) }]) {
    const { notices } = await pairKeras(
      model,
      convertedPath(all.keras),
      options,
    );
    assertMatch(
      notices[0]!,
      /has other weights than the Keras file in "head": only/,
    );
  }
});

Deno.test("a merged constant is split, and an Add put in where one was left out", async () => {
  const { old, bn } = convertedCase("tfk_fresh_13");
  const { bytes } = await updateFromKeras(
    convertedBytes(old.onnx),
    convertedPath(bn!.keras),
  );
  const { batchNormalizations } = openOnnx(bytes);
  const layers = (await loadKeras(convertedPath(bn!.keras)))
    .batchNormalizations;
  for (const [i, key] of ["bn_a", "bn_b"].entries()) {
    const layer = layers.get(key)!;
    const node = batchNormalizations[i]!;
    assertEquals(node.gamma!.data, layer.gamma!.data);
    assertEquals(node.beta!.data, layer.beta!.data);
    assertEquals(node.mean!.data, layer.movingMean.data);
    assertEquals(node.variance!.data, layer.movingVariance.data);
  }
  const types = decode(bytes).graph!.node!.map(({ opType }) => opType);
  assertEquals(types.filter((type) => type === "Mul").length, 2);
  // One behind each Mul: the model had none.
  assertEquals(types.filter((type) => type === "Add").length, 2);
});

Deno.test("keras2onnx' BatchNormalization has statistics again", async () => {
  const { old, new: all } = convertedCase("k22_mlp_12");
  const { bytes } = await updateFromKeras(
    convertedBytes(old.onnx),
    convertedPath(all.keras),
  );
  const [node] = openOnnx(bytes).batchNormalizations;
  const [layer] = (await loadKeras(convertedPath(all.keras)))
    .batchNormalizations.values();
  assertEquals(node!.mean!.data, layer!.movingMean.data);
  assertEquals(node!.variance!.data, layer!.movingVariance.data);
  assertEquals(node!.epsilon, Math.fround(layer!.effectiveEpsilon));
  assertEquals(node!.momentum, Math.fround(layer!.options.momentum));
});

// ---- kernels that our own folding made: ConvTranspose, MatMul with its Add

/** A model in which one value is an output too, so that nothing is folded over it. */
function withOutput(model: Uint8Array, name: string): Uint8Array {
  const message = decode(model);
  message.graph!.output!.push(
    onnx.ValueInfoProto.fromObject({
      name,
      type: { tensorType: { elemType: 1 } },
    }),
  );
  return new Uint8Array(onnx.ModelProto.encode(message).finish());
}

const FOLDED: readonly (readonly [
  name: string,
  output: string | undefined,
  operators: readonly string[],
])[] = [
  ["tfk_more_17", undefined, ["ConvTranspose", "Conv", "Conv"]],
  ["k22_mlp_12", "batch_normalization/Identity:0", ["MatMul"]],
];

for (const [name, output, operators] of FOLDED) {
  Deno.test(`${name}, folded: updated, it is the fresh conversion folded`, async () => {
    const row = convertedCase(name);
    const [old, fresh] = [row.old, row.new].map(({ onnx }) => {
      const model = convertedBytes(onnx);
      return openOnnx(output ? withOutput(model, output) : model).fold().bytes;
    }) as [Uint8Array, Uint8Array];
    const keras = convertedPath(row.new.keras);
    const was = convertedPath(row.old.keras);
    for (const options of [{}, { was }]) {
      const { bytes, pairs } = await updateFromKeras(old, keras, options);
      const nodes = decode(old).graph!.node!;
      assertEquals(
        pairs.filter(({ form }) => form === "folded").map((pair) =>
          nodes.find(({ name }) => name === pair.nodes[0])!.opType
        ),
        operators,
      );
      const left = isKeras2Onnx(row) ? LEFT_EPSILON : 0;
      await assertSameLayers(bytes, fresh, row.new.keras, left);
    }
  });
}

Deno.test("what was folded into the kernel behind it is refused", async () => {
  const { old, new: all } = convertedCase("tfk_conv_13");
  const { bytes, folded } = openOnnx(convertedBytes(old.onnx)).fold();
  assert(folded.length > 0);
  const { unpaired } = await pairKeras(bytes, convertedPath(all.keras), {
    was: convertedPath(old.keras),
  });
  assertEquals(unpaired.map(({ layer }) => layer), ["bn_first", "bn_1"]);
});

// ---- without names

Deno.test("without names, kernels, channels and order tell", async () => {
  for (
    const name of ["tfk_conv_13", "k3_conv_17", "k22_conv_12", "k24_conv_13"]
  ) {
    const row = convertedCase(name);
    const stage = row.bn ?? row.new;
    const named = await pairKeras(
      convertedBytes(row.old.onnx),
      convertedPath(stage.keras),
    );
    const model = anonymous(convertedBytes(row.old.onnx));
    const { pairs, unpaired } = await pairKeras(
      model,
      convertedPath(stage.keras),
    );
    assertEquals(unpaired, []);
    assert(pairs.every(({ by }) => by === "order"));
    const nodes = decode(convertedBytes(row.old.onnx)).graph!.node!;
    const place = new Map(nodes.map(({ name }, i) => [name!, `n${i}`]));
    assertEquals(
      pairs.map(({ nodes }) => nodes),
      named.pairs.map(({ nodes }) => nodes.map((each) => place.get(each)!)),
    );
  }
});

Deno.test("two branches alike without names are refused, until something tells", async () => {
  for (const name of ["tfk_more_17", "k3_more_17"]) {
    const { old, bn } = convertedCase(name);
    const model = anonymous(convertedBytes(old.onnx));
    const keras = convertedPath(bn!.keras);
    const was = convertedPath(old.keras);
    const { unpaired } = await pairKeras(model, keras);
    assertEquals(
      unpaired.map(({ layer, candidates }) => [layer, candidates.length]),
      [["bn_branch_a", 2], ["bn_branch_b", 2]],
    );
    const [{ candidates }] = unpaired as [typeof unpaired[0]];
    const error = await assertRejects(
      () => updateFromKeras(model, keras),
      OptionError,
    );
    assertStringIncludes(
      error.message,
      `layer "bn_branch_a" is not found, it could be "${candidates[0]}", "${
        candidates[1]
      }"`,
    );
    assertMatch(error.message, /old Keras file.*option map.*"bn_branch_a"/);

    const byValues = await updateFromKeras(model, keras, { was });
    const right = byValues.pairs.find(({ layer }) => layer === "bn_branch_a")!;
    assertEquals(right.by, "values");

    // One that is known leaves the other only one place.
    const byMap = await updateFromKeras(model, keras, {
      map: { bn_branch_a: right.nodes[0]! },
    });
    assertEquals(byMap.bytes, byValues.bytes);
    assertEquals(
      byMap.pairs.filter(({ layer }) => layer.startsWith("bn_branch"))
        .map(({ by }) => by),
      ["map", "order"],
    );
    const wrong = candidates.find((each) => each !== right.nodes[0])!;
    await assertRejects(
      () => updateFromKeras(model, keras, { map: { bn_branch_a: wrong }, was }),
      OptionError,
      "does not hold what the old Keras file gives",
    );
  }
});

Deno.test("a name that is against the order is no evidence", async () => {
  const { old, bn } = convertedCase("tfk_conv_13");
  const message = decode(convertedBytes(old.onnx));
  const nodes = message.graph!.node!;
  const [first, sum] = ["bn_first", "bn_sum"].map((name) =>
    nodes.find((node) => node.name === `conv_net/${name}/FusedBatchNormV3`)!
  );
  // Both get four channels, and each the other's name.
  const values = sum!.input!.slice(1);
  first!.input = [first!.input![0]!, ...values];
  const names = [first!.name!, sum!.name!];
  const swap = (text: string) =>
    text === `${names[0]}:0`
      ? `${names[1]}:0`
      : text === `${names[1]}:0`
      ? `${names[0]}:0`
      : text;
  for (const node of nodes) {
    node.input = node.input!.map(swap);
    node.output = node.output!.map(swap);
  }
  [first!.name, sum!.name] = [names[1]!, names[0]!];
  const model = new Uint8Array(onnx.ModelProto.encode(message).finish());
  const { unpaired } = await pairKeras(model, convertedPath(bn!.keras));
  const missed = unpaired.find(({ layer }) => layer === "bn_sum")!;
  assertMatch(missed.reason, /is called as the layer is, but does not stand/);
});

// ---- what does not fit

Deno.test("without a configuration, what may be missing is told", async () => {
  const { old, bn } = convertedCase("tfk_conv_13");
  const { batchNormalizations } = await loadKeras(convertedPath(bn!.keras));
  const weights = await writeKeras(batchNormalizations, { format: "npz" });
  const { pairs, unpaired } = await pairKeras(
    convertedBytes(old.onnx),
    weights,
  );
  assertEquals(pairs.map(({ layer }) => layer), ["bn_first", "bn_sum"]);
  assertEquals(
    unpaired.map(({ layer }) => layer),
    ["bn_1", "bn_2", "bn_depthwise"],
  );
  assertMatch(unpaired[0]!.reason, /only with the model's configuration/);
});

Deno.test("another model's Keras file is refused", async () => {
  const model = convertedBytes(convertedCase("tfk_conv_13").old.onnx);
  const other = convertedCase("tfk_mlp_17");
  const error = await assertRejects(
    () => updateFromKeras(model, convertedPath(other.new.keras)),
    OptionError,
  );
  assertMatch(error.message, /"batch_normalization" is not found/);
  await assertRejects(
    () =>
      updateFromKeras(
        model,
        convertedPath(convertedCase("tfk_conv_13").new.keras),
        {
          was: convertedPath(other.old.keras),
        },
      ),
    FormatError,
    "it is another model's",
  );
});

Deno.test("an old Keras file of other weights is refused", async () => {
  const { old, new: all, bn } = convertedCase("k3_conv_17");
  const { unpaired } = await pairKeras(
    convertedBytes(old.onnx),
    convertedPath(all.keras),
    { was: convertedPath(bn!.keras) },
  );
  assertEquals(unpaired.length, 5);
  assertMatch(unpaired[0]!.reason, /made of other weights/);
});

Deno.test("a Keras file without such layers is refused", async () => {
  const { old } = convertedCase("tfk_conv_13");
  const npz = await writeKeras(
    new Map([["bn", built(3)]]),
    { format: "npz" },
  );
  await assertRejects(
    () => pairKeras(convertedBytes(old.onnx), npz, { load: { only: [] } }),
    FormatError,
    "has no BatchNormalization layer",
  );
});

function built(channels: number): BatchNormalization {
  const layer = new BatchNormalization({ name: "bn" });
  layer.build([null, channels]);
  return layer;
}

const WRONG_MAPS: readonly (readonly [Record<string, unknown>, RegExp])[] = [
  [{ nope: "x" }, /"nope" in the option map: .* expected one of "bn_first"/],
  [{ bn_1st: "x" }, /"bn_1st" in the option map/],
  [{ bn_1: "nope" }, /no such node with constants, expected one of "conv_net/],
  [
    { bn_1: "conv_net/bn_first/FusedBatchNormV3" },
    /no constants for 4 channels/,
  ],
  [{ bn_1: "conv_net/relu_1/Relu" }, /no such node with constants/],
  [{ bn_1: 3 }, /for layer "bn_1": expected a node's name/],
  [{ bn_1: [] }, /for layer "bn_1": expected a node's name/],
  [
    { bn_1: ["conv_net/conv_1/Conv2D", "conv_net/conv_2/BiasAdd"] },
    /expected 1 nodes, as often as the model uses it, got 2/,
  ],
  [
    {
      bn_sum: "conv_net/bn_sum/FusedBatchNormV3",
      bn_1: "conv_net/bn_sum/FusedBatchNormV3",
    },
    /for layer "bn_sum" and for "bn_1"/,
  ],
];

Deno.test("a map that does not fit is refused", async () => {
  const { old, bn } = convertedCase("tfk_conv_13");
  const model = convertedBytes(old.onnx);
  for (const [map, message] of WRONG_MAPS) {
    const error = await assertRejects(
      () =>
        updateFromKeras(model, convertedPath(bn!.keras), {
          map: map as Record<string, string>,
        }),
      OptionError,
    );
    assertMatch(error.message, message);
  }
  for (const options of [{ bogus: 1 }, { map: 3 }, { map: [] }, null]) {
    await assertRejects(
      () =>
        pairKeras(
          model,
          convertedPath(bn!.keras),
          options as unknown as object,
        ),
      OptionError,
    );
  }
});

Deno.test("a model that is cut off is refused, or as good as whole", async () => {
  const { old, bn } = convertedCase("tfk_conv_13");
  const model = convertedBytes(old.onnx);
  let refused = 0;
  for (let length = 0; length < model.length; length += 97) {
    try {
      await pairKeras(model.subarray(0, length), convertedPath(bn!.keras));
    } catch (error) {
      assert(error instanceof FormatError, String(error));
      refused++;
    }
  }
  // Fields end at some of the lengths.
  assert(refused > 0.9 * model.length / 97);
});

Deno.test("a layer that is left out stays as it is", async () => {
  const { old, bn } = convertedCase("tfk_conv_13");
  const model = convertedBytes(old.onnx);
  const { bytes, leftOut, kept } = await updateFromKeras(
    model,
    convertedPath(bn!.keras),
    { map: new Map([["bn_sum", null]]) },
  );
  assertEquals(leftOut, ["bn_sum"]);
  assertEquals(kept, ["conv_net/bn_sum/FusedBatchNormV3"]);
  const [before, after] = [model, bytes].map((each) =>
    openOnnx(each).batchNormalizations
  );
  assertEquals(after![1], before![1]);
  assert(after![0]!.mean!.data[0] !== before![0]!.mean!.data[0]);
});
