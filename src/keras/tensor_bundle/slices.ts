/**
 * Puts the slices of a partitioned variable together.
 *
 * @module
 */

import type { SliceExtent } from "./ordered_code.ts";

/** A slice of a tensor: where it begins, and its extents. */
export interface Region {
  readonly starts: readonly number[];
  readonly dims: readonly number[];
}

/**
 * A slice as a region.
 *
 * @param dims The whole tensor's extents.
 * @param extents The slice; dimensions that are missing are whole.
 * @returns The region; undefined if it is not within the tensor.
 */
export function regionOf(
  dims: readonly number[],
  extents: readonly SliceExtent[],
): Region | undefined {
  if (extents.length > dims.length) return undefined;
  const starts: number[] = [];
  const lengths: number[] = [];
  for (const [d, extent] of dims.entries()) {
    const { start, length = extent } = extents[d] ?? { start: 0 };
    if (start < 0 || length < 0 || start + length > extent) return undefined;
    starts.push(start);
    lengths.push(length);
  }
  return { starts, dims: lengths };
}

/**
 * Copies a slice's elements to where they belong.
 *
 * @param target The whole tensor's bytes.
 * @param dims Its extents.
 * @param source The slice's bytes.
 * @param region The slice.
 * @param size The bytes per element.
 */
export function copySlice(
  target: Uint8Array,
  dims: readonly number[],
  source: Uint8Array,
  region: Region,
  size: number,
): void {
  if (source.length === 0) return;
  // Whole dimensions at the end are part of a row.
  let last = dims.length - 1;
  let row = size;
  while (last > 0 && region.dims[last] === dims[last]) row *= dims[last--]!;
  const unit = row;
  row *= region.dims[last] ?? 1;
  for (let from = 0; from < source.length; from += row) {
    let rest = from / row;
    let at = (region.starts[last] ?? 0) * unit;
    let step = unit * (dims[last] ?? 1);
    for (let d = last - 1; d >= 0; d--) {
      const index = rest % region.dims[d]!;
      rest = Math.floor(rest / region.dims[d]!);
      at += (region.starts[d]! + index) * step;
      step *= dims[d]!;
    }
    target.set(source.subarray(from, from + row), at);
  }
}
