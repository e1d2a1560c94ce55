// Two sums per row or per column of a piece, with d = x - mean:
//
// - moments: the sums of d and of d * d (here `mean` is any shift)
// - gradients: the sums of dy and of dy * d
//
// Vectors: 0 is `mean`; the results are added to 1 and 2. The order of
// summation is that of `src/kernels/pieces.ts`.

import { loadHigh, loadLow, STRIP, VECTOR, WIDTH } from "./wide";

/** Elements per turn of the loop along a row. */
const TURN: usize = 2 * WIDTH;

/**
 * Rows of `length` elements, one mean each.
 *
 * Four partial sums of each kind are in four vectors. Additions to the same
 * one have to wait for each other, four cycles each; but with widening,
 * subtraction and product there are ten operations per four elements for the
 * three ports that have them, so that more partial sums would not be faster
 * (eight took 1.0 times as long). Eight elements per turn hide the loop's own
 * arithmetic.
 *
 * Moments without subtraction took 0.85 to 0.9 times as long, and with fused
 * operations, which are exact on squares of float32, 0.7 to 0.8 times; that is
 * a tenth of a forward pass at best. Data whose mean is far from zero would
 * have to be summed again, and not all runtimes have fused operations.
 */
// @ts-ignore: decorator
@inline
export function sumRows<T>(
  vectors: usize,
  x: usize,
  dy: usize,
  rows: usize,
  length: usize,
  gradient: bool,
): void {
  for (; rows; rows--) {
    const mean = v128.load_splat<u64>(vectors);
    let sum0 = f64x2.splat(0);
    let sum1 = f64x2.splat(0);
    let product0 = f64x2.splat(0);
    let product1 = f64x2.splat(0);
    let left = length;
    for (; left >= TURN; left -= TURN) {
      const d0 = f64x2.sub(loadLow<T>(x), mean);
      const d1 = f64x2.sub(loadHigh<T>(x), mean);
      const g0 = gradient ? loadLow<T>(dy) : d0;
      const g1 = gradient ? loadHigh<T>(dy) : d1;
      const x2 = x + WIDTH * sizeof<T>();
      const dy2 = dy + WIDTH * sizeof<T>();
      const d2 = f64x2.sub(loadLow<T>(x2), mean);
      const d3 = f64x2.sub(loadHigh<T>(x2), mean);
      const g2 = gradient ? loadLow<T>(dy2) : d2;
      const g3 = gradient ? loadHigh<T>(dy2) : d3;
      sum0 = f64x2.add(f64x2.add(sum0, g0), g2);
      sum1 = f64x2.add(f64x2.add(sum1, g1), g3);
      product0 = f64x2.add(product0, f64x2.mul(g0, d0));
      product1 = f64x2.add(product1, f64x2.mul(g1, d1));
      product0 = f64x2.add(product0, f64x2.mul(g2, d2));
      product1 = f64x2.add(product1, f64x2.mul(g3, d3));
      x += TURN * sizeof<T>();
      if (gradient) dy += TURN * sizeof<T>();
    }
    let sum = acrossLanes(f64x2.add(sum0, sum1));
    let product = acrossLanes(f64x2.add(product0, product1));
    for (; left; left--) {
      const d = <f64> load<T>(x) - f64x2.extract_lane(mean, 0);
      const g = gradient ? <f64> load<T>(dy) : d;
      sum += g;
      product += g * d;
      x += sizeof<T>();
      if (gradient) dy += sizeof<T>();
    }
    store<f64>(vectors, load<f64>(vectors, VECTOR) + sum, VECTOR);
    store<f64>(vectors, load<f64>(vectors, 2 * VECTOR) + product, 2 * VECTOR);
    vectors += sizeof<f64>();
  }
}

// @ts-ignore: decorator
@inline
function acrossLanes(value: v128): f64 {
  return f64x2.extract_lane(value, 0) + f64x2.extract_lane(value, 1);
}

/**
 * Columns of `rows` elements, one mean each; rows are `stride` elements apart.
 *
 * Four columns at a time have means and sums in registers while they go down
 * all rows: the piece is in the L1 or L2 cache, where the order of access
 * matters little.
 */
// @ts-ignore: decorator
@inline
export function sumColumns<T>(
  vectors: usize,
  x: usize,
  dy: usize,
  rows: usize,
  width: usize,
  stride: usize,
  gradient: bool,
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
      let sum0 = v128.load(slot, VECTOR);
      let sum1 = v128.load(slot, VECTOR + 16);
      let product0 = v128.load(slot, 2 * VECTOR);
      let product1 = v128.load(slot, 2 * VECTOR + 16);
      let px = x + column;
      let pdy = dy + column;
      for (let row = strip; row; row--) {
        const d0 = f64x2.sub(loadLow<T>(px), mean0);
        const d1 = f64x2.sub(loadHigh<T>(px), mean1);
        const g0 = gradient ? loadLow<T>(pdy) : d0;
        const g1 = gradient ? loadHigh<T>(pdy) : d1;
        sum0 = f64x2.add(sum0, g0);
        sum1 = f64x2.add(sum1, g1);
        product0 = f64x2.add(product0, f64x2.mul(g0, d0));
        product1 = f64x2.add(product1, f64x2.mul(g1, d1));
        px += step;
        if (gradient) pdy += step;
      }
      v128.store(slot, sum0, VECTOR);
      v128.store(slot, sum1, VECTOR + 16);
      v128.store(slot, product0, 2 * VECTOR);
      v128.store(slot, product1, 2 * VECTOR + 16);
      column += WIDTH * sizeof<T>();
      slot += WIDTH * sizeof<f64>();
    }
    for (; left; left--) {
      const mean = load<f64>(slot);
      let sum = load<f64>(slot, VECTOR);
      let product = load<f64>(slot, 2 * VECTOR);
      let px = x + column;
      let pdy = dy + column;
      for (let row = strip; row; row--) {
        const d = <f64> load<T>(px) - mean;
        const g = gradient ? <f64> load<T>(pdy) : d;
        sum += g;
        product += g * d;
        px += step;
        if (gradient) pdy += step;
      }
      store<f64>(slot, sum, VECTOR);
      store<f64>(slot, product, 2 * VECTOR);
      column += sizeof<T>();
      slot += sizeof<f64>();
    }
    x += strip * step;
    if (gradient) dy += strip * step;
    rows -= strip;
  }
}
