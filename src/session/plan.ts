/**
 * All that a run needs to know for feeds of certain shapes.
 *
 * @module
 */

import type { OnnxData, OnnxType } from "../onnx/element_types.ts";
import { elementTypeNamed } from "../onnx/element_types.ts";
import type { Kernels } from "../kernels/types.ts";
import { joinAffine } from "./join_affine.ts";
import { affineRun } from "./ops/affine.ts";
import type { Run } from "./ops/operator.ts";
import type { Program } from "./program.ts";
import { specialize, withLabel } from "./specialize.ts";
import { assignStorage } from "./storage.ts";
import { countOf, createArray, type Spec } from "./values.ts";
import type { Workspace } from "./workspace.ts";

/** A step with the arrays that it is called with. */
interface BoundStep {
  readonly label: string;
  readonly run: Run;
  readonly inputs: (OnnxData | undefined)[];
  readonly outputs: (OnnxData | undefined)[];
}

/** A place that has the elements of a value during a run. */
interface Slot {
  readonly list: (OnnxData | undefined)[];
  readonly index: number;
}

/** A feed. */
interface PlannedFeed extends Spec {
  readonly id: number;
  readonly count: number;
  readonly slots: readonly Slot[];
}

/** An output of the graph. */
interface PlannedOutput {
  readonly name: string;
  readonly type: OnnxType;
  readonly dims: readonly number[];
  readonly count: number;
  /**
   * Where its array has to be, to be computed into; undefined if the elements
   * are copied there from those of another value.
   */
  readonly slots: readonly Slot[] | undefined;
}

/**
 * A program for feeds of certain shapes, ready to run any number of times.
 *
 * Every step has its lists of arguments, which the plan fills when it is made;
 * a run puts the caller's arrays into their places and calls the steps.
 */
export class Plan {
  /** What it was made for, by value; elements where a shape depends on them. */
  readonly feeds: readonly (PlannedFeed | undefined)[];
  /** The outputs. */
  readonly outputs: readonly PlannedOutput[];
  /** Whether elements can make a run fail half-way. */
  readonly mayFail: boolean;
  /** How many feeds there are. */
  readonly feedCount: number;
  /** The same as `feeds`, without gaps. */
  readonly #fed: readonly PlannedFeed[];
  readonly #steps: readonly BoundStep[];
  /** By output: the elements to copy, of those that are copied. */
  readonly #sources: (OnnxData | undefined)[];
  /** Values in blocks of the workspace. */
  readonly #blocks: readonly {
    slots: readonly Slot[];
    spec: Spec;
    block: number;
  }[];
  readonly #sizes: readonly number[];
  readonly #workspace: Workspace;
  /** The workspace's when the blocks were put into their places. */
  #version = -1;

  /**
   * Makes a plan.
   *
   * @param program The program.
   * @param feeds What is fed: with elements where a shape depends on them.
   * @param workspace The memory to run in.
   * @param kernels The kernels to run on.
   *
   * @throws {NeedsElements} If a shape depends on elements that are not given.
   * @throws {ShapeError} If the shapes do not fit together.
   */
  constructor(
    program: Program,
    feeds: ReadonlyMap<number, Spec>,
    workspace: Workspace,
    kernels: () => Kernels,
  ) {
    this.#workspace = workspace;
    const specialized = specialize(program, feeds);
    const { specs, views } = specialized;
    const outputIds = program.outputs.map(({ id }) => id);
    const uses = new Map<number, number>();
    for (
      const id of [
        ...specialized.steps.flatMap(({ inputs }) => inputs),
        ...views.values(),
        ...outputIds,
      ]
    ) uses.set(id, (uses.get(id) ?? 0) + 1);
    const steps = joinAffine(
      specialized.steps,
      (id) => uses.get(id) === 1,
      (affine, type) => affineRun(kernels, affine, type),
    );
    this.mayFail = steps.some(({ outcome }) => outcome.mayFail);
    const { root, storage, blocks } = assignStorage(
      { specs, steps, views },
      new Set(feeds.keys()),
      outputIds,
    );
    this.#sizes = blocks;
    const places = new Places(root);
    this.#steps = steps.map(({ label, inputs, outputs, outcome: { run } }) => ({
      label,
      run,
      inputs: places.listFor(inputs),
      outputs: places.listFor(outputs),
    }));
    const taken = new Set<number>();
    const isOwn = outputIds.map((id) => {
      const place = root(id);
      if (storage.get(place)!.kind !== "output" || taken.has(place)) {
        return false;
      }
      taken.add(place);
      return true;
    });
    this.#sources = places.listFor(
      outputIds.map((id, i) => isOwn[i] ? -1 : id),
    );
    this.outputs = program.outputs.map(({ name, id }, i) => {
      const { type, dims } = specs[id]!;
      const slots = isOwn[i] ? places.of(root(id)) : undefined;
      return { name, type, dims, count: countOf(dims), slots };
    });
    this.#fed = Array.from(feeds, ([id, spec]) => ({
      ...spec,
      id,
      count: countOf(spec.dims),
      slots: places.of(id),
    }));
    this.feedCount = this.#fed.length;
    const byId: (PlannedFeed | undefined)[] = [];
    for (const feed of this.#fed) byId[feed.id] = feed;
    this.feeds = byId;
    this.#blocks = Array.from(storage).flatMap(([id, each]) => {
      const spec = specs[id]!;
      if (each.kind === "constant") put(places.of(id), spec.value);
      return each.kind === "block"
        ? [{ slots: places.of(id), spec, block: each.block }]
        : [];
    });
  }

  /**
   * Runs. Small models are run in a microsecond or two, so that there is
   * nothing here but loops over short lists: for one BatchNormalization of
   * [1, 32] on typed arrays, all that the session adds to the arithmetic takes
   * 0.7 us, the promise included.
   *
   * What bounds large ones, in memory copies of the output (on ordinary arrays
   * of 2 to 25 MB): BatchNormalization goes through the staging of the kernels
   * in 1.6 to 1.9. onnxruntime-web, which copies in and out of its memory,
   * takes 3.0 to 4.2 with channels first: if ours were a mere copy, it would
   * take that many times as long, and no more. With channels last, where it
   * transposes twice, it takes 10 to 15. Feeds and fetches in WASM memory are
   * computed where they are, in 0.8 to 1.2. A new array for the output costs
   * 0.5 to 0.7 more (see `createArray`), so that fetches with arrays save a
   * quarter of a run. A Relu behind it adds nothing that can be measured: it is
   * part of the same loop (see `join_affine.ts`).
   *
   * What bounds those between, such as [1, 64, 14, 14] in 8.6 us: two copies of
   * 50 KB take 3.7 of them and the arithmetic 3.7. onnxruntime-web takes 36, so
   * that ten times as fast would be less than the copies.
   *
   * @param feeds The elements of the fed values, by value.
   * @param targets Arrays to compute outputs into, by output; those that are
   * missing are made.
   * @returns The arrays of the outputs.
   */
  run(
    feeds: readonly (OnnxData | undefined)[],
    targets: readonly (OnnxData | undefined)[],
  ): OnnxData[] {
    const fed = this.#fed;
    const steps = this.#steps;
    const sources = this.#sources;
    const { outputs } = this;
    const arrays: OnnxData[] = [];
    if (this.#version !== this.#workspace.version) this.#bindBlocks();
    try {
      for (let i = 0; i < fed.length; i++) {
        put(fed[i]!.slots, feeds[fed[i]!.id]);
      }
      for (let i = 0; i < outputs.length; i++) {
        const { type, count, slots } = outputs[i]!;
        const array = targets[i] ?? createArray(type, count);
        if (slots) put(slots, array);
        arrays.push(array);
      }
      for (let i = 0; i < steps.length; i++) runStep(steps[i]!);
      for (let i = 0; i < outputs.length; i++) {
        if (outputs[i]!.slots) continue;
        (arrays[i] as Float32Array).set(sources[i] as Float32Array);
      }
      return arrays;
    } finally {
      // What the caller gave and got is the caller's, for the collector too.
      for (let i = 0; i < fed.length; i++) put(fed[i]!.slots, undefined);
      for (let i = 0; i < outputs.length; i++) {
        const { slots } = outputs[i]!;
        if (slots) put(slots, undefined);
      }
    }
  }

  /** Puts arrays over the workspace's blocks, which may be new ones. */
  #bindBlocks(): void {
    const workspace = this.#workspace;
    workspace.reserve(this.#sizes);
    this.#version = workspace.version;
    for (const { slots, spec: { type, dims }, block } of this.#blocks) {
      const View = elementTypeNamed(type).Data as unknown as new (
        buffer: ArrayBuffer,
        byteOffset: number,
        length: number,
      ) => OnnxData;
      put(slots, new View(workspace.block(block), 0, countOf(dims)));
    }
  }
}

/** Collects where the elements of each value have to be. */
class Places {
  readonly #root: (id: number) => number;
  readonly #slots = new Map<number, Slot[]>();

  constructor(root: (id: number) => number) {
    this.#root = root;
  }

  /** A list of the elements of values, empty where one is -1. */
  listFor(ids: readonly number[]): (OnnxData | undefined)[] {
    const list: (OnnxData | undefined)[] = ids.map(() => undefined);
    ids.forEach((id, index) => {
      if (id >= 0) this.of(this.#root(id)).push({ list, index });
    });
    return list;
  }

  /** The places of a root's elements. */
  of(root: number): Slot[] {
    let slots = this.#slots.get(root);
    if (!slots) this.#slots.set(root, slots = []);
    return slots;
  }
}

function put(slots: readonly Slot[], data: OnnxData | undefined): void {
  for (let i = 0; i < slots.length; i++) {
    const { list, index } = slots[i]!;
    list[index] = data;
  }
}

function runStep({ label, run, inputs, outputs }: BoundStep): void {
  try {
    run(inputs, outputs);
  } catch (error) {
    throw withLabel(error, label);
  }
}
