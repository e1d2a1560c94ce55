/**
 * How far two ways of computing a model may be apart.
 *
 * @module
 */

import type onnxProto from "onnx-proto";
import { elementCount, halfBits, type Tensor } from "../../tensor.ts";
import { decode, onnx } from "./onnx_proto.ts";

const { FLOAT, FLOAT16, DOUBLE } = onnx.TensorProto.DataType;

/** Half the distance of 1 to the next number. */
const UNIT = { float16: 2 ** -11, float32: 2 ** -24, float64: 2 ** -53 };

type Graph = onnxProto.onnx.IGraphProto;

/** A graph and those in its nodes. */
function* graphsOf(graph: Graph): Generator<Graph> {
  yield graph;
  for (const { attribute } of graph.node ?? []) {
    for (const { g } of attribute ?? []) if (g) yield* graphsOf(g);
  }
}

/** All constants, by the name of the value that they give. */
function* constantsOf(
  graph: Graph,
): Generator<[name: string, onnxProto.onnx.ITensorProto]> {
  for (const { initializer, node } of graphsOf(graph)) {
    for (const tensor of initializer ?? []) yield [tensor.name!, tensor];
    for (const { opType, output, attribute } of node ?? []) {
      const t = opType === "Constant" ? attribute?.[0]?.t : undefined;
      if (t) yield [output![0]!, t];
    }
  }
}

/** Removes all signs, or sets them: they are a number's highest bit. */
function setSigns(bytes: Uint8Array, size: number, negative: boolean): void {
  for (let at = size - 1; at < bytes.length; at += size) {
    if (negative) bytes[at]! |= 0x80;
    else bytes[at]! &= 0x7f;
  }
}

const SIZES = new Map([[FLOAT16, 2], [FLOAT, 4], [DOUBLE, 8]]);

/**
 * The model of the magnitudes: of every product and sum of another one,
 * without signs. Fed with the magnitudes of an input, it gives for each output
 * the sum of the magnitudes of all terms that the other one sums up.
 */
export function magnitudesOf(model: Uint8Array): Uint8Array {
  const message = decode(model);
  const means = new Set<string>();
  for (const { node } of graphsOf(message.graph!)) {
    for (const { opType, input, attribute } of node ?? []) {
      if (opType === "BatchNormalization") means.add(input![3]!);
      if (opType !== "Gemm") continue;
      for (const each of attribute ?? []) {
        if (each.f) each.f = Math.abs(each.f);
      }
    }
  }
  for (const [name, tensor] of constantsOf(message.graph!)) {
    const size = SIZES.get(tensor.dataType!);
    if (size === undefined) continue;
    const raw = tensor.rawData?.length
      ? Uint8Array.from(tensor.rawData)
      : new Uint8Array(Float32Array.from(tensor.floatData!).buffer);
    // B - mean * a: the mean is what is subtracted.
    setSigns(raw, size, means.has(name));
    tensor.floatData = [];
    tensor.rawData = raw;
  }
  return new Uint8Array(onnx.ModelProto.encode(message).finish());
}

/** An input without signs. */
export function magnitudeOf({ dims, type, data }: Tensor): Tensor {
  if (type === "float16" || type === "bfloat16") {
    return { dims, type, data: halfBits(data).map((bits) => bits & 0x7fff) };
  }
  const values = data as Float32Array;
  return { dims, type, data: values.map((value) => Math.abs(value)) };
}

/**
 * The most roundings that a term of an output goes through: one per addition
 * and multiplication of each operator.
 */
function roundingsOf(model: Uint8Array): number {
  const graph = decode(model).graph!;
  const constants = new Map(constantsOf(graph));
  let count = 0;
  for (const { node } of graphsOf(graph)) {
    for (const { opType, input } of node ?? []) {
      if (opType === "BatchNormalization") {
        // var + epsilon, its root, 1 / it, * scale, * mean, B - it, * x, + it.
        count += 8;
        continue;
      }
      const dims = constants.get(input?.[1] ?? "")?.dims?.map(Number);
      if (!dims) continue;
      // At most as many additions as the weight has elements for one output,
      // the product, alpha, beta and the bias.
      const outputs = opType === "ConvTranspose"
        ? dims[1]!
        : opType === "Conv"
        ? dims[0]!
        : 1;
      count += elementCount(dims) / outputs + 4;
    }
  }
  return count;
}

/**
 * How much an output of a model and of its folded form may differ, as a
 * factor of the output of {@linkcode magnitudesOf}.
 *
 * Each output is a sum of products of the input and of constants. Each of
 * these terms goes through at most n roundings, so that it is computed with a
 * factor from 1 - g to 1 + g, where g = n u / (1 - n u) and u is half the distance
 * of 1 to the next number. With S as the sum of the terms' magnitudes, the
 * model is then within g S of the true value. The folded model computes no
 * more than it at run time, and its constants in float64, which counts for
 * float64 models (so twice n), rounding each once. Relu, Identity and those
 * that move elements keep the distance or lessen it. S is computed with the
 * same roundings, so that it is at least (1 - g) of the true one.
 */
export function toleranceOf(
  model: Uint8Array,
  type: keyof typeof UNIT,
): number {
  const nu = 2 * roundingsOf(model) * UNIT[type];
  const g = nu / (1 - nu);
  return 2 * g / (1 - g);
}
