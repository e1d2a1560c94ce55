// `y = (x - mean) * factor + summand` on a piece, in float64. Vectors: 0 is
// `mean`, 1 `factor`, 2 `summand`. `y` may be `x`.
//
// `x * factor + (summand - mean * factor)` took 0.88 to 0.95 times as long, but
// has an error in proportion to the mean, and channels that are constant would
// not be exactly their summand.

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
function normalized(x: v128, mean: v128, factor: v128, summand: v128): v128 {
  return f64x2.add(f64x2.mul(f64x2.sub(x, mean), factor), summand);
}

// @ts-ignore: decorator
@inline
function normalizeOne<T>(
  x: usize,
  y: usize,
  mean: f64,
  factor: f64,
  summand: f64,
): void {
  store<T>(y, <T> ((<f64> load<T>(x) - mean) * factor + summand));
}

/** Rows of `length` elements, the parameters of a row in registers. */
// @ts-ignore: decorator
@inline
export function normalizeRows<T>(
  vectors: usize,
  x: usize,
  y: usize,
  rows: usize,
  length: usize,
): void {
  for (; rows; rows--) {
    const mean = v128.load_splat<u64>(vectors);
    const factor = v128.load_splat<u64>(vectors, VECTOR);
    const summand = v128.load_splat<u64>(vectors, 2 * VECTOR);
    let left = length;
    for (; left >= WIDTH; left -= WIDTH) {
      const y0 = normalized(loadLow<T>(x), mean, factor, summand);
      const y1 = normalized(loadHigh<T>(x), mean, factor, summand);
      storeLow<T>(y, y0);
      storeHigh<T>(y, y1);
      x += WIDTH * sizeof<T>();
      y += WIDTH * sizeof<T>();
    }
    for (; left; left--) {
      normalizeOne<T>(
        x,
        y,
        f64x2.extract_lane(mean, 0),
        f64x2.extract_lane(factor, 0),
        f64x2.extract_lane(summand, 0),
      );
      x += sizeof<T>();
      y += sizeof<T>();
    }
    vectors += sizeof<f64>();
  }
}

/** Four neighbours in one row, each with parameters of its own. */
// @ts-ignore: decorator
@inline
function normalizeFour<T>(
  x: usize,
  y: usize,
  mean0: v128,
  mean1: v128,
  factor0: v128,
  factor1: v128,
  summand0: v128,
  summand1: v128,
): void {
  storeLow<T>(y, normalized(loadLow<T>(x), mean0, factor0, summand0));
  storeHigh<T>(y, normalized(loadHigh<T>(x), mean1, factor1, summand1));
}

/**
 * Columns of `rows` elements, rows `stride` elements apart; the parameters of
 * four columns stay in registers for eight rows, which are written out: a loop
 * down 16 rows took 1.1 to 2 times as long, as its loads run into stores to
 * the same place of another page (measured on 64 to 1024 columns; least on
 * what is in the L1 cache). Four rows took 0.98 to 1.15 times as long, two
 * 1.3, one 1.8: loading parameters is not free.
 */
// @ts-ignore: decorator
@inline
export function normalizeColumns<T>(
  vectors: usize,
  x: usize,
  y: usize,
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
    let py = y;
    for (; left >= WIDTH; left -= WIDTH) {
      const m0 = v128.load(slot);
      const m1 = v128.load(slot, 16);
      const f0 = v128.load(slot, VECTOR);
      const f1 = v128.load(slot, VECTOR + 16);
      const s0 = v128.load(slot, 2 * VECTOR);
      const s1 = v128.load(slot, 2 * VECTOR + 16);
      let qx = px;
      let qy = py;
      if (count == UNROLLED) {
        normalizeFour<T>(qx, qy, m0, m1, f0, f1, s0, s1);
        qx += step;
        qy += step;
        normalizeFour<T>(qx, qy, m0, m1, f0, f1, s0, s1);
        qx += step;
        qy += step;
        normalizeFour<T>(qx, qy, m0, m1, f0, f1, s0, s1);
        qx += step;
        qy += step;
        normalizeFour<T>(qx, qy, m0, m1, f0, f1, s0, s1);
        qx += step;
        qy += step;
        normalizeFour<T>(qx, qy, m0, m1, f0, f1, s0, s1);
        qx += step;
        qy += step;
        normalizeFour<T>(qx, qy, m0, m1, f0, f1, s0, s1);
        qx += step;
        qy += step;
        normalizeFour<T>(qx, qy, m0, m1, f0, f1, s0, s1);
        qx += step;
        qy += step;
        normalizeFour<T>(qx, qy, m0, m1, f0, f1, s0, s1);
      } else {
        for (let row = count; row; row--) {
          normalizeFour<T>(qx, qy, m0, m1, f0, f1, s0, s1);
          qx += step;
          qy += step;
        }
      }
      px += WIDTH * sizeof<T>();
      py += WIDTH * sizeof<T>();
      slot += WIDTH * sizeof<f64>();
    }
    for (; left; left--) {
      const mean = load<f64>(slot);
      const factor = load<f64>(slot, VECTOR);
      const summand = load<f64>(slot, 2 * VECTOR);
      let qx = px;
      let qy = py;
      for (let row = count; row; row--) {
        normalizeOne<T>(qx, qy, mean, factor, summand);
        qx += step;
        qy += step;
      }
      px += sizeof<T>();
      py += sizeof<T>();
      slot += sizeof<f64>();
    }
    x += count * step;
    y += count * step;
    rows -= count;
  }
}
