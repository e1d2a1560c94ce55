/**
 * `y = x * a + b` on the kernels.
 *
 * @module
 */

import type { Kernels } from "../../kernels/types.ts";
import type { OnnxType } from "../../onnx/element_types.ts";
import type { ElementType, TensorData } from "../../tensor.ts";
import type { Affine, Run } from "./operator.ts";

/** A run of constant factors and summands. */
export function affineRun(
  kernels: () => Kernels,
  { input, layout, factors, summands }: Affine,
  type: OnnxType,
): Run {
  const Vector = type === "float64" ? Float64Array : Float32Array;
  const a = factors ?? new Vector(layout.channels).fill(1);
  const b = summands ?? new Vector(layout.channels).fill(-0);
  return (inputs, outputs) =>
    kernels().affine(
      type as ElementType,
      layout,
      inputs[input] as TensorData,
      outputs[0] as TensorData,
      a,
      b,
    );
}
