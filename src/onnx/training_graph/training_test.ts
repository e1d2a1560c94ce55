import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { BatchNormalization } from "../../layer/batch_normalization.ts";
import type { BatchNormalizationOptions } from "../../layer/options.ts";
import type { WeightName } from "../../layer/weights.ts";
import { encodeInto, type Tensor, tensor, widen } from "../../tensor.ts";
import { maxUlp } from "../../ulp.ts";
import { buildOnnx } from "../build.ts";
import { buildOnnxGradient } from "./gradient.ts";
import type { BuildOnnxOptions, OnnxForm } from "../build_options.ts";
import { fitsOperator } from "./training.ts";
import { graphVariables } from "./variables.ts";
import { random, randomTensor } from "../testing/layers.ts";
import { decode, onnx } from "../testing/onnx_proto.ts";
import {
  assertWithin,
  type Bounds,
  boundsOf,
  OPSETS,
  runGraph,
  SOME_OPSETS,
  TRAINING_CASES,
  type TrainingExample,
  trainingExample,
  type TrainingGraphCase,
} from "../testing/training_graphs.ts";

const BOUND_OF: Readonly<Partial<Record<WeightName, keyof Bounds>>> = {
  moving_mean: "mean",
  moving_variance: "variance",
  moving_stddev: "stddev",
  renorm_mean: "mean",
  renorm_stddev: "stddev",
};

/** Trains the layer and compares; the outputs of the graph. */
function assertStep(
  example: TrainingExample,
  outputs: Readonly<Record<string, Tensor>>,
  operator: boolean,
  what: string,
): void {
  const { layer, x, mask } = example;
  const bounds = boundsOf(example, { operator });
  const y = layer.call(x, { training: true, ...(mask ? { mask } : {}) });
  // A frozen layer's inference is the same to the last bit.
  if (!layer.trainable) assertEquals(maxUlp(outputs["y"]!, y), 0);
  assertWithin(outputs["y"], y, bounds.y, `${what}: y`);
  const variables = graphVariables(layer);
  const moving = variables.filter(({ output }) => output !== undefined);
  assertEquals(Object.keys(outputs), [
    "y",
    ...moving.map(({ output }) => output!),
  ]);
  for (const { weight, output, value } of moving) {
    const bound = bounds[BOUND_OF[weight]!];
    assertWithin(outputs[output!], value, bound, `${what}: ${output}`);
  }
}

async function testCase(
  each: TrainingGraphCase,
  opsets: readonly number[],
): Promise<void> {
  for (const opset of opsets) {
    if (opset < (each.since ?? 7)) continue;
    let hadOperator = false;
    let last: Uint8Array | undefined;
    for (const form of ["op", "affine"] as const) {
      const what = `opset ${opset}, ${form}`;
      const next = random(opset);
      const example = trainingExample(each, next);
      const { layer, x, extra } = example;
      const options: BuildOnnxOptions = {
        inputShape: each.inputShape ?? each.dims,
        opset,
        form,
        training: true,
        mask: each.mask !== undefined,
      };
      const operator = form === "op" && !each.mask && fitsOperator(layer);
      const bytes = buildOnnx(layer, options);
      if (form === "affine" && !hadOperator) {
        assertEquals(bytes, last, `${what}: the same in both forms`);
        continue;
      }
      hadOperator = operator;
      last = bytes;
      const message = decode(bytes);
      assertEquals(
        new Uint8Array(onnx.ModelProto.encode(message).finish()),
        bytes,
      );
      const hasOperator = message.graph!.node!.some(({ opType }) =>
        opType === "BatchNormalization"
      );
      assertEquals(hasOperator, operator);
      const fed = buildOnnx(layer, { ...options, state: "inputs" });
      const before = graphVariables(layer).map(({ name, value }) =>
        [name, { ...value, data: value.data.slice() }] as const
      );
      const outputs = await runGraph(bytes, { x, ...extra });
      assertStep(example, outputs, operator, what);
      if (opset !== opsets.at(-1)) continue;
      // The same step with fed variables, then one more from its results.
      const state = feedable(fed, Object.fromEntries(before));
      const again = await runGraph(fed, { x, ...extra, ...state });
      assertEquals(again, outputs, `${what}: fed`);
      for (const { name, output, value } of graphVariables(layer)) {
        if (output === undefined) continue;
        encodeInto(value.type, value.data, widen(outputs[output]!));
        if (name in state) state[name] = outputs[output]!;
      }
      const second = trainingExample(each, next);
      const more = { ...second, layer };
      // Its adjustment is the first one's.
      const mask = second.mask ? { mask: second.mask } : {};
      const feeds = { ...extra, ...mask, x: second.x, ...state };
      assertStep(more, await runGraph(fed, feeds), operator, `${what}: second`);
    }
  }
}

/** Of all variables, those that a graph takes. */
function feedable(
  model: Uint8Array,
  variables: Readonly<Record<string, Tensor>>,
): Record<string, Tensor> {
  const inputs = decode(model).graph!.input!.map(({ name }) => name!);
  assert(
    decode(model).graph!.initializer!.every(({ name }) =>
      !inputs.includes(name!) || !(name! in variables)
    ),
  );
  return Object.fromEntries(
    Object.entries(variables).filter(([name]) => inputs.includes(name)),
  );
}

for (const each of TRAINING_CASES) {
  Deno.test(`a step of training: ${each.name}`, async () => {
    await testCase(each, each.everyOpset ? OPSETS : SOME_OPSETS);
  });
  if (each.single) continue;
  Deno.test(`a step of training in float64: ${each.name}`, async () => {
    const double = { ...each, options: { ...each.options, dtype: "float64" } };
    await testCase(double, SOME_OPSETS);
  });
}

Deno.test("one graph takes batches of every size", async () => {
  const shapes: readonly [
    BatchNormalizationOptions,
    readonly (number | null)[],
    readonly (readonly number[])[],
  ][] = [
    [{}, [null, 3], [[1, 3], [7, 3]]],
    [{}, [null, null, null, 3], [[1, 1, 2, 3], [3, 4, 1, 3]]],
    [{ axis: 1, virtualBatchSize: 2 }, [null, 3, null], [
      [2, 3, 4],
      [6, 3, 1],
    ]],
    [{ renorm: true, axis: [1, 2] }, [null, 2, 3, null], [
      [2, 2, 3, 5],
      [5, 2, 3, 1],
    ]],
  ];
  for (const [options, inputShape, sizes] of shapes) {
    for (const opset of SOME_OPSETS) {
      for (const dims of sizes) {
        const each = { name: "", options, dims };
        const example = trainingExample(each, random(1));
        const { layer, x } = example;
        const bytes = buildOnnx(layer, { inputShape, opset, training: true });
        const outputs = await runGraph(bytes, { x });
        assertStep(example, outputs, fitsOperator(layer), JSON.stringify(dims));
      }
    }
  }
});

Deno.test("TF 1's class, frozen, still normalizes by the batch", async () => {
  for (const renorm of [false, true]) {
    const layer = BatchNormalization.fromConfig({
      class_name: "BatchNormalizationV1",
      config: { name: "bn", axis: [1], trainable: false, renorm },
    });
    const next = random(11);
    const x = randomTensor(next, [6, 3]);
    layer.build(x.dims);
    const bytes = buildOnnx(layer, { inputShape: [null, 3], training: true });
    const outputs = await runGraph(bytes, { x });
    const example = { layer, x, dy: x, mask: undefined, extra: {} };
    const bounds = boundsOf(example, { inference: false });
    const y = layer.call(x, { training: true });
    assertWithin(outputs["y"], y, bounds.y, "y");
    assertEquals(outputs["running_mean"], layer.movingMean);
    assertEquals(outputs["running_var"], layer.movingVariance);
    if (!renorm) continue;
    assertEquals(outputs["moving_stddev"], layer.movingStddev);
    assertWithin(
      outputs["renorm_mean"],
      layer.renormMean!,
      bounds.mean,
      "mean",
    );
    const stddev = layer.renormStddev!;
    assertWithin(outputs["renorm_stddev"], stddev, bounds.stddev, "stddev");
  }
});

Deno.test("what Keras 3 masks may be NaN", async () => {
  const layer = new BatchNormalization({ kerasVersion: "3", axis: 1 });
  const x = tensor([1, 5, NaN, NaN, 3, -1], [3, 2]);
  const mask = tensor([1, 0, 1], [3]);
  const bytes = buildOnnx(layer, {
    inputShape: [null, 2],
    training: true,
    mask: true,
  });
  const { y, running_mean } = await runGraph(bytes, { x, mask });
  const expected = layer.call(x, { training: true, mask });
  assertWithin(y, expected, 2 ** -20, "y");
  assertWithin(running_mean, layer.movingMean, 2 ** -20, "running_mean");
  assertEquals([...y!.data].map(Number.isNaN), [
    false,
    false,
    true,
    true,
    false,
    false,
  ]);
});

Deno.test("weights of a mask that cancel out count as none", async () => {
  const layer = new BatchNormalization({ kerasVersion: "2.12" });
  const x = tensor([1, 5, 2, 3], [2, 2]);
  const mask = tensor([1, -1], [2]);
  const options = { inputShape: [null, 2], mask: true } as const;
  const bytes = buildOnnx(layer, { ...options, training: true });
  const { y, running_mean } = await runGraph(bytes, { x, mask });
  const expected = layer.call(x, { training: true, mask });
  // A mean and a variance of 0, so that y is x / sqrt(epsilon).
  assertWithin(y, expected, 0, "y");
  assertEquals([...running_mean!.data], [0, 0]);
  const { dx } = await runGraph(buildOnnxGradient(layer, options), {
    x,
    dy: x,
    mask,
  });
  assertWithin(dx, layer.backward(x).dx, 0, "dx");
});

Deno.test("primitive operators keep the output accurate far from 0", async () => {
  const layer = new BatchNormalization({ kerasVersion: "3", axis: 1 });
  const next = random(12);
  const x = randomTensor(next, [256, 2], { low: 9999, high: 10001 });
  const errorOf = async (form: OnnxForm): Promise<number> => {
    const bytes = buildOnnx(layer, {
      inputShape: [null, 2],
      training: true,
      form,
    });
    const { y } = await runGraph(bytes, { x });
    // The layer's own sums are in float64, its output is rounded once.
    const exact = new BatchNormalization({ kerasVersion: "3", axis: 1 })
      .call(x, { training: true });
    return Math.max(
      ...y!.data.map((value, i) => Math.abs(value - exact.data[i]!)),
    );
  };
  // |y| is below 2: a few units in its last place. The operator's y is
  // x * a + b with terms of 17000, of which 2^-24 is 1e-3.
  assertLess(await errorOf("affine"), 8 * 2 ** -23);
  assertGreater(await errorOf("op"), 1e-4);
});

Deno.test("a momentum of 0 forgets what was not finite", async () => {
  const layer = new BatchNormalization({ momentum: 0 });
  layer.build([2, 1, 1, 2]);
  layer.movingMean.data.fill(NaN);
  layer.movingVariance.data.fill(Infinity);
  const bytes = buildOnnx(layer, { inputShape: [2, 1, 1, 2], training: true });
  const x = tensor([1, 2, 3, 6], [2, 1, 1, 2]);
  const { running_mean, running_var } = await runGraph(bytes, { x });
  layer.call(x, { training: true });
  assertEquals([...layer.movingMean.data], [2, 4]);
  assertEquals(running_mean, layer.movingMean);
  assertEquals(running_var, layer.movingVariance);
});

Deno.test("the epsilon is the one that the layer uses", async () => {
  // Of this variance, 2.5e-7, the fused path's epsilon makes another output.
  const x = tensor([0, 1e-3], [2, 1, 1, 1]);
  const options = { inputShape: x.dims } as const;
  const layer = new BatchNormalization({ epsilon: 1e-6 });
  const bytes = buildOnnx(layer, { ...options, training: true });
  const gradient = buildOnnxGradient(layer, options);
  const { y } = await runGraph(bytes, { x });
  assertWithin(y, layer.call(x, { training: true }), 2 ** -20, "y");
  const dy = tensor([1, -1], x.dims);
  const { dgamma } = await runGraph(gradient, { x, dy });
  assertWithin(dgamma, layer.backward(dy).dgamma!, 2 ** -20, "dgamma");
});

Deno.test("a deviation in float16 is rounded before it is squared", async () => {
  const layer = new BatchNormalization({
    dtype: "float16",
    kerasVersion: "3",
    renorm: true,
    momentum: 0,
    epsilon: 0,
  });
  // The deviation is 1.000489, of which float16 makes 1.000977; the square of
  // that is 1.001953 in float16, that of the deviation itself 1.000977.
  const half = [...new Array(7).fill(1), 1.00390625];
  const x = tensor([...half, ...half.map((v) => -v)], [16, 1], "float16");
  const bytes = buildOnnx(layer, { inputShape: [16, 1], training: true });
  const { running_var } = await runGraph(bytes, { x });
  layer.call(x, { training: true });
  assertEquals(widen(layer.movingVariance), Float64Array.of(1.001953125));
  assertEquals(maxUlp(running_var!, layer.movingVariance), 0);
});

Deno.test("names of a training graph", () => {
  const layer = new BatchNormalization({ name: "block/bn", renorm: true });
  const options = { inputShape: [null, 3], training: true } as const;
  const graphOf = (more: Partial<BuildOnnxOptions>) => {
    const { input, output, initializer } = decode(
      buildOnnx(layer, { ...options, ...more }),
    ).graph!;
    return {
      input: input!.map(({ name }) => name!),
      output: output!.map(({ name }) => name!),
      initializer: initializer!.map(({ name }) => name!),
    };
  };
  const state = [
    "block/bn/scale",
    "block/bn/B",
    "block/bn/input_mean",
    "block/bn/moving_stddev",
    "block/bn/renorm_mean",
    "block/bn/renorm_stddev",
  ];
  const given = graphOf({ state: "inputs", inputName: "image" });
  // The moving variance follows from the deviation.
  assertEquals(given.input, ["image", ...state]);
  assertEquals(given.output, [
    "y",
    "running_mean",
    "running_var",
    "moving_stddev",
    "renorm_mean",
    "renorm_stddev",
  ]);
  const constant = graphOf({ outputName: "logits" });
  assertEquals(constant.input, ["x"]);
  assertEquals(constant.output[0], "logits");
  assertEquals(
    constant.initializer.filter((name) => state.includes(name)).sort(),
    [...state].sort(),
  );
  assertEquals(
    buildOnnx(layer, options),
    buildOnnx(layer, options),
  );
});

Deno.test("before opset 14 five outputs mean training", () => {
  const layer = new BatchNormalization({ name: "bn" });
  for (const opset of OPSETS) {
    const { node } = decode(
      buildOnnx(layer, { inputShape: [null, 3], opset, training: true }),
    ).graph!;
    const attributes = node![0]!.attribute!.map(({ name }) => name);
    assertEquals(node![0]!.output!.length, opset < 14 ? 5 : 3);
    assertEquals(attributes.includes("training_mode"), opset >= 14);
  }
});
