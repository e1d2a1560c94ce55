/**
 * What runs an ONNX model.
 *
 * @module
 */

import type { OnnxTensor } from "../onnx/tensor_view.ts";
import { UnsupportedError } from "../errors.ts";
import { isElementType, type Tensor } from "../tensor.ts";

/** A tensor that a model takes; of integers too. */
export type Feed = Tensor | OnnxTensor;

/** A tensor that a model gives; of any element type. */
export interface RunnerOutput {
  /** The element type, as onnxruntime spells it. */
  readonly type: string;
  /** The extents, outermost first. */
  readonly dims: readonly number[];
  /** The elements in row-major order. */
  readonly data: unknown;
}

/**
 * A model, loaded and ready to run, such as `createSession` gives.
 * Onnxruntime's own session takes tensors of its class only, and needs a few
 * lines around it.
 */
export interface OnnxRunner {
  /**
   * Runs the model.
   *
   * @param feeds A tensor per input.
   * @param fetches The names of the outputs that are wanted; all by default.
   * @returns A tensor per output.
   */
  run(
    feeds: Readonly<Record<string, Feed>>,
    fetches?: readonly string[],
  ): Promise<Readonly<Record<string, RunnerOutput>>>;
  /** Frees the model's memory, if that takes anything. */
  dispose?(): Promise<void> | void;
}

/**
 * What a runner gave, as tensors of ours.
 *
 * @throws {UnsupportedError} If an output has no floating point numbers.
 */
export function asTensors(
  outputs: Readonly<Record<string, RunnerOutput>>,
): Record<string, Tensor> {
  const tensors: Record<string, Tensor> = {};
  for (const [name, { type, dims, data }] of Object.entries(outputs)) {
    if (!isElementType(type)) {
      throw new UnsupportedError(
        `Cannot use the model's output "${name}": expected floating point numbers, got ${type}`,
      );
    }
    tensors[name] = { type, dims, data: data as Tensor["data"] };
  }
  return tensors;
}
