/**
 * The ways in which arrays come to the kernels.
 *
 * @module
 */

import type { ElementType, TensorData } from "../../tensor.ts";
import { allocate } from "../allocate.ts";

/** A view of an array's class over a buffer that may be shared. */
export function viewLike(
  data: TensorData,
  buffer: ArrayBufferLike,
  byteOffset: number,
): TensorData {
  const View = data.constructor as new (
    buffer: ArrayBufferLike,
    byteOffset: number,
    length: number,
  ) => TensorData;
  return new View(buffer, byteOffset, data.length);
}

/** Copies all elements, and returns the target. */
export function copyInto<T extends TensorData>(
  target: T,
  source: TensorData,
): T {
  (target as Float32Array).set(source as Float32Array);
  return target;
}

/** A tensor in WASM memory, one element off from where it begins. */
export function allocateOff(
  type: ElementType,
  length: number,
): { data: TensorData; dispose: () => void } {
  const tensor = allocate([length + 1], type);
  return {
    data: tensor.data.subarray(1),
    dispose: () => tensor[Symbol.dispose](),
  };
}
