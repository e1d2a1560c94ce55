// 16-bit elements to float32 and back, so that the kernels that compute in
// float64 need no forms of their own for them: widening is exact, and rounding
// to float32 first is how the 16-bit types are rounded everywhere.
//
// Eight elements at a time, as `affine_half.ts` explains.

import {
  hiddenZero,
  isUnusual,
  movedHigh,
  movedLow,
  roundNumbers,
  roundUsual,
  signsOf,
  upperHigh,
  upperLow,
} from "./half";
import { loadLane, loadLanes, storeLane, storeLanes } from "./lanes";

/** Elements per turn. */
const WIDTH: usize = 8;
const HALF_WIDTH: usize = 4;
/** Elements that are rounded before it is looked whether that was right. */
const BLOCK: usize = 64;

/**
 * Writes `count` 16-bit elements as float32.
 *
 * Infinities and NaNs of binary16 are only looked for on the way, and if there
 * was one, all is done again: a branch per turn took 0.3 to 0.4 times as long
 * again as all the rest.
 */
// @ts-ignore: decorator
@inline
export function decode<T>(from: usize, to: usize, count: usize): void {
  const zero = hiddenZero(count);
  const none = i32x4.splat(zero);
  const kept = i16x8.splat(<i16> (zero | 0x8fff));
  const bias = i32x4.splat(zero | 0x77800000);
  const magnitude = i16x8.splat(<i16> (zero | 0x7fff));
  const start = from;
  const target = to;
  let left = count;
  let largest = none;
  for (; left >= WIDTH; left -= WIDTH) {
    const bits = v128.load(from);
    if (isSigned<T>()) {
      v128.store(to, upperLow(none, bits));
      v128.store(to, upperHigh(none, bits), 16);
    } else {
      largest = i16x8.max_s(largest, v128.and(bits, magnitude));
      v128.store(to, f32x4.mul(movedLow(bits, kept), bias));
      v128.store(to, f32x4.mul(movedHigh(bits, kept), bias), 16);
    }
    from += WIDTH * sizeof<T>();
    to += WIDTH * sizeof<f32>();
  }
  for (; left; left--) {
    v128.store_lane<u32>(to, loadLane<T>(from), 0);
    from += sizeof<T>();
    to += sizeof<f32>();
  }
  if (isSigned<T>()) return;
  if (!v128.any_true(i16x8.gt_s(largest, i16x8.splat(0x7bff)))) return;
  from = start;
  to = target;
  for (; count >= HALF_WIDTH; count -= HALF_WIDTH) {
    v128.store(to, loadLanes<T>(from));
    from += HALF_WIDTH * sizeof<T>();
    to += HALF_WIDTH * sizeof<f32>();
  }
}

/**
 * Rounds `count` float32 elements to a 16-bit type; `to` does not overlap
 * `from`.
 *
 * What has to be rounded with more care is looked for on the way, and if there
 * was some, its block is done again: with a branch per turn, and beyond it
 * another form that wants registers for its constants, it took 1.35 times as
 * long. A block is short, as numbers near zero, which binary16 has as
 * subnormals, are not that rare.
 */
// @ts-ignore: decorator
@inline
export function encode<T>(from: usize, to: usize, count: usize): void {
  const zero = hiddenZero(count);
  const one = i32x4.splat(zero | 1);
  const half = i32x4.splat(zero | 0x7fff);
  const rebias = i32x4.splat(zero | (0xfff - 0x38000000));
  const sign = i16x8.splat(<i16> (zero | 0x8000));
  const lowest = i16x8.splat(<i16> (zero | 0x8400));
  const last = i16x8.splat(<i16> (zero | 0xf7ff));
  while (count >= WIDTH) {
    let left = min(count & ~(WIDTH - 1), BLOCK);
    count -= left;
    let special = i32x4.splat(0);
    const end = from + left * sizeof<f32>();
    while (from < end) {
      const y0 = v128.load(from);
      const y1 = v128.load(from, 16);
      if (isSigned<T>()) {
        // NaN from the first one on, see `anyNaN`.
        special = f32x4.add(special, f32x4.add(y0, y1));
        v128.store(to, roundNumbers(y0, y1, one, half));
      } else {
        const rounded = roundUsual(y0, y1, rebias);
        special = v128.or(special, isUnusual(rounded, lowest, last));
        v128.store(to, v128.or(rounded, signsOf(y0, y1, sign)));
      }
      from += WIDTH * sizeof<f32>();
      to += WIDTH * sizeof<T>();
    }
    if (isSigned<T>()) special = f32x4.ne(special, special);
    if (!v128.any_true(special)) continue;
    from -= left * sizeof<f32>();
    to -= left * sizeof<T>();
    for (; left; left -= HALF_WIDTH) {
      storeLanes<T>(to, v128.load(from));
      from += HALF_WIDTH * sizeof<f32>();
      to += HALF_WIDTH * sizeof<T>();
    }
  }
  for (; count; count--) {
    storeLane<T>(to, v128.load_zero<u32>(from));
    from += sizeof<f32>();
    to += sizeof<T>();
  }
}
