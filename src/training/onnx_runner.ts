/**
 * What runs an ONNX model.
 *
 * @module
 */

import type { OnnxTensor } from "../onnx/tensor_view.ts";
import type { Tensor } from "../tensor.ts";

/** A tensor that a model takes; of integers too. */
export type Feed = Tensor | OnnxTensor;

/**
 * A model, loaded and ready to run: onnxruntime's session, ours, or anything
 * with that shape.
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
  ): Promise<Readonly<Record<string, Tensor>>>;
  /** Frees the model's memory, if that takes anything. */
  dispose?(): Promise<void> | void;
}
