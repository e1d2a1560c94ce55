/**
 * Keras BatchNormalization in inference, and nothing else: the smallest entry.
 *
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { FrozenBatchNormalization, tensor } from "@evenkeel/evenkeel/inference";
 *
 * const layer = new FrozenBatchNormalization({
 *   movingMean: tensor([0, 1], [2]),
 *   movingVariance: tensor([1, 4], [2]),
 * }, { epsilon: 0 });
 * assertEquals([...layer.call(tensor([1, 3], [1, 2])).data], [1, 1]);
 * ```
 *
 * @module
 */

export * from "./src/errors.ts";
export {
  type ElementType,
  type Tensor,
  tensor,
  type TensorData,
} from "./src/tensor.ts";
export { allocate, setKernels } from "./src/kernels/inference_dispatch.ts";
export type {
  KernelChoice,
  SetKernelsOptions,
} from "./src/kernels/dispatcher.ts";
export type { KernelName, KernelSource } from "./src/kernels/types.ts";
export {
  FrozenBatchNormalization,
  type FrozenOptions,
  type FrozenWeights,
} from "./src/layer/frozen.ts";
export type { Axis } from "./src/layer/axis.ts";
