/**
 * One instance of the WASM module with its memory, and how whole tensors are
 * brought through it.
 *
 * @module
 */

import { UnsupportedError } from "../errors.ts";
import {
  bytesPerElement,
  type ElementType,
  halfBits,
  type TensorData,
} from "../tensor.ts";
import type { Statistics } from "./coefficients.ts";
import { type Block, forEachBlock, type Layout } from "./layout.ts";
import type { SlotVectors } from "./pieces.ts";
import type { Bounds, Parameters } from "./types.ts";
import {
  type AffineFunction,
  instantiate,
  reasonOf,
  type WasmExports,
} from "./wasm_module.ts";

// The memory, in bytes: factors, summands, two staging areas, tensors (if
// any). Training has its four vectors where inference has factors and summands,
// operators of sessions what stands for whole rows.

/** The bytes of the factors, which are at the beginning, and of the summands. */
export const PARAMETER_BYTES = 32 * 1024;
const FACTORS = 0;
const SUMMANDS = FACTORS + PARAMETER_BYTES;
/** Where the first staging area begins. */
export const STAGING = SUMMANDS + PARAMETER_BYTES;
/**
 * 64 KB: large enough that a call per chunk costs nothing, small enough that
 * a chunk is still in the L2 cache when it is computed and copied out (8 and 16
 * KB took up to 1.2 times as long, 32 KB the same).
 *
 * An ordinary array is thus copied twice and computed in place between. Where
 * memory is slow, the copies after the first come from a cache, and all takes
 * 1.9 times as long as one copy from 1.6 MB on; where both arrays are in the L2
 * cache themselves, at 1 MB, nothing is saved: two copies, and a loop that
 * takes 1.2 times as long as one, make 3.2, and 2.8 to 3.3 is what a call takes.
 */
const STAGING_BYTES = 64 * 1024;
/** The same for a second input, which inference has not. */
export const SECOND_STAGING = STAGING + STAGING_BYTES;
/** Where tensors may begin; what lies before it is the instance's own. */
export const HEAP = SECOND_STAGING + STAGING_BYTES;

/** The size of a page of WASM memory, in bytes. */
export const PAGE_BYTES = 64 * 1024;

/**
 * Planes shorter than this are treated as rows, each parameter repeated once
 * per element of its plane: a vector loop over so few elements is mostly its
 * start and its remainder, and its vectors straddle cache lines.
 */
const SHORT_PLANE = 64;
/** The same, where a row of parameters does not fit its area as a whole. */
const SHORT_PLANE_IN_SLICES = 16;
/** Repeating parameters costs about as much as this many rows save. */
const ROWS_TO_SPREAD = 4;
/**
 * Rows are joined until they are this wide: 8 KB of float32. The kernel walks
 * down a strip of eight rows at a time, which is at the speed of the memory
 * only if each row is long enough for the hardware to prefetch it (measured on
 * 6 MB of 64 channels, against a memory copy: 1.7 times for rows of 256, 0.9
 * for rows of 2048).
 */
const WIDE_ROW = 2048;
/**
 * The same for tensors of fewer elements than here, 0.5 MB of float32, which
 * the L2 cache holds: there, rows of 64 take as long as rows of 2048, and those
 * of 16 1.1 times as long.
 */
const ELEMENTS_TO_WIDEN = 128 * 1024;
const NARROW_ROW = 64;
/**
 * The width of 16-bit rows, as what counts are bytes (measured on 3 MB of
 * float16, against rows of 3072: 1.35 times for rows of 768, 1.15 for those of
 * 1024 and 1536, 1.02 for those of 2048 and 4096).
 */
const WIDE_HALF_ROW = 3072;
/** Elements per turn of the widest loop over rows (four vectors). */
const TURN = 16;

/** The arrays that hold elements as the kernels see them. */
export type Elements = Float32Array | Float64Array | Uint16Array;

/** The parameter areas of a memory, in parameters. */
interface ParameterAreas {
  readonly factors: Parameters;
  readonly summands: Parameters;
}

/** What stays the same during one call. */
interface Call {
  readonly kernel: AffineFunction;
  readonly bytes: number;
  /** The whole memory, in elements. */
  readonly memory: Elements;
  readonly areas: ParameterAreas;
  readonly x: Elements;
  readonly y: Elements;
  /** Where `x` begins in this memory, in bytes; undefined if it is elsewhere. */
  readonly xPointer: number | undefined;
  /** The same of `y`. */
  readonly yPointer: number | undefined;
  readonly a: Parameters;
  readonly b: Parameters;
}

/**
 * How many rows to join to one, so that it is wide and its remainder small.
 *
 * That repeats the parameters as often, which pays only for many rows.
 */
function rowsToJoin(
  outer: number,
  width: number,
  capacity: number,
  bytes: number,
): number {
  let wide = bytes === 2 ? WIDE_HALF_ROW : WIDE_ROW;
  if (outer * width < ELEMENTS_TO_WIDEN) wide = NARROW_ROW;
  let rows = 1;
  while (
    (rows * width < wide || rows * width % TURN !== 0) &&
    2 * rows * width <= capacity && 2 * rows * ROWS_TO_SPREAD <= outer
  ) {
    rows *= 2;
  }
  // Rows a multiple of 4 KB apart would share the few places that the L1 cache
  // has for each address of a page (measured: 1.2 times as long).
  const apart = bytes === 2 ? 2048 : 1024;
  return rows % 4 === 0 && rows * width % apart === 0 ? rows * 3 / 4 : rows;
}

/**
 * Copies parameters into an area, each `repeat` times, and the whole of that
 * `copies` times.
 */
function spread(
  area: Parameters,
  values: Parameters,
  first: number,
  count: number,
  repeat: number,
  copies: number,
): void {
  let to = 0;
  if (repeat === 1) {
    area.set(
      count === values.length ? values : values.subarray(first, first + count),
    );
    to = count;
  } else {
    for (let c = first; c < first + count; c++) {
      const value = values[c]!;
      for (let r = 0; r < repeat; r++) area[to++] = value;
    }
  }
  const total = to * copies;
  // Doubles what is there already, and ends with the exact rest.
  for (; to < total; to *= 2) area.copyWithin(to, 0, Math.min(to, total - to));
}

/** An instance of the WASM module with a memory that never grows. */
export class WasmInstance {
  /** The memory, which nothing grows. */
  readonly memory: WebAssembly.Memory;
  /** Its buffer; the same object for ever. */
  readonly buffer: ArrayBufferLike;
  /** The functions of the module. */
  readonly exports: WasmExports;
  #vectors: SlotVectors | undefined;
  /** The last view of a result in the first staging area. */
  #result: Elements;
  /** The last views of folded vectors. */
  #folded: ParameterAreas;
  readonly #singles: Float32Array;
  readonly #doubles: Float64Array;
  readonly #halves: Uint16Array;
  readonly #singleAreas: ParameterAreas;
  readonly #doubleAreas: ParameterAreas;

  /**
   * Starts a module on a new memory.
   *
   * @param module The compiled module.
   * @param heapBytes The room for tensors, in bytes, a multiple of the page.
   * @param shared Whether threads share the memory; the module has to be made
   * for that.
   *
   * @throws {UnsupportedError} If the runtime gives no memory or refuses the
   * module.
   */
  constructor(module: WebAssembly.Module, heapBytes: number, shared = false) {
    const pages = (HEAP + heapBytes) / PAGE_BYTES;
    let memory: WebAssembly.Memory;
    try {
      memory = new WebAssembly.Memory({
        initial: pages,
        maximum: pages,
        shared,
      });
    } catch (cause) {
      throw new UnsupportedError(
        `Cannot start the WASM kernels: this runtime gives no memory of ${pages} pages (${
          reasonOf(cause)
        }). Use the "typed-array" kernels, which give the same results`,
        { cause },
      );
    }
    this.memory = memory;
    this.exports = instantiate(module, memory);
    this.buffer = memory.buffer;
    this.#singles = new Float32Array(this.buffer);
    this.#doubles = new Float64Array(this.buffer);
    this.#halves = new Uint16Array(this.buffer);
    this.#result = this.#singles.subarray(0, 0);
    const singles = PARAMETER_BYTES / 4;
    this.#singleAreas = {
      factors: new Float32Array(this.buffer, FACTORS, singles),
      summands: new Float32Array(this.buffer, SUMMANDS, singles),
    };
    this.#folded = this.#singleAreas;
    const doubles = PARAMETER_BYTES / 8;
    this.#doubleAreas = {
      factors: new Float64Array(this.buffer, FACTORS, doubles),
      summands: new Float64Array(this.buffer, SUMMANDS, doubles),
    };
  }

  /** The slots' vectors of training. */
  get vectors(): SlotVectors {
    // A vector takes half of an area; `SLOTS` is as many float64.
    const bytes = PARAMETER_BYTES / 2;
    const vector = (index: number): Float64Array =>
      new Float64Array(this.buffer, FACTORS + bytes * index, bytes / 8);
    return this.#vectors ??= [vector(0), vector(1), vector(2), vector(3)];
  }

  /** The whole memory as elements of a type. */
  elements(type: ElementType): Elements {
    if (type === "float32") return this.#singles;
    return type === "float64" ? this.#doubles : this.#halves;
  }

  /**
   * `y = x * a + b`, as {@linkcode Kernels.affine} has it; with bounds, as
   * {@linkcode Kernels.affineClamped}.
   */
  affine(
    type: ElementType,
    layout: Layout,
    x: TensorData,
    y: TensorData,
    a: Parameters,
    b: Parameters,
    bounds?: Bounds,
  ): void {
    const kernel = bounds ? this.#clampedTo(bounds) : this.exports.affine[type];
    const areas = type === "float64" ? this.#doubleAreas : this.#singleAreas;
    const xPointer = x.buffer === this.buffer ? x.byteOffset : undefined;
    const yPointer = y.buffer === this.buffer ? y.byteOffset : undefined;
    const bytes = bytesPerElement(type);
    const { extents } = layout;
    if (extents.length === 3 && x.length > 0) {
      const [outer, channels, inner] = extents as [number, number, number];
      const isHere = xPointer !== undefined && yPointer !== undefined;
      if (
        (isHere || x.byteLength <= STAGING_BYTES) &&
        runsAsItIs(outer, channels, inner, areas.factors.length, bytes)
      ) {
        // What most calls come to, with nothing allocated.
        areas.factors.set(a);
        areas.summands.set(b);
        const to = yPointer ?? STAGING;
        if (xPointer === undefined) this.#copyIn(type, x, to);
        kernel(
          xPointer ?? to,
          to,
          FACTORS,
          SUMMANDS,
          outer,
          channels,
          inner,
        );
        if (yPointer === undefined) this.#copyOut(type, y);
        return;
      }
    }
    const half = type === "float16" || type === "bfloat16";
    const call: Call = {
      kernel,
      bytes,
      memory: this.elements(type),
      areas,
      x: half ? halfBits(x) : x as Elements,
      y: half ? halfBits(y) : y as Elements,
      xPointer,
      yPointer,
      a,
      b,
    };
    forEachBlock(layout, (element, parameter, block) => {
      affineBlock(call, element, parameter, block);
    });
  }

  /** The kernel of float32 with bounds. */
  #clampedTo({ low, high }: Bounds): AffineFunction {
    const { affineClamped } = this.exports;
    return (x, y, a, b, outer, channels, inner) =>
      affineClamped!(x, y, a, b, outer, channels, inner, low, high);
  }

  /** Copies a whole array in. */
  #copyIn(type: ElementType, x: TensorData, to: number): void {
    if (type === "float32") this.#singles.set(x, to / 4);
    else if (type === "float64") this.#doubles.set(x, to / 8);
    else this.#halves.set(halfBits(x), to / 2);
  }

  /** Copies a whole array out of the first staging area. */
  #copyOut(type: ElementType, y: TensorData): void {
    const bits = type === "float16" || type === "bfloat16" ? halfBits(y) : y;
    const memory = this.elements(type);
    const { length } = bits;
    let result = this.#result;
    if (
      result.length !== length ||
      result.BYTES_PER_ELEMENT !== memory.BYTES_PER_ELEMENT
    ) {
      const start = STAGING / memory.BYTES_PER_ELEMENT;
      result = memory.subarray(start, start + length);
      this.#result = result;
    }
    bits.set(result);
  }

  /**
   * Does what `foldStatistics` does in float32.
   *
   * @param a Receives the factors.
   * @param b Receives the summands.
   * @param statistics The layer's vectors.
   */
  fold(a: Parameters, b: Parameters, statistics: Statistics): void {
    const { gamma, beta, mean, variance, epsilon } = statistics;
    const { length } = a;
    // Four inputs share the first staging area.
    const bytes = STAGING_BYTES / 4;
    const capacity = bytes / 4;
    for (let first = 0; first < length; first += capacity) {
      const count = Math.min(capacity, length - first);
      this.#bringIn(STAGING, gamma, 1, first, count);
      this.#bringIn(STAGING + bytes, beta, 0, first, count);
      this.#bringIn(STAGING + 2 * bytes, mean, 0, first, count);
      this.#bringIn(STAGING + 3 * bytes, variance, 0, first, count);
      this.exports.fold(
        STAGING,
        STAGING + bytes,
        STAGING + 2 * bytes,
        STAGING + 3 * bytes,
        FACTORS,
        SUMMANDS,
        count,
        epsilon,
      );
      if (this.#folded.factors.length !== count) {
        const { factors, summands } = this.#singleAreas;
        this.#folded = {
          factors: factors.subarray(0, count),
          summands: summands.subarray(0, count),
        };
      }
      a.set(this.#folded.factors, first);
      b.set(this.#folded.summands, first);
    }
  }

  /** Copies some values of a vector in, or what stands for a missing one. */
  #bringIn(
    to: number,
    values: Parameters | undefined,
    missing: number,
    first: number,
    count: number,
  ): void {
    const start = to / 4;
    if (values === undefined) {
      this.#singles.fill(missing, start, start + count);
    } else {
      this.#singles.set(
        count === values.length
          ? values
          : values.subarray(first, first + count),
        start,
      );
    }
  }
}

/**
 * Whether a block is best computed by one run of the kernel: its parameters fit
 * their area, and are not to be repeated; see {@linkcode affineBlock}.
 */
function runsAsItIs(
  outer: number,
  channels: number,
  inner: number,
  capacity: number,
  bytes: number,
): boolean {
  if (channels > capacity) return false;
  if (inner === 1) return rowsToJoin(outer, channels, capacity, bytes) === 1;
  return !isShort(outer, channels, inner, capacity);
}

/** Whether planes are so short that rows with repeated parameters are better. */
function isShort(
  outer: number,
  channels: number,
  inner: number,
  capacity: number,
): boolean {
  const short = channels * inner <= capacity
    ? SHORT_PLANE
    : SHORT_PLANE_IN_SLICES;
  return inner < short && outer >= ROWS_TO_SPREAD;
}

/** Brings one block through, in slices of channels that fit their area. */
function affineBlock(
  call: Call,
  element: number,
  parameter: number,
  { outer, channels, inner }: Block,
): void {
  const { a, b, areas: { factors, summands } } = call;
  const capacity = factors.length;
  const repeat = isShort(outer, channels, inner, capacity) ? inner : 1;
  const slice = Math.min(channels, Math.floor(capacity / repeat));
  for (let first = 0; first < channels; first += slice) {
    const count = Math.min(slice, channels - first);
    const width = count * repeat;
    const plane = inner / repeat;
    const whole = count === channels;
    const joined = whole && plane === 1
      ? rowsToJoin(outer, width, capacity, call.bytes)
      : 1;
    spread(factors, a, parameter + first, count, repeat, joined);
    spread(summands, b, parameter + first, count, repeat, joined);
    if (whole) {
      const rows = Math.floor(outer / joined);
      affineRun(call, element, rows, width * joined, plane);
      const done = rows * joined;
      if (done < outer) {
        // The parameters repeat, so the rows that remain are a prefix of one.
        const rest = (outer - done) * width;
        affineRun(call, element + done * width, 1, rest, plane);
      }
    } else {
      for (let o = 0; o < outer; o++) {
        const start = element + (o * channels + first) * inner;
        affineRun(call, start, 1, width, plane);
      }
    }
  }
}

/**
 * Brings a contiguous run of `rows * width * plane` elements through: at once
 * where both arrays are in this memory, else in chunks that are copied in,
 * computed in place and copied out.
 */
function affineRun(
  call: Call,
  element: number,
  rows: number,
  width: number,
  plane: number,
): void {
  if (call.xPointer !== undefined && call.yPointer !== undefined) {
    affinePiece(call, element, 0, rows, width, plane);
    return;
  }
  const capacity = STAGING_BYTES / call.bytes;
  const row = width * plane;
  if (row <= capacity) {
    const step = Math.floor(capacity / row);
    for (let r = 0; r < rows; r += step) {
      const count = Math.min(step, rows - r);
      affinePiece(call, element + r * row, 0, count, width, plane);
    }
    return;
  }
  // Chunks of whole planes, or of a part of one plane.
  const planes = Math.max(1, Math.floor(capacity / plane));
  const part = Math.min(plane, capacity);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < width; c += planes) {
      const count = Math.min(planes, width - c);
      const start = element + (r * width + c) * plane;
      for (let i = 0; i < plane; i += part) {
        const length = Math.min(part, plane - i);
        affinePiece(call, start + i, c, 1, count, length);
      }
    }
  }
}

/** Runs the kernel once, with what has to be copied before and after it. */
function affinePiece(
  call: Call,
  element: number,
  parameter: number,
  rows: number,
  width: number,
  plane: number,
): void {
  const { bytes, memory, x, y, xPointer, yPointer } = call;
  const { factors, summands } = call.areas;
  const end = element + rows * width * plane;
  const to = yPointer === undefined ? STAGING : yPointer + element * bytes;
  let from = to;
  if (xPointer !== undefined) {
    from = xPointer + element * bytes;
  } else {
    memory.set(x.subarray(element, end), to / bytes);
  }
  call.kernel(
    from,
    to,
    factors.byteOffset + parameter * factors.BYTES_PER_ELEMENT,
    summands.byteOffset + parameter * summands.BYTES_PER_ELEMENT,
    rows,
    width,
    plane,
  );
  if (yPointer === undefined) {
    const start = STAGING / bytes;
    y.set(memory.subarray(start, start + end - element), element);
  }
}
