/**
 * A whole tensor cut into pieces, each a small matrix in memory: the plan that
 * all kernels of training share, so that they sum in one order.
 *
 * A matrix has a slot, with parameters and sums of its own, either per row or
 * per column:
 *
 * - Rows are runs of neighbours that share a channel, cut at 8192 elements.
 * - Columns are for channels whose runs are short (a single element in
 *   channels-last data): each position in `channels * inner` neighbours is a
 *   column, and goes through up to 256 rows. Where that makes few columns,
 *   several rows are joined to one.
 *
 * A group is the pieces that fill the slots once. Afterwards the driver brings
 * what they hold to the channels; see `training.ts` for the arithmetic. All
 * limits count elements, so that neither the element type, nor the
 * implementation, nor where the tensors are changes any group.
 *
 * @module
 */

import type { ElementType, TensorData } from "../tensor.ts";
import {
  type Block,
  type ChannelRange,
  forEachBlock,
  type Layout,
} from "./layout.ts";

/**
 * Elements per piece, and per row: little enough for the L1 or L2 cache and
 * for the staging area of the WASM kernels, and much against what a call
 * costs.
 */
export const PIECE_ELEMENTS = 8192;
/** Slots per group: as many parameters as an area of the WASM kernels holds. */
export const SLOTS = 2048;
/**
 * Rows that a column goes through before its sums are merged: one merge costs
 * about as much as ten elements.
 */
const COLUMN_ROWS = 256;
/** Runs shorter than this, and than their number, are taken as columns. */
const SHORT_RUN = 64;
/** Rows are joined until they have so many columns... */
const JOINED_WIDTH = 64;
/** ...but so many joined rows are kept, for the sake of merges. */
const KEPT_ROWS = 16;

/** What runs on pieces. */
export type PieceOperation =
  | "moments"
  | "gradientSums"
  | "normalize"
  | "inputGradient";

/** The arrays of an operation. */
export interface PieceArrays {
  readonly x: TensorData;
  /** The second input, of the two operations that have one. */
  readonly dy?: TensorData;
  /** The output, of the two operations that have one; may be an input. */
  readonly output?: TensorData;
}

/** Up to four values per slot. */
export type SlotVectors = readonly [
  Float64Array,
  Float64Array,
  Float64Array,
  Float64Array,
];

/**
 * An operation on arrays, ready to run on pieces of them.
 *
 * | operation | 0 | 1 | 2 | 3 | computes |
 * |---|---|---|---|---|---|
 * | moments | mean | sum | product | | d = x - mean; adds d to sum, d * d to product |
 * | gradientSums | mean | sum | product | | adds dy to sum, dy * (x - mean) to product |
 * | normalize | mean | factor | summand | | (x - mean) * factor + summand |
 * | inputGradient | mean | shift | slope | factor | (dy - shift - (x - mean) * slope) * factor |
 */
export interface PieceRunner {
  /** The values of each slot, {@linkcode SLOTS} long; the driver fills them. */
  readonly vectors: SlotVectors;
  /**
   * Runs on `rows * length` neighbours, a slot per row.
   *
   * Sums: element i of a row goes to partial sum i mod 4, up to a multiple of
   * 8 elements; the four partial sums, p0 to p3, become (p0 + p2) + (p1 + p3),
   * to which the remaining elements are added one by one. That is added to
   * the vector.
   */
  rows(element: number, rows: number, length: number): void;
  /**
   * Runs on `rows` rows of `width` neighbours, a slot per column; rows begin
   * `stride` elements apart.
   *
   * Sums: elements are added to the vector one by one.
   */
  columns(element: number, rows: number, width: number, stride: number): void;
  /** Whether threads share the work, and how. */
  readonly sharing?: Sharing;
}

/** How groups run side by side. */
export interface Sharing {
  /** How many threads there are. */
  readonly threads: number;
  /**
   * Takes a group that has begun, with the pieces that the runner got since;
   * they may still run when this returns. Groups are ended in their order.
   */
  defer(group: Group, visitor: GroupVisitor): void;
  /** Ends all groups whose visitor has something to do then. */
  flush(): void;
}

/** Makes an operation ready to run on pieces of arrays. */
export type BindPieces = (
  operation: PieceOperation,
  type: ElementType,
  arrays: PieceArrays,
) => PieceRunner;

/** The slots that are filled at once. */
export interface Group {
  /** How many slots there are. */
  readonly slots: number;
  /** The channel of each slot, in its first `slots` values. */
  readonly channels: Uint32Array;
  /** The first element of slot 0. */
  readonly element: number;
  /** From there to that of the next slot, and so on. */
  readonly step: number;
  /** How many elements each slot has. */
  readonly count: number;
}

/** What is done with a group before and after its pieces. */
export interface GroupVisitor {
  /** Fills the vectors. */
  begin(group: Group): void;
  /** Brings the sums to the channels. */
  end?(group: Group): void;
}

/**
 * Elements of a range of channels: as an input and an output of float32 half a
 * megabyte, which the L2 caches of current CPUs hold.
 */
const RANGE_ELEMENTS = 65536;
/** At most, where a channel has more, or its runs are short. */
const MOST_RANGE_ELEMENTS = 4 * RANGE_ELEMENTS;
/**
 * How many times as large ranges are for each of several threads: these wait
 * for each other at the end of each pass over a range, which costs more than
 * reading from a cache that is farther away (measured on two threads and
 * [8, 64, 56, 56]: 1.14 times as fast as with 1, 1.07 times as with 2).
 */
const SHARED_RANGE = 16;
/** Neighbours in a range, so that what a call costs does not count. */
const RANGE_RUN = 2048;

/** Whether a block's channels are taken as columns. */
function areColumns({ outer, inner }: Block): boolean {
  return inner < SHORT_RUN && inner < outer;
}

/**
 * Cuts a layout into ranges of channels, each small enough that a second pass
 * over its elements finds them in a cache: what takes two passes then reads
 * the memory once.
 *
 * Columns are not cut: their ranges would use a part of each cache line, or be
 * too long for the cache. Neither are layouts of more than one axis. Cutting
 * changes no order of summation, since slots come to a channel in the order of
 * memory in either case.
 *
 * @param layout The layout.
 * @param threads How many threads, each with a cache, share a range.
 */
export function rangesOf(layout: Layout, threads = 1): ChannelRange[] {
  const { channels, extents, reduced } = layout;
  const [outer, , inner] = extents as [number, number, number];
  const whole = [{ first: 0, count: channels }];
  const factor = threads > 1 ? SHARED_RANGE * threads : 1;
  const elements = RANGE_ELEMENTS * factor;
  if (
    extents.length > 3 || channels * reduced <= elements ||
    areColumns({ outer, channels, inner })
  ) return whole;
  const count = Math.max(
    Math.floor(elements / reduced),
    Math.ceil(RANGE_RUN / inner),
  );
  if (
    count >= channels || count * reduced > MOST_RANGE_ELEMENTS * factor
  ) return whole;
  const ranges: ChannelRange[] = [];
  for (let first = 0; first < channels; first += count) {
    ranges.push({ first, count: Math.min(count, channels - first) });
  }
  return ranges;
}

// One buffer for all calls: the driver is synchronous, and inside itself only
// between groups.
const slotChannels = new Uint32Array(SLOTS);

/** Runs an operation over a layout or a range of it, group by group. */
export function runGroups(
  layout: Layout,
  runner: PieceRunner,
  visitor: GroupVisitor,
  range?: ChannelRange,
): void {
  forEachBlock(layout, (element, parameter, block) => {
    let { outer, inner } = block;
    if (block.channels === 1) {
      // Nothing lies between the runs of a single channel.
      inner *= outer;
      outer = 1;
    }
    const plan = { outer, channels: block.channels, inner };
    const run = areColumns(plan) ? runColumns : runRows;
    run(element, parameter, plan, runner, visitor);
  }, range);
  if (visitor.end) runner.sharing?.flush();
}

/** Ends a group, or leaves that to those who run it. */
function endGroup(
  runner: PieceRunner,
  visitor: GroupVisitor,
  group: Group,
): void {
  if (runner.sharing) runner.sharing.defer(group, visitor);
  else visitor.end?.(group);
}

/** A block as rows: all runs in the order of memory. */
function runRows(
  element: number,
  parameter: number,
  { outer, channels, inner }: Block,
  runner: PieceRunner,
  visitor: GroupVisitor,
): void {
  const runs = outer * channels;
  const most = Math.min(
    SLOTS,
    Math.max(1, Math.floor(PIECE_ELEMENTS / inner)),
  );
  for (let run = 0; run < runs; run += most) {
    const slots = Math.min(most, runs - run);
    for (let s = 0, c = run % channels; s < slots; s++) {
      slotChannels[s] = parameter + c;
      if (++c === channels) c = 0;
    }
    // More than one part only where there is one run.
    for (let part = 0; part < inner; part += PIECE_ELEMENTS) {
      const group: Group = {
        slots,
        channels: slotChannels,
        element: element + run * inner + part,
        step: inner,
        count: Math.min(PIECE_ELEMENTS, inner - part),
      };
      visitor.begin(group);
      runner.rows(group.element, slots, group.count);
      endGroup(runner, visitor, group);
    }
  }
}

/** A block as columns: bands of rows, each in slices that the vectors hold. */
function runColumns(
  element: number,
  parameter: number,
  { outer, channels, inner }: Block,
  runner: PieceRunner,
  visitor: GroupVisitor,
): void {
  const columns = channels * inner;
  let joined = 1;
  while (
    joined * columns < JOINED_WIDTH && 2 * joined * KEPT_ROWS <= outer
  ) joined *= 2;
  // The rows that remain are too few to be joined as well.
  const rest = outer % joined;
  const whole = (outer - rest) / joined;
  runBands(element, parameter, whole, columns, joined, inner, runner, visitor);
  const last = element + whole * joined * columns;
  runBands(last, parameter, rest, columns, 1, inner, runner, visitor);
}

function runBands(
  element: number,
  parameter: number,
  rows: number,
  columns: number,
  joined: number,
  inner: number,
  runner: PieceRunner,
  visitor: GroupVisitor,
): void {
  const stride = columns * joined;
  for (let row = 0; row < rows; row += COLUMN_ROWS) {
    const count = Math.min(COLUMN_ROWS, rows - row);
    for (let first = 0; first < stride; first += SLOTS) {
      const slots = Math.min(SLOTS, stride - first);
      for (let s = 0; s < slots; s++) {
        const column = (first + s) % columns;
        slotChannels[s] = parameter + Math.floor(column / inner);
      }
      const group: Group = {
        slots,
        channels: slotChannels,
        element: element + row * stride + first,
        step: 1,
        count,
      };
      visitor.begin(group);
      const most = Math.floor(PIECE_ELEMENTS / slots);
      for (let r = 0; r < count; r += most) {
        const start = group.element + r * stride;
        runner.columns(start, Math.min(most, count - r), slots, stride);
      }
      endGroup(runner, visitor, group);
    }
  }
}
