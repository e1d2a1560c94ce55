/**
 * 16-bit floating-point values: computed in float32, rounded when stored.
 *
 * @module
 */

import {
  bfloat16ToNumber,
  float16ToNumber,
  numberToBfloat16,
  numberToFloat16,
} from "../../half_float.ts";
import type { OnnxData } from "../../onnx/element_types.ts";
import { countOf, isHalf, type Spec } from "../values.ts";
import type { Run } from "./operator.ts";

/** Decodes 16-bit elements into an array of the same length. */
export function decodeHalf(
  type: "float16" | "bfloat16",
  bits: OnnxData,
  target: Float32Array | Float64Array,
): void {
  const decode = type === "float16" ? float16ToNumber : bfloat16ToNumber;
  const source = bits as Uint16Array;
  for (let i = 0; i < target.length; i++) target[i] = decode(source[i]!);
}

/** Encodes numbers as 16-bit elements. */
export function encodeHalf(
  type: "float16" | "bfloat16",
  values: ArrayLike<number>,
  target: OnnxData,
): void {
  const encode = type === "float16" ? numberToFloat16 : numberToBfloat16;
  for (let i = 0; i < values.length; i++) target[i] = encode(values[i]!);
}

/** The type that elements are computed in: float32 for 16-bit floats. */
export function widened(spec: Spec): Spec {
  return isHalf(spec.type) ? { type: "float32", dims: spec.dims } : spec;
}

/**
 * A run on 16-bit floats, made from one on float32.
 *
 * @param inputs What comes in; undefined where an input is left out.
 * @param outputs What goes out.
 * @param run Computes with float32 in the place of 16-bit floats.
 * @returns The run itself if there are none.
 */
export function throughFloat32(
  inputs: readonly (Spec | undefined)[],
  outputs: readonly Spec[],
  run: Run,
): Run {
  const scratch = (spec: Spec | undefined): Float32Array | undefined =>
    spec && isHalf(spec.type)
      ? new Float32Array(countOf(spec.dims))
      : undefined;
  const ins = inputs.map(scratch);
  const outs = outputs.map(scratch);
  if ([...ins, ...outs].every((each) => each === undefined)) return run;
  const wideIns: (OnnxData | undefined)[] = [];
  const wideOuts: (OnnxData | undefined)[] = [];
  return (x, y) => {
    ins.forEach((wide, i) => {
      const type = inputs[i]?.type;
      if (wide && isHalf(type!)) decodeHalf(type, x[i]!, wide);
      wideIns[i] = wide ?? x[i];
    });
    outs.forEach((wide, i) => wideOuts[i] = y[i] && (wide ?? y[i]));
    try {
      run(wideIns, wideOuts);
    } finally {
      // What the caller gave is for the collector.
      wideIns.length = 0;
      wideOuts.length = 0;
    }
    outs.forEach((wide, i) => {
      const { type } = outputs[i]!;
      if (wide && y[i] && isHalf(type)) encodeHalf(type, wide, y[i]!);
    });
  };
}
