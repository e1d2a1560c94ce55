/**
 * What the kernels must compute, written as slowly and plainly as possible and
 * without their helpers.
 *
 * @module
 */

import type { ElementType, TensorData } from "../../tensor.ts";
import type { Parameters } from "../types.ts";

/** The channel of each element, by taking its index apart digit by digit. */
export function channelOfEach(
  dims: readonly number[],
  axes: readonly number[],
): Uint32Array {
  const count = dims.reduce((product, extent) => product * extent, 1);
  return Uint32Array.from({ length: count }, (_, element) => {
    let channel = 0;
    let weight = 1;
    let rest = element;
    for (let d = dims.length - 1; d >= 0; d--) {
      const digit = rest % dims[d]!;
      rest = Math.floor(rest / dims[d]!);
      if (axes.includes(d)) {
        channel += digit * weight;
        weight *= dims[d]!;
      }
    }
    return channel;
  });
}

const bytes = new DataView(new ArrayBuffer(4));

function readBfloat16(half: number): number {
  bytes.setUint16(0, half);
  bytes.setUint16(2, 0);
  return bytes.getFloat32(0);
}

/** The nearer of the two neighbours of a float32; the even one of a tie. */
function writeBfloat16(value: number): number {
  if (Number.isNaN(value)) return 0x7fc0;
  bytes.setFloat32(0, value);
  const below = bytes.getUint16(0); // towards zero
  const rest = bytes.getUint16(2);
  const up = rest > 0x8000 || (rest === 0x8000 && below % 2 === 1);
  return up ? below + 1 : below;
}

const halves = new DataView(new ArrayBuffer(2));

function readFloat16(half: number): number {
  halves.setUint16(0, half);
  return halves.getFloat16(0);
}

function writeFloat16(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  halves.setFloat16(0, value);
  return halves.getUint16(0);
}

/** `y = x * a + b` over a whole tensor, in a new array like `x`. */
export function affineOracle(
  type: ElementType,
  dims: readonly number[],
  axes: readonly number[],
  x: TensorData,
  a: Parameters,
  b: Parameters,
): TensorData {
  const channels = channelOfEach(dims, axes);
  const y = x.slice();
  for (let i = 0; i < x.length; i++) {
    const c = channels[i]!;
    const single = (value: number): number =>
      Math.fround(Math.fround(value * a[c]!) + b[c]!);
    if (type === "float64") y[i] = x[i]! * a[c]! + b[c]!;
    else if (type === "float32") y[i] = single(x[i]!);
    else if (type === "float16") {
      y[i] = writeFloat16(single(readFloat16(x[i]!)));
    } else y[i] = writeBfloat16(single(readBfloat16(x[i]!)));
  }
  return y;
}
