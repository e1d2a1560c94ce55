import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  FormatError,
  OptionError,
  ShapeError,
  UnsupportedError,
} from "../errors.ts";
import { BatchNormalization } from "../layer/batch_normalization.ts";
import { buildOnnx } from "../onnx/build.ts";
import { graphVariables } from "../onnx/training_graph/variables.ts";
import { runReference } from "../onnx/reference.ts";
import { random, randomTensor } from "../onnx/testing/layers.ts";
import { decode, onnx } from "../onnx/testing/onnx_proto.ts";
import {
  assertWithin,
  boundsOf,
  TRAINING_CASES,
  type TrainingExample,
  trainingExample,
  type TrainingGraphCase,
} from "../onnx/testing/training_graphs.ts";
import { buildOnnxTraining } from "../onnx/training_graph/info.ts";
import type { BuildOnnxTrainingOptions } from "../onnx/training_graph/info_options.ts";
import {
  encodeInto,
  type Tensor,
  tensor,
  tensorLike,
  widen,
} from "../tensor.ts";
import { maxUlp } from "../ulp.ts";
import { OnnxTrainer, type OnnxTrainerOptions } from "./onnx_trainer.ts";
import { SGD } from "./optimizers.ts";
import { trainStep } from "./train_step.ts";

const STEPS = 3;

/** The gradient of the mean squared error. */
function errorGradient(y: Tensor, target: Tensor): Tensor {
  const [ys, targets] = [widen(y), widen(target)];
  const values = ys.map((v, i) => (v - targets[i]!) * 2 / ys.length);
  return tensorLike(y, values);
}

/**
 * Trains a layer and its model side by side. Every step begins from the same
 * variables, those of the model, so that its bounds are those of one step.
 */
async function trainBoth(
  each: TrainingGraphCase,
  options: Omit<BuildOnnxTrainingOptions, "inputShape">,
): Promise<void> {
  const next = random(1);
  const example = trainingExample(each, next);
  const { layer, mask, extra } = example;
  const { learningRate = 0.01, momentum = 0, nesterov = false } = options;
  const model = buildOnnxTraining(layer, {
    inputShape: each.inputShape ?? each.dims,
    mask: each.mask !== undefined,
    ...options,
  });
  assertEquals(
    new Uint8Array(onnx.ModelProto.encode(decode(model)).finish()),
    model,
  );
  await using trainer = await OnnxTrainer.create(model);
  const optimizer = new SGD({ learningRate, momentum, nesterov });
  const isError = options.loss === "meanSquaredError";
  for (let step = 0; step < STEPS; step++) {
    const what = `step ${step}`;
    const { x, dy } = step === 0 ? example : trainingExample(each, next);
    const now: TrainingExample = { ...example, x, dy };
    const outputs = await trainer.step({
      x,
      ...extra,
      ...(isError ? { target: dy } : { dy }),
    });
    // What the model makes of the target; its own error is in the bounds of y.
    const gradient = isError ? errorGradient(outputs["training_y"]!, dy) : dy;
    const bounds = boundsOf({ ...now, dy: gradient }, {});
    const result = trainStep(layer, x, {
      optimizer,
      gradient,
      ...(mask ? { mask } : {}),
    });
    assertWithin(outputs["training_y"], result.y, bounds.y, `${what}: y`);
    assertWithin(outputs["dx"], result.dx, bounds.dx, `${what}: dx`);
    for (const { weight, name, value } of graphVariables(layer)) {
      const isGamma = weight === "gamma";
      // Times the rate, twice where nesterov looks ahead; and the roundings
      // of at most six operations on numbers below the largest.
      const u = value.type === "float64" ? 2 ** -53 : 2 ** -24;
      const largest = widen(value).reduce(
        (m, v) => Math.max(m, Math.abs(v)),
        1,
      );
      const learned = 2 * learningRate *
          (isGamma ? bounds.dgamma : bounds.dbeta) + 8 * u * 8 * largest;
      const bound = isGamma || weight === "beta"
        ? learned
        : weight === "moving_variance"
        ? bounds.variance
        : weight.endsWith("stddev")
        ? bounds.stddev
        : bounds.mean;
      const fresh = trainer.get(name);
      const shaped = { ...fresh, dims: value.dims };
      assertWithin(shaped, value, bound, `${what}: ${weight}`);
      encodeInto(value.type, value.data, widen(fresh));
    }
    if (momentum > 0) {
      const slots = optimizer.getState().slots.map(
        ({ variable, slot, value }) => {
          const fresh = trainer.get(`bn/training/velocity_${variable}`);
          const bound = learningRate *
              (variable === "gamma" ? bounds.dgamma : bounds.dbeta) +
            2 ** -20;
          assertWithin(
            { ...fresh, dims: value.dims },
            value,
            bound,
            `${what}: velocity`,
          );
          return { variable, slot, value: tensorLike(value, widen(fresh)) };
        },
      );
      assertEquals(
        slots.length,
        Number(layer.options.scale) + Number(layer.options.center),
      );
      optimizer.setState({ ...optimizer.getState(), slots });
    }
  }
  // What it learned is in the file: inference is the layer's own.
  const x = randomTensor(next, each.dims, {
    type: layer.options.dtype.compute,
  });
  const trained = trainer.toOnnx();
  const { y } = await runReference(trained, { x });
  assertEquals(maxUlp(y!, layer.call(x)), 0);
  // And so is all else.
  const again = await OnnxTrainer.create(trained, {
    load: () => Promise.resolve({ run: () => Promise.resolve({}) }),
  });
  for (const name of trainer.variableNames) {
    assertEquals(maxUlp(again.get(name), trainer.get(name)), 0, name);
  }
  assertEquals(again.toOnnx(), trained);
}

for (const each of TRAINING_CASES) {
  const { trainable, dtype } = each.options;
  // onnxruntime-web cannot be given bfloat16.
  if (trainable === false || String(dtype).includes("bfloat16")) continue;
  Deno.test(`a model trains as trainStep does: ${each.name}`, async () => {
    await trainBoth(each, {});
  });
}

const SOME = TRAINING_CASES.filter(({ everyOpset }) => everyOpset);

for (const each of SOME) {
  for (
    const options of [
      { opset: 12, momentum: 0.9, learningRate: 0.05 },
      { opset: 26, momentum: 0.5, nesterov: true },
      { opset: 18, loss: "meanSquaredError", learningRate: 0.5 },
    ] as const
  ) {
    Deno.test(`a model trains as trainStep does: ${each.name}, ${JSON.stringify(options)}`, async () => {
      await trainBoth(each, options);
      if (each.single) return;
      const double = { ...each.options, dtype: "float64" };
      await trainBoth({ ...each, options: double }, options);
    });
  }
}

/** A trainer of a small layer, and what a step takes. */
async function smallTrainer(
  options: OnnxTrainerOptions = {},
): Promise<
  { trainer: OnnxTrainer; model: Uint8Array; feeds: Record<string, Tensor> }
> {
  const layer = new BatchNormalization({ name: "bn" });
  const model = buildOnnxTraining(layer, { inputShape: [null, 2] });
  const feeds = {
    x: tensor([1, 2, 3, 5], [2, 2]),
    dy: tensor([1, 0, 0, 1], [2, 2]),
  };
  const trainer = await OnnxTrainer.create(model, options);
  return { trainer, model, feeds };
}

Deno.test("a learning rate can be changed between steps", async () => {
  const rate = "bn/training/learning_rate";
  const { trainer, feeds } = await smallTrainer({ adjustable: [rate] });
  await using _ = trainer;
  const before = trainer.get("bn/B");
  trainer.set(rate, tensor([0], []));
  await trainer.step(feeds);
  assertEquals(trainer.get("bn/B"), before);
  trainer.set(rate, tensor([0.5], []));
  await trainer.step(feeds);
  assertEquals([...trainer.get("bn/B").data], [-0.5, -0.5]);
  // It is in the file as well.
  const again = await OnnxTrainer.create(trainer.toOnnx(), {
    adjustable: [rate],
    load: () => Promise.resolve({ run: () => Promise.resolve({}) }),
  });
  assertEquals([...again.get(rate).data], [0.5]);
});

Deno.test("names of what a trainer takes and gives", async () => {
  const { trainer } = await smallTrainer();
  await using _ = trainer;
  assertEquals(trainer.inputNames, ["x", "dy"]);
  assertEquals(trainer.outputNames, [
    "y",
    "training_y",
    "dx",
    "next_gamma",
    "dgamma",
    "next_beta",
    "dbeta",
    "next_moving_mean",
    "next_moving_variance",
  ]);
  assertEquals(trainer.variableNames, [
    "bn/scale",
    "bn/B",
    "bn/input_mean",
    "bn/input_var",
  ]);
});

Deno.test("until the first step the model is the file's", async () => {
  const { trainer, model } = await smallTrainer();
  await using _ = trainer;
  assertEquals(trainer.toOnnx(), model);
});

Deno.test("another runner can serve", async () => {
  let disposed = 0;
  const seen: string[][] = [];
  const value = (v: number) => tensor([v, v], [2]);
  const { trainer, feeds } = await smallTrainer({
    load: (bytes) => {
      assertEquals(decode(bytes).trainingInfo, []);
      return Promise.resolve({
        run: (given) => {
          seen.push(Object.keys(given));
          return Promise.resolve({
            next_gamma: value(1),
            next_beta: value(2),
            next_moving_mean: value(3),
            next_moving_variance: value(4),
          });
        },
        dispose: () => void disposed++,
      });
    },
  });
  const outputs = await trainer.step(feeds);
  outputs["next_beta"]!.data.fill(9);
  trainer.get("bn/B").data.fill(9);
  assertEquals(trainer.get("bn/B"), value(2));
  assertEquals(seen, [["x", "dy", ...trainer.variableNames]]);
  await trainer.dispose();
  assertEquals(disposed, 1);
});

Deno.test("a step that fails changes nothing", async () => {
  const results: (Error | Record<string, Tensor>)[] = [
    new Error("out of memory"),
    {},
    { next_gamma: tensor([1, 2, 3], [3]) },
    { next_gamma: tensor([1, 2], [2], "float64") },
  ];
  const { trainer, model, feeds } = await smallTrainer({
    load: () =>
      Promise.resolve({
        run: () => {
          const result = results.shift()!;
          return result instanceof Error
            ? Promise.reject(result)
            : Promise.resolve(result);
        },
      }),
  });
  await assertRejects(() => trainer.step(feeds), Error, "out of memory");
  await assertRejects(
    () => trainer.step(feeds),
    UnsupportedError,
    'Cannot update "bn/scale" of the ONNX model: expected next_gamma to be float32 of shape [2], got none',
  );
  await assertRejects(
    () => trainer.step(feeds),
    UnsupportedError,
    "got float32 of shape [3]",
  );
  await assertRejects(
    () => trainer.step(feeds),
    UnsupportedError,
    "got float64 of shape [2]",
  );
  assertEquals(trainer.toOnnx(), model);
});

Deno.test("refused: steps and values that do not fit", async () => {
  const { trainer, feeds } = await smallTrainer();
  await using _ = trainer;
  const { x } = feeds;
  await assertRejects(
    () => trainer.step({ x: x! }),
    OptionError,
    "expected x, dy, got x",
  );
  await assertRejects(
    () => trainer.step({ ...feeds, target: x! }),
    OptionError,
    "expected x, dy, got x, dy, target",
  );
  assertThrows(() => trainer.get("gamma"), OptionError, "expected bn/scale");
  assertThrows(
    () => trainer.set("bn/B", tensor([1], [1])),
    ShapeError,
    'Cannot set "bn/B": expected shape [2], got [1]',
  );
  assertThrows(
    () => trainer.set("bn/B", tensor([1, 2], [2], "float64")),
    OptionError,
    "expected float32, got float64",
  );
  const step = trainer.step(feeds);
  await assertRejects(
    () => trainer.step(feeds),
    OptionError,
    "a step is under way",
  );
  assertThrows(
    () => trainer.set("bn/B", tensor([1, 2], [2])),
    OptionError,
    "a step is under way",
  );
  await step;
  await trainer.step(feeds);
});

Deno.test("refused: models that do not say how they are trained", async () => {
  const model = buildOnnx(new BatchNormalization(), { inputShape: [null, 2] });
  await assertRejects(
    () => OnnxTrainer.create(model),
    FormatError,
    "it has no training information; buildOnnxTraining writes models that have",
  );
  await assertRejects(
    () => OnnxTrainer.create(model, { optimizer: "sgd" } as OnnxTrainerOptions),
    OptionError,
    'unknown option "optimizer", expected load, index, adjustable',
  );
});
