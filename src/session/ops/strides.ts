/**
 * Loops over tensors that are read with a step of their own along each
 * dimension: broadcasting, transposing, slicing.
 *
 * @module
 */

import { ShapeError } from "../../errors.ts";

/** Nested loops over an output in its order, and over inputs beside it. */
export interface Nest {
  /** The extents of all loops but the innermost. */
  readonly outer: readonly number[];
  /** The extent of the innermost loop. */
  readonly inner: number;
  /** Per input: its step along each of `outer`, then along `inner`. */
  readonly strides: readonly (readonly number[])[];
  /** The number of elements of the output. */
  readonly count: number;
}

/** The distance between neighbours along each dimension of a dense tensor. */
export function denseStrides(dims: readonly number[]): number[] {
  const strides = new Array<number>(dims.length);
  let step = 1;
  for (let d = dims.length - 1; d >= 0; d--) {
    strides[d] = step;
    step *= dims[d]!;
  }
  return strides;
}

/**
 * Makes the fewest loops: extents of 1 vanish, and dimensions along which
 * every input goes on where the inner one ends are one loop.
 */
export function nestOf(
  dims: readonly number[],
  strides: readonly (readonly number[])[],
): Nest {
  const extents: number[] = [];
  const steps: number[][] = strides.map(() => []);
  dims.forEach((extent, d) => {
    if (extent === 1) return;
    const last = extents.length - 1;
    const goesOn = last >= 0 &&
      strides.every((each, i) => steps[i]![last] === each[d]! * extent);
    if (goesOn) {
      extents[last]! *= extent;
      strides.forEach((each, i) => steps[i]![last] = each[d]!);
    } else {
      extents.push(extent);
      strides.forEach((each, i) => steps[i]!.push(each[d]!));
    }
  });
  const inner = extents.pop();
  if (inner === undefined) {
    return { outer: [], inner: 1, strides: strides.map(() => [1]), count: 1 };
  }
  return {
    outer: extents,
    inner,
    strides: steps,
    count: extents.reduce((product, extent) => product * extent, inner),
  };
}

/**
 * Visits the rows of a nest: runs of `inner` elements of the output.
 *
 * @param nest The loops.
 * @param visit Gets where the row begins: in the output, and in the inputs.
 */
export function forEachRow(
  { outer, inner, strides, count }: Nest,
  visit: (to: number, from: readonly number[]) => void,
): void {
  if (count === 0) return;
  const offsets = strides.map(() => 0);
  const index = outer.map(() => 0);
  for (let to = 0;; to += inner) {
    visit(to, offsets);
    let d = outer.length - 1;
    for (; d >= 0; d--) {
      const extent = outer[d]!;
      index[d]!++;
      const wraps = index[d] === extent;
      for (let i = 0; i < offsets.length; i++) {
        const stride = strides[i]![d]!;
        offsets[i]! += wraps ? stride * (1 - extent) : stride;
      }
      if (!wraps) break;
      index[d] = 0;
    }
    if (d < 0) return;
  }
}

/**
 * The shape that NumPy's rules broadcast shapes to.
 *
 * @throws {ShapeError} If they do not fit together.
 */
export function broadcastDims(
  ...shapes: readonly (readonly number[])[]
): number[] {
  const rank = Math.max(...shapes.map((dims) => dims.length));
  return Array.from({ length: rank }, (_, d) => {
    let result = 1;
    for (const dims of shapes) {
      const extent = dims[d - rank + dims.length] ?? 1;
      if (extent === 1 || extent === result) continue;
      if (result !== 1) {
        throw new ShapeError(
          `the shapes ${
            shapes.map((each) => `[${each.join(", ")}]`).join(" and ")
          } do not broadcast`,
        );
      }
      result = extent;
    }
    return result;
  });
}

/** The steps of a tensor that is repeated to a larger shape. */
export function broadcastStrides(
  dims: readonly number[],
  target: readonly number[],
): number[] {
  const dense = denseStrides(dims);
  const missing = target.length - dims.length;
  return target.map((_, d) =>
    d < missing || dims[d - missing] === 1 ? 0 : dense[d - missing]!
  );
}
