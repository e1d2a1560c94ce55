// Elements computed in float64: float32 is widened when it is loaded, exactly,
// and rounded once when it is stored. Four neighbours are two vectors, `low`
// and `high`. Everything here is inlined and specialised per type.

/**
 * Bytes from one vector of parameters to the next: what an area of the binding
 * takes (`src/kernels/wasm_instance.ts`).
 */
export const VECTOR: usize = 16384;

/** Elements that are loaded together, as two vectors. */
export const WIDTH: usize = 4;

/**
 * Rows per strip, where columns are summed: enough that loading and storing
 * what belongs to the columns costs little per row (8 rows took 1.1 times as
 * long, 4 rows 1.2 times), few enough that the cache lines of a strip stay in
 * the L1 cache while four columns at a time go by. Writing the rows out, as
 * where columns have outputs, changed nothing.
 */
export const STRIP: usize = 16;

/** Rows that are written out where columns have outputs. */
export const UNROLLED: usize = 8;

/** Loads elements 0 and 1. */
// @ts-ignore: decorator
@inline
export function loadLow<T>(from: usize): v128 {
  return sizeof<T>() == 8
    ? v128.load(from)
    : f64x2.promote_low_f32x4(v128.load_zero<u64>(from));
}

/** Loads elements 2 and 3. */
// @ts-ignore: decorator
@inline
export function loadHigh<T>(from: usize): v128 {
  // Two short loads are cheaper than one whole and a shuffle.
  return sizeof<T>() == 8
    ? v128.load(from, 16)
    : f64x2.promote_low_f32x4(v128.load_zero<u64>(from, 8));
}

/** Stores elements 0 and 1. */
// @ts-ignore: decorator
@inline
export function storeLow<T>(to: usize, value: v128): void {
  if (sizeof<T>() == 8) v128.store(to, value);
  else v128.store_lane<u64>(to, f32x4.demote_f64x2_zero(value), 0);
}

/** Stores elements 2 and 3. */
// @ts-ignore: decorator
@inline
export function storeHigh<T>(to: usize, value: v128): void {
  if (sizeof<T>() == 8) v128.store(to, value, 16);
  else v128.store_lane<u64>(to, f32x4.demote_f64x2_zero(value), 0, 8);
}
