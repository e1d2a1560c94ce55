// What the module exports. `src/kernels/wasm_module.ts` lists the same names.

import { affinePlanes, affineRows } from "./affine";
import { affineHalfPlanes, affineHalfRows } from "./affine_half";
import { decode, encode } from "./convert";
import { gradientColumns, gradientRows } from "./gradient";
import { bfloat16, float16 } from "./lanes";
import { normalizeColumns, normalizeRows } from "./normalize";
import { sumColumns, sumRows } from "./sums";

// @ts-ignore: decorator
@inline
function affine<T>(
  x: usize,
  y: usize,
  a: usize,
  b: usize,
  outer: usize,
  channels: usize,
  inner: usize,
): void {
  if (isFloat<T>()) {
    if (inner == 1) affineRows<T>(x, y, a, b, outer, channels);
    else affinePlanes<T>(x, y, a, b, outer, channels, inner);
  } else {
    if (inner == 1) affineHalfRows<T>(x, y, a, b, outer, channels);
    else affineHalfPlanes<T>(x, y, a, b, outer, channels, inner);
  }
}

export function affineFloat32(
  x: usize,
  y: usize,
  a: usize,
  b: usize,
  outer: usize,
  channels: usize,
  inner: usize,
): void {
  affine<f32>(x, y, a, b, outer, channels, inner);
}

export function affineFloat64(
  x: usize,
  y: usize,
  a: usize,
  b: usize,
  outer: usize,
  channels: usize,
  inner: usize,
): void {
  affine<f64>(x, y, a, b, outer, channels, inner);
}

export function affineFloat16(
  x: usize,
  y: usize,
  a: usize,
  b: usize,
  outer: usize,
  channels: usize,
  inner: usize,
): void {
  affine<float16>(x, y, a, b, outer, channels, inner);
}

export function affineBfloat16(
  x: usize,
  y: usize,
  a: usize,
  b: usize,
  outer: usize,
  channels: usize,
  inner: usize,
): void {
  affine<bfloat16>(x, y, a, b, outer, channels, inner);
}

export function momentsRowsFloat32(
  vectors: usize,
  x: usize,
  rows: usize,
  length: usize,
): void {
  sumRows<f32>(vectors, x, 0, rows, length, false);
}

export function gradientSumsRowsFloat32(
  vectors: usize,
  x: usize,
  dy: usize,
  rows: usize,
  length: usize,
): void {
  sumRows<f32>(vectors, x, dy, rows, length, true);
}

export function normalizeRowsFloat32(
  vectors: usize,
  x: usize,
  y: usize,
  rows: usize,
  length: usize,
): void {
  normalizeRows<f32>(vectors, x, y, rows, length);
}

export function inputGradientRowsFloat32(
  vectors: usize,
  x: usize,
  dy: usize,
  dx: usize,
  rows: usize,
  length: usize,
): void {
  gradientRows<f32>(vectors, x, dy, dx, rows, length);
}

export function momentsColumnsFloat32(
  vectors: usize,
  x: usize,
  rows: usize,
  width: usize,
  stride: usize,
): void {
  sumColumns<f32>(vectors, x, 0, rows, width, stride, false);
}

export function gradientSumsColumnsFloat32(
  vectors: usize,
  x: usize,
  dy: usize,
  rows: usize,
  width: usize,
  stride: usize,
): void {
  sumColumns<f32>(vectors, x, dy, rows, width, stride, true);
}

export function normalizeColumnsFloat32(
  vectors: usize,
  x: usize,
  y: usize,
  rows: usize,
  width: usize,
  stride: usize,
): void {
  normalizeColumns<f32>(vectors, x, y, rows, width, stride);
}

export function inputGradientColumnsFloat32(
  vectors: usize,
  x: usize,
  dy: usize,
  dx: usize,
  rows: usize,
  width: usize,
  stride: usize,
): void {
  gradientColumns<f32>(vectors, x, dy, dx, rows, width, stride);
}

export function momentsRowsFloat64(
  vectors: usize,
  x: usize,
  rows: usize,
  length: usize,
): void {
  sumRows<f64>(vectors, x, 0, rows, length, false);
}

export function gradientSumsRowsFloat64(
  vectors: usize,
  x: usize,
  dy: usize,
  rows: usize,
  length: usize,
): void {
  sumRows<f64>(vectors, x, dy, rows, length, true);
}

export function normalizeRowsFloat64(
  vectors: usize,
  x: usize,
  y: usize,
  rows: usize,
  length: usize,
): void {
  normalizeRows<f64>(vectors, x, y, rows, length);
}

export function inputGradientRowsFloat64(
  vectors: usize,
  x: usize,
  dy: usize,
  dx: usize,
  rows: usize,
  length: usize,
): void {
  gradientRows<f64>(vectors, x, dy, dx, rows, length);
}

export function momentsColumnsFloat64(
  vectors: usize,
  x: usize,
  rows: usize,
  width: usize,
  stride: usize,
): void {
  sumColumns<f64>(vectors, x, 0, rows, width, stride, false);
}

export function gradientSumsColumnsFloat64(
  vectors: usize,
  x: usize,
  dy: usize,
  rows: usize,
  width: usize,
  stride: usize,
): void {
  sumColumns<f64>(vectors, x, dy, rows, width, stride, true);
}

export function normalizeColumnsFloat64(
  vectors: usize,
  x: usize,
  y: usize,
  rows: usize,
  width: usize,
  stride: usize,
): void {
  normalizeColumns<f64>(vectors, x, y, rows, width, stride);
}

export function inputGradientColumnsFloat64(
  vectors: usize,
  x: usize,
  dy: usize,
  dx: usize,
  rows: usize,
  width: usize,
  stride: usize,
): void {
  gradientColumns<f64>(vectors, x, dy, dx, rows, width, stride);
}

export function decodeFloat16(
  from: usize,
  to: usize,
  count: usize,
): void {
  decode<float16>(from, to, count);
}

export function encodeFloat16(
  from: usize,
  to: usize,
  count: usize,
): void {
  encode<float16>(from, to, count);
}

export function decodeBfloat16(
  from: usize,
  to: usize,
  count: usize,
): void {
  decode<bfloat16>(from, to, count);
}

export function encodeBfloat16(
  from: usize,
  to: usize,
  count: usize,
): void {
  encode<bfloat16>(from, to, count);
}
