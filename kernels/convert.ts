// 16-bit elements to float32 and back, so that the kernels that compute in
// float64 need no forms of their own for them: widening is exact, and rounding
// to float32 first is how the 16-bit types are rounded everywhere.

import { loadLane, loadLanes, storeLane, storeLanes } from "./lanes";

const VECTOR_LANES: usize = 4;

/** Writes `count` 16-bit elements as float32. */
// @ts-ignore: decorator
@inline
export function decode<T>(from: usize, to: usize, count: usize): void {
  for (; count >= VECTOR_LANES; count -= VECTOR_LANES) {
    v128.store(to, loadLanes<T>(from));
    from += VECTOR_LANES * sizeof<T>();
    to += VECTOR_LANES * sizeof<f32>();
  }
  for (; count; count--) {
    v128.store_lane<u32>(to, loadLane<T>(from), 0);
    from += sizeof<T>();
    to += sizeof<f32>();
  }
}

/** Rounds `count` float32 elements to a 16-bit type. */
// @ts-ignore: decorator
@inline
export function encode<T>(from: usize, to: usize, count: usize): void {
  for (; count >= VECTOR_LANES; count -= VECTOR_LANES) {
    storeLanes<T>(to, v128.load(from));
    from += VECTOR_LANES * sizeof<f32>();
    to += VECTOR_LANES * sizeof<T>();
  }
  for (; count; count--) {
    storeLane<T>(to, v128.load_zero<u32>(from));
    from += sizeof<f32>();
    to += sizeof<T>();
  }
}
