import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  type EvenkeelError,
  OptionError,
  UnsupportedError,
} from "../errors.ts";
import { BatchNormalization } from "../layer/batch_normalization.ts";
import { buildOnnx } from "../onnx/build.ts";
import { openOnnx } from "../onnx/onnx_model.ts";
import { loadReference } from "../onnx/reference.ts";
import {
  modelNamed,
  type RecordedTensor,
  tensorOf,
} from "../onnx/testing/models.ts";
import { decode, onnx } from "../onnx/testing/onnx_proto.ts";
import { createSession } from "../session/session.ts";
import { type Tensor, tensor, widen } from "../tensor.ts";
import { recalibrate } from "./recalibrate.ts";
import type {
  Batch,
  RecalibrateOptions,
  RecalibrateProgress,
} from "./recalibrate_options.ts";

interface Recorded {
  readonly batches: readonly RecordedTensor[];
  readonly statistics: Readonly<
    Record<string, { mean: RecordedTensor; variance: RecordedTensor }>
  >;
}

const FOLDER = new URL("../../testdata/onnx/recalibrate/", import.meta.url);
const EXPECTED: Readonly<Record<"precise" | "update_bn", Recorded>> = JSON
  .parse(Deno.readTextFileSync(new URL("expected.json", FOLDER)));
const NET = Deno.readFileSync(new URL("net.onnx", FOLDER));

function batchesOf({ batches }: Recorded): Tensor[] {
  return batches.map(tensorOf);
}

/** The statistics of a model in the order of its nodes. */
function statisticsOf(model: Uint8Array): { mean: Tensor; variance: Tensor }[] {
  return openOnnx(model).batchNormalizations.map(({ mean, variance }) => ({
    mean: mean!,
    variance: variance!,
  }));
}

/**
 * Two runtimes' float32 activations differ by some units of 2^-24 of their
 * size, 10 at most here, more behind each layer; statistics average over them.
 */
const ACTIVATION_ERROR = 2e-5;

function assertNear(actual: Tensor, expected: Tensor, what: string): void {
  widen(actual).forEach((value, c) => {
    const wanted = widen(expected)[c]!;
    const bound = ACTIVATION_ERROR * Math.max(1, Math.abs(wanted));
    assert(
      Math.abs(value - wanted) <= bound,
      `${what}[${c}]: ${value}, ${wanted}`,
    );
  });
}

Deno.test("mode precise gives the statistics of fvcore's precise BN, batches of any size", async () => {
  const { bytes, report } = await recalibrate(NET, batchesOf(EXPECTED.precise));
  Object.values(EXPECTED.precise.statistics).forEach((expected, i) => {
    const { mean, variance } = statisticsOf(bytes)[i]!;
    assertNear(mean, tensorOf(expected.mean), `mean of layer ${i}`);
    assertNear(variance, tensorOf(expected.variance), `variance of layer ${i}`);
  });
  assertEquals(report.layers.map(({ count }) => count), [21 * 36, 21 * 16, 21]);
  assertEquals([report.batches, report.samples, report.kept], [4, 21, []]);
});

Deno.test("mode precise gives the means of torch's update_bn, and its variances with what is between batches", async () => {
  const { batches } = EXPECTED.update_bn;
  const { bytes } = await recalibrate(NET, batchesOf(EXPECTED.update_bn));
  const each = await Promise.all(
    batches.map(async (batch) => {
      const one = await recalibrate(NET, [tensorOf(batch)]);
      return statisticsOf(one.bytes);
    }),
  );
  Object.values(EXPECTED.update_bn.statistics).forEach((expected, i) => {
    const { mean, variance } = statisticsOf(bytes)[i]!;
    assertNear(mean, tensorOf(expected.mean), `mean of layer ${i}`);
    // Of equal batches: the population's variance is the mean of theirs, which
    // torch gives, and the variance of their means.
    const within = widen(tensorOf(expected.variance));
    const between = widen(mean).map((m, c) =>
      each.reduce((sum, one) => sum + (widen(one[i]!.mean)[c]! - m) ** 2, 0) /
      each.length
    );
    assertNear(
      variance,
      tensor(within.map((v, c) => v + between[c]!), variance.dims),
      `variance of layer ${i}`,
    );
  });
});

Deno.test("mode sequential leaves every layer with the statistics of its own input", async () => {
  const data = batchesOf(EXPECTED.precise);
  const first = await recalibrate(NET, data, { mode: "sequential" });
  const again = await recalibrate(first.bytes, data, { mode: "sequential" });
  for (const { name, meanShift, varianceRatio } of again.report.layers) {
    // Statistics are written as float32.
    assert(meanShift.max < 1e-6, `${name} ${meanShift.max}`);
    assert(Math.abs(varianceRatio.min - 1) < 1e-6, name);
    assert(Math.abs(varianceRatio.max - 1) < 1e-6, name);
  }
  const precise = await recalibrate(NET, data);
  // The first layer's input depends on none; the last one's does.
  assertEquals(statisticsOf(first.bytes)[0], statisticsOf(precise.bytes)[0]);
  assert(
    widen(statisticsOf(first.bytes)[2]!.mean).some((value, c) =>
      value !== widen(statisticsOf(precise.bytes)[2]!.mean)[c]
    ),
  );
});

Deno.test("mode blend mixes old and new statistics by the weight", async () => {
  const data = batchesOf(EXPECTED.precise);
  const precise = await recalibrate(NET, data);
  const none = await recalibrate(NET, data, { mode: "blend", weight: 0 });
  assertEquals(none.bytes, precise.bytes);
  const all = await recalibrate(NET, data, { mode: "blend", weight: 1 });
  assertEquals(all.bytes, NET);
  const { bytes } = await recalibrate(NET, data, {
    mode: "blend",
    weight: 0.25,
  });
  statisticsOf(bytes).forEach(({ variance }, i) =>
    widen(variance).forEach((value, c) => {
      const [old, now] = [NET, precise.bytes].map((model) =>
        widen(statisticsOf(model)[i]!.variance)[c]!
      ) as [number, number];
      assert(Math.abs(value - (0.25 * old + 0.75 * now)) < 1e-6 * value);
    })
  );
});

Deno.test("how the data is cut into batches changes nothing in mode sequential", async () => {
  const data = batchesOf(EXPECTED.precise);
  const values = data.flatMap(({ data }) => [...data]);
  const single = Array.from(
    { length: 21 },
    (_, i) => tensor(values.slice(72 * i, 72 * i + 72), [1, 2, 6, 6]),
  );
  const [a, b] = await Promise.all(
    [data, single].map((batches) =>
      recalibrate(NET, batches, { mode: "sequential" })
    ),
  );
  statisticsOf(a!.bytes).forEach(({ mean, variance }, i) => {
    assertNear(mean, statisticsOf(b!.bytes)[i]!.mean, "mean");
    assertNear(variance, statisticsOf(b!.bytes)[i]!.variance, "variance");
  });
});

Deno.test("unbiased, the variance has one element less below it", async () => {
  const data = batchesOf(EXPECTED.precise);
  const [biased, unbiased] = await Promise.all([
    recalibrate(NET, data),
    recalibrate(NET, data, { unbiased: true }),
  ]);
  biased.report.layers.forEach(({ count }, i) =>
    widen(statisticsOf(biased.bytes)[i]!.variance).forEach((value, c) => {
      const wanted = value * count / (count - 1);
      const got = widen(statisticsOf(unbiased.bytes)[i]!.variance)[c]!;
      assert(Math.abs(got - wanted) < 2 ** -22 * wanted);
    })
  );
});

Deno.test("progress and metric are told, and only the layers asked for change", async () => {
  const seen: RecalibrateProgress[] = [];
  const names = openOnnx(NET).batchNormalizations.map(({ name }) => name);
  const options: RecalibrateOptions = {
    mode: "sequential",
    only: [names[1]!, names[2]!],
    onProgress: (progress) => seen.push(progress),
    metric: ({ y }, batch) =>
      widen(y!).reduce((sum, value) => sum + Math.abs(value), 0) /
        widen(y!).length + 0 * Object.keys(batch).length,
  };
  const { bytes, report } = await recalibrate(
    NET,
    batchesOf(EXPECTED.precise),
    options,
  );
  assertEquals(seen.length, 4 * 4);
  assertEquals(seen[0], { stage: "before", pass: 0, passes: 1, batches: 1 });
  assertEquals(seen.at(-1), { stage: "after", pass: 0, passes: 1, batches: 4 });
  assertEquals(seen[4], {
    stage: "measure",
    name: names[1]!,
    pass: 0,
    passes: 2,
    batches: 1,
  });
  assert(report.metric!.before !== report.metric!.after);
  assertEquals(report.kept, [{
    name: names[0]!,
    reason: "the option only does not name it",
  }]);
  assertEquals(statisticsOf(bytes)[0], statisticsOf(NET)[0]);
});

Deno.test("the metric is weighted by the batches' sizes", async () => {
  const layer = new BatchNormalization({ name: "bn" });
  const model = buildOnnx(layer, { inputShape: [null, 1] });
  const { report } = await recalibrate(
    model,
    [tensor([1, 2, 3], [3, 1]), tensor([4], [1, 1])],
    { metric: (_, batch) => (batch as Tensor).dims[0]! },
  );
  assertEquals(report.metric, {
    before: (3 * 3 + 1) / 4,
    after: (3 * 3 + 1) / 4,
  });
});

Deno.test("our own session measures the same as onnxruntime-web", async () => {
  const layer = new BatchNormalization({ name: "bn", axis: -1 });
  const model = buildOnnx(layer, { inputShape: [null, 4, 3] });
  const data = [1, 2].map((seed) =>
    tensor(Float32Array.from({ length: 24 }, (_, i) => Math.sin(seed * i)), [
      2,
      4,
      3,
    ])
  );
  const own = await recalibrate(model, data, {
    load: (bytes) => createSession(bytes),
  });
  assertEquals(own.bytes, (await recalibrate(model, data)).bytes);
});

Deno.test("a model in training is measured in inference, and keeps its mode", async () => {
  const training = openOnnx(NET).toTraining();
  const data = batchesOf(EXPECTED.precise);
  for (const mode of ["precise", "sequential"] as const) {
    const a = await recalibrate(NET, data, { mode });
    const b = await recalibrate(training, data, { mode });
    assertEquals(statisticsOf(b.bytes), statisticsOf(a.bytes));
    assert(
      openOnnx(b.bytes).batchNormalizations.every(({ trainingMode }) =>
        trainingMode === true
      ),
    );
  }
});

Deno.test("what the model does not take, such as labels, is for the metric", async () => {
  const { report } = await recalibrate(
    MODEL,
    [{ label: tensor([7], [1]), x: tensor([1, 2, 3, 4], [2, 2]) }],
    { metric: (_, batch) => (batch as { label: Tensor }).label.data[0]! },
  );
  assertEquals(report.metric, { before: 7, after: 7 });
  assertEquals(report.samples, 2);
});

Deno.test("batches come one by one, and once if once is enough", async () => {
  let made = 0;
  async function* batches(): AsyncGenerator<Batch> {
    for (const batch of batchesOf(EXPECTED.precise)) {
      await Promise.resolve();
      made++;
      yield { x: batch };
    }
  }
  const { bytes } = await recalibrate(NET, batches());
  assertEquals(made, 4);
  assertEquals(
    bytes,
    (await recalibrate(NET, batchesOf(EXPECTED.precise))).bytes,
  );
  await assertRejects(
    () => recalibrate(NET, batches(), { mode: "sequential" }),
    OptionError,
    "the data is needed 3 times, and an iterator gives it once",
  );
});

Deno.test("opsets 7 to 13 are measured by five outputs", async () => {
  for (const opset of [7, 9, 13]) {
    const layer = new BatchNormalization({ name: "bn", axis: 1 });
    const model = buildOnnx(layer, { inputShape: [null, 2, 2], opset });
    const x = tensor([1, 2, 30, 40, 5, 6, 70, 80], [2, 2, 2]);
    const { bytes } = await recalibrate(model, [x]);
    const [bn] = statisticsOf(bytes);
    assertEquals([...bn!.mean.data], [3.5, 55]);
    assertEquals([...bn!.variance.data], [4.25, 425]);
  }
});

Deno.test("nodes of subgraphs and functions are reported, and nothing else fails", async () => {
  await assertRejects(
    () => recalibrate(modelNamed("if"), [tensor([1], [1])]),
    OptionError,
    "it is in a subgraph",
  );
  await assertRejects(
    () => recalibrate(modelNamed("function_constants"), [tensor([1], [1])]),
    OptionError,
    "it is in a function",
  );
});

const x = tensor([1, 2, 3, 4], [2, 2]);
const MODEL = buildOnnx(new BatchNormalization({ name: "bn" }), {
  inputShape: [null, 2],
});
const WRONG: readonly (readonly [
  string,
  () => Promise<unknown>,
  new (message: string) => EvenkeelError,
  RegExp,
])[] = [
  [
    "no batches",
    () => recalibrate(MODEL, []),
    OptionError,
    /there are no batches/,
  ],
  [
    "a number",
    () => recalibrate(MODEL, 1 as never),
    OptionError,
    /expected batches as an array/,
  ],
  [
    "a batch that is null",
    () => recalibrate(MODEL, [null as never]),
    OptionError,
    /expected a tensor or an object of tensors/,
  ],
  [
    "another input's name",
    () => recalibrate(MODEL, [{ z: x }]),
    OptionError,
    /it has no "x", got "z"/,
  ],
  [
    "NaN",
    () => recalibrate(MODEL, [tensor([1, NaN], [1, 2])]),
    OptionError,
    /channel 1 would have mean NaN/,
  ],
  [
    "an empty batch alone",
    () => recalibrate(MODEL, [tensor([], [0, 2])]),
    OptionError,
    /the batches have no elements/,
  ],
  [
    "other channels",
    () => recalibrate(MODEL, [tensor([1, 2, 3], [1, 3])]),
    OptionError,
    /expected 2 channels on axis 1, got 3/,
  ],
  [
    "a batch that the model cannot take",
    () => recalibrate(NET, [tensor([1, 2], [1, 2])]),
    UnsupportedError,
    /Cannot run the model on batch 1, of "x": float32 \[1, 2\]/,
  ],
  [
    "an unknown mode",
    () => recalibrate(MODEL, [x], { mode: "x" as never }),
    OptionError,
    /expected "precise", "sequential", "blend"/,
  ],
  [
    "an unknown option",
    () => recalibrate(MODEL, [x], { momentum: 1 } as never),
    OptionError,
    /the option "momentum" of recalibrate/,
  ],
  [
    "a weight in mode precise",
    () => recalibrate(MODEL, [x], { weight: 0.5 }),
    OptionError,
    /expected mode "blend"/,
  ],
  [
    "a weight above 1",
    () => recalibrate(MODEL, [x], { mode: "blend", weight: 2 }),
    OptionError,
    /from 0 to 1/,
  ],
  [
    "an unknown node",
    () => recalibrate(MODEL, [x], { only: ["z"] }),
    OptionError,
    /expected the name of a BatchNormalization, "bn"/,
  ],
];

for (const [title, call, ErrorClass, message] of WRONG) {
  Deno.test(`recalibrate refuses ${title}`, async () => {
    const error = await assertRejects(call, ErrorClass);
    assertMatch((error as Error).message, message);
  });
}

Deno.test("float16 layers are measured in turn, since onnxruntime trains them wrongly", async () => {
  const layer = new BatchNormalization({ name: "bn", dtype: "float16" });
  const one = decode(buildOnnx(layer, { inputShape: [null, 2], opset: 15 }));
  // Float16 statistics, and two of them.
  const graph = one.graph!;
  const bn = graph.node!.find((node) => node.opType === "BatchNormalization")!;
  graph.initializer = graph.initializer!.map((tensor) => ({
    ...tensor,
    dataType: onnx.TensorProto.DataType.FLOAT16,
    rawData: new Uint8Array(
      new Uint16Array(2).fill(tensor.name!.endsWith("var") ? 0x3c00 : 0).buffer,
    ),
  }));
  const [input] = graph.input!;
  graph.node = [
    { ...bn, name: "bn_1", input: ["x", ...bn.input!.slice(1)], output: ["z"] },
    { ...bn, name: "bn_2", input: ["z", ...bn.input!.slice(1)], output: ["y"] },
  ].map((node) => onnx.NodeProto.create(node));
  assertEquals(input!.name, "x");
  const model = onnx.ModelProto.encode(one).finish();
  const data = [tensor([1, 2, 3, 4], [2, 2], "float16")];
  await assertRejects(
    () => recalibrate(model, data),
    UnsupportedError,
    'use mode "sequential"',
  );
  const { bytes } = await recalibrate(model, data, { mode: "sequential" });
  assertEquals([...widen(statisticsOf(bytes)[0]!.mean)], [2, 3]);
});

Deno.test("a runtime is freed also after an error", async () => {
  let disposed = 0;
  await assertRejects(() =>
    recalibrate(NET, [tensor([1, 2], [1, 2])], {
      load: async (bytes) => {
        const model = await loadReference(bytes);
        return {
          run: (feeds, fetches) => model.run(feeds, fetches),
          dispose: async () => {
            disposed++;
            await model.dispose();
          },
        };
      },
    })
  );
  assertEquals(disposed, 1);
});
