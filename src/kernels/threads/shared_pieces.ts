/**
 * The pieces of training on several threads.
 *
 * The driver of `pieces.ts` begins groups as ever, but each in a lane with
 * vectors of its own, and the pieces of up to {@linkcode LANES} groups run
 * side by side, on whichever thread takes them. Groups are ended one after the
 * other in their order, on the calling thread. So every sum is made and merged
 * in the order that one thread has, and every bit is the same.
 *
 * A group of columns is cut into jobs by columns, which have nothing to do with
 * each other.
 *
 * @module
 */

import { bytesPerElement, type ElementType } from "../../tensor.ts";
import {
  type Group,
  type GroupVisitor,
  PIECE_ELEMENTS,
  type PieceArrays,
  type PieceOperation,
  type PieceRunner,
  SLOTS,
  type SlotVectors,
} from "../pieces.ts";
import type { Arena } from "../wasm_arena.ts";
import { PIECE_EXPORTS } from "../wasm_pieces.ts";
import {
  CALL_WORDS,
  CALLS_PER_LANE,
  type JobQueue,
  JOBS_PER_GROUP,
  LANES,
} from "./job_queue.ts";

/** The functions that jobs call, by their index. */
export const JOB_EXPORTS: readonly string[] = PIECE_EXPORTS;

/** The bytes of one of a thread's two staging areas, for float32. */
const AREA_BYTES = 4 * PIECE_ELEMENTS;
/** The bytes of a thread's staging areas. */
export const STAGING_BYTES: number = 2 * AREA_BYTES;

const VECTOR_BYTES = 8 * SLOTS;
/** A lane's four vectors, where the kernels expect them. */
const LANE_BYTES = 4 * VECTOR_BYTES;

/**
 * Elements of a job: some 15 microseconds, against less than one that it costs
 * to publish and take it.
 */
const JOB_ELEMENTS = 2 * PIECE_ELEMENTS;
/** Jobs of a group for each thread, so that all end at about the same time. */
const JOBS_PER_THREAD = 4;
/**
 * Columns of a job, if there are so many: narrow ones read short runs that are
 * far apart (measured on [788, 768] with a job at a time: 192 columns take 1.06
 * times as long as all 768, and 96 take 1.3 times).
 */
const COLUMNS = 256;
/** Elements of a run, cut by its rows, that are worth a call. */
const RUN_ELEMENTS = 1024;
/**
 * Rows of a piece of columns: those of 16-bit types are converted one by one,
 * and the calls of a piece have to fit their lane.
 */
const MOST_ROWS = 256;

/** A place for a group. */
interface Lane {
  readonly index: number;
  /** The byte offset of its vectors. */
  readonly pointer: number;
  readonly vectors: SlotVectors;
  /** The channels of its slots, as the driver's own are for the next group. */
  readonly channels: Uint32Array;
  /** The lane that its jobs count for; undefined once they are done. */
  owner: number | undefined;
  visitor: GroupVisitor | undefined;
  /** The group, with its own channels. */
  readonly group: { -readonly [Key in keyof Group]: Group[Key] };
}

/** The pieces of a group, together. */
interface Work {
  readonly columns: boolean;
  readonly element: number;
  readonly rows: number;
  readonly width: number;
  /** From one row to the next. */
  readonly stride: number;
  /** How many times there are so many rows, each for the same slots... */
  repeats: number;
  /** ...and from the first one of a time to that of the next. */
  repetition: number;
}

/** An operation's arrays and functions, as jobs name them. */
interface Operands {
  readonly bytes: number;
  /** Where the inputs begin, and then the output, if there is one. */
  readonly pointers: readonly number[];
  readonly inputs: number;
  readonly rows: number;
  readonly columns: number;
  /** Of 16-bit types. */
  readonly decode: number | undefined;
  readonly encode: number | undefined;
}

function indexOf(name: string): number {
  const index = JOB_EXPORTS.indexOf(name);
  if (index < 0) throw new Error(`No export ${name}`);
  return index;
}

/** Groups that run side by side in one memory. */
export class SharedPieces {
  readonly #queue: JobQueue;
  readonly #buffer: ArrayBufferLike;
  readonly #lanes: readonly Lane[];
  /** The lane of the group that is being begun, or will be next. */
  #current = 0;
  /** How many lanes before it have groups that were not ended. */
  #open = 0;
  /** The lane of the group that is being ended. */
  #ending: Lane | undefined;
  #depth = 0;
  /** The lane whose words are written, and that the jobs there count for. */
  #owner = 0;
  /** The next of these words, and where the jobs before it begin. */
  #word = 0;
  #bounds: number[] = [];
  /** Elements of the job that is not published yet, of one group or several. */
  #elements = 0;

  /**
   * Makes lanes in a memory.
   *
   * @param arena The memory, with room for the lanes.
   * @param queue Where jobs go.
   *
   * @throws {RangeError} If there is no room.
   */
  constructor(arena: Arena, queue: JobQueue) {
    this.#queue = queue;
    const { buffer } = arena.instance;
    this.#buffer = buffer;
    this.#lanes = Array.from({ length: LANES }, (_, index) => {
      const pointer = arena.take(LANE_BYTES);
      if (pointer === undefined) throw new RangeError("no room for lanes");
      const vector = (i: number): Float64Array =>
        new Float64Array(buffer, pointer + i * VECTOR_BYTES, SLOTS);
      const channels = new Uint32Array(SLOTS);
      return {
        index,
        pointer,
        vectors: [vector(0), vector(1), vector(2), vector(3)],
        channels,
        owner: undefined,
        visitor: undefined,
        group: {
          slots: 0,
          channel: 0,
          channels,
          element: 0,
          step: 0,
          count: 0,
        },
      };
    });
  }

  /**
   * Runs kernels, and returns once everything that they left is done. What they
   * call in between may leave it to the outermost.
   */
  run(body: () => void): void {
    this.#depth++;
    try {
      body();
      if (this.#depth === 1) this.#flush();
    } catch (error) {
      if (this.#depth === 1) this.#abandon();
      throw error;
    } finally {
      this.#depth--;
    }
  }

  /**
   * Makes an operation ready to run on arrays in the memory.
   *
   * @returns The runner; undefined if an array is elsewhere.
   */
  bind(
    operation: PieceOperation,
    type: ElementType,
    { x, dy, output }: PieceArrays,
    threads: number,
  ): PieceRunner | undefined {
    const arrays = [x, dy, output].filter((array) => array !== undefined);
    if (arrays.some(({ buffer }) => buffer !== this.#buffer)) return undefined;
    const suffix = type === "float64" ? "Float64" : "Float32";
    const half = type === "float16"
      ? "Float16"
      : type === "bfloat16"
      ? "Bfloat16"
      : undefined;
    const operands: Operands = {
      bytes: bytesPerElement(type),
      pointers: arrays.map(({ byteOffset }) => byteOffset),
      inputs: output ? arrays.length - 1 : arrays.length,
      rows: indexOf(`${operation}Rows${suffix}`),
      columns: indexOf(`${operation}Columns${suffix}`),
      decode: half && indexOf(`decode${half}`),
      encode: half && indexOf(`encode${half}`),
    };
    let work: Work | undefined;
    // The calling thread's own lanes, not those of whoever binds next.
    const vectors = (): SlotVectors => this.#vectors;
    return {
      get vectors(): SlotVectors {
        return vectors();
      },
      rows(element, rows, width): void {
        if (work) {
          // A group's further runs are for the same slots, at equal distances.
          if (work.repeats++ === 1) work.repetition = element - work.element;
          return;
        }
        work = {
          columns: false,
          element,
          rows,
          width,
          stride: width,
          repeats: 1,
          repetition: 0,
        };
      },
      columns(element, rows, width, stride): void {
        work = {
          columns: true,
          element,
          rows,
          width,
          stride,
          repeats: 1,
          repetition: 0,
        };
      },
      sharing: {
        threads,
        defer: (group, visitor): void => {
          this.#add(work!, operands, threads);
          work = undefined;
          this.#keep(group, visitor);
        },
        flush: () => this.#flush(),
      },
    };
  }

  get #vectors(): SlotVectors {
    return (this.#ending ?? this.#lanes[this.#current]!).vectors;
  }

  /** Keeps a group until it is ended, and frees the next lane. */
  #keep(
    { slots, channel, channels, element, step, count }: Group,
    visitor: GroupVisitor,
  ): void {
    const lane = this.#lanes[this.#current]!;
    lane.owner = this.#owner;
    if (visitor.end) {
      const { group } = lane;
      group.slots = slots;
      group.element = element;
      group.step = step;
      group.count = count;
      group.channel = channel;
      group.channels = channels && lane.channels;
      if (channels) {
        for (let s = 0; s < slots; s++) lane.channels[s] = channels[s]!;
      }
      lane.visitor = visitor;
    }
    this.#current = (this.#current + 1) % LANES;
    if (++this.#open === LANES) this.#endFirst();
  }

  /** Ends the oldest open group. */
  #endFirst(): void {
    const first = this.#current + LANES - this.#open;
    const lane = this.#lanes[first % LANES]!;
    const { owner, visitor } = lane;
    if (owner !== undefined) {
      if (owner === this.#owner) this.#publish();
      this.#queue.finish(owner);
      // Lanes that share its jobs follow.
      for (let i = first; this.#lanes[i % LANES]!.owner === owner; i++) {
        this.#lanes[i % LANES]!.owner = undefined;
      }
    }
    this.#open--;
    if (!visitor) return;
    lane.visitor = undefined;
    this.#ending = lane;
    try {
      visitor.end!(lane.group);
    } finally {
      this.#ending = undefined;
    }
  }

  #flush(): void {
    while (this.#open > 0) this.#endFirst();
    this.#queue.check();
  }

  /** Lets what is under way come to its end, and forgets it. */
  #abandon(): void {
    this.#open = 0;
    this.#elements = 0;
    try {
      for (const lane of this.#lanes) {
        lane.owner = lane.visitor = undefined;
        if (!this.#queue.ended) this.#queue.finish(lane.index);
      }
      this.#queue.check();
    } catch {
      // The first error is on its way.
    }
  }

  /** Writes the jobs of a group, and publishes what is worth it. */
  #add(work: Work, operands: Operands, threads: number): void {
    const { columns, rows, width, repeats } = work;
    const elements = repeats * rows * width;
    const jobs = Math.min(
      JOBS_PER_THREAD * threads,
      JOBS_PER_GROUP,
      Math.ceil(elements / JOB_ELEMENTS),
    );
    if (jobs > 1) this.#publish();
    if (this.#elements === 0) {
      this.#owner = this.#current;
      this.#word = this.#owner * CALLS_PER_LANE * CALL_WORDS;
      this.#bounds = [this.#word];
    }
    this.#elements += elements;
    const slots = columns ? width : rows;
    const least = columns ? COLUMNS : Math.ceil(RUN_ELEMENTS / width);
    const slice = jobs <= 1 ? slots : Math.ceil(slots / jobs / least) * least;
    for (let first = 0; first < slots; first += slice) {
      const count = Math.min(slice, slots - first);
      if (columns) this.#writeColumns(work, operands, first, count);
      else this.#writeRows(work, operands, first, count);
      if (first + count < slots) this.#bounds.push(this.#word);
    }
    if (this.#elements >= JOB_ELEMENTS) this.#publish();
  }

  /** Publishes the jobs that are written. */
  #publish(): void {
    if (this.#elements === 0) return;
    this.#elements = 0;
    this.#bounds.push(this.#word);
    this.#queue.publish(this.#owner, this.#bounds);
  }

  /** Some rows of a group, in calls of at most a piece. */
  #writeRows(
    { element, width: length, repeats, repetition }: Work,
    operands: Operands,
    first: number,
    count: number,
  ): void {
    const most = Math.max(1, Math.floor(PIECE_ELEMENTS / length));
    for (let row = first, end = first + count; row < end; row += most) {
      const rows = Math.min(most, end - row);
      let start = element + row * length;
      for (let r = 0; r < repeats; r++, start += repetition) {
        this.#writeCall(operands, operands.rows, start, row, rows, length);
      }
    }
  }

  /** Some columns of a group, in calls of at most a piece. */
  #writeColumns(
    { element, rows, width: all, stride }: Work,
    operands: Operands,
    first: number,
    width: number,
  ): void {
    // As many rows as if the columns were not cut: more would be too far apart
    // for the L1 cache.
    const rowsOfPiece = Math.max(1, Math.floor(PIECE_ELEMENTS / all));
    const most = Math.min(rowsOfPiece, MOST_ROWS);
    for (let row = 0; row < rows; row += most) {
      const count = Math.min(most, rows - row);
      const start = element + first + row * stride;
      const { columns } = operands;
      this.#writeCall(operands, columns, start, first, count, width, stride);
    }
  }

  /** One piece; of 16-bit types, with the conversions before and after it. */
  #writeCall(
    operands: Operands,
    kernel: number,
    element: number,
    slot: number,
    rows: number,
    width: number,
    stride?: number,
  ): void {
    const { bytes, pointers, inputs, decode, encode } = operands;
    const vectors = this.#lanes[this.#current]!.pointer + 8 * slot;
    if (decode === undefined) {
      const start = element * bytes;
      this.#makeRoom(1);
      this.#writeKernel(kernel, vectors, pointers, start, rows, width, stride);
      return;
    }
    // Whole rows are one run.
    const runs = stride === undefined || stride === width ? 1 : rows;
    const length = rows * width / runs;
    // What goes through a staging area has to be one thread's work.
    this.#makeRoom(runs * pointers.length + 1);
    // The last input's place is free once it has been read.
    const areas = pointers.map((_, i) =>
      ~(Math.min(i, inputs - 1) * AREA_BYTES)
    );
    const convert = (i: number, isInput: boolean): void => {
      for (let r = 0; r < runs; r++) {
        const there = pointers[i]! + (element + r * (stride ?? 0)) * bytes;
        // The complement of an offset that grows gets smaller.
        const here = areas[i]! - 4 * r * length;
        if (isInput) this.#writeConversion(decode, there, here, length);
        else this.#writeConversion(encode!, here, there, length);
      }
    };
    for (let i = 0; i < inputs; i++) convert(i, true);
    const packed = stride === undefined ? undefined : width;
    this.#writeKernel(kernel, vectors, areas, 0, rows, width, packed);
    if (inputs < pointers.length) convert(inputs, false);
  }

  #writeConversion(
    convert: number,
    from: number,
    to: number,
    count: number,
  ): void {
    const word = this.#reserve();
    const { calls } = this.#queue;
    calls[word] = convert;
    calls[word + 1] = from;
    calls[word + 2] = to;
    calls[word + 3] = count;
  }

  #writeKernel(
    kernel: number,
    vectors: number,
    places: readonly number[],
    offset: number,
    rows: number,
    width: number,
    stride: number | undefined,
  ): void {
    let word = this.#reserve();
    const { calls } = this.#queue;
    calls[word++] = kernel;
    calls[word++] = vectors;
    for (let i = 0; i < places.length; i++) calls[word++] = places[i]! + offset;
    calls[word++] = rows;
    calls[word++] = width;
    if (stride !== undefined) calls[word] = stride;
  }

  /** Makes room for calls that belong together. */
  #makeRoom(calls: number): void {
    const first = this.#owner * CALLS_PER_LANE * CALL_WORDS;
    const end = first + CALLS_PER_LANE * CALL_WORDS;
    if (this.#word + calls * CALL_WORDS <= end) return;
    // What is there has to be done before its words are written again.
    this.#queue.publish(this.#owner, [...this.#bounds, this.#word]);
    this.#queue.finish(this.#owner);
    this.#word = first;
    this.#bounds = [first];
  }

  /** The first word of a call to be written. */
  #reserve(): number {
    const word = this.#word;
    this.#word += CALL_WORDS;
    return word;
  }
}
