/**
 * NumPy's broadcasting, for the small tensors that callers hand in.
 *
 * @module
 */

import { ShapeError } from "../errors.ts";
import { elementCount, type Tensor, widen } from "../tensor.ts";
import { checkTensor } from "./input_spec.ts";

/**
 * The elements of a tensor, repeated to a larger shape.
 *
 * @param source The tensor; its shape fits the end of `dims`, where 1 stands
 * for any extent.
 * @param dims The shape to fill.
 * @param what The tensor's name for messages.
 *
 * @throws {ShapeError} If the shape does not fit.
 * @throws {OptionError} If it is no tensor.
 */
export function broadcast(
  source: Tensor,
  dims: readonly number[],
  what: string,
): Float64Array {
  checkTensor(source, what);
  const missing = dims.length - source.dims.length;
  const extents = [
    ...new Array<number>(Math.max(missing, 0)).fill(1),
    ...source.dims,
  ];
  const fits = missing >= 0 &&
    extents.every((extent, d) => extent === 1 || extent === dims[d]);
  if (!fits) {
    throw new ShapeError(
      `Cannot broadcast ${what} of shape [${source.dims.join(", ")}] to [${
        dims.join(", ")
      }]`,
    );
  }
  const values = widen(source);
  const steps: number[] = [];
  let step = 1;
  for (let d = dims.length - 1; d >= 0; d--) {
    steps[d] = extents[d] === 1 ? 0 : step;
    step *= extents[d]!;
  }
  const result = new Float64Array(elementCount(dims));
  const index = dims.map(() => 0);
  let at = 0;
  for (let i = 0; i < result.length; i++) {
    result[i] = values[at]!;
    for (let d = dims.length - 1; d >= 0; d--) {
      at += steps[d]!;
      if (++index[d]! < dims[d]!) break;
      at -= steps[d]! * dims[d]!;
      index[d] = 0;
    }
  }
  return result;
}
