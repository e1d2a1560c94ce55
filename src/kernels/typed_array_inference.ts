/**
 * Inference in plain TypeScript over typed arrays: it runs everywhere, and is
 * the definition that the WASM kernels must match bit for bit.
 *
 * @module
 */

import {
  bfloat16ToNumber,
  float16ToNumber,
  numberToBfloat16,
  numberToFloat16,
} from "../half_float.ts";
import { type ElementType, halfBits, type TensorData } from "../tensor.ts";
import { type Block, forEachBlock, type Layout } from "./layout.ts";
import type { InferenceKernels, Parameters } from "./types.ts";

/** Applies `y = x * a + b` to one block. */
type AffineBlock<X, P> = (
  x: X,
  y: X,
  element: number,
  block: Block,
  a: P,
  b: P,
  parameter: number,
) => void;

// One loop per element type, although they look alike: V8 does not specialise
// a shared loop over a union of array classes, or over conversions that are
// passed in (measured: up to five times as long). And two forms of each, since
// a loop over planes of one element is mostly its start and end (four times as
// long as one over channels).

/** The sum is rounded by the store into the Float32Array. */
const affineFloat32: AffineBlock<Float32Array, Float32Array> = (
  x,
  y,
  element,
  { outer, channels, inner },
  a,
  b,
  parameter,
) => {
  const last = parameter + channels;
  let i = element;
  for (let o = 0; o < outer; o++) {
    if (inner === 1) {
      for (let c = parameter; c < last; c++, i++) {
        y[i] = Math.fround(x[i]! * a[c]!) + b[c]!;
      }
      continue;
    }
    for (let c = parameter; c < last; c++) {
      const factor = a[c]!;
      const summand = b[c]!;
      for (const end = i + inner; i < end; i++) {
        y[i] = Math.fround(x[i]! * factor) + summand;
      }
    }
  }
};

const affineFloat64: AffineBlock<Float64Array, Float64Array> = (
  x,
  y,
  element,
  { outer, channels, inner },
  a,
  b,
  parameter,
) => {
  const last = parameter + channels;
  let i = element;
  for (let o = 0; o < outer; o++) {
    if (inner === 1) {
      for (let c = parameter; c < last; c++, i++) {
        y[i] = x[i]! * a[c]! + b[c]!;
      }
      continue;
    }
    for (let c = parameter; c < last; c++) {
      const factor = a[c]!;
      const summand = b[c]!;
      for (const end = i + inner; i < end; i++) {
        y[i] = x[i]! * factor + summand;
      }
    }
  }
};

// The conversions of 16-bit types take so long that one form is enough. The
// encoders round the sum to float32 first, as it must be.

const affineFloat16: AffineBlock<Uint16Array, Float32Array> = (
  x,
  y,
  element,
  { outer, channels, inner },
  a,
  b,
  parameter,
) => {
  const last = parameter + channels;
  let i = element;
  for (let o = 0; o < outer; o++) {
    for (let c = parameter; c < last; c++) {
      const factor = a[c]!;
      const summand = b[c]!;
      for (const end = i + inner; i < end; i++) {
        y[i] = numberToFloat16(
          Math.fround(float16ToNumber(x[i]!) * factor) + summand,
        );
      }
    }
  }
};

const affineBfloat16: AffineBlock<Uint16Array, Float32Array> = (
  x,
  y,
  element,
  { outer, channels, inner },
  a,
  b,
  parameter,
) => {
  const last = parameter + channels;
  let i = element;
  for (let o = 0; o < outer; o++) {
    for (let c = parameter; c < last; c++) {
      const factor = a[c]!;
      const summand = b[c]!;
      for (const end = i + inner; i < end; i++) {
        y[i] = numberToBfloat16(
          Math.fround(bfloat16ToNumber(x[i]!) * factor) + summand,
        );
      }
    }
  }
};

/** The typed-array kernels of inference. */
export const typedArrayInference: InferenceKernels = {
  name: "typed-array",
  affine(
    type: ElementType,
    layout: Layout,
    x: TensorData,
    y: TensorData,
    a: Parameters,
    b: Parameters,
  ): void {
    forEachBlock(layout, (element, parameter, block) => {
      switch (type) {
        case "float32":
          affineFloat32(
            x as Float32Array,
            y as Float32Array,
            element,
            block,
            a as Float32Array,
            b as Float32Array,
            parameter,
          );
          break;
        case "float64":
          affineFloat64(
            x as Float64Array,
            y as Float64Array,
            element,
            block,
            a as Float64Array,
            b as Float64Array,
            parameter,
          );
          break;
        default: {
          const affine = type === "float16" ? affineFloat16 : affineBfloat16;
          affine(
            halfBits(x),
            halfBits(y),
            element,
            block,
            a as Float32Array,
            b as Float32Array,
            parameter,
          );
        }
      }
    });
  },
};
