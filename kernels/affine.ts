// `y = x * a + b` on a block of outer x channels x inner elements of float32 or
// float64, where `a` and `b` have one parameter per channel. Pointers are bytes,
// extents are elements; `toOutput` is how far `y` lies behind `x`, modulo 2^32.
// `y` may be `x`: every element is loaded before it is stored, and none is
// computed twice.
//
// Where `clamped`, which float32 only is, what is below `low` becomes `low`, and
// then what is above `high` becomes `high`: an activation at the price of two
// instructions for four elements, where a loop of its own would read and write
// all of `y` once more.

import {
  loadLane,
  loadSplat,
  multiplyAdd,
  parameterBytes,
  storeLane,
} from "./lanes";

/**
 * `x * a + b`, clamped or not.
 *
 * `pmax(y, low)` is `y < low ? low : y` as it stands: NaN and -0 stay, and no
 * bound is one if it is NaN.
 */
// @ts-ignore: decorator
@inline
function apply<T>(
  x: v128,
  a: v128,
  b: v128,
  clamped: bool,
  low: v128,
  high: v128,
): v128 {
  const y = multiplyAdd<T>(x, a, b);
  return clamped ? f32x4.pmin(f32x4.pmax(y, low), high) : y;
}

/** Vectors per turn of an unrolled loop: one cache line of 64 bytes. */
const UNROLL: usize = 4;

/**
 * Rows per strip in {@linkcode affineRows}: enough that the parameters of a
 * column cost 1/8 of a load per element, few enough that the rows stay within
 * the streams that a hardware prefetcher follows (it needs wide rows for that:
 * the binding joins narrow ones, see `WIDE_ROW` there).
 */
const STRIP: usize = 8;

// What bounds the loops here while tensors are in the L2 cache, as up to 1 MB,
// is the number of instructions: an engine without trap handlers, as Deno's
// is, compares each address with the size of the memory before each load and
// store of 16 bytes, where a memory copy moves 64 bytes unchecked. A loop that
// only loads and stores takes 1.2 to 1.5 times as long as a memory copy on 0.77
// MB, and 0.7 to 1.1 from 1 MB on, as caches and other work on the core have it;
// the loops here take 2.4 to 3 on 0.77 MB (512 channels of 7 x 7), 1.7 to 1.9 on
// 1 MB (256 x 1024, neither more with rows that are no multiple of 4 KB nor with
// strips of 1 to 16 rows), and 0.75 to 1.15 beyond. Hence
//
// - loops end at a pointer and not at a count (0.83 of the time on 0.77 MB);
// - offsets are constant, and the module declares that its memory has the
//   binding's areas at least (`scripts/build_kernels.ts`), so that they alone
//   are known to fit (0.92 of the time);
// - `y` is given as a distance, so that where it is 0 what checks a load checks
//   the store too (0.72 of the time, on which whatever passes through a staging
//   area depends).

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
function affineRows<T>(
  x: usize,
  toOutput: usize,
  a: usize,
  b: usize,
  outer: usize,
  channels: usize,
  clamped: bool,
  low: v128,
  high: v128,
): void {
  const stride = channels * sizeof<T>();
  const parameters = channels * parameterBytes<T>();
  const turns = a + (parameters & ~63);
  const vectors = a + (parameters & ~15);
  const end = a + parameters;
  while (outer) {
    const strip = min(outer, STRIP);
    const tall = strip * stride;
    let cx = x;
    let pa = a;
    let pb = b;
    for (; pa < turns; pa += UNROLL * 16) {
      const a0 = v128.load(pa);
      const a1 = v128.load(pa, 16);
      const a2 = v128.load(pa, 32);
      const a3 = v128.load(pa, 48);
      const b0 = v128.load(pb);
      const b1 = v128.load(pb, 16);
      const b2 = v128.load(pb, 32);
      const b3 = v128.load(pb, 48);
      const last = cx + tall;
      for (let px = cx; px < last; px += stride) {
        const y0 = apply<T>(v128.load(px), a0, b0, clamped, low, high);
        const y1 = apply<T>(v128.load(px, 16), a1, b1, clamped, low, high);
        const y2 = apply<T>(v128.load(px, 32), a2, b2, clamped, low, high);
        const y3 = apply<T>(v128.load(px, 48), a3, b3, clamped, low, high);
        const py = px + toOutput;
        v128.store(py, y0);
        v128.store(py, y1, 16);
        v128.store(py, y2, 32);
        v128.store(py, y3, 48);
      }
      cx += UNROLL * 16;
      pb += UNROLL * 16;
    }
    for (; pa < vectors; pa += 16) {
      const a0 = v128.load(pa);
      const b0 = v128.load(pb);
      const last = cx + tall;
      for (let px = cx; px < last; px += stride) {
        const y0 = apply<T>(v128.load(px), a0, b0, clamped, low, high);
        v128.store(px + toOutput, y0);
      }
      cx += 16;
      pb += 16;
    }
    for (; pa < end; pa += parameterBytes<T>()) {
      const a0 = loadSplat<T>(pa);
      const b0 = loadSplat<T>(pb);
      const last = cx + tall;
      for (let px = cx; px < last; px += stride) {
        const y0 = apply<T>(loadLane<T>(px), a0, b0, clamped, low, high);
        storeLane<T>(px + toOutput, y0);
      }
      cx += sizeof<T>();
      pb += parameterBytes<T>();
    }
    x += tall;
    outer -= strip;
  }
}

/**
 * Any block with a long `inner`: planes of `inner` elements, vectors run
 * within a plane and its two parameters are in registers.
 *
 * Unrolled to one cache line per turn, so that the loop's own arithmetic is
 * hidden behind the loads and stores. What remains of a plane is a choice and
 * no loop, which short planes notice. Those of 49 still take 1.4 times as long
 * per element as long ones: each has two parameters to load and a remainder,
 * and a quarter of its vectors lies across two cache lines.
 */
// @ts-ignore: decorator
@inline
function affinePlanes<T>(
  x: usize,
  toOutput: usize,
  a: usize,
  b: usize,
  outer: usize,
  channels: usize,
  inner: usize,
  clamped: bool,
  low: v128,
  high: v128,
): void {
  const bytes = inner * sizeof<T>();
  const turns = bytes & ~63;
  const end = a + channels * parameterBytes<T>();
  for (; outer; outer--) {
    let pb = b;
    for (let pa = a; pa < end; pa += parameterBytes<T>()) {
      const a0 = loadSplat<T>(pa);
      const b0 = loadSplat<T>(pb);
      for (const last = x + turns; x < last; x += UNROLL * 16) {
        const y0 = apply<T>(v128.load(x), a0, b0, clamped, low, high);
        const y1 = apply<T>(v128.load(x, 16), a0, b0, clamped, low, high);
        const y2 = apply<T>(v128.load(x, 32), a0, b0, clamped, low, high);
        const y3 = apply<T>(v128.load(x, 48), a0, b0, clamped, low, high);
        const y = x + toOutput;
        v128.store(y, y0);
        v128.store(y, y1, 16);
        v128.store(y, y2, 32);
        v128.store(y, y3, 48);
      }
      if (bytes & 32) {
        const y0 = apply<T>(v128.load(x), a0, b0, clamped, low, high);
        const y1 = apply<T>(v128.load(x, 16), a0, b0, clamped, low, high);
        const y = x + toOutput;
        v128.store(y, y0);
        v128.store(y, y1, 16);
        x += 32;
      }
      if (bytes & 16) {
        const y0 = apply<T>(v128.load(x), a0, b0, clamped, low, high);
        v128.store(x + toOutput, y0);
        x += 16;
      }
      if (bytes & 8) {
        const y0 = apply<T>(v128.load_zero<u64>(x), a0, b0, clamped, low, high);
        v128.store_lane<u64>(x + toOutput, y0, 0);
        x += 8;
      }
      if (sizeof<T>() == 4) {
        if (bytes & 4) {
          const y0 = apply<T>(loadLane<T>(x), a0, b0, clamped, low, high);
          storeLane<T>(x + toOutput, y0);
          x += 4;
        }
      }
      pb += parameterBytes<T>();
    }
  }
}

/** Any block, with vectors along its rows or within its planes. */
// @ts-ignore: decorator
@inline
export function affineBlock<T>(
  x: usize,
  y: usize,
  a: usize,
  b: usize,
  outer: usize,
  channels: usize,
  inner: usize,
  clamped: bool,
  low: v128,
  high: v128,
): void {
  // Twice, so that in place the distance is a constant.
  if (x == y) {
    if (inner == 1) {
      affineRows<T>(x, 0, a, b, outer, channels, clamped, low, high);
    } else {
      affinePlanes<T>(x, 0, a, b, outer, channels, inner, clamped, low, high);
    }
  } else {
    if (inner == 1) {
      affineRows<T>(x, y - x, a, b, outer, channels, clamped, low, high);
    } else {
      affinePlanes<T>(
        x,
        y - x,
        a,
        b,
        outer,
        channels,
        inner,
        clamped,
        low,
        high,
      );
    }
  }
}
