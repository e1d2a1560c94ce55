/**
 * A pool of threads that training runs on.
 *
 * @module
 */

import { OptionError, UnsupportedError } from "../../errors.ts";
import { checkKnown } from "../../known_options.ts";
import type { ElementType, Tensor } from "../../tensor.ts";
import { allocateOn } from "../allocate_on.ts";
import type { PieceRunner } from "../pieces.ts";
import { createTrainingKernels } from "../training.ts";
import type { Allocation, Kernels, KernelSource } from "../types.ts";
import { createWasmKernels } from "../wasm.ts";
import { Arena } from "../wasm_arena.ts";
import { PAGE_BYTES, WasmInstance } from "../wasm_instance.ts";
import { reasonOf } from "../wasm_module.ts";
import {
  CONTROL,
  type JobFunction,
  JobQueue,
  LANES,
  PATIENCE,
} from "./job_queue.ts";
import { compileShared } from "./shared_module.ts";
import { JOB_EXPORTS, SharedPieces, STAGING_BYTES } from "./shared_pieces.ts";
import { spawn, type Thread } from "./spawn.ts";
import { WORKER_SOURCE, type WorkerStart } from "./worker_source.ts";

/** The options of {@linkcode startThreads}. */
export interface StartThreadsOptions {
  /**
   * How many threads compute, the calling one included: 1 to 64, by default as
   * many as there are processors, or 2 where the runtime does not tell.
   */
  readonly threads?: number;
  /**
   * The memory of the pool's tensors, in bytes: at most 2^31 - 2^24, 1 GB by
   * default. It is reserved at once; systems give it pages as they are touched.
   */
  readonly memoryBytes?: number;
}

// A Record, so that the compiler notices an option that is missing here.
const KNOWN: Readonly<Record<keyof StartThreadsOptions, true>> = {
  threads: true,
  memoryBytes: true,
};

/** Threads with a memory that they share. */
export interface ThreadPool extends KernelSource, AsyncDisposable {
  /** How many threads compute now, the calling one included. */
  readonly threads: number;
  /**
   * Makes a zeroed tensor in the pool's memory: what all threads can run on.
   * Dispose of it for the memory to be used again.
   *
   * `data` is a view over a `SharedArrayBuffer`. Where the memory is full, the
   * tensor is an ordinary array, which one thread runs on.
   *
   * @param dims The extents, outermost first.
   * @param type The element type, float32 by default.
   *
   * @throws {ShapeError} If an extent is not a non-negative integer.
   * @throws {OptionError} If the type is unknown.
   * @throws {RangeError} If there is no memory for it.
   */
  allocate(
    dims: readonly number[],
    type?: ElementType,
  ): Tensor & Disposable;
  /**
   * Ends all workers; harmless if that was done before. Tensors of the pool
   * stay, and what was given the pool goes on, on one thread.
   */
  close(): Promise<void>;
}

const MOST_THREADS = 64;
const DEFAULT_MEMORY = 2 ** 30;
/**
 * Pointers of jobs have 31 bits, one being for the staging area; the areas of
 * all threads and lanes take less than 16 MB.
 */
const MOST_MEMORY = 2 ** 31 - 2 ** 24;

/**
 * The smallest tensor that several threads share, in elements. Waking a worker
 * up takes some 50 microseconds, in which one thread trains on about as many
 * thousand elements. Measured at this size ([1, 64, 32, 32] and channels last):
 * two threads are 1.2 times as fast as one in the forward pass, and 1.3 to 1.5
 * times in both; at four times the size, 1.9 and 2.0 times.
 */
export const LEAST_ELEMENTS: number = 64 * 1024;

/** How long workers may take to start, in ms: usually it is 10. */
const START_LIMIT = 20_000;

/** What tests change. */
export interface PoolTuning {
  /** See {@linkcode LEAST_ELEMENTS}. */
  readonly leastElements?: number;
  /** See {@linkcode PATIENCE}. */
  readonly patience?: number;
}

/** The threads and their memory. */
export class Pool implements ThreadPool {
  /** The kernels that run on the threads. */
  readonly kernels: Kernels;
  /** The queue. */
  readonly queue: JobQueue;
  /** The workers that are left. */
  readonly workers = new Set<Thread>();
  readonly #arena: Arena;
  readonly #pieces: SharedPieces;
  #ended: Promise<unknown> = Promise.resolve();
  #failure: unknown;

  /**
   * Starts to start threads; see {@linkcode startPool}.
   *
   * @throws {UnsupportedError} If this runtime has no threads.
   */
  constructor(
    module: WebAssembly.Module,
    threads: number,
    memoryBytes: number,
    { leastElements = LEAST_ELEMENTS, patience = PATIENCE }: PoolTuning,
  ) {
    // Staging and lanes are the pool's own, beside the memory of its tensors.
    const own = threads * STAGING_BYTES + LANES * PAGE_BYTES;
    const bytes = Math.ceil((own + memoryBytes) / PAGE_BYTES) * PAGE_BYTES;
    const instance = new WasmInstance(module, bytes, true);
    const arena = new Arena(instance);
    this.#arena = arena;
    const { exports } = new WebAssembly.Instance(module, {
      env: { memory: instance.memory },
    });
    const functions = JOB_EXPORTS.map((name) => exports[name] as JobFunction);
    // The room for these is there.
    const staging = (): number => arena.take(STAGING_BYTES)!;
    this.queue = new JobQueue(
      functions,
      staging(),
      () => this.#endWorkers(),
      patience,
    );
    this.#pieces = new SharedPieces(arena, this.queue);
    this.kernels = this.#createKernels(leastElements);
    try {
      for (let i = 1; i < threads; i++) {
        const worker = spawn(WORKER_SOURCE, (reason) => {
          this.#failure ??= reason;
          this.workers.delete(worker);
        });
        this.workers.add(worker);
        worker.start(
          {
            module,
            memory: instance.memory,
            names: JOB_EXPORTS,
            control: this.queue.control,
            calls: this.queue.calls,
            staging: staging(),
          } satisfies WorkerStart,
        );
      }
    } catch (error) {
      this.#endWorkers();
      throw error;
    }
  }

  get threads(): number {
    return this.workers.size + 1;
  }

  /**
   * Waits until all workers run.
   *
   * @throws What keeps one of them from it.
   */
  async started(): Promise<void> {
    const { control } = this.queue;
    const wanted = this.workers.size;
    const start = performance.now();
    // Looking is what works everywhere; messages would need a turn of the
    // worker's event loop, to which it never comes back.
    while (Atomics.load(control, CONTROL.started) < wanted) {
      if (this.#failure !== undefined) throw this.#failure;
      if (performance.now() - start > START_LIMIT) {
        throw new Error(`no worker has started within ${START_LIMIT} ms`);
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  allocate(
    dims: readonly number[],
    type: ElementType = "float32",
  ): Tensor & Disposable {
    return allocateOn(() => this.kernels, dims, type);
  }

  async close(): Promise<void> {
    this.#endWorkers();
    await this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #endWorkers(): void {
    this.queue.end();
    const workers = [...this.workers];
    this.workers.clear();
    const before = this.#ended;
    this.#ended = Promise.all([
      before,
      ...workers.map((worker) => worker.terminate()),
    ]);
  }

  #take(bytes: number): Allocation | undefined {
    const arena = this.#arena;
    // A vector's alignment.
    const rounded = Math.ceil(bytes / 16) * 16;
    const byteOffset = arena.take(rounded);
    return byteOffset === undefined ? undefined : {
      buffer: arena.instance.buffer,
      byteOffset,
      release: () => arena.give(byteOffset, rounded),
    };
  }

  #createKernels(leastElements: number): Kernels {
    // What lies elsewhere, or is small, is for one thread.
    const { bindPieces, ...single } = createWasmKernels();
    const pieces = this.#pieces;
    const training = createTrainingKernels(
      (operation, type, arrays): PieceRunner => {
        const shared = this.workers.size > 0 &&
            arrays.x.length >= leastElements
          ? pieces.bind(operation, type, arrays, this.threads)
          : undefined;
        return shared ?? bindPieces(operation, type, arrays);
      },
    );
    return {
      ...single,
      allocate: (bytes) => this.#take(bytes),
      moments: (...args) => pieces.run(() => training.moments(...args)),
      normalize: (...args) => pieces.run(() => training.normalize(...args)),
      gradientSums: (...args) =>
        pieces.run(() => training.gradientSums(...args)),
      inputGradient: (...args) =>
        pieces.run(() => training.inputGradient(...args)),
    };
  }
}

function checkOptions(options: StartThreadsOptions): void {
  checkKnown("startThreads", options, KNOWN);
  const { threads, memoryBytes } = options;
  if (
    threads !== undefined &&
    !(Number.isInteger(threads) && threads >= 1 && threads <= MOST_THREADS)
  ) {
    throw new OptionError(
      `Cannot start ${threads} threads: expected an integer from 1 to ${MOST_THREADS}`,
    );
  }
  if (
    memoryBytes !== undefined &&
    !(Number.isInteger(memoryBytes) && memoryBytes >= 0 &&
      memoryBytes <= MOST_MEMORY)
  ) {
    throw new OptionError(
      `Cannot start threads with a memory of ${memoryBytes} bytes: expected an integer from 0 to ${MOST_MEMORY}`,
    );
  }
}

function processors(): number {
  const known = (globalThis as { navigator?: Navigator }).navigator
    ?.hardwareConcurrency;
  return Math.min(Math.max(known ?? 2, 1), MOST_THREADS);
}

/** {@linkcode startThreads}, with what tests change. */
export async function startPool(
  options: StartThreadsOptions = {},
  tuning: PoolTuning = {},
): Promise<Pool> {
  checkOptions(options);
  const { threads = processors(), memoryBytes = DEFAULT_MEMORY } = options;
  if (typeof SharedArrayBuffer === "undefined") {
    throw new UnsupportedError(
      `Cannot start threads: this runtime has no SharedArrayBuffer. A web page has it once it is served with the headers "Cross-Origin-Opener-Policy: same-origin" and "Cross-Origin-Embedder-Policy: require-corp"; elsewhere, run without a pool, which gives the same results`,
    );
  }
  const module = compileShared();
  let pool: Pool | undefined;
  try {
    pool = new Pool(module, threads, memoryBytes, tuning);
    await pool.started();
    return pool;
  } catch (cause) {
    await pool?.close();
    throw new UnsupportedError(
      `Cannot start threads: this runtime gives no workers, or no shared memory of ${memoryBytes} bytes (${
        reasonOf(cause)
      }). Try less memoryBytes; allow a page's workers in its policy ("worker-src blob:"); or run without a pool, which gives the same results`,
      { cause },
    );
  }
}

/**
 * Starts threads for training on large tensors.
 *
 * A pool is a choice of kernels, for `setKernels` or a layer's option
 * `kernels`. Calls stay synchronous: the calling thread computes as well, and
 * returns once all is done. Every bit is that of one thread.
 *
 * The statistics of a batch, its output and its gradients are shared among the
 * threads where the tensor has at least 65536 elements and all of input,
 * output and gradients were allocated by the pool: so give `out`. Everything
 * else runs on the calling thread: ordinary arrays, and inference, which the
 * memory bounds.
 *
 * Workers do not keep the process alive. One that dies in the middle of a call
 * makes that call throw a `ThreadError`, after 5 seconds of silence; the next
 * call works, on one thread.
 *
 * @param options How many threads, and how much memory for tensors.
 * @returns The pool, once all threads run; `await using` closes it.
 *
 * @throws {OptionError} If an option is unknown or out of range.
 * @throws {UnsupportedError} If this runtime has no `SharedArrayBuffer`, no
 * workers or not enough memory.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { BatchNormalization } from "@evenkeel/evenkeel";
 * import { startThreads } from "@evenkeel/evenkeel/threads";
 *
 * await using pool = await startThreads({ threads: 2 });
 * const layer = new BatchNormalization({ axis: 1, kernels: pool });
 * using x = pool.allocate([8, 16, 32, 32]);
 * using y = pool.allocate([8, 16, 32, 32]);
 * x.data.fill(3);
 * layer.call(x, { training: true, out: y });
 * assertEquals(y.data[0], 0);
 * ```
 */
export async function startThreads(
  options: StartThreadsOptions = {},
): Promise<ThreadPool> {
  return await startPool(options);
}
