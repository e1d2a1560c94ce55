/**
 * Writes a layer as an ONNX model.
 *
 * @module
 */

import { ShapeError } from "../errors.ts";
import type { Parameters } from "../kernels/types.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import {
  type BuildOnnxOptions,
  checkOptions,
  checkShape,
  nameExtents,
  type Plan,
} from "./build_options.ts";
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
 * Writes a layer in inference as an ONNX model with one input and one output
 * of the input's shape.
 *
 * The model computes what `layer.call` computes; in onnxruntime-web 1.30 (wasm)
 * bit for bit, for all types and both forms. Input and output have the type
 * that the layer computes in; 16-bit layers are cast to float32 around the
 * operator, as the layer does. In the form `"op"` the node has the layer's name
 * and carries its gamma, beta, moving mean and moving variance unchanged, with
 * ones for a missing gamma and zeros for a missing beta. There is one
 * exception: the operator's epsilon is a float32, so a float64 layer's
 * variance carries the difference where its epsilon is not.
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
 * for.
 * @throws {OptionError} If an option is unknown or has a value that it cannot
 * have, or `movingVariance + epsilon` is negative somewhere.
 * @throws {UnsupportedError} If `training` is true.
 *
 * @see https://onnx.ai/onnx/operators/onnx__BatchNormalization.html
 *
 * @example Usage
 * ```ts
 * import { assert } from "@std/assert";
 * import { BatchNormalization, buildOnnx } from "@evenkeel/evenkeel";
 *
 * const layer = new BatchNormalization({ axis: 1, name: "bn" });
 * const model = buildOnnx(layer, { inputShape: [null, 64, 56, 56] });
 * assert(new TextDecoder().decode(model).includes("BatchNormalization"));
 * ```
 */
export function buildOnnx(
  layer: BatchNormalization,
  options: BuildOnnxOptions,
): Uint8Array<ArrayBuffer> {
  const plan = checkOptions(layer, options);
  const { inputShape } = options;
  const extents = checkShape(layer, inputShape);
  layer.build(extents);
  const empty = layer.axes!.find((axis) => extents[axis] === 0);
  if (empty !== undefined) {
    // A Reshape, which merges axes, takes 0 as "copy".
    throw new ShapeError(
      `Cannot write layer "${layer.name}" as ONNX: axis ${empty} has extent 0, so there is no channel`,
    );
  }
  const steps = plan.form === "op"
    ? operatorSteps(layer, extents, plan.opset)
    : affineSteps(layer, extents);
  return encodeModel(modelOf(layer, steps, nameExtents(inputShape), plan));
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
