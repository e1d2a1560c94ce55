// What the module with everything exports: inference, and what follows here.
// `src/kernels/wasm_module.ts`, `wasm_pieces.ts` and `wasm_elementwise.ts` list
// the same names.

import { affineBlock } from "./affine";
import { decode, encode } from "./convert";
import {
  ABS,
  ADD,
  binary,
  CEIL,
  DIVIDE,
  EXP,
  exponential,
  FLOOR,
  GREATER,
  LEAK,
  LESSER,
  logarithm,
  MULTIPLY,
  ROUND,
  SIGMOID,
  SIGN,
  SQRT,
  SUBTRACT,
  TANH,
  unary,
} from "./elementwise";
import { gradientColumns, gradientRows } from "./gradient";
import { bfloat16, float16 } from "./lanes";
import { normalizeColumns, normalizeRows } from "./normalize";
import { sumColumns, sumRows } from "./sums";

export * from "./inference";

export function affineClampedFloat32(
  x: usize,
  y: usize,
  a: usize,
  b: usize,
  outer: usize,
  channels: usize,
  inner: usize,
  low: f32,
  high: f32,
): void {
  affineBlock<f32>(
    x,
    y,
    a,
    b,
    outer,
    channels,
    inner,
    true,
    f32x4.splat(low),
    f32x4.splat(high),
  );
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

export function absFloat32(x: usize, count: usize): void {
  unary(ABS, x, count);
}

export function ceilFloat32(x: usize, count: usize): void {
  unary(CEIL, x, count);
}

export function floorFloat32(x: usize, count: usize): void {
  unary(FLOOR, x, count);
}

export function roundFloat32(x: usize, count: usize): void {
  unary(ROUND, x, count);
}

export function signFloat32(x: usize, count: usize): void {
  unary(SIGN, x, count);
}

export function sqrtFloat32(x: usize, count: usize): void {
  unary(SQRT, x, count);
}

export function expFloat32(x: usize, count: usize): void {
  exponential(EXP, 1.4426950408889634, x, count);
}

export function sigmoidFloat32(x: usize, count: usize): void {
  exponential(SIGMOID, -1.4426950408889634, x, count);
}

export function tanhFloat32(x: usize, count: usize): void {
  exponential(TANH, 2.8853900817779268, x, count);
}

export function logFloat32(x: usize, count: usize): void {
  logarithm(x, count);
}

export function addFloat32(
  a: usize,
  aStep: usize,
  b: usize,
  bStep: usize,
  y: usize,
  count: usize,
): void {
  binary(ADD, a, aStep, b, bStep, y, count);
}

export function subtractFloat32(
  a: usize,
  aStep: usize,
  b: usize,
  bStep: usize,
  y: usize,
  count: usize,
): void {
  binary(SUBTRACT, a, aStep, b, bStep, y, count);
}

export function multiplyFloat32(
  a: usize,
  aStep: usize,
  b: usize,
  bStep: usize,
  y: usize,
  count: usize,
): void {
  binary(MULTIPLY, a, aStep, b, bStep, y, count);
}

export function divideFloat32(
  a: usize,
  aStep: usize,
  b: usize,
  bStep: usize,
  y: usize,
  count: usize,
): void {
  binary(DIVIDE, a, aStep, b, bStep, y, count);
}

export function greaterFloat32(
  a: usize,
  aStep: usize,
  b: usize,
  bStep: usize,
  y: usize,
  count: usize,
): void {
  binary(GREATER, a, aStep, b, bStep, y, count);
}

export function lesserFloat32(
  a: usize,
  aStep: usize,
  b: usize,
  bStep: usize,
  y: usize,
  count: usize,
): void {
  binary(LESSER, a, aStep, b, bStep, y, count);
}

export function leakFloat32(
  a: usize,
  aStep: usize,
  b: usize,
  bStep: usize,
  y: usize,
  count: usize,
): void {
  binary(LEAK, a, aStep, b, bStep, y, count);
}
