/**
 * Runs ONNX models made of BatchNormalization and its company.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import { resolveKernels } from "../kernels/dispatch.ts";
import type { Kernels } from "../kernels/types.ts";
import { unknownOption } from "../known_options.ts";
import type { OnnxData } from "../onnx/element_types.ts";
import { externalDataOf } from "../onnx/external_data.ts";
import { viewModel } from "../onnx/view.ts";
import {
  checkFeedElements,
  checkFeedExtents,
  checkTarget,
  sameExtents,
} from "./feeds.ts";
import { Plan } from "./plan.ts";
import {
  type InputPort,
  loadProgram,
  type Port,
  type Program,
} from "./program.ts";
import { NeedsElements } from "./specialize.ts";
import type {
  Fetches,
  SessionOptions,
  SessionOutput,
  SessionTensor,
  ValueMetadata,
} from "./types.ts";
import type { Spec } from "./values.ts";
import { Workspace } from "./workspace.ts";

/** How many shapes of feeds a session keeps a plan for. */
const MOST_PLANS = 8;

/** What is wanted of an output: nothing, a new array, or this tensor. */
type Wanted = SessionTensor | null | undefined;

// A Record, so that the compiler notices an option that is missing here.
const KNOWN: Readonly<Record<keyof SessionOptions, true>> = {
  kernels: true,
  externalData: true,
};

/**
 * A model that is ready to run, in the shape of onnxruntime's
 * `InferenceSession`. Made by {@linkcode createSession}.
 */
export class Session implements AsyncDisposable {
  /** The names of the inputs that every run must feed. */
  readonly inputNames: readonly string[];
  /** The names of the outputs. */
  readonly outputNames: readonly string[];
  /** What the model says of its inputs. */
  readonly inputMetadata: readonly ValueMetadata[];
  /** What the model says of its outputs. */
  readonly outputMetadata: readonly ValueMetadata[];
  #program: Program | undefined;
  readonly #kernels: () => Kernels;
  readonly #ports: ReadonlyMap<string, InputPort>;
  readonly #workspace = new Workspace();
  /** The plans, the one that ran last first. */
  readonly #plans: Plan[] = [];
  /** Inputs on whose elements a shape depends. */
  readonly #shaping = new Set<number>();
  // The run that is going on, in lists that are there already. Runs never
  // overlap: none waits for anything.
  /** The feeds, by value. */
  readonly #fedDims: (readonly number[] | undefined)[] = [];
  readonly #fedData: (OnnxData | undefined)[] = [];
  #fedCount = 0;
  /** By output. */
  readonly #wanted: Wanted[] = [];
  /** By output: the array of the caller. */
  readonly #targets: (OnnxData | undefined)[] = [];
  /** The same, of those to compute into. */
  readonly #direct: (OnnxData | undefined)[] = [];

  /** @internal Made by {@linkcode createSession}. */
  constructor(program: Program, kernels: () => Kernels) {
    const { inputs, outputs, defaults } = program;
    this.#program = program;
    this.#kernels = kernels;
    this.#ports = new Map(
      [...inputs, ...defaults].map((port) => [port.name, port]),
    );
    this.inputNames = inputs.map(({ name }) => name);
    this.outputNames = outputs.map(({ name }) => name);
    this.inputMetadata = inputs.map(metadataOf);
    this.outputMetadata = outputs.map(metadataOf);
    this.#planAhead(inputs);
  }

  /**
   * Runs the model.
   *
   * The outputs of one run are arrays of their own, which the next run leaves
   * alone. With arrays in `fetches` and feeds of a shape that was seen before,
   * a run allocates no memory for elements.
   *
   * @param feeds A tensor for each of `inputNames`; inputs with a default
   * value in the model may be fed too.
   * @param fetches The outputs to return: names, or an object of names with
   * tensors to compute into, or null. By default all.
   * @param _options Accepted as onnxruntime does, and without effect.
   * @returns The outputs by name.
   *
   * @throws {OptionError} If a feed is missing, has an unknown name or another
   * type, or the session was released.
   * @throws {ShapeError} If extents do not fit the model or each other.
   * @throws {UnsupportedError} If a value would have 2 GB or more.
   *
   * @example Usage
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { BatchNormalization, buildOnnx, createSession, tensor } from "@evenkeel/evenkeel";
   *
   * const layer = new BatchNormalization({ epsilon: 0 });
   * await using session = await createSession(buildOnnx(layer, { inputShape: [null, 2] }));
   * const y = tensor([0, 0], [1, 2]);
   * await session.run({ x: tensor([1, 2], [1, 2]) }, { y });
   * assertEquals([...y.data], [1, 2]);
   * ```
   */
  // deno-lint-ignore require-await -- errors shall reject, as onnxruntime's do
  async run(
    feeds: Readonly<Record<string, SessionTensor>>,
    fetches?: Fetches | Readonly<Record<string, unknown>>,
    _options?: Readonly<Record<string, unknown>>,
  ): Promise<Record<string, SessionOutput>> {
    const program = this.#program;
    if (!program) {
      throw new OptionError("Cannot run a session that was released");
    }
    try {
      return this.#run(program, feeds, fetches);
    } finally {
      // What is the caller's is for the collector.
      forget(this.#fedDims);
      forget(this.#fedData);
      forget(this.#wanted);
      forget(this.#targets);
      forget(this.#direct);
    }
  }

  #run(
    program: Program,
    feeds: Readonly<Record<string, SessionTensor>>,
    fetches: Fetches | Readonly<Record<string, unknown>> | undefined,
  ): Record<string, SessionOutput> {
    const isPartial = fetches !== undefined && this.#checkFetches(fetches);
    const plan = this.#checkFeeds(program, feeds) ?? this.#planFor(program);
    if (isPartial) this.#checkTargets(plan);
    const arrays = plan.run(this.#fedData, this.#direct);
    const outputs: Record<string, SessionOutput> = {};
    for (let i = 0; i < arrays.length; i++) {
      if (isPartial && this.#wanted[i] === undefined) continue;
      const { name, type, dims } = plan.outputs[i]!;
      const target = this.#targets[i];
      const data = arrays[i]!;
      if (target && target !== data) {
        (target as Float32Array).set(data as Float32Array);
      }
      outputs[name] = { type, dims: dims.slice(), data: target ?? data };
    }
    return outputs;
  }

  /** Notes the arrays of the caller, and which of them to compute into. */
  #checkTargets(plan: Plan): void {
    const wanted = this.#wanted;
    const targets = this.#targets;
    for (let i = 0; i < wanted.length; i++) {
      const each = wanted[i];
      targets[i] = each ? checkTarget(plan.outputs[i]!, each) : undefined;
    }
    // A run that may fail would leave them half written.
    if (plan.mayFail) return;
    for (let i = 0; i < targets.length; i++) {
      this.#direct[i] = this.#isShared(i) ? undefined : targets[i];
    }
  }

  /** Whether a target is a feed or another target too. */
  #isShared(index: number): boolean {
    const target = this.#targets[index];
    if (!target) return false;
    for (const each of this.#fedData) {
      if (each && overlap(each, target)) return true;
    }
    for (let i = 0; i < this.#targets.length; i++) {
      const each = this.#targets[i];
      if (i !== index && each && overlap(each, target)) return true;
    }
    return false;
  }

  /** Frees the session's memory; it cannot run any more. */
  release(): Promise<void> {
    this.#program = undefined;
    this.#plans.length = 0;
    this.#workspace.clear();
    return Promise.resolve();
  }

  /** The same as `release`. */
  dispose(): Promise<void> {
    return this.release();
  }

  /** The same as `release`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }

  /** Finds the errors of a model of fixed shapes before it runs. */
  #planAhead(inputs: readonly InputPort[]): void {
    const feeds = new Map<number, Spec>();
    for (const { id, type, shape } of inputs) {
      const isKnown = shape?.every((extent) => typeof extent === "number");
      if (!isKnown) return;
      feeds.set(id, { type, dims: shape as number[] });
    }
    try {
      this.#addPlan(this.#program!, feeds);
    } catch (error) {
      if (!(error instanceof NeedsElements)) throw error;
      for (const id of error.ids) this.#shaping.add(id);
    }
  }

  #addPlan(program: Program, feeds: ReadonlyMap<number, Spec>): Plan {
    const plan = new Plan(program, feeds, this.#workspace, this.#kernels);
    this.#plans.unshift(plan);
    if (this.#plans.length > MOST_PLANS) this.#plans.pop();
    return plan;
  }

  /** Notes of each output what is wanted; false if that is all of them. */
  #checkFetches(
    fetches: Fetches | Readonly<Record<string, unknown>>,
  ): boolean {
    const names = this.outputNames;
    const wanted = this.#wanted;
    if (typeof fetches !== "object" || fetches === null) {
      throw new OptionError(
        `Cannot run the session: expected names of outputs or an object as fetches, got ${fetches}`,
      );
    }
    if (!Array.isArray(fetches)) {
      const given = fetches as Readonly<Record<string, Wanted>>;
      let isPartial = false;
      for (let i = 0; i < names.length; i++) {
        const name = names[i]!;
        wanted[i] = Object.hasOwn(given, name) ? given[name] : undefined;
        if (wanted[i] !== undefined) isPartial = true;
      }
      // As in onnxruntime, an object without names of outputs is the options.
      return isPartial;
    }
    if (fetches.length === 0) {
      throw new OptionError("Cannot run the session for no output");
    }
    for (const name of fetches) {
      if (!names.includes(name)) this.#failName("output", name, names);
    }
    names.forEach((name, i) => {
      wanted[i] = fetches.includes(name) ? null : undefined;
    });
    return true;
  }

  #failName(what: string, name: string, names: readonly string[]): never {
    throw new OptionError(
      `Cannot run the session: the model has no ${what} "${name}", expected ${
        names.length === 0 ? "none" : names.join(", ")
      }`,
    );
  }

  /**
   * Checks the feeds and puts them where a plan finds them.
   *
   * @returns The plan that ran last, if it is for these: what has the extents
   * that were checked then needs no more checks.
   */
  #checkFeeds(
    { inputs }: Program,
    feeds: Readonly<Record<string, SessionTensor>>,
  ): Plan | undefined {
    if (typeof feeds !== "object" || feeds === null || Array.isArray(feeds)) {
      throw new OptionError(
        "Cannot run the session: expected an object of tensors by the names of the inputs",
      );
    }
    const names = Object.keys(feeds);
    const last = this.#plans[0];
    let fits = last !== undefined && last.feedCount === names.length;
    for (const name of names) {
      const port = this.#ports.get(name);
      if (!port) this.#failName("input", name, [...this.#ports.keys()]);
      const tensor = feeds[name]!;
      const data = checkFeedElements(port, tensor);
      const { id } = port;
      const known = last?.feeds[id];
      if (
        known && known.count === data.length &&
        sameExtents(known.dims, tensor.dims)
      ) {
        if (known.value && !sameElements(known.value, data)) fits = false;
      } else {
        checkFeedExtents(port, tensor, data.length);
        fits = false;
      }
      this.#fedData[id] = data;
      this.#fedDims[id] = tensor.dims;
    }
    this.#fedCount = names.length;
    // As many as in the plan, and all of them the plan's.
    if (fits) return last;
    for (const { id, name } of inputs) {
      if (this.#fedData[id] === undefined) {
        throw new OptionError(
          `Cannot run the session: the feed of input "${name}" is missing`,
        );
      }
    }
    return undefined;
  }

  #planFor(program: Program): Plan {
    const plans = this.#plans;
    for (let i = 0; i < plans.length; i++) {
      const plan = plans[i]!;
      if (!this.#fits(plan)) continue;
      if (i > 0) {
        plans.splice(i, 1);
        plans.unshift(plan);
      }
      return plan;
    }
    // Each turn knows the elements of more inputs, so there are few.
    for (;;) {
      const specs = new Map<number, Spec>();
      for (const { id, type } of this.#ports.values()) {
        const data = this.#fedData[id];
        if (!data) continue; // it has its default
        const value = this.#shaping.has(id) ? data.slice() : undefined;
        specs.set(id, { type, dims: [...this.#fedDims[id]!], value });
      }
      try {
        return this.#addPlan(program, specs);
      } catch (error) {
        if (!(error instanceof NeedsElements)) throw error;
        for (const id of error.ids) this.#shaping.add(id);
      }
    }
  }

  /** Whether a plan is for the feeds' shapes, and elements where they count. */
  #fits({ feeds, feedCount }: Plan): boolean {
    return feedCount === this.#fedCount && feeds.every((known, id) => {
      if (!known) return true;
      const dims = this.#fedDims[id];
      return dims !== undefined && sameExtents(known.dims, dims) &&
        (!known.value || sameElements(known.value, this.#fedData[id]!));
    });
  }
}

/** Empties a list, which keeps its length. */
function forget(list: unknown[]): void {
  for (let i = 0; i < list.length; i++) list[i] = undefined;
}

function sameElements(known: OnnxData, given: OnnxData): boolean {
  return known.every((value, i) => value === given[i]);
}

function metadataOf({ name, type, shape }: Port): ValueMetadata {
  return {
    name,
    isTensor: true,
    type,
    shape: shape?.map((extent) => extent ?? ""),
  };
}

function overlap(a: OnnxData, b: OnnxData): boolean {
  return a.buffer === b.buffer &&
    a.byteOffset < b.byteOffset + b.byteLength &&
    b.byteOffset < a.byteOffset + a.byteLength;
}

/**
 * Loads an ONNX model to run it, without onnxruntime.
 *
 * It runs BatchNormalization of all opsets, in inference and in training, and
 * the operators that stand beside it, listed in `SESSION_OPERATORS`. Inference in
 * float32 gives the bits of onnxruntime-web 1.30, as do sums, differences,
 * products, quotients and square roots; training is more accurate than
 * onnxruntime's. 16-bit floats are computed in float32 and rounded after
 * every operator.
 *
 * Functions that the model defines are run, too. Shapes are worked out once
 * for each shape of the feeds; memory between operators is kept and shared.
 *
 * @param model The ONNX file; it is not needed any more afterwards.
 * @param options Which kernels to use, and the files of external data.
 * @returns The session; release it after use.
 *
 * @throws {FormatError} If it is no ONNX model, truncated or damaged, has a
 * cycle, a value that nothing makes or two things make, or a node that is not
 * what its operator says.
 * @throws {UnsupportedError} If it has an operator that the session has not
 * (the message names node and operator), or a value of 2 GB or more.
 * @throws {ShapeError} If its shapes are fixed and do not fit together.
 * @throws {OptionError} If an option is unknown.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { BatchNormalization, buildOnnx, createSession, tensor } from "@evenkeel/evenkeel";
 *
 * const layer = new BatchNormalization();
 * const model = buildOnnx(layer, { inputShape: [null, 3] });
 * await using session = await createSession(model);
 * const x = tensor([1, 2, 3], [1, 3]);
 * const { y } = await session.run({ x });
 * assertEquals(y?.data, layer.call(x).data);
 * ```
 */
// deno-lint-ignore require-await -- errors shall reject, as onnxruntime's do
export async function createSession(
  model: Uint8Array,
  options: SessionOptions = {},
): Promise<Session> {
  const unknown = unknownOption(options, KNOWN);
  if (unknown !== undefined) {
    throw new OptionError(`Cannot create a session: ${unknown}`);
  }
  const choice = options.kernels;
  const kernels = (): Kernels => resolveKernels(choice);
  if (choice !== undefined) kernels(); // an unknown one fails here
  const external = externalDataOf(options.externalData);
  return new Session(
    loadProgram(viewModel(model), external, kernels),
    kernels,
  );
}
