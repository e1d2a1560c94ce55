// `y = x * a + b` on a block of outer x channels x inner elements, where `a`
// and `b` have one parameter per channel. Pointers are bytes, extents are
// elements. `y` may be `x`: every element is loaded before it is stored, and
// none is computed twice.

import {
  lanes,
  loadLane,
  loadLanes,
  loadSplat,
  multiplyAdd,
  parameterBytes,
  storeLane,
  storeLanes,
} from "./lanes";

/** Vectors per turn of an unrolled loop: one cache line of 64 bytes. */
const UNROLL: usize = 4;

/**
 * Rows per strip in {@linkcode affineRows}: enough that the parameters of a
 * column cost 1/8 of a load per element, few enough that the rows stay within
 * the streams that a hardware prefetcher follows (it needs wide rows for that:
 * the binding joins narrow ones, see `WIDE_ROW` there).
 */
const STRIP: usize = 8;

/**
 * Any block with `inner` of 1: rows of `channels` elements, vectors run over
 * channels.
 *
 * A plain loop along the rows would load two parameters for each element and
 * is bound by the load ports. Here the parameters of one cache line of columns
 * are in registers while a strip of rows goes by, so that each step is a load
 * and a store, and each cache line is touched once and whole (with rows of 4
 * KB, eight half-used lines of input and output would push each other out of
 * the L1 cache, as they fall in the same set).
 */
// @ts-ignore: decorator
@inline
export function affineRows<T>(
  x: usize,
  y: usize,
  a: usize,
  b: usize,
  outer: usize,
  channels: usize,
): void {
  const stride = channels * sizeof<T>();
  const step = lanes<T>() * sizeof<T>();
  while (outer) {
    const strip = min(outer, STRIP);
    let left = channels;
    let column: usize = 0;
    let pa = a;
    let pb = b;
    if (isFloat<T>()) {
      for (; left >= UNROLL * lanes<T>(); left -= UNROLL * lanes<T>()) {
        const a0 = v128.load(pa);
        const a1 = v128.load(pa, 16);
        const a2 = v128.load(pa, 32);
        const a3 = v128.load(pa, 48);
        const b0 = v128.load(pb);
        const b1 = v128.load(pb, 16);
        const b2 = v128.load(pb, 32);
        const b3 = v128.load(pb, 48);
        let px = x + column;
        let py = y + column;
        for (let row = strip; row; row--) {
          const y0 = multiplyAdd<T>(v128.load(px), a0, b0);
          const y1 = multiplyAdd<T>(v128.load(px, 16), a1, b1);
          const y2 = multiplyAdd<T>(v128.load(px, 32), a2, b2);
          const y3 = multiplyAdd<T>(v128.load(px, 48), a3, b3);
          v128.store(py, y0);
          v128.store(py, y1, 16);
          v128.store(py, y2, 32);
          v128.store(py, y3, 48);
          px += stride;
          py += stride;
        }
        column += UNROLL * step;
        pa += 64;
        pb += 64;
      }
    }
    for (; left >= lanes<T>(); left -= lanes<T>()) {
      const a0 = v128.load(pa);
      const b0 = v128.load(pb);
      let px = x + column;
      let py = y + column;
      for (let row = strip; row; row--) {
        storeLanes<T>(py, multiplyAdd<T>(loadLanes<T>(px), a0, b0));
        px += stride;
        py += stride;
      }
      column += step;
      pa += 16;
      pb += 16;
    }
    for (; left; left--) {
      const a0 = loadSplat<T>(pa);
      const b0 = loadSplat<T>(pb);
      let px = x + column;
      let py = y + column;
      for (let row = strip; row; row--) {
        storeLane<T>(py, multiplyAdd<T>(loadLane<T>(px), a0, b0));
        px += stride;
        py += stride;
      }
      column += sizeof<T>();
      pa += parameterBytes<T>();
      pb += parameterBytes<T>();
    }
    x += strip * stride;
    y += strip * stride;
    outer -= strip;
  }
}

/**
 * Any block with a long `inner`: planes of `inner` elements, vectors run
 * within a plane and its two parameters are in registers.
 *
 * Unrolled to one cache line per turn, so that the loop's own arithmetic is
 * hidden behind the loads and stores.
 */
// @ts-ignore: decorator
@inline
export function affinePlanes<T>(
  x: usize,
  y: usize,
  a: usize,
  b: usize,
  outer: usize,
  channels: usize,
  inner: usize,
): void {
  const step = lanes<T>() * sizeof<T>();
  for (; outer; outer--) {
    let pa = a;
    let pb = b;
    for (let channel = channels; channel; channel--) {
      const a0 = loadSplat<T>(pa);
      const b0 = loadSplat<T>(pb);
      let left = inner;
      if (isFloat<T>()) {
        for (; left >= UNROLL * lanes<T>(); left -= UNROLL * lanes<T>()) {
          const y0 = multiplyAdd<T>(v128.load(x), a0, b0);
          const y1 = multiplyAdd<T>(v128.load(x, 16), a0, b0);
          const y2 = multiplyAdd<T>(v128.load(x, 32), a0, b0);
          const y3 = multiplyAdd<T>(v128.load(x, 48), a0, b0);
          v128.store(y, y0);
          v128.store(y, y1, 16);
          v128.store(y, y2, 32);
          v128.store(y, y3, 48);
          x += UNROLL * step;
          y += UNROLL * step;
        }
      }
      for (; left >= lanes<T>(); left -= lanes<T>()) {
        storeLanes<T>(y, multiplyAdd<T>(loadLanes<T>(x), a0, b0));
        x += step;
        y += step;
      }
      for (; left; left--) {
        storeLane<T>(y, multiplyAdd<T>(loadLane<T>(x), a0, b0));
        x += sizeof<T>();
        y += sizeof<T>();
      }
      pa += parameterBytes<T>();
      pb += parameterBytes<T>();
    }
  }
}
