import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  FormatError,
  OptionError,
  ShapeError,
  UnsupportedError,
} from "../errors.ts";
import { setKernels } from "../kernels/dispatch.ts";
import type { Axis } from "../layer/axis.ts";
import { BatchNormalization } from "../layer/batch_normalization.ts";
import {
  castTensor,
  type ElementType,
  type Tensor,
  tensor,
  toFloats,
} from "../tensor.ts";
import { Adam, SGD } from "./optimizers.ts";
import { decode, REPLICA_CASES } from "./testing/training_cases.ts";
import { trainStep } from "./train_step.ts";
import { TrainingState } from "./training_state.ts";

/** The promise of the issue: the same for any split of the data. */
const RELATIVE = 1e-12;

function assertRelative(actual: number, expected: number, what: string): void {
  assert(
    Math.abs(actual - expected) <= RELATIVE * Math.abs(expected),
    `${what}: ${actual} is not ${expected}`,
  );
}

/** Mean and population variance of integers, by exact arithmetic. */
function exactMoments(values: readonly number[]): [number, number] {
  const n = BigInt(values.length);
  const sum = values.reduce((total, v) => total + BigInt(v), 0n);
  const squares = values.reduce((total, v) => total + BigInt(v) ** 2n, 0n);
  // Scaled, so that the conversion to float64 is the only rounding to speak of.
  const scale = 1n << 200n;
  const quotient = (a: bigint, b: bigint) =>
    Number(a * scale / b) / 2 ** 100 / 2 ** 100;
  return [quotient(sum, n), quotient(n * squares - sum * sum, n * n)];
}

function stateOf(...batches: readonly (readonly number[])[]): TrainingState {
  const state = new TrainingState();
  for (const batch of batches) {
    state.add(tensor(new Float64Array(batch), [batch.length, 1]));
  }
  return state;
}

function assertMoments(
  state: TrainingState,
  values: readonly number[],
  what: string,
): void {
  const [mean, variance] = exactMoments(values);
  assertEquals(state.count, values.length, what);
  assertRelative(state.mean[0]!, mean, `${what}, mean`);
  assertRelative(state.variance[0]!, variance, `${what}, variance`);
}

/** Values of deviation 1000 or so around a mean of up to 1e6 deviations. */
const DATA = fc.tuple(
  fc.constantFrom(0, 1, 1e4, 1e6, 1e9, -1e9),
  fc.array(fc.integer({ min: -1000, max: 1000 }), {
    minLength: 1,
    maxLength: 40,
  }),
).map(([mean, deviations]) => deviations.map((d) => mean + d));

/** Merges states in a random tree: any two at a time. */
function mergeRandomly(
  states: TrainingState[],
  choose: (bound: number) => number,
): TrainingState {
  const left = [...states];
  while (left.length > 1) {
    const [a] = left.splice(choose(left.length), 1);
    const [b] = left.splice(choose(left.length), 1);
    left.push(a!.merge(b!));
  }
  return left[0]!;
}

Deno.test("any split, order and merge tree gives the same moments", () => {
  fc.assert(
    fc.property(
      DATA,
      fc.array(fc.nat(), { minLength: 200, maxLength: 200 }),
      (values, random) => {
        let drawn = 0;
        const choose = (bound: number) => random[drawn++ % 200]! % bound;
        assertMoments(stateOf(values), values, "one batch");
        assertMoments(stateOf(...values.map((v) => [v])), values, "one by one");
        const shuffled = [...values];
        for (let i = shuffled.length - 1; i > 0; i--) {
          const j = choose(i + 1);
          [shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!];
        }
        const parts: number[][] = [[]];
        for (const value of shuffled) {
          if (choose(3) === 0) parts.push([]);
          parts.at(-1)!.push(value);
        }
        assertMoments(stateOf(...parts), values, "batches");
        const states = parts.map((part) => stateOf(part));
        assertMoments(mergeRandomly(states, choose), values, "merged batches");
        const single = shuffled.map((v) => stateOf([v]));
        assertMoments(mergeRandomly(single, choose), values, "merged singles");
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("fractions far from 0 lose nothing either", () => {
  // Multiples of 2^-20 around 2^30: the mean is 1e9 deviations away, and
  // float64 just holds them.
  const units = [1, 5, 2, 8, 3, 1, 9, 4].map((d) => 2 ** 50 + d);
  const batches = units.map((unit) => [unit * 2 ** -20]);
  const state = stateOf(...batches);
  const [mean, variance] = exactMoments(units);
  assertRelative(state.mean[0]!, mean * 2 ** -20, "mean");
  assertRelative(state.variance[0]!, variance * 2 ** -40, "variance");
});

Deno.test("both kernels give the same bits", () => {
  const values = Array.from({ length: 60 }, (_, i) => 1e6 + (i * 7919) % 101);
  const bytes = (["typed-array", "wasm"] as const).map((choice) => {
    setKernels(choice);
    const state = new TrainingState({ axis: 1 });
    state.add(tensor(values, [5, 4, 3]));
    state.add(tensor(values, [3, 4, 5]));
    return state.toBytes();
  });
  setKernels("auto");
  assertEquals(bytes[0], bytes[1]);
});

/** The moments of a channel of a tensor, by counting. */
function channelOf(x: Tensor, axes: readonly number[], channel: number[]) {
  const values = toFloats(x, new Float64Array(x.data.length));
  return [...values].filter((_, i) => {
    let rest = i;
    const index = [...x.dims].reverse().map((extent) => {
      const at = rest % extent;
      rest = Math.floor(rest / extent);
      return at;
    }).reverse();
    return axes.every((axis, k) => index[axis] === channel[k]);
  });
}

const SHAPES: [number[], Axis, number[]][] = [
  [[4, 3], -1, [1]],
  [[2, 3, 4], 1, [1]],
  [[2, 3, 4], 0, [0]],
  [[2, 3, 4, 2], [1, 3], [1, 3]],
  [[2, 3, 4, 2], [3, 1], [1, 3]],
  [[2, 3, 4], [0, 1, 2], [0, 1, 2]],
  [[2, 3], [], []],
];

for (const type of ["float32", "float64", "float16", "bfloat16"] as const) {
  for (const [dims, axis, axes] of SHAPES) {
    Deno.test(`moments of ${type} [${dims}], axis ${JSON.stringify(axis)}`, () => {
      const length = dims.reduce((a, b) => a * b, 1);
      // Integers below 256, which all types hold.
      const values = Array.from({ length }, (_, i) => (i * 37) % 101 + 100);
      const x = castTensor(tensor(values, dims), type as ElementType);
      const state = new TrainingState({ axis });
      state.add(x);
      state.add(x);
      // A single axis is at its place in the rank.
      const kept = axes.map((a) => axis === -1 ? dims.length - 1 : a);
      const shape = kept.map((a) => dims[a]!);
      assertEquals(state.shape, shape);
      let c = 0;
      const visit = (channel: number[]): void => {
        if (channel.length < shape.length) {
          for (let i = 0; i < shape[channel.length]!; i++) {
            visit([...channel, i]);
          }
          return;
        }
        const own = channelOf(x, kept, channel);
        const [mean, variance] = exactMoments([...own, ...own]);
        assertEquals(state.count, 2 * own.length);
        assertRelative(state.mean[c]!, mean, `mean ${c}`);
        assertRelative(state.variance[c]!, variance, `variance ${c}`);
        c++;
      };
      visit([]);
      assertEquals(state.mean.length, c);
    });
  }
}

Deno.test("a state without data", () => {
  const state = new TrainingState();
  assertEquals([state.count, state.shape], [0, undefined]);
  assertEquals([state.mean, state.variance], [
    new Float64Array(),
    new Float64Array(),
  ]);
  const merged = state.merge(new TrainingState());
  assertEquals([merged.count, merged.shape], [0, undefined]);
  const data = stateOf([1, 2, 3]);
  for (const both of [state.merge(data), data.merge(state)]) {
    assertEquals(both.toBytes(), data.toBytes());
  }
});

Deno.test("an empty batch fixes the channels and nothing else", () => {
  const state = new TrainingState();
  state.add(tensor([], [0, 2]));
  assertEquals([state.count, state.shape], [0, [2]]);
  assertEquals([...state.mean, ...state.variance], [NaN, NaN, NaN, NaN]);
  assertThrows(() => state.add(tensor([1], [1, 1])), ShapeError, "[2]");
  state.add(tensor([1, 2], [1, 2]));
  state.add(tensor([], [0, 2]));
  assertEquals([state.count, [...state.mean]], [1, [1, 2]]);
  const none = new TrainingState({ axis: 1 });
  none.add(tensor([], [3, 0]));
  assertEquals([none.count, none.mean], [3, new Float64Array()]);
});

Deno.test("one element has its value and no deviation", () => {
  const state = stateOf([0.1]);
  assertEquals([...state.mean, ...state.variance], [0.1, 0]);
});

Deno.test("NaN and infinity stay in their channels", () => {
  const state = new TrainingState();
  state.add(tensor([1, Infinity, NaN, 4], [1, 4]));
  state.add(tensor([3, 1, 1, -Infinity], [1, 4]));
  state.add(tensor([5, 1, 1, Infinity], [1, 4]));
  assertEquals([...state.mean], [3, Infinity, NaN, NaN]);
  assertRelative(state.variance[0]!, 8 / 3, "variance");
  assertEquals([...state.variance.slice(1)], [NaN, NaN, NaN]);
});

Deno.test("batches that do not fit change nothing", () => {
  const state = stateOf([1, 2]);
  const before = state.toBytes();
  assertThrows(
    () => state.add(tensor([1, 2], [1, 2])),
    ShapeError,
    "channels [1]",
  );
  assertThrows(() => state.add(tensor([1], [])), ShapeError, "axis -1");
  assertThrows(() => state.add({} as never), OptionError, "batch");
  assertEquals(state.toBytes(), before);
  const twice = new TrainingState({ axis: [0, -2] });
  assertThrows(() => twice.add(tensor([1], [1, 1])), ShapeError, "twice");
  const other = new TrainingState();
  other.add(tensor([1, 2], [1, 2]));
  assertThrows(() => state.merge(other), ShapeError, "merge");
  assertThrows(() => new TrainingState({ axis: 0.5 }), OptionError, "axis");
});

Deno.test("merge leaves its states alone and keeps the left one's parts", () => {
  const layer = new BatchNormalization({ axis: 1 });
  const optimizer = new SGD();
  const left = new TrainingState({ layer });
  left.add(tensor([1, 2, 3, 4], [2, 2]));
  const right = new TrainingState({ optimizer });
  right.add(tensor([5, 6], [1, 2]));
  const before = [left.toBytes(), right.toBytes()];
  const merged = left.merge(right);
  merged.add(tensor([7, 8], [1, 2]));
  assertEquals([left.toBytes(), right.toBytes()], before);
  assertEquals([merged.axis, merged.layer, merged.optimizer], [
    1,
    layer,
    optimizer,
  ]);
  assertEquals([...merged.mean], [4, 5]);
});

Deno.test("accessors give copies", () => {
  const state = stateOf([1, 2]);
  const before = state.toBytes();
  state.mean.fill(9);
  state.variance.fill(9);
  (state.shape as number[]).fill(9);
  assertEquals(state.toBytes(), before);
});

/** What Keras' weights are after a step that saw these moments. */
function movedBy(value: number, batch: number): number {
  return value - (value - batch) * 0.5;
}

for (const [line, , entry] of REPLICA_CASES) {
  Deno.test(`states of replicas: ${line} ${entry.name}`, () => {
    const { axis = -1 } = entry.options as { axis?: number };
    const states = entry.replicas.map(({ x, mask }) => {
      const state = new TrainingState({ axis });
      const batch = decode(x);
      if (!mask) {
        state.add(batch);
        return state;
      }
      // A state has no masks: it gets the positions that count.
      const channels = batch.dims.at(-1)!;
      const kept = decodeMask(mask).flatMap((weight, i) =>
        weight ? [...batch.data.slice(i * channels, (i + 1) * channels)] : []
      );
      state.add(tensor(kept, [kept.length / channels, channels]));
      return state;
    });
    const merged = states.reduce((a, b) => a.merge(b));
    let mean = merged.mean;
    let variance = merged.variance;
    const averaged = (values: (state: TrainingState) => Float64Array) =>
      values(states[0]!).map((v, c) => (v + values(states[1]!)[c]!) / 2);
    if (line === "k3" && /^not_synchronized|mask/.test(entry.name)) {
      // Keras 3 shows the first replica's, and does not synchronize masks.
      ({ mean, variance } = states[0]!);
    } else if (entry.name.startsWith("not_synchronized")) {
      mean = averaged((state) => state.mean);
      variance = averaged((state) => state.variance);
    } else if (line === "k24" && axis === 1) {
      // TensorFlow 2.4's bug: it divides by the batch times the extents 1 and
      // 2, whatever the axis is.
      const [batch, channels, height, width] = [6, 3, 2, 1];
      const factor = batch * height * width / (batch * channels * height);
      const squares = variance.map((v, c) => (v + mean[c]! ** 2) * factor);
      mean = mean.map((m) => m * factor);
      variance = squares.map((square, c) => square - mean[c]! ** 2);
    }
    const check = (name: string, batch: Float64Array) => {
      const before = decode(entry.initialWeights[name]!).data;
      decode(entry.weightsAfter[name]!).data.forEach((expected, c) => {
        // Float32 sums of at most 12 squares below 16 and ten operations more;
        // Keras 3's mask also adds 1e-7 to its counts of 1 or more.
        const bound = (12 + 10) * 2 ** -24 * 16 +
          (line === "k3" && entry.name.includes("mask") ? 16e-7 : 0);
        const actual = movedBy(before[c]!, batch[c]!);
        assert(
          Math.abs(actual - expected) <= bound,
          `${name}[${c}]: ${actual}, ${expected}`,
        );
      });
    };
    check("moving_mean", mean);
    check("moving_variance", variance);
  });
}

function decodeMask(mask: { data: string }): number[] {
  return [...atob(mask.data)].map((char) => char.charCodeAt(0));
}

Deno.test("applyTo sets the moving statistics", () => {
  const layer = new BatchNormalization();
  layer.build([null, 2]);
  const state = new TrainingState({ layer });
  state.add(tensor([1, 10, 3, 30], [2, 2]));
  const { movingMean } = layer;
  state.applyTo(layer);
  assertEquals(layer.movingMean, movingMean); // in place
  assertEquals([...layer.movingMean.data], [2, 20]);
  assertEquals([...layer.movingVariance.data], [1, 100]);
  assertEquals([...layer.gamma!.data], [1, 1]);
  state.applyTo(layer, { unbiased: true });
  assertEquals([...layer.movingVariance.data], [2, 200]);
});

Deno.test("applyTo: one element has variance 0, unbiased or not", () => {
  const layer = new BatchNormalization();
  layer.build([null, 1]);
  for (const unbiased of [false, true]) {
    stateOf([3]).applyTo(layer, { unbiased });
    assertEquals([...layer.movingVariance.data], [0]);
  }
});

Deno.test("applyTo sets renormalization's averages too", () => {
  const layer = new BatchNormalization({
    renorm: true,
    epsilon: 0.25,
    dtype: "float64",
  });
  layer.build([null, 1]);
  stateOf([1, 4]).applyTo(layer);
  const values = layer.weights.slice(2).map(({ data }) => data[0]);
  const deviation = Math.sqrt(2.5);
  assertEquals(values, [2.5, 2.25, deviation, 2.5, deviation]);
  // Another batch like it is then normalized as in inference: r = 1, d = 0.
  const x = tensor(new Float64Array([1, 4]), [2, 1]);
  assertEquals(
    layer.call(x, { training: true }).data.map(Math.fround),
    layer.call(x).data.map(Math.fround),
  );
});

Deno.test("applyTo fits ghost batches and several axes", () => {
  const ghosts = new BatchNormalization({ virtualBatchSize: 2 });
  ghosts.build([4, 3]);
  assertEquals(ghosts.movingMean.dims, [1, 1, 3]);
  const state = new TrainingState({ layer: ghosts });
  state.add(tensor([1, 2, 3], [1, 3]));
  state.applyTo(ghosts);
  assertEquals([...ghosts.movingMean.data], [1, 2, 3]);
  const layer = new BatchNormalization({ axis: [1, 3] });
  layer.build([null, 2, 5, 3]);
  const many = new TrainingState({ layer });
  many.add(tensor(Array.from({ length: 6 }, (_, i) => i), [1, 2, 1, 3]));
  many.applyTo(layer);
  assertEquals([...layer.movingMean.data], [0, 1, 2, 3, 4, 5]);
  // As many channels, but others.
  const turned = new BatchNormalization({ axis: [1, 3] });
  turned.build([null, 3, 5, 2]);
  assertThrows(() => many.applyTo(turned), ShapeError, "[1, 3, 1, 2]");
});

Deno.test("applyTo that fails changes nothing", () => {
  const layer = new BatchNormalization();
  assertThrows(() => stateOf([1]).applyTo(layer), ShapeError, "no weights yet");
  layer.build([null, 1]);
  const before = layer.getWeights();
  assertThrows(
    () => new TrainingState().applyTo(layer),
    OptionError,
    "no data",
  );
  assertThrows(() => stateOf([]).applyTo(layer), OptionError, "no data");
  assertThrows(() => stateOf([1, NaN]).applyTo(layer), OptionError, "NaN");
  assertThrows(
    () => stateOf([1, Infinity]).applyTo(layer),
    OptionError,
    "channel 0",
  );
  const two = new TrainingState();
  two.add(tensor([1, 2], [1, 2]));
  assertThrows(() => two.applyTo(layer), ShapeError, "channels");
  assertEquals(layer.getWeights(), before);
});

/** Both ways to save. */
const SAVED: [string, (state: TrainingState) => TrainingState][] = [
  ["bytes", (state) => TrainingState.fromBytes(state.toBytes())],
  ["JSON", (state) => TrainingState.fromJSON(JSON.stringify(state))],
];

for (const [form, reload] of SAVED) {
  Deno.test(`every float64 survives ${form}`, () => {
    fc.assert(fc.property(
      fc.array(fc.double(), { minLength: 1, maxLength: 5 }),
      (values) => {
        const state = new TrainingState({ axis: [0, 1] });
        state.add(tensor(new Float64Array(values), [1, values.length]));
        const again = reload(state);
        assertEquals(again.toBytes(), state.toBytes());
        assertEquals(again.mean, state.mean);
        assertEquals([again.count, again.axis, again.shape], [1, [0, 1], [
          1,
          values.length,
        ]]);
      },
    ));
  });

  Deno.test(`a state without data survives ${form}`, () => {
    const again = reload(new TrainingState({ axis: 2 }));
    assertEquals([again.count, again.axis, again.shape], [0, 2, undefined]);
    assertEquals([again.layer, again.optimizer], [undefined, undefined]);
  });

  const OPTIONS: Record<
    string,
    ConstructorParameters<typeof BatchNormalization>[0]
  > = {
    plain: {},
    "Keras 3": { kerasVersion: "3", dtype: "float16", renorm: true },
    "fused forbidden": { kerasVersion: "2.6", fused: false },
    "fused required": { fused: true, epsilon: 1e-7 },
    "frozen, without beta": { trainable: false, center: false },
    synchronized: { kerasVersion: "2.12", synchronized: true },
    "ghost batches": {
      virtualBatchSize: 2,
      renorm: true,
      renormClipping: { rmax: 1.5 },
    },
    "several axes": { axis: [1, 3], dtype: "float64" },
    penalties: {
      gammaRegularizer: { class_name: "L1L2", config: { l1: 0.01, l2: 0.03 } },
      betaRegularizer: "l2",
      activityRegularizer: "l1",
      gammaConstraint: "max_norm",
      betaConstraint: "non_neg",
      gammaInitializer: { class_name: "RandomNormal", config: { seed: 1 } },
    },
  };
  for (const [name, options] of Object.entries(OPTIONS)) {
    Deno.test(`training goes on after ${form} with the same bits: ${name}`, () => {
      const kerasVersion = options?.kerasVersion ?? "2.4";
      let layer = new BatchNormalization(options);
      let optimizer = new Adam({ kerasVersion, amsgrad: true });
      const straight = new BatchNormalization({ ...options, name: layer.name });
      const other = new Adam({ kerasVersion, amsgrad: true });
      let state = new TrainingState({ layer, optimizer });
      const moments = new TrainingState({ layer });
      for (let step = 0; step < 4; step++) {
        const values = Array.from(
          { length: 48 },
          (_, i) => ((i + 5 * step) * 7919) % 101 / 10,
        );
        const x = tensor(values, [4, 2, 2, 3]);
        const gradient = (y: Tensor): Tensor =>
          tensor(
            toFloats(y, new Float64Array(48)).map((v, i) => v - (i % 4)),
            y.dims,
          );
        const results = [
          trainStep(layer, x, { optimizer, gradient }),
          trainStep(straight, x, { optimizer: other, gradient }),
        ];
        assertEquals(results[0], results[1]);
        state.add(x);
        moments.add(x);
        assertEquals(layer.getWeights(), straight.getWeights());
        state = reload(state);
        assert(state.layer !== layer && state.optimizer !== optimizer);
        layer = state.layer!;
        optimizer = state.optimizer as Adam;
        assertEquals(optimizer.getState(), other.getState());
        assertEquals(layer.className, straight.className);
        for (const key of ["fused", "synchronized", "dtype"] as const) {
          assertEquals(layer.options[key], straight.options[key]);
        }
        assertEquals([state.mean, state.variance], [
          moments.mean,
          moments.variance,
        ]);
      }
      assertEquals(optimizer.iterations, options?.trainable === false ? 0 : 4);
    });
  }
}

Deno.test("TF 1's class stays one, which a freeze does not stop", () => {
  const layer = BatchNormalization.fromConfig({
    class_name: "BatchNormalizationV1",
    config: { trainable: false },
  });
  const x = tensor([1, 3], [2, 1]);
  const y = layer.call(x, { training: true });
  assertEquals(y.data[0], -y.data[1]!);
  const again = TrainingState.fromBytes(
    new TrainingState({ layer }).toBytes(),
  ).layer!;
  assertEquals(again.className, "BatchNormalizationV1");
  assertEquals(again.call(x, { training: true }), y);
});

Deno.test("what cannot be loaded again is not saved", () => {
  const own = { loss: () => 0, gradient: () => {} };
  class Own extends SGD {}
  const optimizer = new Own();
  const foreign = { ...optimizer, className: "Own", apply: () => {} };
  const refused: [TrainingState, string][] = [
    [
      new TrainingState({
        layer: new BatchNormalization({
          adjustment: () => [tensor([1], [1]), tensor([0], [1])],
        }),
      }),
      "adjustment",
    ],
    [
      new TrainingState({
        layer: new BatchNormalization({ gammaRegularizer: own }),
      }),
      "gammaRegularizer",
    ],
    [
      new TrainingState({
        layer: new BatchNormalization({
          betaConstraint: (w: Float64Array) => w,
        }),
      }),
      "betaConstraint",
    ],
    [new TrainingState({ optimizer: foreign as never }), "Own"],
  ];
  for (const [state, message] of refused) {
    assertThrows(() => state.toBytes(), UnsupportedError, message);
    assertThrows(() => JSON.stringify(state), UnsupportedError, message);
  }
  // A filler of one's own does not matter once there are weights.
  const layer = new BatchNormalization({
    gammaInitializer: (shape: readonly number[]) =>
      new Float64Array(shape[0]!).fill(3),
  });
  layer.build([null, 2]);
  const again = TrainingState.fromBytes(new TrainingState({ layer }).toBytes());
  assertEquals([...again.layer!.gamma!.data], [3, 3]);
});

Deno.test("a layer that is not built is saved without weights", () => {
  const layer = new BatchNormalization({ momentum: 0.5 });
  const again = TrainingState.fromBytes(new TrainingState({ layer }).toBytes());
  assertEquals(again.layer!.getWeights(), []);
  assertEquals(again.layer!.getConfig(), layer.getConfig());
});

Deno.test("a loaded layer keeps the spelling of its file", () => {
  const config = {
    name: "bn",
    axis: [3],
    epsilon: 0.001,
    unknown: { key: [1, null] },
  };
  const layer = BatchNormalization.fromConfig(config);
  const again = TrainingState.fromJSON(
    JSON.stringify(new TrainingState({ layer })),
  );
  assertEquals(again.layer!.getConfig(), layer.getConfig());
});

Deno.test("errors of loading are FormatErrors", () => {
  for (const value of [undefined, null, 1, "", "{", "[]", [], {}]) {
    assertThrows(() => TrainingState.fromJSON(value), FormatError);
    assertThrows(() => TrainingState.fromBytes(value as never), FormatError);
  }
});
