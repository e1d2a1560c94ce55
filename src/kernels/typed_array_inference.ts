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
function hasShortRows({ outer, channels }: Block): boolean {
  return channels < 8 && outer >= 8;
}

// One loop per element type, although they look alike: V8 does not specialise
// a shared loop over a union of array classes, or over conversions that are
// passed in (measured: up to five times as long). And three forms of each. A
// loop over planes of one element is mostly its start and end. One over rows of
// channels reads two parameters for each element and looks whether they are
// there, so that four rows at a time share that (0.73 to 0.9 of the time of a row
// at a time). Where there are few channels, that loop is mostly start and end as
// well: going down a column of a block takes 0.53 to 0.74 of the time for 2
// channels, 0.83 for 3, and 1.0 for 8; in float64 0.39 to 0.65, 0.77 to 0.93, and
// 1.0 to 1.2.
//
// What bounds float32 is arithmetic, not memory: V8 computes all numbers in
// float64, so that an element is widened, multiplied, rounded, widened, added to
// and rounded. Of the time of the loop over planes, one that only loads and stores
// takes 0.5, one that does not round the product 0.73, one with one more product
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

const rowsFloat32: AffineBlock<Float32Array, Float32Array> = (
  x,
  y,
  element,
  { outer, channels },
  a,
  b,
  parameter,
) => {
  const first = parameter & INDEX;
  const count = channels & INDEX;
  let at = element;
  let left = outer;
  for (; left >= 4; left -= 4, at += 4 * channels) {
    const row0 = at & INDEX;
    const row1 = (at + channels) & INDEX;
    const row2 = (at + 2 * channels) & INDEX;
    const row3 = (at + 3 * channels) & INDEX;
    for (let c = 0; c < count; c++) {
      const factor = a[first + c]!;
      const summand = b[first + c]!;
      y[row0 + c] = Math.fround(x[row0 + c]! * factor) + summand;
      y[row1 + c] = Math.fround(x[row1 + c]! * factor) + summand;
      y[row2 + c] = Math.fround(x[row2 + c]! * factor) + summand;
      y[row3 + c] = Math.fround(x[row3 + c]! * factor) + summand;
    }
  }
  for (; left > 0; left--, at += channels) {
    const row = at & INDEX;
    for (let c = 0; c < count; c++) {
      y[row + c] = Math.fround(x[row + c]! * a[first + c]!) + b[first + c]!;
    }
  }
};

const planesFloat32: AffineBlock<Float32Array, Float32Array> = (
  x,
  y,
  element,
  { outer, channels, inner },
  a,
  b,
  parameter,
) => {
  const last = parameter + channels;
  let at = element;
  for (let o = 0; o < outer; o++) {
    for (let c = parameter; c < last; c++, at += inner) {
      const factor = a[c]!;
      const summand = b[c]!;
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

const rowsFloat64: AffineBlock<Float64Array, Float64Array> = (
  x,
  y,
  element,
  { outer, channels },
  a,
  b,
  parameter,
) => {
  const first = parameter & INDEX;
  const count = channels & INDEX;
  let at = element;
  let left = outer;
  for (; left >= 4; left -= 4, at += 4 * channels) {
    const row0 = at & INDEX;
    const row1 = (at + channels) & INDEX;
    const row2 = (at + 2 * channels) & INDEX;
    const row3 = (at + 3 * channels) & INDEX;
    for (let c = 0; c < count; c++) {
      const factor = a[first + c]!;
      const summand = b[first + c]!;
      y[row0 + c] = x[row0 + c]! * factor + summand;
      y[row1 + c] = x[row1 + c]! * factor + summand;
      y[row2 + c] = x[row2 + c]! * factor + summand;
      y[row3 + c] = x[row3 + c]! * factor + summand;
    }
  }
  for (; left > 0; left--, at += channels) {
    const row = at & INDEX;
    for (let c = 0; c < count; c++) {
      y[row + c] = x[row + c]! * a[first + c]! + b[first + c]!;
    }
  }
};

const planesFloat64: AffineBlock<Float64Array, Float64Array> = (
  x,
  y,
  element,
  { outer, channels, inner },
  a,
  b,
  parameter,
) => {
  const last = parameter + channels;
  let at = element;
  for (let o = 0; o < outer; o++) {
    for (let c = parameter; c < last; c++, at += inner) {
      const factor = a[c]!;
      const summand = b[c]!;
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
      const affine = block.inner > 1
        ? planesFloat32
        : hasShortRows(block)
        ? columnsFloat32
        : rowsFloat32;
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
      const affine = block.inner > 1
        ? planesFloat64
        : hasShortRows(block)
        ? columnsFloat64
        : rowsFloat64;
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
