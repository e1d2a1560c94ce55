/**
 * Memories that hold the caller's tensors.
 *
 * A WASM memory that grows detaches every array over it, so none here ever
 * does: tensors live in arenas, each an instance of the module with a memory
 * of fixed size, and when they are full there is one arena more. Systems back
 * such a memory with pages only once they are touched, so its size is a
 * reservation, not a cost.
 *
 * @module
 */

import type { Allocation } from "./types.ts";
import { HEAP, PAGE_BYTES, WasmInstance } from "./wasm_instance.ts";

/** What every tensor is aligned to: a vector. */
const ALIGNMENT = 16;
/** The smallest arena. An empty one of this size is kept for the next tensor. */
const SMALLEST_HEAP = 4 * 1024 * 1024;
/**
 * Arenas double up to this size, so that many tensors need few arenas: each
 * reserves gigabytes of address space for the guard regions around it.
 */
const LARGEST_DOUBLING = 256 * 1024 * 1024;
/** 4 GB less a page, so that a pointer past the end is still 32 bits. */
const LARGEST_HEAP = 0xffff * PAGE_BYTES - HEAP;

/** A run of free bytes. */
interface Gap {
  readonly start: number;
  readonly end: number;
}

/** The instance behind each arena's buffer, for as long as that lives. */
const instances = new WeakMap<ArrayBufferLike, WasmInstance>();

/** The instance whose arena an array lies in, if it lies in one. */
export function instanceOf(buffer: ArrayBufferLike): WasmInstance | undefined {
  return instances.get(buffer);
}

/** An instance and the free runs of its memory. */
export class Arena {
  /** The instance. */
  readonly instance: WasmInstance;
  readonly #end: number;
  /** Sorted by start; neighbours are never adjacent. */
  #gaps: Gap[];
  /** Memory from here on has never been given out, and is zero. */
  #untouched = HEAP;
  #free: number;

  /**
   * Takes charge of an instance's memory.
   *
   * @param instance The instance.
   */
  constructor(instance: WasmInstance) {
    this.instance = instance;
    this.#end = instance.buffer.byteLength;
    const heapBytes = this.#end - HEAP;
    this.#gaps = [{ start: HEAP, end: this.#end }];
    this.#free = heapBytes;
    instances.set(this.instance.buffer, this.instance);
  }

  /** The bytes that tensors have in all. */
  get size(): number {
    return this.#end - HEAP;
  }

  /** The bytes that no tensor has. */
  get free(): number {
    return this.#free;
  }

  /** Takes zeroed bytes from the first gap that has them. */
  take(bytes: number): number | undefined {
    const index = this.#gaps.findIndex(({ start, end }) =>
      end - start >= bytes
    );
    const gap = this.#gaps[index];
    if (gap === undefined) return undefined;
    const end = gap.start + bytes;
    this.#gaps.splice(
      index,
      1,
      ...end < gap.end ? [{ ...gap, start: end }] : [],
    );
    // Only memory that was in use has to be cleared: clearing the rest would
    // touch pages that the caller may never fill.
    const used = Math.min(end, this.#untouched);
    if (used > gap.start) {
      new Uint8Array(this.instance.buffer, gap.start, used - gap.start).fill(0);
    }
    this.#untouched = Math.max(end, this.#untouched);
    this.#free -= bytes;
    return gap.start;
  }

  /** Gives bytes back and joins them with the gaps beside them. */
  give(start: number, bytes: number): void {
    let end = start + bytes;
    const apart: Gap[] = [];
    for (const gap of this.#gaps) {
      if (gap.end === start) start = gap.start;
      else if (gap.start === end) end = gap.end;
      else apart.push(gap);
    }
    apart.push({ start, end });
    this.#gaps = apart.sort((a, b) => a.start - b.start);
    this.#free += bytes;
  }
}

/** Gives out zeroed pieces of arenas, and makes arenas as they are needed. */
export class ArenaAllocator {
  readonly #module: WebAssembly.Module;
  /**
   * The arena with the most room that is known. Only this one is held: any
   * other lives as long as one of its tensors does, so that tensors which
   * nobody disposed of go to the garbage collector with their arena.
   */
  #current: Arena | undefined;
  /**
   * The size of the last tensor, if it may be an input: the next one of that
   * size is taken for its output, and has room beside it. In two arenas, one
   * of them would be copied for each call (measured on 3.1 MB: 1.9 times as
   * long as in one).
   */
  #first: number | undefined;

  constructor(module: WebAssembly.Module) {
    this.#module = module;
  }

  /**
   * Takes zeroed bytes of an arena.
   *
   * @param bytes How many.
   * @returns The piece; undefined where the runtime has no memory for it.
   */
  allocate(bytes: number): Allocation | undefined {
    const rounded = Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    const isSecond = rounded === this.#first;
    this.#first = isSecond ? undefined : rounded;
    const place = this.#placeOf(rounded, isSecond ? rounded : 2 * rounded);
    if (place === undefined) return undefined;
    const { arena: home, start } = place;
    return {
      buffer: home.instance.buffer,
      byteOffset: start,
      release: () => {
        home.give(start, rounded);
        this.#keepRoomier(home);
      },
    };
  }

  /** Takes bytes of an arena that has `room`, or else of any. */
  #placeOf(
    bytes: number,
    room: number,
  ): { arena: Arena; start: number } | undefined {
    const takeOf = (arena: Arena | undefined) => {
      const start = arena?.take(bytes);
      return arena && start !== undefined ? { arena, start } : undefined;
    };
    const current = this.#current;
    const roomy = current && current.free >= room ? takeOf(current) : undefined;
    if (roomy) return roomy;
    const created = takeOf(this.#newArena(bytes));
    if (created) this.#keepRoomier(created.arena);
    return created ?? takeOf(current);
  }

  #keepRoomier(arena: Arena): void {
    if (arena !== this.#current && arena.free > (this.#current?.free ?? -1)) {
      this.#current = arena;
    }
    const kept = this.#current;
    // A large arena without tensors goes; a small one serves the next call.
    if (kept?.free === kept?.size && (kept?.size ?? 0) > SMALLEST_HEAP) {
      this.#current = undefined;
    }
  }

  /** An arena for at least an input and an output of a size, if possible. */
  #newArena(bytes: number): Arena | undefined {
    const doubled = Math.min(2 * (this.#current?.size ?? 0), LARGEST_DOUBLING);
    const sizes = [
      Math.max(2 * bytes, doubled, SMALLEST_HEAP),
      2 * bytes,
      bytes,
    ];
    for (const size of sizes) {
      const heapBytes = Math.ceil(size / PAGE_BYTES) * PAGE_BYTES;
      if (heapBytes > LARGEST_HEAP) continue;
      try {
        return new Arena(new WasmInstance(this.#module, heapBytes));
      } catch {
        // This much memory is not to be had: try with less. The caller makes
        // an ordinary array in the end.
      }
    }
    return undefined;
  }
}
