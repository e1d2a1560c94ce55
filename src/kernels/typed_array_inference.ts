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
import { forEachPart } from "./parts.ts";
import type { InferenceKernels, Parameters } from "./types.ts";

/** That of `parts.ts`, which says why it is here and what it is for. */
const INDEX = 0x7fffffff;

/** Applies `y = x * a + b` to one block, no index of which is above `INDEX`. */
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
function hasShortRows(
  { outer, channels, inner }: Block,
  most: number,
): boolean {
  return inner === 1 && channels <= most && outer >= 8;
}

// One loop per element type, although they look alike: V8 does not specialise
// a shared loop over a union of array classes, or over conversions that are
// passed in (measured: up to five times as long). And three forms of each. A
// loop over planes of one element is mostly its start and end (four times as
// long as one over channels). One over channels reads two parameters for each
// element and looks whether they are there: where there are few channels, going
// down a column of a block takes less (in float32 0.43 of the time for 2
// channels, 0.52 for 3, 0.71 for 17, 0.78 for 32, 0.75 to 1.02 for 64; in float64
// 0.27, 0.34 and 0.65 to 1.0 for the first three, but 1.05 times for 32).
//
// What bounds float32 is arithmetic, not memory: V8 computes all numbers in
// float64, so that an element is widened, multiplied, rounded, widened, added to
// and rounded. Of a loop over planes, one that only loads and stores takes half
// the time, one that does not round the product 0.73, one with one more product
// to round 1.49, whether the elements are in the L1 cache or beyond the L2 (a
// memory copy takes 0.03 and 0.22). Writing four elements out for each turn of
// the loop took 0.97 of the time; rounding by adding and subtracting, which has
// no conversions, 0.94, and with what finds infinite products 1.1 times.

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
  const step = channels & INDEX;
  const block = Math.floor(BLOCK_ELEMENTS / channels) * channels;
  for (let start = element; start < end; start += block) {
    const stop = Math.min(end, start + block) & INDEX;
    for (let c = 0; c < channels; c++) {
      const factor = a[parameter + c]!;
      const summand = b[parameter + c]!;
      for (let i = (start + c) & INDEX; i < stop; i += step) {
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
  const first = parameter & INDEX;
  const count = channels & INDEX;
  let at = element;
  for (let o = 0; o < outer; o++) {
    if (inner === 1) {
      const start = at & INDEX;
      for (let c = 0; c < count; c++) {
        y[start + c] = Math.fround(x[start + c]! * a[first + c]!) +
          b[first + c]!;
      }
      at += channels;
      continue;
    }
    for (let c = 0; c < count; c++, at += inner) {
      const factor = a[first + c]!;
      const summand = b[first + c]!;
      const end = (at + inner) & INDEX;
      for (let i = at & INDEX; i < end; i++) {
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
  const step = channels & INDEX;
  const block = Math.floor(BLOCK_ELEMENTS / channels) * channels;
  for (let start = element; start < end; start += block) {
    const stop = Math.min(end, start + block) & INDEX;
    for (let c = 0; c < channels; c++) {
      const factor = a[parameter + c]!;
      const summand = b[parameter + c]!;
      for (let i = (start + c) & INDEX; i < stop; i += step) {
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
  const first = parameter & INDEX;
  const count = channels & INDEX;
  let at = element;
  for (let o = 0; o < outer; o++) {
    if (inner === 1) {
      const start = at & INDEX;
      for (let c = 0; c < count; c++) {
        y[start + c] = x[start + c]! * a[first + c]! + b[first + c]!;
      }
      at += channels;
      continue;
    }
    for (let c = 0; c < count; c++, at += inner) {
      const factor = a[first + c]!;
      const summand = b[first + c]!;
      const end = (at + inner) & INDEX;
      for (let i = at & INDEX; i < end; i++) {
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

/** Applies `y = x * a + b` to one block of any element type. */
function affineBlock(
  type: ElementType,
  x: TensorData,
  y: TensorData,
  element: number,
  block: Block,
  a: Parameters,
  b: Parameters,
  parameter: number,
): void {
  switch (type) {
    case "float32": {
      const affine = hasShortRows(block, 64) ? columnsFloat32 : affineFloat32;
      affine(
        x as Float32Array,
        y as Float32Array,
        element,
        block,
        a as Float32Array,
        b as Float32Array,
        parameter,
      );
      break;
    }
    case "float64": {
      const affine = hasShortRows(block, 16) ? columnsFloat64 : affineFloat64;
      affine(
        x as Float64Array,
        y as Float64Array,
        element,
        block,
        a as Float64Array,
        b as Float64Array,
        parameter,
      );
      break;
    }
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
}

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
      if (x.length <= INDEX) {
        return affineBlock(type, x, y, element, block, a, b, parameter);
      }
      forEachPart(block, INDEX, (offset, channel, part) => {
        const start = element + offset;
        const end = start + part.outer * part.channels * part.inner;
        affineBlock(
          type,
          x.subarray(start, end),
          y.subarray(start, end),
          0,
          part,
          a,
          b,
          parameter + channel,
        );
      });
    });
  },
};
