// `dx = (dy - shift - (x - mean) * slope) * factor` on a piece, in float64.
// Vectors: 0 is `mean`, 1 `shift`, 2 `slope`, 3 `factor`. `dx` may be `x` or
// `dy`.

import {
  loadHigh,
  loadLow,
  storeHigh,
  storeLow,
  UNROLLED,
  VECTOR,
  WIDTH,
} from "./wide";

// @ts-ignore: decorator
@inline
function gradient(
  x: v128,
  dy: v128,
  mean: v128,
  shift: v128,
  slope: v128,
  factor: v128,
): v128 {
  const slant = f64x2.mul(f64x2.sub(x, mean), slope);
  return f64x2.mul(f64x2.sub(f64x2.sub(dy, shift), slant), factor);
}

// @ts-ignore: decorator
@inline
function gradientOne<T>(
  x: usize,
  dy: usize,
  dx: usize,
  mean: f64,
  shift: f64,
  slope: f64,
  factor: f64,
): void {
  const slant = (<f64> load<T>(x) - mean) * slope;
  store<T>(dx, <T> ((<f64> load<T>(dy) - shift - slant) * factor));
}

/** Rows of `length` elements, the parameters of a row in registers. */
// @ts-ignore: decorator
@inline
export function gradientRows<T>(
  vectors: usize,
  x: usize,
  dy: usize,
  dx: usize,
  rows: usize,
  length: usize,
): void {
  for (; rows; rows--) {
    const mean = v128.load_splat<u64>(vectors);
    const shift = v128.load_splat<u64>(vectors, VECTOR);
    const slope = v128.load_splat<u64>(vectors, 2 * VECTOR);
    const factor = v128.load_splat<u64>(vectors, 3 * VECTOR);
    let left = length;
    for (; left >= WIDTH; left -= WIDTH) {
      const x0 = loadLow<T>(x);
      const x1 = loadHigh<T>(x);
      const dy0 = loadLow<T>(dy);
      const dy1 = loadHigh<T>(dy);
      storeLow<T>(dx, gradient(x0, dy0, mean, shift, slope, factor));
      storeHigh<T>(dx, gradient(x1, dy1, mean, shift, slope, factor));
      x += WIDTH * sizeof<T>();
      dy += WIDTH * sizeof<T>();
      dx += WIDTH * sizeof<T>();
    }
    for (; left; left--) {
      gradientOne<T>(
        x,
        dy,
        dx,
        f64x2.extract_lane(mean, 0),
        f64x2.extract_lane(shift, 0),
        f64x2.extract_lane(slope, 0),
        f64x2.extract_lane(factor, 0),
      );
      x += sizeof<T>();
      dy += sizeof<T>();
      dx += sizeof<T>();
    }
    vectors += sizeof<f64>();
  }
}

/** Four neighbours in one row, each with parameters of its own. */
// @ts-ignore: decorator
@inline
function gradientFour<T>(
  x: usize,
  dy: usize,
  dx: usize,
  mean0: v128,
  mean1: v128,
  shift0: v128,
  shift1: v128,
  slope0: v128,
  slope1: v128,
  factor0: v128,
  factor1: v128,
): void {
  const x0 = loadLow<T>(x);
  const x1 = loadHigh<T>(x);
  const dy0 = loadLow<T>(dy);
  const dy1 = loadHigh<T>(dy);
  storeLow<T>(dx, gradient(x0, dy0, mean0, shift0, slope0, factor0));
  storeHigh<T>(dx, gradient(x1, dy1, mean1, shift1, slope1, factor1));
}

/**
 * Columns of `rows` elements, rows `stride` elements apart; the parameters of
 * four columns, eight vectors, stay in registers for eight rows, written out
 * as in `normalizeColumns`: 0.7 to 0.88 times the time of a loop down 16 rows.
 */
// @ts-ignore: decorator
@inline
export function gradientColumns<T>(
  vectors: usize,
  x: usize,
  dy: usize,
  dx: usize,
  rows: usize,
  width: usize,
  stride: usize,
): void {
  const step = stride * sizeof<T>();
  while (rows) {
    const count = min(rows, UNROLLED);
    let left = width;
    let slot = vectors;
    let px = x;
    let pdy = dy;
    let pdx = dx;
    for (; left >= WIDTH; left -= WIDTH) {
      const m0 = v128.load(slot);
      const m1 = v128.load(slot, 16);
      const h0 = v128.load(slot, VECTOR);
      const h1 = v128.load(slot, VECTOR + 16);
      const s0 = v128.load(slot, 2 * VECTOR);
      const s1 = v128.load(slot, 2 * VECTOR + 16);
      const f0 = v128.load(slot, 3 * VECTOR);
      const f1 = v128.load(slot, 3 * VECTOR + 16);
      let qx = px;
      let qdy = pdy;
      let qdx = pdx;
      if (count == UNROLLED) {
        gradientFour<T>(qx, qdy, qdx, m0, m1, h0, h1, s0, s1, f0, f1);
        qx += step;
        qdy += step;
        qdx += step;
        gradientFour<T>(qx, qdy, qdx, m0, m1, h0, h1, s0, s1, f0, f1);
        qx += step;
        qdy += step;
        qdx += step;
        gradientFour<T>(qx, qdy, qdx, m0, m1, h0, h1, s0, s1, f0, f1);
        qx += step;
        qdy += step;
        qdx += step;
        gradientFour<T>(qx, qdy, qdx, m0, m1, h0, h1, s0, s1, f0, f1);
        qx += step;
        qdy += step;
        qdx += step;
        gradientFour<T>(qx, qdy, qdx, m0, m1, h0, h1, s0, s1, f0, f1);
        qx += step;
        qdy += step;
        qdx += step;
        gradientFour<T>(qx, qdy, qdx, m0, m1, h0, h1, s0, s1, f0, f1);
        qx += step;
        qdy += step;
        qdx += step;
        gradientFour<T>(qx, qdy, qdx, m0, m1, h0, h1, s0, s1, f0, f1);
        qx += step;
        qdy += step;
        qdx += step;
        gradientFour<T>(qx, qdy, qdx, m0, m1, h0, h1, s0, s1, f0, f1);
      } else {
        for (let row = count; row; row--) {
          gradientFour<T>(qx, qdy, qdx, m0, m1, h0, h1, s0, s1, f0, f1);
          qx += step;
          qdy += step;
          qdx += step;
        }
      }
      px += WIDTH * sizeof<T>();
      pdy += WIDTH * sizeof<T>();
      pdx += WIDTH * sizeof<T>();
      slot += WIDTH * sizeof<f64>();
    }
    for (; left; left--) {
      const mean = load<f64>(slot);
      const shift = load<f64>(slot, VECTOR);
      const slope = load<f64>(slot, 2 * VECTOR);
      const factor = load<f64>(slot, 3 * VECTOR);
      let qx = px;
      let qdy = pdy;
      let qdx = pdx;
      for (let row = count; row; row--) {
        gradientOne<T>(qx, qdy, qdx, mean, shift, slope, factor);
        qx += step;
        qdy += step;
        qdx += step;
      }
      px += sizeof<T>();
      pdy += sizeof<T>();
      pdx += sizeof<T>();
      slot += sizeof<f64>();
    }
    x += count * step;
    dy += count * step;
    dx += count * step;
    rows -= count;
  }
}
