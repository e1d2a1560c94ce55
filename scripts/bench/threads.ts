/**
 * Training on two threads against one, on tensors in the memory of a pool.
 *
 * @module
 */

import {
  type allocate,
  BatchNormalization,
  type ElementType,
  type KernelChoice,
  type Tensor,
} from "../../mod.ts";
import { startThreads, type ThreadPool } from "../../threads.ts";
import { encodeInto } from "../../src/tensor.ts";
import { makeValues } from "./data.ts";
import { formatRatio, formatTime, type Section } from "./report.ts";
import {
  type Candidate,
  measureRounds,
  median,
  ratio,
  type RoundOptions,
} from "./rounds.ts";
import { type BenchShape, countOf, nameOf } from "./shapes.ts";

const TYPES: readonly ElementType[] = ["float32", "float64", "float16"];

/** A layer with its tensors, where its kernels run without a copy. */
class Subject implements Disposable {
  readonly layer: BatchNormalization;
  readonly x: Tensor & Disposable;
  readonly dy: Tensor & Disposable;
  readonly y: Tensor & Disposable;
  readonly dx: Tensor & Disposable;

  constructor(
    shape: BenchShape,
    type: ElementType,
    kernels: KernelChoice,
    make: typeof allocate,
  ) {
    const { dims, axis } = shape;
    this.layer = new BatchNormalization({ axis, dtype: type, kernels });
    [this.x, this.dy, this.y, this.dx] = [1, 2, 3, 3].map((seed) => {
      const made = make(dims, type);
      encodeInto(type, made.data, makeValues(shape, seed));
      return made;
    }) as [Subject["x"], Subject["x"], Subject["x"], Subject["x"]];
  }

  forward(): void {
    this.layer.call(this.x, { training: true, out: this.y });
  }

  both(): void {
    this.forward();
    this.layer.backward(this.dy, { out: this.dx });
  }

  [Symbol.dispose](): void {
    for (const tensor of [this.x, this.dy, this.y, this.dx]) {
      tensor[Symbol.dispose]();
    }
  }
}

function checkSame(a: Tensor, b: Tensor, what: string): void {
  const bytes = ({ data }: Tensor): Uint8Array =>
    new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const [first, second] = [bytes(a), bytes(b)];
  if (first.some((byte, i) => byte !== second[i])) {
    throw new Error(`Two threads give other bits than one: ${what}`);
  }
}

async function row(
  shape: BenchShape,
  type: ElementType,
  one: ThreadPool,
  two: ThreadPool,
  options: RoundOptions,
): Promise<string[]> {
  const on = (pool: ThreadPool): Subject =>
    new Subject(shape, type, pool, (...args) => pool.allocate(...args));
  using alone = on(one);
  using shared = on(two);
  const candidates: Candidate[] = [
    { name: "forward, one", run: () => alone.forward() },
    { name: "forward, two", run: () => shared.forward() },
    { name: "both, one", run: () => alone.both() },
    { name: "both, two", run: () => shared.both() },
  ];
  const [forward, forwardShared, both, bothShared] = await measureRounds(
    candidates,
    options,
  );
  const what = `${nameOf(shape)} ${type}`;
  checkSame(alone.y, shared.y, what);
  checkSame(alone.dx, shared.dx, what);
  return [
    nameOf(shape),
    type,
    formatTime(median(forward!.rounds)),
    formatTime(median(forwardShared!.rounds)),
    formatRatio(ratio(forward!, forwardShared!)),
    formatTime(median(both!.rounds)),
    formatTime(median(bothShared!.rounds)),
    formatRatio(ratio(both!, bothShared!)),
  ];
}

/** Training on two threads. */
export async function threadsSection(
  shapes: readonly BenchShape[],
  options: RoundOptions,
): Promise<Section> {
  await using one = await startThreads({ threads: 1 });
  await using two = await startThreads({ threads: 2 });
  const rows: string[][] = [];
  for (const shape of shapes) {
    if (countOf(shape) < 2 ** 16) continue;
    for (const type of TYPES) {
      rows.push(await row(shape, type, one, two, options));
    }
  }
  return {
    title: "Threads",
    notes: [
      "Training with `out`, tensors allocated by pools of one thread and of two; the ratio is how many times as fast",
      "two are. What both compute is compared bit for bit.",
      "",
      "What bounds two threads is the memory: a forward pass reads its input twice and writes once, 1.5 memory copies,",
      "where one thread takes 2.3 to 4 of them in float32 (see above); and below half a million elements, waking a",
      "worker up (some 50 microseconds for each of a call's phases).",
    ],
    header: [
      "shape",
      "type",
      "forward, one",
      "two",
      "ratio",
      "both passes, one",
      "two",
      "ratio",
    ],
    rows,
  };
}
