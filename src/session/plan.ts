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
import { specialize, type Step, withLabel } from "./specialize.ts";
import { assignStorage } from "./storage.ts";
import { countOf, createArray, type Spec } from "./values.ts";
import type { Workspace } from "./workspace.ts";

/** A step with the arrays that it is called with. */
interface BoundStep {
  readonly label: string;
  readonly run: Run;
  /** Indices into the plan's arrays; -1 where left out. */
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  readonly inputData: (OnnxData | undefined)[];
  readonly outputData: (OnnxData | undefined)[];
}

/** An output of the graph. */
interface PlannedOutput {
  readonly name: string;
  readonly type: OnnxType;
  readonly dims: readonly number[];
  readonly count: number;
  /** The value whose elements it has. */
  readonly root: number;
  /** Whether these are computed into its own array, or copied there. */
  readonly own: boolean;
}

/** A program for feeds of certain shapes, ready to run any number of times. */
export class Plan {
  /** What it was made for; elements where a shape depends on them. */
  readonly feeds: ReadonlyMap<number, Spec>;
  /** The outputs. */
  readonly outputs: readonly PlannedOutput[];
  /** Whether elements can make a run fail half-way. */
  readonly mayFail: boolean;
  readonly #feedIds: readonly number[];
  readonly #steps: readonly BoundStep[];
  /** The elements of each value by its root; empty between runs where fed. */
  readonly #data: (OnnxData | undefined)[];
  /** Values in blocks of the workspace. */
  readonly #blocks: readonly { root: number; spec: Spec; block: number }[];
  readonly #sizes: readonly number[];
  readonly #workspace: Workspace;
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
    this.feeds = feeds;
    this.#feedIds = [...feeds.keys()];
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
    this.#data = new Array(program.valueCount);
    const inBlocks: { root: number; spec: Spec; block: number }[] = [];
    for (const [id, each] of storage) {
      const spec = specs[id]!;
      if (each.kind === "constant") this.#data[id] = spec.value;
      if (each.kind === "block") {
        inBlocks.push({ root: id, spec, block: each.block });
      }
    }
    this.#blocks = inBlocks;
    const taken = new Set<number>();
    this.outputs = program.outputs.map(({ name, id }) => {
      const { type, dims } = specs[id]!;
      const place = root(id);
      const own = storage.get(place)!.kind === "output" && !taken.has(place);
      if (own) taken.add(place);
      return { name, type, dims, count: countOf(dims), root: place, own };
    });
    this.#steps = steps.map((step) => bind(step, root));
  }

  /**
   * Runs. Small models are run in a microsecond or two, so that there is
   * nothing here but loops over short lists.
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
    const data = this.#data;
    const { outputs } = this;
    const arrays: OnnxData[] = [];
    this.#bindBlocks();
    try {
      for (const id of this.#feedIds) data[id] = feeds[id];
      for (let i = 0; i < outputs.length; i++) {
        const { type, count, own, root } = outputs[i]!;
        const array = targets[i] ?? createArray(type, count);
        if (own) data[root] = array;
        arrays.push(array);
      }
      for (const step of this.#steps) runStep(step, data);
      for (let i = 0; i < outputs.length; i++) {
        const { own, root } = outputs[i]!;
        if (!own) (arrays[i] as Float32Array).set(data[root] as Float32Array);
      }
      return arrays;
    } finally {
      // What the caller gave and got is the caller's, for the collector too.
      for (const id of this.#feedIds) data[id] = undefined;
      for (const { own, root } of outputs) {
        if (own) data[root] = undefined;
      }
      for (const { inputData, outputData } of this.#steps) {
        inputData.fill(undefined);
        outputData.fill(undefined);
      }
    }
  }

  /** Puts arrays over the workspace's blocks, unless they are there still. */
  #bindBlocks(): void {
    const workspace = this.#workspace;
    workspace.reserve(this.#sizes);
    if (this.#version === workspace.version) return;
    this.#version = workspace.version;
    for (const { root, spec: { type, dims }, block } of this.#blocks) {
      const View = elementTypeNamed(type).Data as unknown as new (
        buffer: ArrayBuffer,
        byteOffset: number,
        length: number,
      ) => OnnxData;
      this.#data[root] = new View(
        workspace.block(block),
        0,
        countOf(dims),
      );
    }
  }
}

function bind(step: Step, root: (id: number) => number): BoundStep {
  const place = (id: number): number => id < 0 ? -1 : root(id);
  const inputs = step.inputs.map(place);
  const outputs = step.outputs.map(place);
  return {
    label: step.label,
    run: step.outcome.run,
    inputs,
    outputs,
    inputData: inputs.map(() => undefined),
    outputData: outputs.map(() => undefined),
  };
}

function runStep(
  { label, run, inputs, outputs, inputData, outputData }: BoundStep,
  data: readonly (OnnxData | undefined)[],
): void {
  for (let i = 0; i < inputs.length; i++) {
    inputData[i] = inputs[i]! < 0 ? undefined : data[inputs[i]!];
  }
  for (let i = 0; i < outputs.length; i++) {
    outputData[i] = outputs[i]! < 0 ? undefined : data[outputs[i]!];
  }
  try {
    run(inputData, outputData);
  } catch (error) {
    throw withLabel(error, label);
  }
}
