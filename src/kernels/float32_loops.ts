/**
 * The loops of training over float32 arrays.
 *
 * `float32_loops.ts` and `float64_loops.ts` are the same but for the class of
 * the arrays: V8 keeps one set of types per function in the source, and where
 * a loop has seen two classes of arrays, it takes up to twice as long (2.4
 * against 5.4 ns per element of `normalizeRows`). So both are written out; a
 * test compares them.
 *
 * Loops that are shared, or call what computes an element, are not inlined
 * well enough either. Arrays that the elements of a piece are in are accessed
 * from `at` on, vectors from `slot` on; no index of a piece is above
 * {@linkcode INDEX}.
 *
 * @module
 */

import type { SlotVectors } from "./pieces.ts";
import type { PieceLoops } from "./piece_loops.ts";

type Elements = Float32Array;

/**
 * That of `parts.ts`, which says why it is here and what it is for: loops over
 * rows took 0.67 to 0.93 of the time.
 */
const INDEX = 0x7fffffff;

function momentsRows(
  vectors: SlotVectors,
  slot: number,
  x: Elements,
  at: number,
  rows: number,
  length: number,
): void {
  const [means, sums, products] = vectors;
  const whole = length - length % 8;
  for (let s = slot; s < slot + rows; s++, at += length) {
    const mean = means[s]!;
    let sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    let product0 = 0, product1 = 0, product2 = 0, product3 = 0;
    const last = (at + whole) & INDEX;
    for (let i = at & INDEX; i < last; i += 4) {
      const d0 = x[i]! - mean;
      const d1 = x[i + 1]! - mean;
      const d2 = x[i + 2]! - mean;
      const d3 = x[i + 3]! - mean;
      sum0 += d0;
      sum1 += d1;
      sum2 += d2;
      sum3 += d3;
      product0 += d0 * d0;
      product1 += d1 * d1;
      product2 += d2 * d2;
      product3 += d3 * d3;
    }
    let sum = (sum0 + sum2) + (sum1 + sum3);
    let product = (product0 + product2) + (product1 + product3);
    const end = (at + length) & INDEX;
    for (let i = last; i < end; i++) {
      const d = x[i]! - mean;
      sum += d;
      product += d * d;
    }
    sums[s]! += sum;
    products[s]! += product;
  }
}

function gradientSumsRows(
  vectors: SlotVectors,
  slot: number,
  x: Elements,
  dy: Elements,
  at: number,
  rows: number,
  length: number,
): void {
  const [means, sums, products] = vectors;
  const whole = length - length % 8;
  for (let s = slot; s < slot + rows; s++, at += length) {
    const mean = means[s]!;
    let sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    let product0 = 0, product1 = 0, product2 = 0, product3 = 0;
    const last = (at + whole) & INDEX;
    for (let i = at & INDEX; i < last; i += 4) {
      const g0 = dy[i]!;
      const g1 = dy[i + 1]!;
      const g2 = dy[i + 2]!;
      const g3 = dy[i + 3]!;
      sum0 += g0;
      sum1 += g1;
      sum2 += g2;
      sum3 += g3;
      product0 += g0 * (x[i]! - mean);
      product1 += g1 * (x[i + 1]! - mean);
      product2 += g2 * (x[i + 2]! - mean);
      product3 += g3 * (x[i + 3]! - mean);
    }
    let sum = (sum0 + sum2) + (sum1 + sum3);
    let product = (product0 + product2) + (product1 + product3);
    const end = (at + length) & INDEX;
    for (let i = last; i < end; i++) {
      const g = dy[i]!;
      sum += g;
      product += g * (x[i]! - mean);
    }
    sums[s]! += sum;
    products[s]! += product;
  }
}

function normalizeRows(
  vectors: SlotVectors,
  slot: number,
  x: Elements,
  y: Elements,
  at: number,
  rows: number,
  length: number,
): void {
  const [means, factors, summands] = vectors;
  for (let s = slot; s < slot + rows; s++, at += length) {
    const mean = means[s]!;
    const factor = factors[s]!;
    const summand = summands[s]!;
    const end = (at + length) & INDEX;
    for (let i = at & INDEX; i < end; i++) {
      y[i] = (x[i]! - mean) * factor + summand;
    }
  }
}

function inputGradientRows(
  vectors: SlotVectors,
  slot: number,
  x: Elements,
  dy: Elements,
  dx: Elements,
  at: number,
  rows: number,
  length: number,
): void {
  const [means, shifts, slopes, factors] = vectors;
  for (let s = slot; s < slot + rows; s++, at += length) {
    const mean = means[s]!;
    const shift = shifts[s]!;
    const slope = slopes[s]!;
    const factor = factors[s]!;
    const end = (at + length) & INDEX;
    for (let i = at & INDEX; i < end; i++) {
      dx[i] = (dy[i]! - shift - (x[i]! - mean) * slope) * factor;
    }
  }
}

// Columns go four rows at a time, which share what is loaded and stored for a
// column. Going down one column after the other, sums took 1.25 to 1.7 times as
// long; and stores would keep the loads after them waiting wherever rows are a
// multiple of 4 KB apart (12 ns per element against 3.6). Eight rows took 0.9 of
// the time.

function momentsColumns(
  vectors: SlotVectors,
  x: Elements,
  at: number,
  rows: number,
  width: number,
  stride: number,
): void {
  const [means, sums, products] = vectors;
  const columns = width & INDEX;
  let left = rows;
  for (; left >= 4; left -= 4, at += 4 * stride) {
    const row0 = at & INDEX;
    const row1 = (at + stride) & INDEX;
    const row2 = (at + 2 * stride) & INDEX;
    const row3 = (at + 3 * stride) & INDEX;
    for (let c = 0; c < columns; c++) {
      const mean = means[c]!;
      const d0 = x[row0 + c]! - mean;
      const d1 = x[row1 + c]! - mean;
      const d2 = x[row2 + c]! - mean;
      const d3 = x[row3 + c]! - mean;
      sums[c] = sums[c]! + d0 + d1 + d2 + d3;
      products[c] = products[c]! + d0 * d0 + d1 * d1 + d2 * d2 + d3 * d3;
    }
  }
  for (; left > 0; left--, at += stride) {
    const row = at & INDEX;
    for (let c = 0; c < columns; c++) {
      const d = x[row + c]! - means[c]!;
      sums[c]! += d;
      products[c]! += d * d;
    }
  }
}

function gradientSumsColumns(
  vectors: SlotVectors,
  x: Elements,
  dy: Elements,
  at: number,
  rows: number,
  width: number,
  stride: number,
): void {
  const [means, sums, products] = vectors;
  const columns = width & INDEX;
  let left = rows;
  for (; left >= 4; left -= 4, at += 4 * stride) {
    const row0 = at & INDEX;
    const row1 = (at + stride) & INDEX;
    const row2 = (at + 2 * stride) & INDEX;
    const row3 = (at + 3 * stride) & INDEX;
    for (let c = 0; c < columns; c++) {
      const mean = means[c]!;
      const g0 = dy[row0 + c]!;
      const g1 = dy[row1 + c]!;
      const g2 = dy[row2 + c]!;
      const g3 = dy[row3 + c]!;
      sums[c] = sums[c]! + g0 + g1 + g2 + g3;
      products[c] = products[c]! + g0 * (x[row0 + c]! - mean) +
        g1 * (x[row1 + c]! - mean) + g2 * (x[row2 + c]! - mean) +
        g3 * (x[row3 + c]! - mean);
    }
  }
  for (; left > 0; left--, at += stride) {
    const row = at & INDEX;
    for (let c = 0; c < columns; c++) {
      const g = dy[row + c]!;
      sums[c]! += g;
      products[c]! += g * (x[row + c]! - means[c]!);
    }
  }
}

function normalizeColumns(
  vectors: SlotVectors,
  x: Elements,
  y: Elements,
  at: number,
  rows: number,
  width: number,
  stride: number,
): void {
  const [means, factors, summands] = vectors;
  const columns = width & INDEX;
  let left = rows;
  for (; left >= 4; left -= 4, at += 4 * stride) {
    const row0 = at & INDEX;
    const row1 = (at + stride) & INDEX;
    const row2 = (at + 2 * stride) & INDEX;
    const row3 = (at + 3 * stride) & INDEX;
    for (let c = 0; c < columns; c++) {
      const mean = means[c]!;
      const factor = factors[c]!;
      const summand = summands[c]!;
      y[row0 + c] = (x[row0 + c]! - mean) * factor + summand;
      y[row1 + c] = (x[row1 + c]! - mean) * factor + summand;
      y[row2 + c] = (x[row2 + c]! - mean) * factor + summand;
      y[row3 + c] = (x[row3 + c]! - mean) * factor + summand;
    }
  }
  for (; left > 0; left--, at += stride) {
    const row = at & INDEX;
    for (let c = 0; c < columns; c++) {
      y[row + c] = (x[row + c]! - means[c]!) * factors[c]! + summands[c]!;
    }
  }
}

function inputGradientColumns(
  vectors: SlotVectors,
  x: Elements,
  dy: Elements,
  dx: Elements,
  at: number,
  rows: number,
  width: number,
  stride: number,
): void {
  const [means, shifts, slopes, factors] = vectors;
  const columns = width & INDEX;
  let left = rows;
  for (; left >= 4; left -= 4, at += 4 * stride) {
    const row0 = at & INDEX;
    const row1 = (at + stride) & INDEX;
    const row2 = (at + 2 * stride) & INDEX;
    const row3 = (at + 3 * stride) & INDEX;
    for (let c = 0; c < columns; c++) {
      const mean = means[c]!;
      const shift = shifts[c]!;
      const slope = slopes[c]!;
      const factor = factors[c]!;
      const i0 = row0 + c;
      const i1 = row1 + c;
      const i2 = row2 + c;
      const i3 = row3 + c;
      dx[i0] = (dy[i0]! - shift - (x[i0]! - mean) * slope) * factor;
      dx[i1] = (dy[i1]! - shift - (x[i1]! - mean) * slope) * factor;
      dx[i2] = (dy[i2]! - shift - (x[i2]! - mean) * slope) * factor;
      dx[i3] = (dy[i3]! - shift - (x[i3]! - mean) * slope) * factor;
    }
  }
  for (; left > 0; left--, at += stride) {
    const row = at & INDEX;
    for (let c = 0; c < columns; c++) {
      const i = row + c;
      const slant = (x[i]! - means[c]!) * slopes[c]!;
      dx[i] = (dy[i]! - shifts[c]! - slant) * factors[c]!;
    }
  }
}

/** All of them. */
export const float32Loops: PieceLoops<Elements> = {
  momentsRows,
  gradientSumsRows,
  normalizeRows,
  inputGradientRows,
  momentsColumns,
  gradientSumsColumns,
  normalizeColumns,
  inputGradientColumns,
};
