// What the module for inference exports. `src/kernels/wasm_module.ts` lists the
// same names.

import { affineBlock } from "./affine";
import { affineHalfPlanes, affineHalfRows } from "./affine_half";
import { bfloat16, float16 } from "./lanes";

export { foldFloat32 } from "./fold";

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
    const none = i32x4.splat(0);
    affineBlock<T>(x, y, a, b, outer, channels, inner, false, none, none);
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
