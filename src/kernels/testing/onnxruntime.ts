/**
 * BatchNormalization by onnxruntime-web, as what our kernels are held against.
 *
 * @module
 */

import proto from "onnx-proto";
import * as ort from "onnxruntime-web";
import type { TensorData } from "../../tensor.ts";

// One thread: no workers that outlive a test, and one order of everything.
ort.env.wasm.numThreads = 1;

/** The types that onnxruntime-web's BatchNormalization takes. */
export type OnnxFloat = "float32" | "float64" | "float16";

/** `onnx.TensorProto.DataType`. */
const DATA_TYPES: Readonly<Record<OnnxFloat, number>> = {
  float32: 1,
  float16: 10,
  float64: 11,
};

/** The four vectors, as arrays of the tensor's type (bits for float16). */
export interface OnnxParameters {
  readonly scale: TensorData;
  readonly bias: TensorData;
  readonly mean: TensorData;
  readonly variance: TensorData;
  readonly epsilon: number;
}

/** A model of one BatchNormalization whose vectors are initializers. */
function buildModel(
  type: OnnxFloat,
  rank: number,
  parameters: OnnxParameters,
): Uint8Array {
  const { ModelProto } = proto.onnx;
  const elemType = DATA_TYPES[type];
  const value = (name: string) => ({
    name,
    type: {
      tensorType: {
        elemType,
        shape: {
          dim: Array.from({ length: rank }, (_, d) => ({ dimParam: `d${d}` })),
        },
      },
    },
  });
  const initializer = (name: string, data: TensorData) => ({
    name,
    dims: [data.length],
    dataType: elemType,
    rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  });
  const { scale, bias, mean, variance, epsilon } = parameters;
  return ModelProto.encode(ModelProto.create({
    irVersion: 8,
    opsetImport: [{ domain: "", version: 15 }],
    graph: {
      name: "batch_normalization",
      node: [{
        opType: "BatchNormalization",
        input: ["x", "scale", "bias", "mean", "variance"],
        output: ["y"],
        attribute: [{ name: "epsilon", type: 1, f: epsilon }],
      }],
      initializer: [
        initializer("scale", scale),
        initializer("bias", bias),
        initializer("mean", mean),
        initializer("variance", variance),
      ],
      input: [value("x")],
      output: [value("y")],
    },
  })).finish();
}

/**
 * Runs BatchNormalization in onnxruntime-web; the channels are axis 1.
 *
 * @returns The output, float16 as bits in a `Uint16Array`.
 */
export async function runOnnxruntime(
  type: OnnxFloat,
  dims: readonly number[],
  x: TensorData,
  parameters: OnnxParameters,
): Promise<TensorData> {
  const model = buildModel(type, dims.length, parameters);
  const session = await ort.InferenceSession.create(model);
  try {
    const tensor = type === "float32"
      ? new ort.Tensor(type, x as Float32Array, dims)
      : type === "float64"
      ? new ort.Tensor(type, x as Float64Array, dims)
      : new ort.Tensor(type, x as Uint16Array, dims);
    const { y } = await session.run({ x: tensor });
    const data = y!.data as TensorData;
    return data instanceof Float16Array
      ? new Uint16Array(data.buffer, data.byteOffset, data.length).slice()
      : data.slice();
  } finally {
    await session.release();
  }
}
