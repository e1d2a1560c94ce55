/**
 * The shapes that the benchmarks run over.
 *
 * @module
 */

/** A tensor and its channel axis. */
export interface BenchShape {
  /** The extents. */
  readonly dims: readonly number[];
  /** The axis of the channels. */
  readonly axis: number;
}

const first = (...dims: number[]): BenchShape => ({ dims, axis: 1 });
/** The channels-last form of a channels-first shape. */
const last = (
  batch: number,
  channels: number,
  ...rest: number[]
): BenchShape => ({ dims: [batch, ...rest, channels], axis: rest.length + 1 });

/** Shapes of the usual networks, channels first and channels last. */
export const SHAPES: readonly BenchShape[] = [
  first(1, 32),
  first(1, 64, 14, 14),
  last(1, 64, 14, 14),
  first(256, 1024),
  first(4, 197, 768),
  last(4, 197, 768),
  first(1, 64, 112, 112),
  last(1, 64, 112, 112),
  first(8, 64, 56, 56),
  last(8, 64, 56, 56),
  first(16, 128, 56, 56),
  last(16, 128, 56, 56),
];

/** Channel counts that are no multiple of a vector, and short planes. */
export const AWKWARD_SHAPES: readonly BenchShape[] = [
  first(8, 3, 224, 224),
  last(8, 3, 224, 224),
  first(8, 17, 56, 56),
  last(8, 17, 56, 56),
  first(8, 100, 28, 28),
  last(8, 100, 28, 28),
  first(8, 512, 7, 7),
  last(8, 512, 7, 7),
];

/** The number of elements. */
export function countOf({ dims }: BenchShape): number {
  return dims.reduce((count, extent) => count * extent, 1);
}

/** The number of channels. */
export function channelsOf({ dims, axis }: BenchShape): number {
  return dims[axis]!;
}

/** `[8, 64, 56, 56]`, or `[8, 56, 56, 64] last`. */
export function nameOf({ dims, axis }: BenchShape): string {
  const isLast = dims.length > 2 && axis === dims.length - 1;
  return `[${dims.join(", ")}]${isLast ? " last" : ""}`;
}
