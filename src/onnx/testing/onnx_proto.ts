/**
 * Models through onnx-proto, an implementation of the format that is not ours.
 *
 * @module
 */

import onnxProto from "onnx-proto";

/** onnx-proto's messages. */
export const { onnx } = onnxProto;

/** A model as onnx-proto reads it, without the fields that are not there. */
export function decode(model: Uint8Array): onnxProto.onnx.ModelProto {
  return onnx.ModelProto.decode(model);
}

/**
 * A bfloat16 model with float32 input and output, which onnxruntime-web can
 * be given: it is cast to bfloat16 at its start and back at its end.
 */
export function feedableAsFloat32(model: Uint8Array): Uint8Array {
  const { FLOAT, BFLOAT16 } = onnx.TensorProto.DataType;
  const message = decode(model);
  const graph = message.graph as onnxProto.onnx.GraphProto;
  const cast = (input: string, output: string, to: number) =>
    onnx.NodeProto.create({
      opType: "Cast",
      input: [input],
      output: [output],
      attribute: [{
        name: "to",
        i: to,
        type: onnx.AttributeProto.AttributeType.INT,
      }],
    });
  const { name: x } = graph.input[0]!;
  const { name: y } = graph.output[0]!;
  for (const value of [graph.input[0]!, graph.output[0]!]) {
    value.type!.tensorType!.elemType = FLOAT;
    value.name += "_float32";
  }
  graph.node = [
    cast(`${x}_float32`, x!, BFLOAT16),
    ...graph.node,
    cast(y!, `${y}_float32`, FLOAT),
  ];
  return onnx.ModelProto.encode(message).finish();
}
