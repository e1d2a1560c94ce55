// Gradients against central differences in float64, on both kernels.

import {
  assert,
  assertEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { OptionError, ShapeError } from "../errors.ts";
import { KERNELS } from "../kernels/dispatch.ts";
import { type Tensor, tensor } from "../tensor.ts";
import { BatchNormalization } from "./batch_normalization.ts";
import type { CallOptions } from "./call_options.ts";
import { mergeMoments } from "./channel_moments.ts";
import type { BatchNormalizationOptions } from "./options.ts";
import { RandomGenerator } from "./random.ts";

/** What is differentiated. */
interface Mode {
  readonly name: string;
  readonly options: BatchNormalizationOptions;
  readonly dims: readonly number[];
  readonly call: CallOptions;
}

const random = new RandomGenerator(9);

function normals(dims: readonly number[], mean = 0): Tensor {
  const length = dims.reduce((a, b) => a * b, 1);
  return tensor(
    Float64Array.from({ length }, () => mean + random.normal()),
    dims,
  );
}

const training = { training: true };

const MODES: readonly Mode[] = [
  { name: "inference", options: {}, dims: [4, 3], call: {} },
  {
    name: "frozen",
    options: { trainable: false },
    dims: [4, 3],
    call: training,
  },
  { name: "training, rank 1", options: { axis: 0 }, dims: [3], call: training },
  { name: "training, rank 2", options: {}, dims: [6, 3], call: training },
  {
    name: "training, channels first",
    options: { axis: 1 },
    dims: [3, 4, 2, 3],
    call: training,
  },
  {
    name: "training, several axes",
    options: { axis: [1, 3] },
    dims: [4, 2, 3, 2],
    call: training,
  },
  {
    name: "training, no gamma and no beta",
    options: { scale: false, center: false },
    dims: [6, 3],
    call: training,
  },
  {
    // Both corrections at their bounds, so that they are constants.
    name: "renorm",
    options: {
      renorm: true,
      renormClipping: { rmin: 1.3, rmax: 1.3, dmax: 1e-9 },
    },
    dims: [6, 3],
    call: training,
  },
  {
    name: "ghost batches",
    options: { virtualBatchSize: 3 },
    dims: [6, 4],
    call: training,
  },
  {
    name: "ghost batches, channels first",
    options: { virtualBatchSize: 2, axis: 1 },
    dims: [6, 3, 2],
    call: training,
  },
  {
    name: "ghost batches with renorm",
    options: {
      virtualBatchSize: 3,
      renorm: true,
      renormClipping: { rmin: 0.8, rmax: 0.8, dmax: 1e-9 },
    },
    dims: [6, 4],
    call: training,
  },
  {
    name: "adjustment",
    options: {
      adjustment: ([batch]) => [
        normalsOnce("scale", [batch!, 1]),
        normalsOnce("bias", [3]),
      ],
    },
    dims: [6, 3],
    call: training,
  },
  {
    name: "mask of Keras 2",
    options: { kerasVersion: "2.12" },
    dims: [4, 3, 2],
    call: {
      training: true,
      mask: Uint8Array.of(1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0),
    },
  },
  {
    name: "mask of Keras 3",
    options: { kerasVersion: "3" },
    dims: [4, 3, 2],
    call: {
      training: true,
      mask: tensor([1, 0, 1], [1, 3]),
    },
  },
];

/** The same tensor at every call. */
const kept = new Map<string, Tensor>();
function normalsOnce(name: string, dims: readonly number[]): Tensor {
  const found = kept.get(name) ?? normals(dims);
  kept.set(name, found);
  return found;
}

/**
 * The step h and the tolerance: central differences are off by h^2 / 6 times
 * the third derivative (about 1e-10 times what is of order 100 here) and by
 * the rounding of the loss over h (1e-16 * 100 / 1e-5).
 */
const STEP = 1e-5;
const TOLERANCE = 1e-6;

function makeLayer(mode: Mode, kernels: "wasm" | "typed-array") {
  const layer = new BatchNormalization({
    epsilon: 1e-2,
    dtype: "float64",
    ...mode.options,
    kernels,
  });
  layer.build(mode.dims);
  const weights = layer.getWeights().map(({ dims }) => {
    const values = normals(dims);
    // Deviations and variances are positive; means may be, too.
    return tensor(values.data.map((v) => 0.5 + Math.abs(v)), dims);
  });
  layer.setWeights(weights);
  return { layer, weights };
}

for (const mode of MODES) {
  for (const { name: kernels } of KERNELS) {
    Deno.test(`${mode.name} on ${kernels}`, () => {
      const { layer, weights } = makeLayer(mode, kernels);
      const x = normals(mode.dims, 2);
      const dy = normals(mode.dims);
      // Averages are constants: each evaluation starts from the same ones.
      const loss = (): number => {
        const before = layer.getWeights();
        const y = layer.call(x, mode.call);
        layer.setWeights(before);
        return (y.data as Float64Array).reduce(
          (sum, v, i) => sum + v * dy.data[i]!,
          0,
        );
      };
      layer.setWeights(weights);
      layer.call(x, mode.call);
      const { dx, dgamma, dbeta } = layer.backward(dy);
      layer.setWeights(weights);
      const check = (
        what: string,
        values: () => Tensor["data"],
        gradient: Tensor,
      ) => {
        for (let i = 0; i < gradient.data.length; i++) {
          const at = values()[i]!;
          values()[i] = at + STEP;
          const above = loss();
          values()[i] = at - STEP;
          const below = loss();
          values()[i] = at;
          const difference = (above - below) / (2 * STEP);
          assert(
            Math.abs(gradient.data[i]! - difference) <= TOLERANCE,
            `${what}[${i}]: ${gradient.data[i]}, differences ${difference}`,
          );
        }
      };
      check("dx", () => x.data, dx);
      assertEquals(dgamma !== undefined, layer.gamma !== undefined);
      assertEquals(dbeta !== undefined, layer.beta !== undefined);
      // A fresh look-up each time: the loss replaces the variables.
      if (dgamma) check("dgamma", () => layer.gamma!.data, dgamma);
      if (dbeta) check("dbeta", () => layer.beta!.data, dbeta);
    });
  }
}

Deno.test("replicas with merged moments are one large batch", () => {
  const whole = normals([7, 3], 5);
  const dy = normals([7, 3]);
  const part = (t: Tensor, from: number, to: number): Tensor =>
    tensor(t.data.slice(from * 3, to * 3), [to - from, 3]);
  const replica = () => new BatchNormalization({ dtype: "float64" });
  const one = replica();
  const y = one.call(whole, training);
  const expected = one.backward(dy);

  const bounds = [[0, 2], [2, 7]] as const;
  const layers = bounds.map(replica);
  const local = bounds.map(([a, b], r) =>
    layers[r]!.moments(part(whole, a, b))
  );
  const moments = mergeMoments(local[0]!, local[1]!);
  const outputs = bounds.map(([a, b], r) =>
    layers[r]!.call(part(whole, a, b), { training: true, moments })
  );
  const sums = bounds.map(([a, b], r) =>
    layers[r]!.gradientSums(part(dy, a, b))
  );
  const add = (p: Float64Array, q: Float64Array) => p.map((v, c) => v + q[c]!);
  const total = {
    sum: add(sums[0]!.sum, sums[1]!.sum),
    product: add(sums[0]!.product, sums[1]!.product),
  };
  const gradients = bounds.map(([a, b], r) =>
    layers[r]!.backward(part(dy, a, b), { sums: total })
  );
  const near = (p: ArrayLike<number>, q: ArrayLike<number>) => {
    assertEquals(p.length, q.length);
    for (let i = 0; i < p.length; i++) {
      assert(Math.abs(p[i]! - q[i]!) <= 1e-12, `${p[i]} ${q[i]}`);
    }
  };
  near(outputs.flatMap(({ data }) => [...data]), y.data);
  near(gradients.flatMap(({ dx }) => [...dx.data]), expected.dx.data);
  near(
    add(
      gradients[0]!.dgamma!.data as Float64Array,
      gradients[1]!.dgamma!.data as Float64Array,
    ),
    expected.dgamma!.data,
  );
  for (const layer of layers) {
    near(layer.movingMean.data, one.movingMean.data);
    near(layer.movingVariance.data, one.movingVariance.data);
  }
});

Deno.test("an empty batch changes nothing and has gradients of 0", () => {
  for (const { name: kernels } of KERNELS) {
    for (const options of [{}, { virtualBatchSize: 2 }, { renorm: true }]) {
      const layer = new BatchNormalization({ ...options, kernels });
      layer.build([null, 3]);
      const before = layer.getWeights();
      const empty = tensor([], [0, 3]);
      assertEquals(layer.call(empty, training).dims, [0, 3]);
      assertEquals(layer.getWeights(), before);
      const { dx, dgamma, dbeta } = layer.backward(empty);
      assertEquals(dx.dims, [0, 3]);
      assertEquals([...dgamma!.data], [0, 0, 0]);
      assertEquals([...dbeta!.data], [0, 0, 0]);
    }
  }
});

Deno.test("training in place keeps what the gradients need", () => {
  const data = Float32Array.from([1, 2, 4, 9]);
  const separate = new BatchNormalization();
  const inPlace = new BatchNormalization();
  const dy = tensor([1, 0, -1, 2], [4, 1]);
  const y = separate.call(tensor(data.slice(), [4, 1]), training);
  const x = tensor(data, [4, 1]);
  inPlace.call(x, { training: true, out: x });
  assertEquals(x.data, y.data);
  assertEquals(inPlace.backward(dy), separate.backward(dy));
});

Deno.test("gradients that cannot be are refused", () => {
  const layer = new BatchNormalization({ name: "bn" });
  const x = tensor([1, 2], [2, 1]);
  assertThrows(
    () => layer.backward(x),
    OptionError,
    'layer "bn": it was not called yet',
  );
  layer.call(x);
  assertThrows(
    () => layer.backward(tensor([1], [1, 1])),
    ShapeError,
    "expected shape [2, 1], got [1, 1]",
  );
  assertThrows(() => layer.gradientSums(x), OptionError, "not in training");
  layer.call(x, { out: x });
  assertThrows(() => layer.backward(x), OptionError, "overwrote its input");
});

Deno.test("gradients have the types of what they are by", () => {
  const layer = new BatchNormalization({ dtype: "mixed_float16" });
  const x = tensor([1, 2, 3, 4], [4, 1]); // float32
  const y = layer.call(x, training);
  assertEquals(y.type, "float16");
  const { dx, dgamma, dbeta } = layer.backward(y);
  assertEquals([dx.type, dgamma!.type, dbeta!.type], [
    "float32",
    "float32",
    "float32",
  ]);
});

Deno.test("the gradient by the input goes where out says", () => {
  const dims = [2, 3, 5];
  const x = tensor(Float32Array.from({ length: 30 }, (_, i) => i % 7), dims);
  const dy = tensor(Float32Array.from({ length: 30 }, (_, i) => i % 4), dims);
  for (const training of [true, false]) {
    const layer = new BatchNormalization({ axis: 1 });
    layer.call(x, { training });
    const expected = layer.backward(dy);
    const out = tensor(new Float32Array(30).fill(9), dims);
    const { dx, dgamma, dbeta } = layer.backward(dy, { out });
    assertStrictEquals(dx, out);
    assertEquals({ dx, dgamma, dbeta }, expected as unknown);
    assertThrows(
      () => layer.backward(dy, { out: dy }),
      OptionError,
      "shares memory with the input or dy",
    );
    assertThrows(() => layer.backward(dy, { out: x }), OptionError);
    assertThrows(
      () => layer.backward(dy, { out: tensor([1], [1]) }),
      ShapeError,
      "expected shape [2, 3, 5]",
    );
    assertThrows(
      () => layer.backward(dy, { out: tensor(new Float64Array(30), dims) }),
      OptionError,
      "expected type float32",
    );
  }
});

/** A layer that may be called; what it computes depends on the seed. */
function seeded(
  kernels: "wasm" | "typed-array",
  options: BatchNormalizationOptions = {},
): BatchNormalization {
  const layer = new BatchNormalization({ ...options, kernels });
  layer.build([null, 3]);
  layer.setWeights([
    tensor([1, 2, 3], [3]),
    tensor([4, 5, 6], [3]),
    tensor([0, 0, 0], [3]),
    tensor([1, 1, 1], [3]),
  ]);
  return layer;
}

Deno.test("gradients are those of a layer's own last call, whatever others do", () => {
  const [x1, x2, x3, dy1, dy2] = [5, 5, 9, 5, 5].map((rows) =>
    normals([rows, 3])
  ) as [Tensor, Tensor, Tensor, Tensor, Tensor];
  for (const { name } of KERNELS) {
    const once = (x: Tensor, dy: Tensor) => {
      const layer = seeded(name);
      layer.call(x, training);
      return layer.backward(dy);
    };
    const wanted1 = once(x1, dy1);
    const wanted2 = once(x2, dy2);
    const one = seeded(name);
    const two = seeded(name);
    // So often that vectors of calls before are used again.
    for (let step = 0; step < 4; step++) {
      one.call(x3, training);
      one.call(x1, training);
      two.call(x2, training);
      const found1 = one.backward(dy1);
      const found2 = two.backward(dy2);
      assertEquals(found1, wanted1, name);
      assertEquals(found2, wanted2, name);
      assertEquals(one.backward(dy1), wanted1, name);
    }
  }
});

Deno.test("a call that fails, or is made within one, leaves the gradients alone", () => {
  const [x1, x2, dy] = [normals([5, 3]), normals([5, 3]), normals([5, 3])];
  for (const { name } of KERNELS) {
    let within: (() => void) | undefined;
    const layer = seeded(name, {
      activityRegularizer: () => {
        const run = within;
        within = undefined;
        run?.();
        return 0;
      },
    });
    layer.call(x2, training);
    layer.call(x1, training);
    const wanted = layer.backward(dy);
    within = () => {
      throw new Error("not now");
    };
    assertThrows(() => layer.call(x2, training), Error, "not now");
    assertEquals(layer.backward(dy), wanted, name);
    within = () => void layer.call(x2, training);
    layer.call(x1, training);
    assertEquals(layer.backward(dy), wanted, name);
  }
});
