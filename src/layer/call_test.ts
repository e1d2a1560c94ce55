// What a call does when something about it is odd: overlapping memory, wrong
// side inputs, failures half-way.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { EvenkeelError, OptionError, ShapeError } from "../errors.ts";
import { KERNELS } from "../kernels/dispatch.ts";
import { type Tensor, tensor } from "../tensor.ts";
import { BatchNormalization } from "./batch_normalization.ts";
import type { CallOptions } from "./call_options.ts";

const training = { training: true };

/** More than one chunk of the WASM kernels' staging area. */
const LENGTH = 40_000;

for (const { name: kernels } of KERNELS) {
  for (const shift of [-1, 1, 7]) {
    for (const options of [{}, training]) {
      const mode = JSON.stringify(options);
      Deno.test(`${kernels}: out is the input shifted by ${shift}, ${mode}`, () => {
        const layer = () =>
          new BatchNormalization({ kernels, epsilon: 0.5, momentum: 0.5 });
        const buffer = Float32Array.from(
          { length: LENGTH + 16 },
          (_, i) => i % 101,
        );
        const dims = [LENGTH / 4, 4];
        const view = (at: number): Tensor =>
          tensor(buffer.subarray(at, at + LENGTH), dims);
        const x = tensor(buffer.slice(8, 8 + LENGTH), dims);
        const dy = tensor(Float32Array.from(x.data, Math.sin), dims);
        const apart = layer();
        const expected = apart.call(x, options);
        const shifted = layer();
        const y = shifted.call(view(8), { ...options, out: view(8 + shift) });
        assertEquals(y.data, expected.data);
        assertEquals(shifted.backward(dy), apart.backward(dy));
      });
    }
  }
}

Deno.test("gradients are by gamma as it was in the call", () => {
  const layer = new BatchNormalization();
  const x = tensor([1, 2, 4, 9], [4, 1]);
  const dy = tensor([1, 0, -1, 2], [4, 1]);
  layer.call(x, training);
  const before = layer.backward(dy);
  layer.gamma!.data[0] = 5;
  assertEquals(layer.backward(dy), before);
});

Deno.test("tensors of a class of their own can be trained in place", () => {
  const data = Float32Array.of(1, 3);
  class Own implements Tensor {
    get type(): "float32" {
      return "float32";
    }
    get dims(): number[] {
      return [2, 1];
    }
    get data(): Float32Array {
      return data;
    }
  }
  const layer = new BatchNormalization();
  const x = new Own();
  layer.call(x, { training: true, out: x });
  assertEquals(layer.backward(tensor([1, 1], [2, 1])).dx.dims, [2, 1]);
});

const SHAPE = [2, 3, 2];
const x = tensor(Float32Array.from({ length: 12 }, (_, i) => i), SHAPE);

const WRONG_CALLS: readonly (readonly [string, CallOptions, RegExp])[] = [
  [
    "a misspelt option",
    { trainig: true } as CallOptions,
    /option "trainig": expected training, mask, moments, out/,
  ],
  [
    "an out of another shape",
    { out: tensor([1], [1]) },
    /expected shape \[2, 3, 2\], got \[1\]/,
  ],
  [
    "a mask that is no tensor",
    { training: true, mask: [1, 0] as unknown as Tensor },
    /the mask of layer .*expected a tensor/,
  ],
  [
    "a mask of another length",
    { training: true, mask: new Uint8Array(5) },
    /expected 6 values .*, got 5/,
  ],
  [
    "a mask with less data than its shape",
    {
      training: true,
      mask: { type: "float32", dims: [2, 3], data: new Float32Array(2) },
    },
    /expected 6 values, got 2/,
  ],
  [
    "moments without squared deviations",
    {
      training: true,
      moments: {
        count: 1,
        mean: new Float64Array(2),
        m2: new Float64Array(1),
      },
    },
    /moments of 2 means and 1 squared deviations: expected 2 of each/,
  ],
  [
    "moments that are none",
    { training: true, moments: {} as never },
    /expected 2 of each/,
  ],
  [
    "moments without a count",
    {
      training: true,
      moments: {
        count: NaN,
        mean: new Float64Array(2),
        m2: new Float64Array(2),
      },
    },
    /moments of NaN elements/,
  ],
];

for (const [what, options, message] of WRONG_CALLS) {
  Deno.test(`${what} is refused, and nothing changes`, () => {
    const layer = new BatchNormalization({ kerasVersion: "2.12", name: "bn" });
    const error = assertThrows(() => layer.call(x, options), EvenkeelError);
    assert(message.test((error as Error).message), (error as Error).message);
    // Not even the rank is fixed by a call that failed.
    assertEquals([layer.axes, layer.weights], [undefined, []]);
    layer.call(tensor([1, 2], [1, 2]));
    const weights = layer.getWeights();
    assertThrows(() => layer.call(x, options), EvenkeelError);
    assertEquals(layer.getWeights(), weights);
  });
}

Deno.test("a loss that fails has moved no average", () => {
  const layer = new BatchNormalization({
    activityRegularizer: () => {
      throw new OptionError("no");
    },
  });
  layer.build([null, 1]);
  const before = layer.getWeights();
  assertThrows(
    () => layer.call(tensor([1, 3], [2, 1]), training),
    OptionError,
    "no",
  );
  assertEquals(layer.getWeights(), before);
});

Deno.test("an adjustment that returns no tensors is refused", () => {
  const layer = new BatchNormalization({
    adjustment: () => [1, 2] as never,
  });
  assertThrows(
    () => layer.call(tensor([1, 3], [2, 1]), training),
    OptionError,
    "the adjustment's scale: expected a tensor",
  );
});

Deno.test("sums that do not fit are refused", () => {
  const layer = new BatchNormalization();
  const batch = tensor([1, 3], [2, 1]);
  const sums = { sum: new Float64Array(2), product: new Float64Array(1) };
  layer.call(batch);
  assertThrows(
    () => layer.backward(batch, { sums }),
    OptionError,
    "not in training",
  );
  layer.call(batch, training);
  assertThrows(
    () => layer.backward(batch, { sums }),
    ShapeError,
    "sums of 2 and 1 channels: expected 1 of each",
  );
});

Deno.test("gradients of inference need a variance that has a root", () => {
  const layer = new BatchNormalization({ name: "bn" });
  const batch = tensor([1, 3], [2, 1]);
  layer.call(batch);
  layer.movingVariance.data[0] = -1;
  assertThrows(
    () => layer.backward(batch),
    OptionError,
    "must not be negative",
  );
});

Deno.test("what is no shape and no list of weights is refused", () => {
  const layer = new BatchNormalization({ name: "bn" });
  assertThrows(() => layer.build(null as never), ShapeError, "list of extents");
  assertThrows(() => layer.setWeights(undefined as never), OptionError, "list");
  assertThrows(
    () => layer.call({ type: "float32", data: new Float32Array(1) } as never),
    ShapeError,
    "Cannot use shape undefined",
  );
  let deep: Record<string, unknown> = {};
  for (let i = 0; i < 5000; i++) deep = { deep };
  assertThrows(
    () => BatchNormalization.fromConfig({ name: "bn", deep }),
    EvenkeelError,
    "nested more than 100 deep",
  );
});
