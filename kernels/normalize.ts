// `y = (x - mean) * factor + summand` on a piece, in float64. Vectors: 0 is
// `mean`, 1 `factor`, 2 `summand`. `y` may be `x`.

import {
  loadHigh,
  loadLow,
  storeHigh,
  storeLow,
  STRIP,
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

/**
 * Columns of `rows` elements, rows `stride` elements apart; the parameters of
 * four columns stay in registers on the way down.
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
    const strip = min(rows, STRIP);
    let left = width;
    let slot = vectors;
    let column: usize = 0;
    for (; left >= WIDTH; left -= WIDTH) {
      const mean0 = v128.load(slot);
      const mean1 = v128.load(slot, 16);
      const factor0 = v128.load(slot, VECTOR);
      const factor1 = v128.load(slot, VECTOR + 16);
      const summand0 = v128.load(slot, 2 * VECTOR);
      const summand1 = v128.load(slot, 2 * VECTOR + 16);
      let px = x + column;
      let py = y + column;
      for (let row = strip; row; row--) {
        const y0 = normalized(loadLow<T>(px), mean0, factor0, summand0);
        const y1 = normalized(loadHigh<T>(px), mean1, factor1, summand1);
        storeLow<T>(py, y0);
        storeHigh<T>(py, y1);
        px += step;
        py += step;
      }
      column += WIDTH * sizeof<T>();
      slot += WIDTH * sizeof<f64>();
    }
    for (; left; left--) {
      const mean = load<f64>(slot);
      const factor = load<f64>(slot, VECTOR);
      const summand = load<f64>(slot, 2 * VECTOR);
      let px = x + column;
      let py = y + column;
      for (let row = strip; row; row--) {
        normalizeOne<T>(px, py, mean, factor, summand);
        px += step;
        py += step;
      }
      column += sizeof<T>();
      slot += sizeof<f64>();
    }
    x += strip * step;
    y += strip * step;
    rows -= strip;
  }
}
