import { assertEquals, assertThrows } from "@std/assert";
import { OptionError } from "../errors.ts";
import { allocate } from "../kernels/allocate.ts";
import { setKernels } from "../kernels/dispatch.ts";
import { assertSameBits } from "../kernels/testing/bits.ts";
import { makeUsualInput } from "../kernels/testing/cases.ts";
import { startPool } from "../kernels/threads/pool.ts";
import type { ElementType, TensorData } from "../tensor.ts";
import { BatchNormalization } from "./batch_normalization.ts";
import type { BatchNormalizationOptions } from "./options.ts";

/** Everything goes through the queue, however small it is. */
const ALL = { leastElements: 0 };
const MEMORY = { memoryBytes: 2 ** 26 };

const DIMS = [16, 12, 12, 32];

/** A layer's results over two training steps. */
function train(
  options: BatchNormalizationOptions,
  make: (dims: readonly number[], type: ElementType) => { data: TensorData },
  type: ElementType,
  mask?: Uint8Array,
): TensorData[] {
  const layer = new BatchNormalization(options);
  const length = DIMS.reduce((a, b) => a * b);
  const tensor = (seed: number) => {
    const made = make(DIMS, type);
    (made.data as Float32Array).set(
      makeUsualInput(type, length, seed) as Float32Array,
    );
    return { type, dims: DIMS, data: made.data };
  };
  const found: TensorData[] = [];
  for (const step of [0, 10]) {
    const [x, dy, y, dx] = [
      tensor(step),
      tensor(step + 1),
      tensor(9),
      tensor(9),
    ];
    layer.call(x, { training: true, out: y, ...mask ? { mask } : {} });
    const gradients = layer.backward(dy, { out: dx });
    found.push(y.data, dx.data, gradients.dgamma!.data, gradients.dbeta!.data);
  }
  return [...found, ...layer.getWeights().map(({ data }) => data)];
}

Deno.test("threads: layers train to the same bits", async () => {
  await using pool = await startPool({ ...MEMORY, threads: 2 }, ALL);
  const mask = Uint8Array.from(
    { length: DIMS[0]! * DIMS[1]! * DIMS[2]! },
    (_, i) => i % 3 === 0 ? 0 : 1,
  );
  const cases: [BatchNormalizationOptions, Uint8Array?][] = [
    [{}],
    [{ axis: 1 }],
    [{ axis: [1, 3], fused: false }],
    [{ renorm: true }],
    [{ virtualBatchSize: 4 }],
    [{ kerasVersion: "3" }, mask],
  ];
  for (const [options, mask] of cases) {
    for (const type of ["float32", "float64"] as const) {
      const given = { ...options, dtype: type };
      const expected = train(
        { ...given, kernels: "wasm" },
        (dims, type) => allocate(dims, type),
        type,
        mask,
      );
      const actual = train(
        { ...given, kernels: pool },
        (dims, type) => pool.allocate(dims, type),
        type,
        mask,
      );
      expected.forEach((values, i) =>
        assertSameBits(
          actual[i]!,
          values,
          `result ${i} of ${JSON.stringify(options)}`,
        )
      );
    }
  }
});

Deno.test("threads: all layers run on a pool that was chosen for them", async () => {
  await using pool = await startPool({ ...MEMORY, threads: 2 }, ALL);
  try {
    setKernels(pool);
    const layer = new BatchNormalization({ epsilon: 0 });
    using x = allocate([2, 3], "float32");
    assertEquals([...layer.call(x).data], [0, 0, 0, 0, 0, 0]);
    await pool.close();
    x.data.fill(2);
    assertEquals([...layer.call(x).data], [2, 2, 2, 2, 2, 2]);
  } finally {
    setKernels("auto");
  }
  assertThrows(
    () => new BatchNormalization({ kernels: { kernels: {} } }),
    OptionError,
    "or a pool of startThreads()",
  );
});
