/**
 * Writes a layer's gradients as an ONNX model.
 *
 * @module
 */

import type { BatchNormalization } from "../../layer/batch_normalization.ts";
import { inferenceStatistics } from "../../layer/inference.ts";
import {
  inferenceGradientValues,
  trainingGradientValues,
} from "./gradient_values.ts";
import {
  buildForShape,
  type BuildOnnxOptions,
  checkFlag,
  checkNames,
  checkOpset,
  checkState,
  failOption,
  type OnnxState,
} from "../build_options.ts";
import { checkTraining, trainBatch } from "./training.ts";
import { TrainingGraph } from "./graph.ts";
import { batchInputs, graphOf } from "./model.ts";
import { DataType, encodeModel, type ValueInfoProto } from "../model.ts";
import { DEFAULT_OPSET } from "../versions.ts";

/** The options of {@linkcode buildOnnxGradient}. */
export interface BuildOnnxGradientOptions {
  /** The shape of the layer's input, as in `buildOnnx`. */
  readonly inputShape: BuildOnnxOptions["inputShape"];
  /** The version of ONNX' operators, 7 to 26; default 15. */
  readonly opset?: number;
  /**
   * Whether the gradients are those of a call in training (default) or of one
   * in inference.
   */
  readonly training?: boolean;
  /** In training, whether there is an input `mask`; default false. */
  readonly mask?: boolean;
  /** Whether the variables are constants (default) or inputs. */
  readonly state?: OnnxState;
}

// A Record, so that the compiler notices an option that is missing here.
const KNOWN: Readonly<Record<keyof BuildOnnxGradientOptions, true>> = {
  inputShape: true,
  opset: true,
  training: true,
  mask: true,
  state: true,
};

/**
 * Writes the gradients of a layer as an ONNX model.
 *
 * Inputs are `x` and `dy`, the gradient of a loss by the layer's output, both
 * of the layer's input shape and of the type that it computes in; `mask` if
 * asked for; and `adjustment_scale` and `adjustment_bias` if the layer has an
 * adjustment. Outputs are `dx`, of the shape of `x`, and `dgamma` and `dbeta`,
 * of the variables' shape and type, as far as the layer has them: what
 * `layer.backward(dy)` gives after `layer.call(x, { training })`.
 *
 * With averages over the elements of one statistic and
 * `xhat = (x - mean) / sqrt(variance + epsilon)`:
 *
 *     dx     = gamma / sqrt(variance + epsilon) * (dy - average(dy) - xhat * average(dy * xhat))
 *     dgamma = sum(dy * xhat)
 *     dbeta  = sum(dy)
 *
 * The batch is measured again, from a shifted origin, so that errors are
 * relative to its deviation and not to its mean. Renormalization, ghost
 * batches, masks and adjustments change the formulas as they do in the layer.
 * A frozen layer has the gradients of inference. An empty batch, where the
 * shape allows one, gives NaN.
 *
 * A layer that is not built is built for `inputShape`.
 *
 * @param layer The layer.
 * @param options The input's shape, and how to write.
 * @returns The bytes of the ONNX file.
 *
 * @throws {ShapeError} If `inputShape` is not a shape that the layer can have,
 * or one of an empty batch.
 * @throws {OptionError} If an option is unknown or has a value that it cannot
 * have, the layer does not use a mask that is asked for, or, in inference,
 * `movingVariance + epsilon` is negative somewhere.
 * @throws {UnsupportedError} If ghost batches come with a mask.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { BatchNormalization, buildOnnxGradient, createSession, tensor } from "@evenkeel/evenkeel";
 *
 * const layer = new BatchNormalization({ epsilon: 0 });
 * const model = buildOnnxGradient(layer, { inputShape: [null, 1] });
 * await using session = await createSession(model);
 * const { dx, dgamma } = await session.run({
 *   x: tensor([1, 3], [2, 1]),
 *   dy: tensor([0, 1], [2, 1]),
 * });
 * assertEquals([...dx!.data], [0, 0]); // two values always become -1 and 1
 * assertEquals([...dgamma!.data], [1]);
 * ```
 */
export function buildOnnxGradient(
  layer: BatchNormalization,
  options: BuildOnnxGradientOptions,
): Uint8Array<ArrayBuffer> {
  checkNames(layer, options, KNOWN);
  const opset = options.opset ?? DEFAULT_OPSET;
  const irVersion = checkOpset(layer, opset);
  const training = checkFlag(layer, "training", options.training ?? true);
  const mask = checkFlag(layer, "mask", options.mask ?? false);
  const state = checkState(layer, options.state ?? "initializers");
  if (mask && !training) {
    throw failOption(layer, "inference has no mask, leave it out");
  }
  const { extents, shape } = buildForShape(layer, options.inputShape);
  checkTraining(layer, extents, { mask, opset });
  const trains = training && TrainingGraph.trains(layer);
  const graph = new TrainingGraph(layer, extents, { opset, ghosts: trains });
  const { writer } = graph;
  const inputs = { x: "x", mask: mask ? "mask" : undefined };
  let values;
  if (trains) {
    const step = trainBatch(graph, inputs);
    values = trainingGradientValues(graph, step, graph.see("dy"));
  } else {
    inferenceStatistics(layer, writer.type === "float64"); // throws
    values = inferenceGradientValues(graph, "x", graph.see("dy"));
  }
  const elemType = DataType[layer.options.dtype.compute];
  const outputs: ValueInfoProto[] = [{ name: "dx", elemType, shape }];
  writer.publish(graph.restore(values.dx, "x"), "dx");
  const parameter = graph.variables[0]!.value;
  for (const name of ["dgamma", "dbeta"] as const) {
    const value = values[name];
    if (value === undefined) continue;
    writer.publish(graph.asVariable(value), name);
    outputs.push({
      name,
      elemType: DataType[parameter.type],
      shape: parameter.dims,
    });
  }
  const [x, ...others] = batchInputs(graph, shape, { x: "x", mask, trains });
  return encodeModel({
    irVersion,
    producerName: "evenkeel",
    graph: graphOf(graph, {
      inputs: [x!, { name: "dy", elemType, shape }, ...others],
      outputs,
    }, { state, irVersion }),
    opsetImport: [{ domain: "", version: opset }],
  });
}
