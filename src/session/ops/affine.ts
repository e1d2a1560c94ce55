/**
 * `y = x * a + b` on the kernels, bounded or not.
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
  { input, layout, factors, summands, bounds }: Affine,
  type: OnnxType,
): Run {
  const Vector = type === "float64" ? Float64Array : Float32Array;
  const a = factors ?? new Vector(layout.channels).fill(1);
  const b = summands ?? new Vector(layout.channels).fill(-0);
  if (bounds) {
    return (inputs, outputs) =>
      kernels().affineClamped(
        layout,
        inputs[input] as Float32Array,
        outputs[0] as Float32Array,
        a as Float32Array,
        b as Float32Array,
        bounds,
      );
  }
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
