/**
 * Any shape and any list of axes, reduced once to a loop layout.
 *
 * @module
 */

/**
 * How the elements of a tensor map to channels.
 *
 * `extents` alternate between reduced and kept dimensions, start and end with
 * a reduced one (1 where there is none), and are in row-major order: a single
 * axis gives `[outer, channels, inner]`; axes 1 and 3 of `[n, h, w, c]` give
 * `[n, h, w, c, 1]`. Neighbours of the same kind are merged, extents of 1
 * vanish.
 */
export interface Layout {
  /** Reduced, kept, reduced, kept, ..., reduced; always odd and at least 3. */
  readonly extents: readonly number[];
  /** The number of parameters: the product of the kept extents. */
  readonly channels: number;
  /** The number of elements per parameter: the product of the reduced ones. */
  readonly reduced: number;
}

/**
 * Reduces a shape and its kept axes to a {@linkcode Layout}.
 *
 * @param dims The extents of the tensor.
 * @param axes The kept axes: distinct, in range, non-negative.
 */
export function layoutOf(
  dims: readonly number[],
  axes: readonly number[],
): Layout {
  const extents = [1];
  let channels = 1;
  let reduced = 1;
  for (let d = 0; d < dims.length; d++) {
    const extent = dims[d]!;
    const kept = axes.includes(d);
    if (kept) channels *= extent;
    else reduced *= extent;
    if (extent === 1) continue;
    // Odd positions are kept extents, even ones reduced.
    const lastIsKept = extents.length % 2 === 0;
    if (kept === lastIsKept) extents[extents.length - 1]! *= extent;
    else extents.push(extent);
  }
  if (extents.length === 1) extents.push(1);
  if (extents.length % 2 === 0) extents.push(1);
  return { extents, channels, reduced };
}

/** Neighbouring channels, of a layout that has them along a single axis. */
export interface ChannelRange {
  /** The first channel. */
  readonly first: number;
  /** How many there are. */
  readonly count: number;
}

/**
 * Visits the blocks of a layout: the contiguous runs of
 * `outer * channels * inner` elements that use `channels` neighbouring
 * parameters. A single axis is one block.
 *
 * @param layout The layout.
 * @param visit Gets the block's first element and first parameter.
 */
export function forEachBlock(
  layout: Layout,
  visit: (element: number, parameter: number, block: Block) => void,
): void {
  const { extents } = layout;
  if (extents.includes(0)) return;
  const n = extents.length;
  const block: Block = {
    outer: extents[n - 3]!,
    channels: extents[n - 2]!,
    inner: extents[n - 1]!,
  };
  // What all the rest comes to for a single axis; small calls notice it.
  if (n === 3) return visit(0, 0, block);
  const leading = extents.slice(0, n - 3);
  const index = leading.map(() => 0);
  const size = block.outer * block.channels * block.inner;
  for (let element = 0;; element += size) {
    let parameter = 0;
    for (let d = 1; d < index.length; d += 2) {
      parameter = parameter * leading[d]! + index[d]!;
    }
    visit(element, parameter * block.channels, block);
    let d = index.length - 1;
    while (d >= 0 && ++index[d]! === leading[d]) index[d--] = 0;
    if (d < 0) return;
  }
}

/** A contiguous run of `outer * channels * inner` elements. */
export interface Block {
  /** How often the channels repeat. */
  readonly outer: number;
  /** How many neighbouring parameters are used. */
  readonly channels: number;
  /** How many neighbouring elements share a parameter. */
  readonly inner: number;
}
