// Float32 operators that compute each element from one element, or from two.
// Pointers are bytes, `count` is elements. The output may be an input, and is
// where there is only one: every element is loaded before it is stored, and none
// is computed twice.
//
// What `src/session/ops` computes in float64 and rounds once is computed in
// float32 here where that gives the same bits, as of sums, products, quotients
// and square roots. The other functions are those of `exponential.ts` and
// `logarithm.ts` there, operation by operation.

import { hiddenZero } from "./half";

// The operations: constants, so that each loop is compiled for its own.

export const ABS = 0;
export const CEIL = 1;
export const FLOOR = 2;
export const ROUND = 3;
export const SIGN = 4;
export const SQRT = 5;

export const ADD = 0;
export const SUBTRACT = 1;
export const MULTIPLY = 2;
export const DIVIDE = 3;
export const GREATER = 4;
export const LESSER = 5;
export const LEAK = 6;

export const EXP = 0;
export const SIGMOID = 1;
export const TANH = 2;

/** Bytes per turn of a loop. */
const TURN: usize = 32;

/** Four elements. */
// @ts-ignore: decorator
@inline
function unaryOf(operation: i32, x: v128, one: v128, zero: v128): v128 {
  if (operation == ABS) return f32x4.abs(x);
  if (operation == CEIL) return f32x4.ceil(x);
  if (operation == FLOOR) return f32x4.floor(x);
  if (operation == ROUND) return f32x4.nearest(x); // half to even
  if (operation == SQRT) return f32x4.sqrt(x);
  // 1 with the sign; 0 for both zeros; NaN for NaN, from all bits set.
  const above = v128.and(f32x4.gt(x, zero), one);
  const below = v128.and(f32x4.lt(x, zero), one);
  return v128.or(f32x4.sub(above, below), f32x4.ne(x, x));
}

/** Four elements; LEAK is `b` times what is below 0. */
// @ts-ignore: decorator
@inline
function binaryOf(operation: i32, a: v128, b: v128, zero: v128): v128 {
  if (operation == ADD) return f32x4.add(a, b);
  if (operation == SUBTRACT) return f32x4.sub(a, b);
  if (operation == MULTIPLY) return f32x4.mul(a, b);
  if (operation == DIVIDE) return f32x4.div(a, b);
  // Of equal ones, such as -0 and 0, the first; any NaN.
  if (operation == GREATER) {
    return v128.bitselect(b, f32x4.pmax(a, b), f32x4.ne(b, b));
  }
  if (operation == LESSER) {
    return v128.bitselect(b, f32x4.pmin(a, b), f32x4.ne(b, b));
  }
  return v128.bitselect(f32x4.mul(a, b), a, f32x4.lt(a, zero));
}

// What bounds the loops below is what bounds those of `affine.ts`.

/**
 * `x = f(x)`. Always in place, as most of what comes here has been copied to
 * where it is computed: one check of an address does for load and store. On
 * 6 MB that pass through a staging area, Abs takes 0.93 of the time that it takes
 * with two pointers, and half as many vectors per turn.
 */
// @ts-ignore: decorator
@inline
export function unary(operation: i32, x: usize, count: usize): void {
  const zero = i32x4.splat(hiddenZero(count));
  const one = v128.or(zero, i32x4.splat(0x3f800000));
  const end = x + count * sizeof<f32>();
  for (const last = x + (count & ~15) * sizeof<f32>(); x < last; x += 64) {
    const y0 = unaryOf(operation, v128.load(x), one, zero);
    const y1 = unaryOf(operation, v128.load(x, 16), one, zero);
    const y2 = unaryOf(operation, v128.load(x, 32), one, zero);
    const y3 = unaryOf(operation, v128.load(x, 48), one, zero);
    v128.store(x, y0);
    v128.store(x, y1, 16);
    v128.store(x, y2, 32);
    v128.store(x, y3, 48);
  }
  for (; x < end; x += 4) {
    const y0 = unaryOf(operation, v128.load_zero<u32>(x), one, zero);
    v128.store_lane<u32>(x, y0, 0);
  }
}

/**
 * `y = f(a, b)`. An operand with a step of 0 is one element for all, given eight
 * times; the step of others is -1, all bits.
 */
// @ts-ignore: decorator
@inline
export function binary(
  operation: i32,
  a: usize,
  aStep: usize,
  b: usize,
  bStep: usize,
  y: usize,
  count: usize,
): void {
  const zero = i32x4.splat(hiddenZero(count));
  const end = y + count * sizeof<f32>();
  const aTurn = aStep & TURN;
  const bTurn = bStep & TURN;
  for (const last = y + (count & ~7) * sizeof<f32>(); y < last; y += TURN) {
    const y0 = binaryOf(operation, v128.load(a), v128.load(b), zero);
    const y1 = binaryOf(operation, v128.load(a, 16), v128.load(b, 16), zero);
    v128.store(y, y0);
    v128.store(y, y1, 16);
    a += aTurn;
    b += bTurn;
  }
  for (; y < end; y += 4) {
    const y0 = binaryOf(
      operation,
      v128.load_zero<u32>(a),
      v128.load_zero<u32>(b),
      zero,
    );
    v128.store_lane<u32>(y, y0, 0);
    a += aStep & 4;
    b += bStep & 4;
  }
}

// Functions that are computed in float64, two elements in a vector. Each step
// waits for the one before, so that eight elements go side by side: with four,
// Exp takes 1.15 times as long; for Log, which has more to do at once, it is the
// same. Elements that are not a whole turn are computed one at a time, as lane 0
// of the same code.
//
// What bounds them is the arithmetic, some 25 operations and a division for two
// elements: on what a cache holds, Exp and Sigmoid take 8 times as long as Sign,
// Tanh 9 times. On 6 MB that pass through a staging area, Exp takes 5 memory
// copies, Sigmoid 5.4, Tanh 6, Log 8, where onnxruntime-web, in float32, takes
// 10, 12, 9 and 24.

/** From here to its double, all float64 are whole. */
const UNITS: f64 = 4503599627370496;

/** Lanes 0 and 1 in float64. */
// @ts-ignore: decorator
@inline
function low(x: v128): v128 {
  return f64x2.promote_low_f32x4(x);
}

/** Lanes 2 and 3 in float64. */
// @ts-ignore: decorator
@inline
function high(x: v128): v128 {
  return low(i64x2.shuffle(x, x, 1, 1));
}

/** Four lanes rounded to float32. */
// @ts-ignore: decorator
@inline
function rounded(low: v128, high: v128): v128 {
  return i64x2.shuffle(
    f32x4.demote_f64x2_zero(low),
    f32x4.demote_f64x2_zero(high),
    0,
    2,
  );
}

/** `p * z + c`, each rounded. */
// @ts-ignore: decorator
@inline
function step(p: v128, z: v128, c: v128): v128 {
  return f64x2.add(f64x2.mul(p, z), c);
}

/**
 * `e^x` and what is made of it. One function for all, which differ in a factor
 * and at the end: a branch that is always the same costs less there than the
 * bytes of two more.
 *
 * `k + 1023`, which the sum with `origin` leaves in the lowest bits, becomes
 * `2^k` by a shift to where float64 has its exponent.
 */
export function exponential(
  operation: i32,
  scale: f64,
  x: usize,
  count: usize,
): void {
  const zero: f64 = <f64> hiddenZero(count);
  const most = f32x4.splat(104 + <f32> zero);
  const least = f32x4.neg(most);
  const factor = f64x2.splat(scale);
  const origin = f64x2.splat(UNITS * 1.5 + 1023 + zero);
  const c0 = f64x2.splat(2.8853900817817575 + zero);
  const c1 = f64x2.splat(0.11552452960156462 + zero);
  const c2 = f64x2.splat(-0.0009250586207437091 + zero);
  const c3 = f64x2.splat(0.000010518951153846596 + zero);
  const one = f64x2.splat(1 + zero);
  const end = x + count * sizeof<f32>();
  while (x < end) {
    const isWhole = end - x >= TURN;
    let a = isWhole ? v128.load(x) : v128.load_zero<u32>(x);
    let b = isWhole ? v128.load(x, 16) : a;
    // NaN, which is neither less nor more, stays.
    a = f32x4.pmax(f32x4.pmin(a, most), least);
    b = f32x4.pmax(f32x4.pmin(b, most), least);
    let f0 = f64x2.mul(low(a), factor);
    let f1 = f64x2.mul(high(a), factor);
    let f2 = f64x2.mul(low(b), factor);
    let f3 = f64x2.mul(high(b), factor);
    const k0 = f64x2.add(f0, origin);
    const k1 = f64x2.add(f1, origin);
    const k2 = f64x2.add(f2, origin);
    const k3 = f64x2.add(f3, origin);
    f0 = f64x2.sub(f0, f64x2.sub(k0, origin));
    f1 = f64x2.sub(f1, f64x2.sub(k1, origin));
    f2 = f64x2.sub(f2, f64x2.sub(k2, origin));
    f3 = f64x2.sub(f3, f64x2.sub(k3, origin));
    const z0 = f64x2.mul(f0, f0);
    const z1 = f64x2.mul(f1, f1);
    const z2 = f64x2.mul(f2, f2);
    const z3 = f64x2.mul(f3, f3);
    const d0 = step(step(step(c3, z0, c2), z0, c1), z0, c0);
    const d1 = step(step(step(c3, z1, c2), z1, c1), z1, c0);
    const d2 = step(step(step(c3, z2, c2), z2, c1), z2, c0);
    const d3 = step(step(step(c3, z3, c2), z3, c1), z3, c0);
    let p0 = i64x2.shl(k0, 52);
    let p1 = i64x2.shl(k1, 52);
    let p2 = i64x2.shl(k2, 52);
    let p3 = i64x2.shl(k3, 52);
    let n0: v128, n1: v128, n2: v128, n3: v128;
    let m0: v128, m1: v128, m2: v128, m3: v128;
    if (operation == TANH) {
      const s0 = f64x2.add(p0, one);
      const s1 = f64x2.add(p1, one);
      const s2 = f64x2.add(p2, one);
      const s3 = f64x2.add(p3, one);
      p0 = f64x2.sub(one, p0);
      p1 = f64x2.sub(one, p1);
      p2 = f64x2.sub(one, p2);
      p3 = f64x2.sub(one, p3);
      n0 = f64x2.sub(f64x2.mul(s0, f0), f64x2.mul(p0, d0));
      n1 = f64x2.sub(f64x2.mul(s1, f1), f64x2.mul(p1, d1));
      n2 = f64x2.sub(f64x2.mul(s2, f2), f64x2.mul(p2, d2));
      n3 = f64x2.sub(f64x2.mul(s3, f3), f64x2.mul(p3, d3));
      m0 = f64x2.sub(f64x2.mul(s0, d0), f64x2.mul(p0, f0));
      m1 = f64x2.sub(f64x2.mul(s1, d1), f64x2.mul(p1, f1));
      m2 = f64x2.sub(f64x2.mul(s2, d2), f64x2.mul(p2, f2));
      m3 = f64x2.sub(f64x2.mul(s3, d3), f64x2.mul(p3, f3));
    } else {
      n0 = f64x2.mul(f64x2.add(d0, f0), p0);
      n1 = f64x2.mul(f64x2.add(d1, f1), p1);
      n2 = f64x2.mul(f64x2.add(d2, f2), p2);
      n3 = f64x2.mul(f64x2.add(d3, f3), p3);
      m0 = f64x2.sub(d0, f0);
      m1 = f64x2.sub(d1, f1);
      m2 = f64x2.sub(d2, f2);
      m3 = f64x2.sub(d3, f3);
      if (operation == SIGMOID) {
        const over0 = n0, over1 = n1, over2 = n2, over3 = n3;
        n0 = m0;
        n1 = m1;
        n2 = m2;
        n3 = m3;
        m0 = f64x2.add(m0, over0);
        m1 = f64x2.add(m1, over1);
        m2 = f64x2.add(m2, over2);
        m3 = f64x2.add(m3, over3);
      }
    }
    a = rounded(f64x2.div(n0, m0), f64x2.div(n1, m1));
    b = rounded(f64x2.div(n2, m2), f64x2.div(n3, m3));
    if (isWhole) {
      v128.store(x, a);
      v128.store(x, b, 16);
      x += TURN;
    } else {
      v128.store_lane<u32>(x, a, 0);
      x += 4;
    }
  }
}

/** The bits of float64 that are its fraction. */
const FRACTION: u64 = 0x000fffffffffffff;
/** The bits of the least `m`, `1 / sqrt(2)` in float32. */
const LEAST_M: u64 = 0x3fe6a09e60000000;

/** A vector of equal 64-bit words; `zero` is `hiddenZero`. */
// @ts-ignore: decorator
@inline
function words(zero: i32, word: u64): v128 {
  return i64x2.splat(<i64> zero | word);
}

/**
 * `ln x`, see `logarithm.ts`. What has none in float64 gets it from a formula
 * that has the same special values: both zeros, infinity, NaN and what is below
 * zero.
 */
export function logarithm(x: usize, count: usize): void {
  const hidden = hiddenZero(count);
  const zero: f64 = <f64> hidden;
  const offset = words(hidden, 0x3ff0000000000000 - LEAST_M);
  const fraction = words(hidden, FRACTION);
  const least = words(hidden, LEAST_M);
  const exponent = f64x2.splat(UNITS + zero);
  const bias = f64x2.splat(UNITS + 1023 + zero);
  const one = f64x2.splat(1 + zero);
  const c0 = f64x2.splat(2.000000000008424 + zero);
  const c1 = f64x2.splat(0.6666666524044157 + zero);
  const c2 = f64x2.splat(0.40000385871396993 + zero);
  const c3 = f64x2.splat(0.28534985779024413 + zero);
  const c4 = f64x2.splat(0.23617468716649925 + zero);
  const ln2 = f64x2.splat(0.6931471805599453 + zero);
  const none = i32x4.splat(hidden);
  const infinity = i32x4.splat(hidden | 0x7f800000);
  const end = x + count * sizeof<f32>();
  while (x < end) {
    const isWhole = end - x >= 16;
    const a = isWhole ? v128.load(x) : v128.load_splat<u32>(x);
    const b0 = i64x2.add(low(a), offset);
    const b1 = i64x2.add(high(a), offset);
    const m0 = i64x2.add(v128.and(b0, fraction), least);
    const m1 = i64x2.add(v128.and(b1, fraction), least);
    const k0 = f64x2.sub(v128.or(i64x2.shr_u(b0, 52), exponent), bias);
    const k1 = f64x2.sub(v128.or(i64x2.shr_u(b1, 52), exponent), bias);
    const s0 = f64x2.div(f64x2.sub(m0, one), f64x2.add(m0, one));
    const s1 = f64x2.div(f64x2.sub(m1, one), f64x2.add(m1, one));
    const z0 = f64x2.mul(s0, s0);
    const z1 = f64x2.mul(s1, s1);
    const p0 = step(step(step(step(c4, z0, c3), z0, c2), z0, c1), z0, c0);
    const p1 = step(step(step(step(c4, z1, c3), z1, c2), z1, c1), z1, c0);
    let result = rounded(
      f64x2.add(f64x2.mul(k0, ln2), f64x2.mul(s0, p0)),
      f64x2.add(f64x2.mul(k1, ln2), f64x2.mul(s1, p1)),
    );
    const usual = v128.and(f32x4.gt(a, none), f32x4.lt(a, infinity));
    if (!i32x4.all_true(usual)) {
      const pole = f32x4.div(f32x4.splat(1), f32x4.abs(a));
      const special = f32x4.sub(f32x4.sqrt(a), pole);
      result = v128.bitselect(result, special, usual);
    }
    if (isWhole) {
      v128.store(x, result);
      x += 16;
    } else {
      v128.store_lane<u32>(x, result, 0);
      x += 4;
    }
  }
}
