/**
 * A whole tensor cut into groups of slots: the plan that all kernels of
 * training share, so that they sum in one order.
 *
 * A slot has parameters and sums of its own. A group is the elements that fill
 * a set of slots once, all slots alike, in one of two forms:
 *
 * - Rows are runs of neighbours that share a channel. A slot is a channel, and
 *   goes through as many of its runs as have 8192 elements together; longer
 *   runs are cut there.
 * - Columns are for channels whose runs are short (a single element in
 *   channels-last data): each position in `channels * inner` neighbours is a
 *   column and a slot, and goes through up to 256 rows. Where that makes few
 *   columns, several rows are joined to one.
 *
 * Afterwards the driver brings what the slots hold to the channels; see
 * `training.ts` for the arithmetic. All limits count elements, so that neither
 * the element type, nor the implementation, nor where the tensors are changes
 * any group. How an implementation cuts a group into pieces is its own affair,
 * as it changes no order.
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
 * Elements per slot of a group of rows, and per piece where an implementation
 * has to copy: little enough for the L1 or L2 cache and for the staging area
 * of the WASM kernels, and much against what a call costs.
 */
export const PIECE_ELEMENTS = 8192;
/** Slots per group: as many parameters as an area of the WASM kernels holds. */
export const SLOTS = 2048;
/**
 * Rows that a column goes through before its sums are merged: one merge costs
 * about as much as ten elements.
 */
const COLUMN_ROWS = 256;
/**
 * Runs shorter than this, and than their number, are taken as columns: of 64
 * rows of 256 channels, runs of 16 took 0.75 times as long as rows, runs of 9
 * 1.5 times. Slots that are columns are merged more often.
 */
const SHORT_RUN = 16;
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
   * Runs on `rows * length` neighbours, a slot per row; a row has up to
   * {@linkcode PIECE_ELEMENTS}.
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
  /** The channel of slot 0. */
  readonly channel: number;
  /**
   * The channel of each slot, in its first `slots` values; undefined where the
   * channels of the slots follow each other.
   */
  readonly channels: Uint32Array | undefined;
  /** The first element of slot 0. */
  readonly element: number;
  /** From there to that of the next slot, and so on. */
  readonly step: number;
  /** How many elements each slot has. */
  readonly count: number;
}

/** What is done with the slots before and after their pieces. */
export interface GroupVisitor {
  /**
   * Fills the vectors that depend on the slots' channels alone: at the first
   * of several groups with the same slots.
   */
  enter?(group: Group): void;
  /** Makes the sums of a group ready. */
  begin?(group: Group): void;
  /** Brings the sums of a group to the channels. */
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
 * changes no order of summation: the groups of a channel are the same.
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
// between ranges.
const slotChannels = new Uint32Array(SLOTS);

/** Runs an operation over a layout or a range of it, group by group. */
export function runGroups(
  layout: Layout,
  runner: PieceRunner,
  visitor: GroupVisitor,
  range?: ChannelRange,
): void {
  // With more than one axis there are many blocks, and one range of them all.
  const cut = layout.extents.length === 3 ? range : undefined;
  forEachBlock(layout, (element, parameter, block) => {
    let { outer, inner } = block;
    if (block.channels === 1) {
      // Nothing lies between the runs of a single channel.
      inner *= outer;
      outer = 1;
    }
    const plan = { outer, channels: block.channels, inner };
    const first = cut ? cut.first : 0;
    const end = cut ? first + cut.count : block.channels;
    if (areColumns(plan)) {
      // Which no range cuts.
      runColumns(element, parameter, plan, runner, visitor);
    } else if (inner > PIECE_ELEMENTS) {
      runParts(element, parameter, plan, first, end, runner, visitor);
    } else {
      runRows(element, parameter, plan, first, end, runner, visitor);
    }
  });
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

/** Makes the vectors ready for a group; `isFirst` of those with its slots. */
function beginGroup(
  runner: PieceRunner,
  visitor: GroupVisitor,
  group: Group,
  isFirst: boolean,
): void {
  // Groups that run side by side have vectors of their own.
  if (isFirst || runner.sharing) visitor.enter?.(group);
  visitor.begin?.(group);
}

/** A block as rows, its channels from `first` to before `end`. */
function runRows(
  element: number,
  parameter: number,
  { outer, channels, inner }: Block,
  first: number,
  end: number,
  runner: PieceRunner,
  visitor: GroupVisitor,
): void {
  const repetition = channels * inner;
  const band = Math.floor(PIECE_ELEMENTS / inner);
  for (; first < end; first += SLOTS) {
    const slots = Math.min(SLOTS, end - first);
    let start = element + first * inner;
    for (let o = 0; o < outer; o += band) {
      const runs = Math.min(band, outer - o);
      const group: Group = {
        slots,
        channel: parameter + first,
        channels: undefined,
        element: start,
        step: inner,
        count: runs * inner,
      };
      beginGroup(runner, visitor, group, o === 0);
      for (let run = 0; run < runs; run++, start += repetition) {
        runner.rows(start, slots, inner);
      }
      endGroup(runner, visitor, group);
    }
  }
}

/** The same of runs that are cut: channel by channel, a part being a group. */
function runParts(
  element: number,
  parameter: number,
  { outer, channels, inner }: Block,
  first: number,
  end: number,
  runner: PieceRunner,
  visitor: GroupVisitor,
): void {
  for (; first < end; first++) {
    for (let o = 0; o < outer; o++) {
      const start = element + (o * channels + first) * inner;
      for (let part = 0; part < inner; part += PIECE_ELEMENTS) {
        const group: Group = {
          slots: 1,
          channel: parameter + first,
          channels: undefined,
          element: start + part,
          step: 1,
          count: Math.min(PIECE_ELEMENTS, inner - part),
        };
        beginGroup(runner, visitor, group, o === 0 && part === 0);
        runner.rows(group.element, 1, group.count);
        endGroup(runner, visitor, group);
      }
    }
  }
}

/** A block as columns: slices that the vectors hold, each in bands of rows. */
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
  for (let first = 0; first < stride; first += SLOTS) {
    const slots = Math.min(SLOTS, stride - first);
    let channels: Uint32Array | undefined;
    if (columns !== stride || inner !== 1) {
      channels = slotChannels;
      for (let s = 0; s < slots; s++) {
        const column = (first + s) % columns;
        channels[s] = parameter + Math.floor(column / inner);
      }
    }
    for (let row = 0; row < rows; row += COLUMN_ROWS) {
      const group: Group = {
        slots,
        channel: channels ? channels[0]! : parameter + first,
        channels,
        element: element + row * stride + first,
        step: 1,
        count: Math.min(COLUMN_ROWS, rows - row),
      };
      beginGroup(runner, visitor, group, row === 0);
      runner.columns(group.element, group.count, slots, stride);
      endGroup(runner, visitor, group);
    }
  }
}
