// Folding the four vectors of a layer to the two that the kernels apply, as
// `src/kernels/coefficients.ts` explains it.

/**
 * Fills `a` and `b` for `count` channels, four at a time: what lies behind the
 * last channel up to a whole vector is read and written too.
 *
 * Square roots and quotients are rounded correctly in SIMD as elsewhere, so
 * that the bits are those of the TypeScript (which takes seven times as long
 * from 512 channels on).
 */
export function foldFloat32(
  gamma: usize,
  beta: usize,
  mean: usize,
  variance: usize,
  a: usize,
  b: usize,
  count: usize,
  epsilon: f32,
): void {
  const one = f32x4.splat(1);
  const added = f32x4.splat(epsilon);
  for (const end = a + count * sizeof<f32>(); a < end; a += 16) {
    const root = f32x4.sqrt(f32x4.add(v128.load(variance), added));
    const factor = f32x4.mul(f32x4.div(one, root), v128.load(gamma));
    v128.store(a, factor);
    v128.store(
      b,
      f32x4.sub(v128.load(beta), f32x4.mul(v128.load(mean), factor)),
    );
    gamma += 16;
    beta += 16;
    mean += 16;
    variance += 16;
    b += 16;
  }
}
