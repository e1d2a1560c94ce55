/**
 * Writes a layer as an ONNX model.
 *
 * @module
 */

import type { Parameters } from "../kernels/types.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import {
  buildForShape,
  type BuildOnnxOptions,
  checkOptions,
  type Plan,
} from "./build_options.ts";
import { trainingModel } from "./training_graph/training.ts";
import { channelsFirst } from "./channels_first.ts";
import {
  DataType,
  encodeModel,
  type ModelProto,
  type TensorProto,
} from "./model.ts";
import { affineParameters, operatorParameters } from "./parameters.ts";
import { cast, constant, type Step } from "./step.ts";
import { CONSTANT_IR_VERSION } from "./versions.ts";

/**
 * Writes a layer as an ONNX model: in inference, or a step of its training.
 *
 * **In inference** it has one input and one output of the input's shape. The
 * model computes what `layer.call` computes; in onnxruntime-web 1.30 (wasm)
 * bit for bit, for all types and both forms. Input and output have the type
 * that the layer computes in; 16-bit layers are cast to float32 around the
 * operator, as the layer does. In the form `"op"` the node has the layer's name
 * and carries its gamma, beta, moving mean and moving variance unchanged, with
 * ones for a missing gamma and zeros for a missing beta. There is one
 * exception: the operator's epsilon is a float32, so a float64 layer's
 * variance carries the difference where its epsilon is not.
 *
 * **In training** it does what `layer.call(x, { training: true })` does. Its
 * outputs are `y` and the new moving statistics, in the shape and type of the
 * layer's variables: `running_mean` and `running_var`; with renormalization
 * `moving_stddev`, `renorm_mean` and `renorm_stddev` too. The variables are
 * `NAME/scale`, `NAME/B`, `NAME/input_mean`, `NAME/input_var` and
 * `NAME/moving_stddev` and so on, with NAME the layer's: constants of the
 * graph, or its inputs with `state: "inputs"`, so that each step can be given
 * what the one before it returned. (Inputs with defaults would be both, but
 * onnxruntime-web refuses to be fed those.) An adjustment comes in as inputs
 * `adjustment_scale` and `adjustment_bias`, of the input's rank and broadcast
 * to it; a mask as `mask`. A frozen layer infers and returns its statistics.
 *
 * In the form `"op"` that is BatchNormalization in training mode where the
 * operator says it: one kept axis and the population's variance. Its results
 * are onnxruntime's, whose output has an error relative to the mean and not to
 * the deviation. For everything else - Bessel's correction on TensorFlow's
 * fused path, renormalization, ghost batches, several axes, adjustments, masks,
 * 16-bit variables, float64 with a momentum or epsilon that is no float32 -
 * and in the form `"affine"` it is primitive operators, with means in two
 * passes from a shifted origin:
 *
 *     m0 = average(x)        d0   = x - m0
 *     m1 = average(d0)       mean = m0 + m1
 *     d  = d0 - m1           variance = average(d * d)
 *     y  = d * (gamma / sqrt(variance + epsilon)) + beta
 *
 * An empty batch, where the shape allows one, gives NaN statistics, while the
 * layer leaves its own as they are.
 *
 * A layer that is not built is built for `inputShape`. The same layer and
 * options always give the same bytes.
 *
 * @param layer The layer.
 * @param options The input's shape, and how to write.
 * @returns The bytes of the ONNX file.
 *
 * @throws {ShapeError} If `inputShape` is not a shape, or not one that the
 * layer can have: a kept axis is dynamic, or differs from what it was built
 * for. In training also if it is that of an empty batch, or of one that ghost
 * batches do not divide.
 * @throws {OptionError} If an option is unknown or has a value that it cannot
 * have, `movingVariance + epsilon` is negative somewhere in inference, or the
 * layer does not use a mask that is asked for.
 * @throws {UnsupportedError} If ghost batches come with a mask.
 *
 * @see https://onnx.ai/onnx/operators/onnx__BatchNormalization.html
 *
 * @example Inference
 * ```ts
 * import { assert } from "@std/assert";
 * import { BatchNormalization, buildOnnx } from "@evenkeel/evenkeel";
 *
 * const layer = new BatchNormalization({ axis: 1, name: "bn" });
 * const model = buildOnnx(layer, { inputShape: [null, 64, 56, 56] });
 * assert(new TextDecoder().decode(model).includes("BatchNormalization"));
 * ```
 *
 * @example A step of training
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { BatchNormalization } from "../layer/batch_normalization.ts";
 * import { tensor } from "../tensor.ts";
 * import { buildOnnx } from "./build.ts";
 * import { runReference } from "./reference.ts";
 *
 * const layer = new BatchNormalization({ momentum: 0.5, epsilon: 0 });
 * const model = buildOnnx(layer, { inputShape: [null, 1], training: true });
 * const { y, running_mean, running_var } = await runReference(model, {
 *   x: tensor([1, 3], [2, 1]),
 * });
 * assertEquals([...y!.data], [-1, 1]);
 * assertEquals([...running_mean!.data], [1]); // half-way from 0 to 2
 * assertEquals([...running_var!.data], [1]);
 * ```
 */
export function buildOnnx(
  layer: BatchNormalization,
  options: BuildOnnxOptions,
): Uint8Array<ArrayBuffer> {
  const plan = checkOptions(layer, options);
  const { extents, shape } = buildForShape(layer, options.inputShape);
  return encodeModel(
    plan.training
      ? trainingModel(layer, extents, shape, plan)
      : inferenceModel(layer, extents, shape, plan),
  );
}

/**
 * The model of a layer in inference.
 *
 * @param layer The built layer.
 * @param extents The extents of the input; null where dynamic.
 * @param shape The same with names for those.
 * @param plan How to write it.
 */
export function inferenceModel(
  layer: BatchNormalization,
  extents: readonly (number | null)[],
  shape: readonly (number | string)[],
  plan: Plan,
): ModelProto {
  const steps = plan.form === "op"
    ? operatorSteps(layer, extents, plan.opset)
    : affineSteps(layer, extents);
  return modelOf(layer, steps, shape, plan);
}

function vector(
  name: string,
  data: Parameters,
  dims: readonly number[] = [data.length],
): TensorProto {
  const type = data instanceof Float64Array ? "float64" : "float32";
  return constant(name, { type, dims, data });
}

/**
 * The steps in float32 for 16-bit layers, which are rounded once at the end.
 *
 * Onnxruntime has no 16-bit kernel and would insert the same casts; written
 * out they are valid at every opset, where the operator alone takes 16-bit
 * inputs with float32 parameters from 15 on only.
 */
function inFloat32(layer: BatchNormalization, steps: Step[]): Step[] {
  const { compute } = layer.options.dtype;
  return compute === "float32" || compute === "float64"
    ? steps
    : [cast(DataType.float32), ...steps, cast(DataType[compute])];
}

function operatorSteps(
  layer: BatchNormalization,
  extents: readonly (number | null)[],
  opset: number,
): Step[] {
  const { scale, B, inputMean, inputVar, epsilon, note } = operatorParameters(
    layer,
  );
  const { before, after } = channelsFirst(extents, layer.axes!, opset);
  const operator: Step = {
    op: "BatchNormalization",
    constants: [
      vector("scale", scale),
      vector("B", B),
      vector("input_mean", inputMean),
      vector("input_var", inputVar),
    ],
    attributes: [
      { name: "epsilon", f: epsilon },
      { name: "momentum", f: layer.options.momentum },
    ],
    docString: note,
  };
  // Casts inside: then the Transposes of neighbouring layers meet, and cancel.
  return [...before, ...inFloat32(layer, [operator]), ...after];
}

function affineSteps(
  layer: BatchNormalization,
  extents: readonly (number | null)[],
): Step[] {
  const { a, b } = affineParameters(layer);
  const dims = extents.map((extent, d) =>
    layer.axes!.includes(d) ? extent! : 1
  );
  return inFloat32(layer, [
    { op: "Mul", constants: [vector("a", a, dims)], attributes: [] },
    { op: "Add", constants: [vector("b", b, dims)], attributes: [] },
  ]);
}

/** The names of the nodes: the layer's for the main one, `bn/Cast` and so on. */
function nameSteps(
  layer: BatchNormalization,
  steps: readonly Step[],
): string[] {
  const counts = new Map<string, number>();
  return steps.map(({ op }) => {
    if (op === "BatchNormalization") return layer.name;
    const count = counts.get(op) ?? 0;
    counts.set(op, count + 1);
    return `${layer.name}/${op}${count === 0 ? "" : `_${count}`}`;
  });
}

/** The graph in which every step takes what the one before it gives. */
function modelOf(
  layer: BatchNormalization,
  steps: readonly Step[],
  shape: readonly (number | string)[],
  { opset, irVersion, inputName, outputName }: Plan,
): ModelProto {
  const elemType = DataType[layer.options.dtype.compute];
  const names = nameSteps(layer, steps);
  const outputs = names.map((name, i) =>
    i === names.length - 1 ? outputName : `${name}:0`
  );
  const constants = steps.map((step, i) =>
    step.constants.map((tensor) => ({
      ...tensor,
      name: `${names[i]}/${tensor.name}`,
    }))
  );
  const initializer = constants.flat();
  const listed = irVersion < CONSTANT_IR_VERSION ? initializer : [];
  return {
    irVersion,
    producerName: "evenkeel",
    graph: {
      name: layer.name,
      node: steps.map(({ op, attributes, docString }, i) => ({
        name: names[i]!,
        opType: op,
        input: [
          i === 0 ? inputName : outputs[i - 1]!,
          ...constants[i]!.map(({ name }) => name),
        ],
        output: [outputs[i]!],
        attribute: attributes,
        docString,
      })),
      initializer,
      input: [
        { name: inputName, elemType, shape },
        ...listed.map(({ name, dims, dataType }) => ({
          name,
          elemType: dataType,
          shape: dims,
        })),
      ],
      output: [{ name: outputName, elemType, shape }],
    },
    opsetImport: [{ domain: "", version: opset }],
  };
}
