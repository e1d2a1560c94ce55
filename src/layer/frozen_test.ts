import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import * as fc from "fast-check";
import { OptionError, ShapeError } from "../errors.ts";
import { allocate as allocateInFull } from "../kernels/allocate.ts";
import { allocate, resolveKernels } from "../kernels/inference_dispatch.ts";
import { layoutOf } from "../kernels/layout.ts";
import { assertSameBits } from "../kernels/testing/bits.ts";
import { ELEMENT_TYPES, makeInput } from "../kernels/testing/cases.ts";
import { type ElementType, type Tensor, tensor } from "../tensor.ts";
import { BatchNormalization } from "./batch_normalization.ts";
import { FrozenBatchNormalization, type FrozenWeights } from "./frozen.ts";

const KERNELS = ["wasm", "typed-array"] as const;

function makeWeights(
  channels: number,
  dtype: ElementType = "float32",
): Required<FrozenWeights> & { all: Tensor[] } {
  const vector = (of: (c: number) => number): Tensor =>
    tensor(
      Array.from({ length: channels }, (_, c) => of(c)),
      [channels],
      dtype,
    );
  const gamma = vector((c) => 1 - c / 8);
  const beta = vector((c) => c / 3);
  const movingMean = vector((c) => Math.sin(c));
  const movingVariance = vector((c) => 0.5 + c / 7);
  return {
    gamma,
    beta,
    movingMean,
    movingVariance,
    all: [gamma, beta, movingMean, movingVariance],
  };
}

function weightsOf(channels: number, dtype?: ElementType): FrozenWeights {
  const { all: _, ...weights } = makeWeights(channels, dtype);
  return weights;
}

Deno.test("any shape, axis and type: the bits of BatchNormalization", () => {
  fc.assert(fc.property(
    fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 5 }),
    fc.nat(),
    fc.constantFrom(...ELEMENT_TYPES),
    fc.constantFrom(...KERNELS),
    fc.nat(),
    (dims, at, type, kernels, seed) => {
      const axis = at % dims.length;
      const channels = dims[axis]!;
      const { all, ...weights } = makeWeights(channels);
      const layer = new BatchNormalization({
        axis,
        fused: false,
        dtype: type === "float16" || type === "bfloat16"
          ? `mixed_${type}`
          : type,
      });
      layer.setWeights(all);
      const count = dims.reduce((product, extent) => product * extent, 1);
      const x = tensor(makeInput(type, count, seed), dims, type);
      const frozen = new FrozenBatchNormalization(weights, { axis, kernels });
      const expected = layer.call(x);
      const y = frozen.call(x);
      assertEquals([y.type, y.dims], [type, dims]);
      assertSameBits(y.data, expected.data, `${type}, ${kernels}`);
      // Again, on another shape's layout and in place.
      frozen.call(x, { out: x });
      assertSameBits(x.data, expected.data, `${type}, ${kernels}, in place`);
    },
  ));
});

Deno.test("gamma and beta are optional, and axes may be several", () => {
  const { movingMean, movingVariance } = makeWeights(6);
  const frozen = new FrozenBatchNormalization(
    { movingMean, movingVariance, gamma: undefined },
    { axis: [0, 2], epsilon: 0.25 },
  );
  const layer = new BatchNormalization({
    axis: [0, 2],
    epsilon: 0.25,
    scale: false,
    center: false,
  });
  layer.build([2, 4, 3]);
  layer.setWeights(
    [movingMean, movingVariance].map(({ data }) => tensor(data, [2, 1, 3])),
  );
  const x = tensor(makeInput("float32", 24, 1), [2, 4, 3]);
  assertSameBits(frozen.call(x).data, layer.call(x).data, "two axes");
});

Deno.test("tensors of either entry's memory are computed, inference and training", () => {
  const dims = [2, 3, 70];
  const values = makeInput("float32", 420, 3).map((v) =>
    Number.isFinite(v) ? Math.tanh(v) : 0
  ) as Float32Array;
  using here = allocate(dims);
  using there = allocateInFull(dims);
  const frozen = new FrozenBatchNormalization(weightsOf(3), { axis: 1 });
  const layer = new BatchNormalization({ axis: 1 });
  const expected = frozen.call(tensor(values, dims)).data;
  const trained = layer.call(tensor(values, dims), { training: true }).data;
  for (const x of [here, there]) {
    (x.data as Float32Array).set(values);
    assertSameBits(frozen.call(x).data, expected, "inference");
    const again = new BatchNormalization({ axis: 1 });
    const y = again.call(x, { training: true });
    assertSameBits(y.data, trained, "training");
    for (const out of [here, there]) {
      (x.data as Float32Array).set(values);
      frozen.call(x, { out });
      assertSameBits(out.data, expected, "inference across memories");
    }
  }
});

Deno.test("a Float16Array begets a Float16Array", () => {
  const frozen = new FrozenBatchNormalization(weightsOf(2), { axis: 1 });
  const x = tensor(new Float16Array([1, 2]), [1, 2]);
  assertEquals(frozen.call(x).data instanceof Float16Array, true);
});

Deno.test("what does not fit is refused", () => {
  const weights = weightsOf(3);
  const frozen = new FrozenBatchNormalization(weights, { name: "bn_1" });
  const x = tensor([1, 2, 3], [1, 3]);
  const cases: [() => unknown, new (...a: never[]) => Error, string][] = [
    [
      () => frozen.call(tensor([1, 2], [1, 2])),
      ShapeError,
      'Cannot call layer "bn_1" on shape [1, 2]: expected 3 channels, got 2',
    ],
    [
      () => frozen.call(x, { out: tensor([1, 2, 3], [3]) }),
      ShapeError,
      "expected shape [1, 3], got [3]",
    ],
    [
      () => frozen.call(x, { training: true } as never),
      OptionError,
      'the option "training": expected out',
    ],
    [
      () => new FrozenBatchNormalization(weights, { axes: 1 } as never),
      OptionError,
      'the option "axes": expected axis, epsilon, name, kernels',
    ],
    [
      () => new FrozenBatchNormalization({ ...weights, mean: x } as never),
      OptionError,
      'the weight "mean"',
    ],
    [
      () => new FrozenBatchNormalization(weights, { epsilon: NaN }),
      OptionError,
      "epsilon NaN: expected a finite number",
    ],
    [
      () => new FrozenBatchNormalization({ ...weights, beta: x.data } as never),
      OptionError,
      "Cannot use beta",
    ],
    [
      () =>
        new FrozenBatchNormalization({
          ...weights,
          movingVariance: tensor([1], [1]),
        }),
      ShapeError,
      "Cannot use movingVariance of layer",
    ],
    [
      () =>
        new FrozenBatchNormalization(
          { movingMean: weights.movingMean } as never,
        ),
      OptionError,
      "Cannot use movingVariance",
    ],
    [
      () =>
        new FrozenBatchNormalization({
          ...weights,
          movingVariance: tensor([1, -1, 1], [3]),
        }).call(x),
      OptionError,
      "movingVariance[1] is -1",
    ],
  ];
  for (const [run, error, message] of cases) assertThrows(run, error, message);

  const shared = new Float32Array(4);
  assertThrows(
    () =>
      frozen.call(tensor(shared.subarray(0, 3), [1, 3]), {
        out: tensor(shared.subarray(1), [1, 3]),
      }),
    OptionError,
    "overlaps the input without being it",
  );
});

Deno.test("the layer's own kernels go before the default", () => {
  assertEquals(resolveKernels("typed-array").name, "typed-array");
  assertEquals(resolveKernels("wasm").name, "wasm");
  const wasm = resolveKernels("wasm");
  assertStrictEquals(resolveKernels(), wasm);
  const x = new Float32Array([1]);
  wasm.affine("float32", layoutOf([1], [0]), x, x, x.slice(), x.slice());
  assertEquals([...x], [2]);
});
