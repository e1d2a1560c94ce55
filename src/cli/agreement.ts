/**
 * One layer run on every kernel and in onnxruntime-web, on the same input.
 *
 * @module
 */

import { KERNELS } from "../kernels/dispatch.ts";
import type { KernelName } from "../kernels/types.ts";
import { BatchNormalization } from "../layer/batch_normalization.ts";
import { RandomGenerator } from "../layer/random.ts";
import { buildOnnx } from "../onnx/build.ts";
import { loadReference } from "../onnx/reference.ts";
import {
  castTensor,
  createData,
  elementCount,
  type ElementType,
  type Tensor,
  tensor,
  widen,
} from "../tensor.ts";
import { maxUlp } from "../ulp.ts";

/** What was found for one layer. */
export interface Agreement {
  /** The shape that it was run on. */
  readonly shape: readonly number[];
  /** The element type that the layer computes in. */
  readonly type: ElementType;
  /**
   * Per kernel, the largest difference to onnxruntime-web in units in the
   * last place; null where the kernel or onnxruntime-web cannot run.
   */
  readonly ulp: Readonly<Record<KernelName, number | null>>;
  /** Median time of a run in milliseconds. */
  readonly milliseconds: Readonly<
    Record<KernelName | "onnxruntime-web", number | null>
  >;
  /** Why there is no comparison, if there is none. */
  readonly reason?: string;
}

/**
 * How far a type may be from onnxruntime-web: float32 is promised bit for
 * bit; for float64 and 16-bit types one unit is allowed (0 is measured).
 */
export const ULP_LIMIT: Readonly<Record<ElementType, number>> = {
  float32: 0,
  float64: 1,
  float16: 1,
  bfloat16: 1,
};

/** Enough for a median; the first runs warm up. */
const RUNS = 15;
const WARM_UP = 3;

/**
 * Normal numbers about the layer's moving statistics, so that outputs are of
 * the size that they have in use; the same for the same shape.
 */
export function sampleInput(
  layer: BatchNormalization,
  shape: readonly number[],
): Tensor {
  const { movingMean, movingVariance } = layer;
  // One mean and deviation for the whole tensor: the scale is what matters.
  const average = (weight: Tensor): number => {
    const values = widen(weight);
    return values.reduce((sum, value) => sum + value, 0) / (values.length || 1);
  };
  const mean = average(movingMean);
  const deviation = Math.sqrt(Math.abs(average(movingVariance)));
  const random = new RandomGenerator(2026);
  const values = new Float64Array(elementCount(shape));
  for (let i = 0; i < values.length; i++) {
    values[i] = mean + 2 * deviation * random.normal();
  }
  return castTensor(tensor(values, shape), layer.options.dtype.compute);
}

async function medianTime(run: () => unknown): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < WARM_UP + RUNS; i++) {
    const start = performance.now();
    await run();
    if (i >= WARM_UP) times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[RUNS >> 1]!;
}

/** The same layer on one kernel implementation. */
function onKernel(
  layer: BatchNormalization,
  kernels: KernelName,
): BatchNormalization {
  const copy = BatchNormalization.fromConfig(layer.getConfig(), {
    kernels,
    kerasVersion: layer.options.kerasVersion,
    lenient: true,
  });
  copy.setWeights(layer.weights);
  return copy;
}

/**
 * Compares the layer's kernels with onnxruntime-web.
 *
 * @param layer A layer with weights.
 * @param shape The input's shape, all extents known.
 */
export async function measureAgreement(
  layer: BatchNormalization,
  shape: readonly number[],
): Promise<Agreement> {
  const x = sampleInput(layer, shape);
  const type = x.type;
  const ulp: Record<KernelName, number | null> = {
    "typed-array": null,
    wasm: null,
  };
  const milliseconds: Record<KernelName | "onnxruntime-web", number | null> = {
    ...ulp,
    "onnxruntime-web": null,
  };
  const outputs = new Map<KernelName, Tensor>();
  for (const { name } of KERNELS) {
    const copy = onKernel(layer, name);
    const out = { type, dims: shape, data: createData(type, x.data.length) };
    try {
      copy.call(x, { out });
    } catch (error) {
      if ((error as { code?: string }).code !== "EVENKEEL_UNSUPPORTED") {
        throw error;
      }
      continue; // this runtime has no such kernel
    }
    outputs.set(name, out);
    milliseconds[name] = await medianTime(() => copy.call(x, { out }));
  }
  if (type === "bfloat16") {
    return {
      shape,
      type,
      ulp,
      milliseconds,
      reason: "onnxruntime-web takes no bfloat16 tensors",
    };
  }
  const session = await loadReference(buildOnnx(layer, { inputShape: shape }));
  try {
    const [inputName] = session.inputNames;
    const [outputName] = session.outputNames;
    const feeds = { [inputName!]: x };
    const expected = (await session.run(feeds))[outputName!]!;
    for (const [name, output] of outputs) ulp[name] = maxUlp(output, expected);
    milliseconds["onnxruntime-web"] = await medianTime(() =>
      session.run(feeds)
    );
  } finally {
    await session.dispose();
  }
  return { shape, type, ulp, milliseconds };
}
