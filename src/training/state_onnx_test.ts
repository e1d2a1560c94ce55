import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  FormatError,
  OptionError,
  ShapeError,
  UnsupportedError,
} from "../errors.ts";
import { BatchNormalization } from "../layer/batch_normalization.ts";
import type { BatchNormalizationOptions } from "../layer/options.ts";
import { RandomGenerator } from "../layer/random.ts";
import { buildOnnx } from "../onnx/build.ts";
import { openOnnx } from "../onnx/onnx_model.ts";
import { runReference } from "../onnx/reference.ts";
import { type Tensor, tensor, widen } from "../tensor.ts";
import { OnnxTrainer } from "./onnx_trainer.ts";
import { Adam, RMSprop, SGD } from "./optimizers.ts";
import type { Optimizer } from "./optimizer.ts";
import type { StateOnnxOptions } from "./state_onnx.ts";
import { TrainingState } from "./training_state.ts";
import { trainStep } from "./train_step.ts";

const random = new RandomGenerator(11);

function batch(size: number, channels: number): Tensor {
  return tensor(
    Float32Array.from(
      { length: size * channels },
      () => 2 + 3 * random.normal(),
    ),
    [size, channels],
  );
}

function trained(
  options: BatchNormalizationOptions,
  optimizer: Optimizer,
  steps = 3,
): TrainingState {
  const layer = new BatchNormalization({ name: "bn", ...options });
  const state = new TrainingState({ layer, optimizer });
  for (let i = 0; i < steps; i++) {
    const x = batch(6, 3);
    state.add(x);
    trainStep(layer, x, { optimizer, gradient: batch(6, 3) });
  }
  return state;
}

const GRAPHS: readonly StateOnnxOptions[] = [
  { inputShape: [null, 3] },
  { graph: "inference", inputShape: [null, 3], opset: 9, form: "affine" },
  { graph: "training", inputShape: [null, 3] },
  { graph: "training", inputShape: [null, 3], opset: 18 },
  { graph: "gradient", inputShape: [null, 3] },
  {
    graph: "training-info",
    inputShape: [null, 3],
    learningRate: 0.1,
    momentum: 0,
  },
];

const OPTIMIZERS: Readonly<Record<string, () => Optimizer>> = {
  SGD: () => new SGD({ momentum: 0.9, nesterov: true }),
  Adam: () => new Adam(),
  RMSprop: () => new RMSprop({ centered: true }),
};

for (const [name, make] of Object.entries(OPTIMIZERS)) {
  for (const options of GRAPHS) {
    const { graph = "inference" } = options;
    if (graph === "training-info" && name !== "SGD") continue;
    Deno.test(`a state with ${name}, written as ${JSON.stringify(options)}, goes on with the same bits`, () => {
      const state = trained({ renorm: graph !== "inference" }, make());
      const given = graph === "training-info"
        ? { graph: "training-info", inputShape: [null, 3] } as const
        : options;
      const read = TrainingState.fromOnnx(state.toOnnx(given));
      assertEquals(read.toBytes(), state.toBytes());
      for (let i = 0; i < 3; i++) {
        const [x, gradient] = [batch(6, 3), batch(6, 3)];
        for (const { layer, optimizer } of [state, read]) {
          trainStep(layer!, x, { optimizer: optimizer!, gradient });
        }
      }
      assertEquals(read.toBytes(), state.toBytes());
    });
  }
}

Deno.test("every graph of a state runs in onnxruntime-web as that of its layer", async () => {
  const state = trained({}, new SGD({ momentum: 0.5 }));
  const x = batch(4, 3);
  for (const options of GRAPHS) {
    const feeds = options.graph === "gradient" ? { x, dy: x } : { x };
    const outputs = await runReference(state.toOnnx(options), feeds);
    if (options.graph === undefined || options.graph === "inference") {
      assertEquals(outputs.y!.data, state.layer!.call(x).data);
    }
    assert(Object.keys(outputs).length > 0);
  }
});

Deno.test("training goes from TypeScript to ONNX and back", async () => {
  const make = () =>
    trained({}, new SGD({ learningRate: 0.05, momentum: 0.9 }), 0);
  const [stays, travels] = [make(), make()];
  const steps = Array.from(
    { length: 9 },
    () => ({ x: batch(6, 3), dy: batch(6, 3) }),
  );
  const run = (state: TrainingState, from: number, to: number) => {
    for (const { x, dy } of steps.slice(from, to)) {
      const { layer, optimizer } = state;
      trainStep(layer!, x, { optimizer: optimizer!, gradient: dy });
    }
  };
  run(stays, 0, 9);
  run(travels, 0, 3);
  const model = travels.toOnnx({
    graph: "training-info",
    inputShape: [null, 3],
  });
  await using trainer = await OnnxTrainer.create(model);
  for (const { x, dy } of steps.slice(3, 6)) await trainer.step({ x, dy });
  const back = TrainingState.fromOnnx(trainer.toOnnx());
  run(back, 6, 9);
  back.layer!.getWeights().forEach((weight, k) => {
    const expected = stays.layer!.getWeights()[k]!;
    widen(weight).forEach((value, c) => {
      // Three steps in onnxruntime: each rounds sums of 6 products of order
      // 10, some 100 units of 2^-24, of which the learning rate and momentum
      // leave a tenth.
      const bound = 3 * 100 * 2 ** -24 * Math.max(1, Math.abs(value));
      const error = Math.abs(value - widen(expected)[c]!);
      assert(error <= bound, `weight ${k}, channel ${c}: ${error}`);
    });
  });
});

Deno.test("updateOnnx writes the data's statistics, or the layer's variables", async () => {
  const state = trained({ epsilon: 0.01, gammaInitializer: "ones" }, new SGD());
  const { layer } = state;
  const fresh = new BatchNormalization({ name: "node" });
  const old = buildOnnx(fresh, { inputShape: [null, 3] });
  const [data] = openOnnx(state.updateOnnx(old, "node")).batchNormalizations;
  assertEquals([...data!.mean!.data], [...Float32Array.from(state.mean)]);
  assertEquals([...data!.variance!.data], [
    ...Float32Array.from(state.variance),
  ]);
  const [unbiased] = openOnnx(state.updateOnnx(old, "node", { unbiased: true }))
    .batchNormalizations;
  assertEquals(
    [...unbiased!.variance!.data],
    [...Float32Array.from(
      state.variance,
      (v) => v * state.count / (state.count - 1),
    )],
  );
  const x = batch(5, 3);
  const { y } = await runReference(
    state.updateOnnx(old, "node", { from: "layer" }),
    { x },
  );
  assertEquals(y!.data, layer!.call(x).data);
  const noData = new TrainingState({ layer: layer! });
  assertEquals(
    noData.updateOnnx(old, "node"),
    state.updateOnnx(old, "node", { from: "layer" }),
  );
});

Deno.test("what cannot be written or read is told", () => {
  const empty = new TrainingState();
  const model = buildOnnx(new BatchNormalization({ name: "bn" }), {
    inputShape: [null, 3],
  });
  assertThrows(
    () => empty.updateOnnx(model, "bn"),
    OptionError,
    "it holds no data and has no layer",
  );
  assertThrows(
    () => empty.updateOnnx(model, "bn", { from: "data" }),
    OptionError,
    "it holds no data, add a batch first",
  );
  assertThrows(
    () => empty.toOnnx({ inputShape: [null, 3] }),
    OptionError,
    "it has no layer",
  );
  assertThrows(
    () => TrainingState.fromOnnx(model),
    FormatError,
    "it carries none",
  );
  const state = trained({}, new Adam());
  assertThrows(
    () => state.toOnnx({ graph: "training-info", inputShape: [null, 3] }),
    UnsupportedError,
    "expected SGD with a learning rate",
  );
  assertThrows(
    () =>
      trained({}, new SGD({ clipnorm: 1 })).toOnnx({
        graph: "training-info",
        inputShape: [null, 3],
      }),
    UnsupportedError,
    "SGD with clipnorm",
  );
  assertThrows(
    () => state.toOnnx({ graph: "nope", inputShape: [null, 3] } as never),
    OptionError,
    'expected graph "inference"',
  );
  const two = new TrainingState();
  two.add(batch(4, 2));
  assertThrows(
    () => two.updateOnnx(model, "bn"),
    ShapeError,
    "expected 3 values",
  );
});
