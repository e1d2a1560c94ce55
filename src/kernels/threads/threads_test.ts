import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertThrows,
} from "@std/assert";
import * as fc from "fast-check";
import { OptionError, ThreadError, UnsupportedError } from "../../errors.ts";
import { createData, type ElementType, type TensorData } from "../../tensor.ts";
import { allocate } from "../allocate.ts";
import { resolveKernels, setKernels } from "../dispatch.ts";
import { layoutOf } from "../layout.ts";
import { rangesOf, SLOTS } from "../pieces.ts";
import { assertSameBits } from "../testing/bits.ts";
import {
  ELEMENT_TYPES,
  makeDoubles,
  makeInput,
  makeUsualInput,
  TRAINING_CASES,
} from "../testing/cases.ts";
import type { Kernels } from "../types.ts";
import { createWasmKernels } from "../wasm.ts";
import {
  CALL_WORDS,
  CALLS_PER_LANE,
  CONTROL,
  LANES,
  pendingWord,
} from "./job_queue.ts";
import { type Pool, startPool, startThreads } from "./pool.ts";
import { compileShared } from "./shared_module.ts";
import { JOB_EXPORTS } from "./shared_pieces.ts";

/** Everything goes through the queue, however small it is. */
const ALL = { leastElements: 0 };
const MEGABYTE = 2 ** 20;
const MEMORY = { memoryBytes: 64 * MEGABYTE };

/** What is computed on each side: with tensors where the kernels want them. */
function results(
  kernels: Kernels,
  place: (data: TensorData) => TensorData,
  type: ElementType,
  dims: readonly number[],
  axes: readonly number[],
  seed: number,
): Map<string, TensorData> {
  const layout = layoutOf(dims, axes);
  const { channels } = layout;
  const length = channels * layout.reduced;
  const found = new Map<string, TensorData>();
  const vector = (): Float64Array => new Float64Array(channels).fill(3);
  const [p, q, r, s] = [1, 2, 3, 4].map((salt) =>
    makeDoubles(channels, seed + salt)
  ) as [Float64Array, Float64Array, Float64Array, Float64Array];
  const usual = makeDoubles(channels, seed, Infinity);
  const usualX = place(makeUsualInput(type, length, seed + 5));
  const usualDy = place(makeUsualInput(type, length, seed + 6));
  const x = place(makeInput(type, length, seed + 7));
  const dy = place(makeInput(type, length, seed + 8));
  const output = (): TensorData => place(createData(type, length));

  const [mean, m2, sum, product] = [vector(), vector(), vector(), vector()];
  kernels.moments(type, layout, usualX, mean, m2);
  kernels.gradientSums(type, layout, usualX, usualDy, usual, sum, product);
  found.set("mean", mean).set("m2", m2);
  found.set("sum", sum).set("product", product);

  // Range by range, as the layer does it.
  const [swept, sweptDx] = [output(), output()];
  const [mean2, sum2] = [vector(), vector()];
  kernels.moments(
    type,
    layout,
    usualX,
    mean2,
    vector(),
    (range) =>
      kernels.normalize(type, layout, usualX, swept, mean2, q, r, range),
  );
  kernels.gradientSums(
    type,
    layout,
    usualX,
    usualDy,
    usual,
    sum2,
    vector(),
    (range) =>
      kernels.inputGradient(
        type,
        layout,
        usualX,
        usualDy,
        sweptDx,
        usual,
        sum2,
        q,
        r,
        range,
      ),
  );
  found.set("swept y", swept).set("swept dx", sweptDx);

  const [y, dx] = [output(), output()];
  kernels.normalize(type, layout, x, y, p, q, r);
  kernels.inputGradient(type, layout, x, dy, dx, p, q, r, s);
  found.set("y", y).set("dx", dx);
  const inPlace = place(x.slice());
  kernels.normalize(type, layout, inPlace, inPlace, p, q, r);
  found.set("y in x", inPlace);
  const inDy = place(dy.slice());
  kernels.inputGradient(type, layout, x, inDy, inDy, p, q, r, s);
  found.set("dx in dy", inDy);
  const inX = place(x.slice());
  kernels.inputGradient(type, layout, inX, dy, inX, p, q, r, s);
  found.set("dx in x", inX);
  return found;
}

const single = createWasmKernels();

/** Compares a pool with one thread on a case. */
function compare(
  pool: Pool,
  type: ElementType,
  dims: readonly number[],
  axes: readonly number[],
  seed: number,
): void {
  const made: Disposable[] = [];
  const shared = (data: TensorData): TensorData => {
    // One element off the beginning: nothing may depend on alignment.
    const tensor = pool.allocate([data.length + 1], type);
    made.push(tensor);
    const view = tensor.data.subarray(1);
    (view as Float32Array).set(data as Float32Array);
    return view;
  };
  const expected = results(single, (data) => data, type, dims, axes, seed);
  const actual = results(pool.kernels, shared, type, dims, axes, seed);
  for (const [name, values] of expected) {
    assertSameBits(
      actual.get(name)!,
      values,
      `${name}, ${type} [${dims}] axes [${axes}], ${pool.threads} threads`,
    );
  }
  for (const tensor of made) tensor[Symbol.dispose]();
}

// One type that the kernels run on where it is, and one that is converted; the
// property below has the others.
for (const type of ["float32", "float16"] as const) {
  Deno.test(`threads ${type}: the bits of one thread, over the case table`, async () => {
    await using pool = await startPool({ ...MEMORY, threads: 3 }, ALL);
    TRAINING_CASES.forEach(({ dims, axes }, i) =>
      compare(pool, type, dims, axes, 20 * i)
    );
  });
}

Deno.test("threads: the bits of one thread, for any shape, axes and type", async () => {
  await using two = await startPool({ ...MEMORY, threads: 2 }, ALL);
  await using four = await startPool({ ...MEMORY, threads: 4 }, ALL);
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 11 }), { minLength: 1, maxLength: 5 }),
      fc.infiniteStream(fc.boolean()),
      fc.constantFrom(...ELEMENT_TYPES),
      fc.constantFrom(two, four),
      fc.nat(2 ** 30),
      (dims, flags, type, pool, seed) => {
        const axes = dims.map((_, d) => d).filter(() => flags.next().value);
        compare(pool, type, dims, axes, seed);
      },
    ),
    { numRuns: 100 },
  );
});

Deno.test("threads: the bits of one thread on large tensors, many times", async () => {
  await using pool = await startPool({ ...MEMORY, threads: 2 });
  for (
    const { dims, axes } of [
      { dims: [4, 32, 56, 56], axes: [1] },
      { dims: [4, 56, 56, 32], axes: [3] },
      { dims: [512, 1024], axes: [1] },
      { dims: [64, 4096], axes: [1] },
    ]
  ) {
    for (const type of ELEMENT_TYPES) compare(pool, type, dims, axes, 1);
  }
});

Deno.test("threads: the bits of one thread, range by range", async () => {
  await using pool = await startPool({
    memoryBytes: 256 * MEGABYTE,
    threads: 2,
  });
  const dims = [3, 80, 9001];
  assertEquals(rangesOf(layoutOf(dims, [1]), 2).length, 2);
  compare(pool, "float32", dims, [1], 1);
});

Deno.test("threads: arrays that are elsewhere give the same bits", async () => {
  await using pool = await startPool({ ...MEMORY, threads: 2 }, ALL);
  const type = "float32";
  const [dims, axes] = [[9, 40, 65], [1]];
  const expected = results(single, (data) => data, type, dims, axes, 5);
  let turn = 0;
  const mixed = (data: TensorData): TensorData => {
    if (turn++ % 2 === 0) return data;
    const made = pool.allocate([data.length], type).data;
    (made as Float32Array).set(data as Float32Array);
    return made;
  };
  for (const place of [mixed, (data: TensorData) => data]) {
    const actual = results(pool.kernels, place, type, dims, axes, 5);
    for (const [name, values] of expected) {
      assertSameBits(actual.get(name)!, values, name);
    }
  }
});

Deno.test("threads: workers take a part", async () => {
  await using pool = await startPool({ ...MEMORY, threads: 2 });
  using x = pool.allocate([64, 64, 1024]);
  const layout = layoutOf(x.dims, [1]);
  const { control } = pool.queue;
  const vector = new Float64Array(64);
  const before = Atomics.load(control, CONTROL.taken);
  pool.kernels.moments("float32", layout, x.data, vector, vector.slice());
  assert(Atomics.load(control, CONTROL.taken) > before, "the queue is used");
  holdUp(pool, 1);
  while (pending(pool) > 0);
});

/** The words of a call that no group comes to, for jobs of our own. */
const SPARE = LANES * CALLS_PER_LANE * CALL_WORDS - CALL_WORDS;

/** Publishes a job of one call, in the first lane. */
function publish(pool: Pool, name: string, ...values: number[]): void {
  pool.queue.calls.set([JOB_EXPORTS.indexOf(name), ...values], SPARE);
  pool.queue.publish(0, [SPARE, SPARE + CALL_WORDS]);
}

/** How many jobs of the first lane are not done. */
function pending(pool: Pool): number {
  return Atomics.load(pool.queue.control, pendingWord(0));
}

/**
 * Makes a worker busy: with so many rows of four columns, which all are the
 * same row. A row takes about a nanosecond.
 */
function holdUp(pool: Pool, rows: number): void {
  // Not disposed of, as the job goes on.
  const vectors = pool.allocate([4 * SLOTS], "float64").data.byteOffset;
  const x = pool.allocate([4]).data.byteOffset;
  const { control } = pool.queue;
  const before = Atomics.load(control, CONTROL.taken);
  publish(pool, "momentsColumnsFloat32", vectors, x, rows, 4, 0);
  // Until a worker has it.
  while (Atomics.load(control, CONTROL.taken) === before);
}

/** Publishes a job that goes beyond the memory: a trap. */
function publishTrap(pool: Pool): void {
  publish(pool, "decodeFloat16", 2 ** 31 - 16, 2 ** 31 - 16, 2 ** 20);
}

/**
 * A large call on a pool, of a group for each lane, and what it has to give.
 */
function largeCall(pool: Pool): { run: () => void; check: () => void } {
  const dims = [8 * LANES, 4, 1024];
  const x = pool.allocate(dims);
  (x.data as Float32Array).set(
    makeUsualInput("float32", 2 ** 20, 3) as Float32Array,
  );
  const layout = layoutOf(dims, [1]);
  const [mean, m2] = [new Float64Array(4), new Float64Array(4)];
  const [wanted, wantedM2] = [new Float64Array(4), new Float64Array(4)];
  single.moments("float32", layout, x.data, wanted, wantedM2);
  return {
    run: () => pool.kernels.moments("float32", layout, x.data, mean, m2),
    check: () => {
      assertSameBits(mean, wanted, "mean");
      assertSameBits(m2, wantedM2, "m2");
    },
  };
}

const LARGE = { memoryBytes: 122 * MEGABYTE };

Deno.test("threads: a worker that dies within a job makes the call throw, and the next one works", async () => {
  await using pool = await startPool({ ...LARGE, threads: 2 }, {
    patience: 200,
  });
  const { run, check } = largeCall(pool);
  run();
  check();
  holdUp(pool, 2 ** 31 - 1); // seconds
  const [worker] = pool.workers;
  const gone = worker!.terminate();
  // Of a death that nobody asked for, the pool does not hear before the call.
  pool.workers.add(worker!);
  const error = assertThrows(
    run,
    ThreadError,
    "a worker has not done its part within 200 ms",
  );
  assertInstanceOf(error, ThreadError);
  assertEquals(error.code, "EVENKEEL_THREAD");
  assertEquals(pool.threads, 1);
  run();
  check();
  await gone;
});

Deno.test("threads: a worker that is slow is waited for", async () => {
  await using pool = await startPool({ ...LARGE, threads: 2 });
  const { run, check } = largeCall(pool);
  holdUp(pool, 2 ** 26);
  run();
  check();
  assertEquals(pool.threads, 2);
});

Deno.test("threads: workers that die while idle are not missed", async () => {
  await using pool = await startPool({ ...LARGE, threads: 3 });
  const { run, check } = largeCall(pool);
  run();
  const [first, second] = pool.workers;
  await first!.terminate();
  run();
  check();
  await second!.terminate();
  run();
  check();
});

Deno.test("threads: what a job throws is thrown by the call, and the next one works", async () => {
  await using pool = await startPool({ ...LARGE, threads: 2 });
  const { run, check } = largeCall(pool);
  publishTrap(pool);
  while (pending(pool) > 0); // a worker runs it
  assertThrows(run, ThreadError, "out of bounds");
  assertEquals(pool.threads, 2);
  run();
  check();
  // The same on the calling thread, the worker being busy.
  holdUp(pool, 2 ** 27);
  publishTrap(pool);
  pool.queue.finish(0);
  const error = assertThrows(run, ThreadError, "out of bounds");
  assertInstanceOf((error as Error).cause, WebAssembly.RuntimeError);
  run();
  check();
});

Deno.test("threads: an error of the caller leaves a pool that works", async () => {
  await using pool = await startPool({ ...LARGE, threads: 2 }, ALL);
  const { run, check } = largeCall(pool);
  using x = pool.allocate([16, 64, 1024]);
  const vector = new Float64Array(64);
  assertThrows(
    () =>
      pool.kernels.moments(
        "float32",
        layoutOf(x.dims, [1]),
        x.data,
        vector,
        vector.slice(),
        () => {
          throw new Error("from the visitor");
        },
      ),
    Error,
    "from the visitor",
  );
  run();
  check();
});

Deno.test("threads: close() ends the workers, and all goes on", async () => {
  const pool = await startPool({ ...LARGE, threads: 3 });
  const { run, check } = largeCall(pool);
  using x = pool.allocate([3]);
  x.data.fill(7);
  assertEquals(pool.threads, 3);
  await pool.close();
  await pool.close();
  assertEquals(pool.threads, 1);
  assertEquals([...x.data], [7, 7, 7]);
  run();
  check();
  using y = pool.allocate([2]);
  assertEquals([...y.data], [0, 0]);
});

Deno.test("threads: two pools, one after the other and side by side", async () => {
  await using first = await startPool({ ...LARGE, threads: 2 });
  const one = largeCall(first);
  {
    await using second = await startPool({ ...LARGE, threads: 2 });
    const other = largeCall(second);
    for (const { run, check } of [one, other, one]) {
      run();
      check();
    }
  }
  one.run();
  one.check();
});

Deno.test("threads: setKernels() takes a pool", async () => {
  await using pool = await startThreads({ ...MEMORY, threads: 2 });
  try {
    setKernels(pool);
    assertEquals(resolveKernels(), pool.kernels as Kernels);
    using x = allocate([2, 3], "float64");
    assertInstanceOf(x.data.buffer, SharedArrayBuffer);
  } finally {
    setKernels("auto");
  }
  assertThrows(
    () => setKernels({ kernels: {} }),
    OptionError,
    "or a pool of startThreads()",
  );
});

Deno.test("threads: tensors beyond the memory are ordinary arrays", async () => {
  await using pool = await startThreads({ memoryBytes: MEGABYTE, threads: 2 });
  {
    using fits = pool.allocate([MEGABYTE / 4]);
    using more = pool.allocate([1]);
    assertInstanceOf(fits.data.buffer, SharedArrayBuffer);
    assertInstanceOf(more.data.buffer, ArrayBuffer);
  }
  using again = pool.allocate([MEGABYTE / 4]);
  assertInstanceOf(again.data.buffer, SharedArrayBuffer);
});

Deno.test("threads: options are checked", async () => {
  for (const threads of [0, 1.5, 65, NaN, "2" as unknown as number]) {
    await assertRejects(
      () => startThreads({ threads }),
      OptionError,
      "expected an integer from 1 to 64",
    );
  }
  for (const memoryBytes of [-1, 0.5, 2 ** 31]) {
    await assertRejects(
      () => startThreads({ memoryBytes }),
      OptionError,
      "expected an integer from 0 to 2130706432",
    );
  }
  await assertRejects(
    () => startThreads({ thread: 2 } as Record<string, number>),
    OptionError,
    'Cannot use the option "thread" of startThreads: expected one of threads, memoryBytes',
  );
});

/** Runs with another value of a global, which is put back afterwards. */
async function withGlobal(
  name: string,
  value: unknown,
  run: () => Promise<void>,
): Promise<void> {
  const original = Object.getOwnPropertyDescriptor(globalThis, name)!;
  Object.defineProperty(globalThis, name, {
    value,
    configurable: true,
    writable: true,
  });
  try {
    await run();
  } finally {
    Object.defineProperty(globalThis, name, original);
  }
}

Deno.test("threads: runtimes without them say so", async () => {
  await withGlobal("SharedArrayBuffer", undefined, async () => {
    await assertRejects(
      () => startThreads(),
      UnsupportedError,
      "Cross-Origin-Embedder-Policy",
    );
  });
  // What an edge runtime with some of Node has.
  const getBuiltinModule = () => ({
    Worker: class {
      constructor() {
        throw new Error("Worker is not implemented");
      }
    },
  });
  await withGlobal("process", { getBuiltinModule }, async () => {
    await assertRejects(
      () => startThreads({ threads: 2 }),
      UnsupportedError,
      "Worker is not implemented",
    );
    await using alone = await startThreads({ threads: 1, ...MEMORY });
    assertEquals(alone.threads, 1);
  });
});

Deno.test("threads: web workers serve where there is nothing of Node", async () => {
  await withGlobal("process", undefined, async () => {
    await using pool = await startPool({ ...LARGE, threads: 2 });
    const { run, check } = largeCall(pool);
    run();
    check();
    holdUp(pool, 1); // a worker is there to take it
    pool.queue.finish(0);
  });
});

Deno.test("threads: the module has the plain one's exports, and a shared memory", () => {
  const module = compileShared();
  const names = WebAssembly.Module.exports(module).map(({ name }) => name);
  for (const name of JOB_EXPORTS) assert(names.includes(name), name);
  const memory = new WebAssembly.Memory({ initial: 4, maximum: 4 });
  assertThrows(
    () => new WebAssembly.Instance(module, { env: { memory } }),
    WebAssembly.LinkError,
    "shared",
  );
});
