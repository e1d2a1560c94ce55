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

/**
 * Rows of few channels are done a channel after the other, in blocks of so many
 * elements: the whole block stays in the L1 cache meanwhile (8 KB of float32,
 * input and output each).
 */
const BLOCK_ELEMENTS = 2048;
/** Few channels, and rows enough to go down a column. */
function hasShortRows({ outer, channels, inner }: Block): boolean {
  return inner === 1 && channels <= 64 && outer >= 8;
}

// One loop per element type, although they look alike: V8 does not specialise
// a shared loop over a union of array classes, or over conversions that are
// passed in (measured: up to five times as long). And three forms of each. A
// loop over planes of one element is mostly its start and end (four times as
// long as one over channels). One over channels reads two parameters for each
// element and looks whether they are there: where there are few channels, going
// down a column of a block takes less (0.22 of the time for 2 channels, 0.27
// for 3, 0.64 for 17, 0.77 for 64; 0.92 for 100, but 1.2 times for 197).

/** The sum is rounded by the store into the Float32Array. */
const columnsFloat32: AffineBlock<Float32Array, Float32Array> = (
  x,
  y,
  element,
  { outer, channels },
  a,
  b,
  parameter,
) => {
  const end = element + outer * channels;
  const block = Math.floor(BLOCK_ELEMENTS / channels) * channels;
  for (let start = element; start < end; start += block) {
    const stop = Math.min(end, start + block);
    for (let c = 0; c < channels; c++) {
      const factor = a[parameter + c]!;
      const summand = b[parameter + c]!;
      for (let i = start + c; i < stop; i += channels) {
        y[i] = Math.fround(x[i]! * factor) + summand;
      }
    }
  }
};

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

const columnsFloat64: AffineBlock<Float64Array, Float64Array> = (
  x,
  y,
  element,
  { outer, channels },
  a,
  b,
  parameter,
) => {
  const end = element + outer * channels;
  const block = Math.floor(BLOCK_ELEMENTS / channels) * channels;
  for (let start = element; start < end; start += block) {
    const stop = Math.min(end, start + block);
    for (let c = 0; c < channels; c++) {
      const factor = a[parameter + c]!;
      const summand = b[parameter + c]!;
      for (let i = start + c; i < stop; i += channels) {
        y[i] = x[i]! * factor + summand;
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
          if (hasShortRows(block)) {
            columnsFloat32(
              x as Float32Array,
              y as Float32Array,
              element,
              block,
              a as Float32Array,
              b as Float32Array,
              parameter,
            );
          } else {
            affineFloat32(
              x as Float32Array,
              y as Float32Array,
              element,
              block,
              a as Float32Array,
              b as Float32Array,
              parameter,
            );
          }
          break;
        case "float64":
          if (hasShortRows(block)) {
            columnsFloat64(
              x as Float64Array,
              y as Float64Array,
              element,
              block,
              a as Float64Array,
              b as Float64Array,
              parameter,
            );
          } else {
            affineFloat64(
              x as Float64Array,
              y as Float64Array,
              element,
              block,
              a as Float64Array,
              b as Float64Array,
              parameter,
            );
          }
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
