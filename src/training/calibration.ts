/**
 * The passes through the data that `recalibrate` makes.
 *
 * @module
 */

import { EvenkeelError, OptionError, UnsupportedError } from "../errors.ts";
import { Edits } from "../onnx/edit.ts";
import type { FoundNode } from "../onnx/find.ts";
import { cutTo, type NodeInput, showValue } from "../onnx/measure.ts";
import { modelToTraining } from "../onnx/to_training.ts";
import { type OpenModel, openModel } from "../onnx/open.ts";
import { loadReference } from "../onnx/reference.ts";
import { type NodeUpdate, updateNodes } from "../onnx/update.ts";
import type { Tensor } from "../tensor.ts";
import { feedsOf, sizeOf } from "./batches.ts";
import { asTensors, type Feed, type OnnxRunner } from "./onnx_runner.ts";
import type {
  Batch,
  Batches,
  RecalibrateOptions,
  RecalibrateProgress,
} from "./recalibrate_options.ts";
import { TrainingState } from "./training_state.ts";

/** A node that is recalibrated. */
export interface Target {
  readonly found: FoundNode;
  readonly input: NodeInput;
  readonly oldMean: Float64Array;
  readonly oldVariance: Float64Array;
}

/** New statistics of a node. */
export interface Statistics {
  readonly mean: Float64Array;
  readonly variance: Float64Array;
  readonly count: number;
}

/** A batch as it came, and what the model is fed of it. */
interface Given {
  readonly batch: Batch;
  readonly feeds: Readonly<Record<string, Feed>>;
  /** Its samples. */
  readonly size: number;
}

/** The names of the inputs that must be fed. */
function inputNames({ view }: OpenModel): string[] {
  const { inputs, initializers } = view.graph;
  return inputs.map(({ name }) => name).filter((name) =>
    !initializers.has(name)
  );
}

/** Runs a batch; what the runtime says of one that does not fit is told. */
async function runModel(
  runner: OnnxRunner,
  feeds: Readonly<Record<string, Feed>>,
  fetches: readonly string[],
  index: number,
): Promise<Readonly<Record<string, Tensor>>> {
  try {
    return asTensors(await runner.run(feeds, fetches));
  } catch (cause) {
    if (cause instanceof EvenkeelError) throw cause;
    throw new UnsupportedError(
      `Cannot run the model on batch ${index + 1}, of ${
        Object.entries(feeds).map(([name, { type, dims }]) =>
          `"${name}": ${type} [${dims.join(", ")}]`
        ).join(", ")
      }: ${cause instanceof Error ? cause.message : cause}`,
      { cause },
    );
  }
}

/** A model with new statistics. */
export function withStatistics(
  { view, scopes, nodes }: OpenModel,
  measured: ReadonlyMap<Target, Statistics>,
): Uint8Array<ArrayBuffer> {
  const edits = new Edits(view.bytes);
  const updates = new Map<string, NodeUpdate>(
    [...measured].map(([{ found }, { mean, variance }]) => [
      found.name,
      { mean, variance },
    ]),
  );
  const names = scopes.names.copy();
  updateNodes(edits, view, { ...scopes, names }, nodes, updates);
  return edits.finish();
}

/** The runs of one call, with what they need. */
export class Calibration {
  readonly #open: OpenModel;
  readonly #batches: Batches;
  readonly #options: RecalibrateOptions;
  readonly #inputs: readonly string[];
  /** Batches of the last pass. */
  batchCount = 0;
  /** Samples of the last pass. */
  sampleCount = 0;

  /**
   * Begins without a pass.
   *
   * @param open The model, in inference.
   * @param batches The data.
   * @param options How to measure, and who is told.
   */
  constructor(
    open: OpenModel,
    batches: Batches,
    options: RecalibrateOptions,
  ) {
    this.#open = open;
    this.#batches = batches;
    this.#options = options;
    this.#inputs = inputNames(open);
  }

  /** Goes through the data with a model; without one, nothing is run. */
  async #pass(
    model: Uint8Array | undefined,
    fetches: readonly string[],
    progress: Omit<RecalibrateProgress, "batches">,
    take: (
      outputs: Readonly<Record<string, Tensor>>,
      given: Given,
    ) => void | Promise<void>,
  ): Promise<void> {
    const { externalData } = this.#options;
    // Onnxruntime takes whole files only.
    const files = externalData instanceof Map ? externalData : undefined;
    const load = this.#options.load ??
      ((bytes: Uint8Array) => loadReference(bytes, files));
    const runner: OnnxRunner | undefined = model && await load(model);
    let batches = 0;
    let samples = 0;
    try {
      for await (const batch of this.#batches) {
        const feeds = feedsOf(batch, this.#inputs);
        const size = sizeOf(feeds);
        const outputs = runner
          ? await runModel(runner, feeds, fetches, batches)
          : {};
        await take(outputs, { batch, feeds, size });
        batches++;
        samples += size;
        this.#options.onProgress?.({ ...progress, batches });
      }
    } finally {
      await runner?.dispose?.();
    }
    if (batches === 0) {
      throw new OptionError("Cannot recalibrate: there are no batches");
    }
    this.batchCount = batches;
    this.sampleCount = samples;
  }

  /** Takes a node's batch in, from what was fed or computed. */
  #add(
    state: TrainingState,
    { found, input }: Target,
    outputs: Readonly<Record<string, Tensor>>,
    feeds: Readonly<Record<string, Feed>>,
  ): void {
    const x = (input.isFed ? feeds : outputs)[input.name] as Tensor | undefined;
    if (!x) {
      throw new OptionError(
        `Cannot recalibrate "${found.name}": the batches have no "${input.name}"`,
      );
    }
    state.add(x);
  }

  /** All nodes at once, everything before them normalizing by the batch. */
  async measureAll(
    targets: readonly Target[],
  ): Promise<Map<Target, Statistics>> {
    const open = this.#open;
    const names = targets.map(({ found }) => found.name);
    const edits = modelToTraining(open, { only: names });
    const fetches = targets.flatMap(({ input }) =>
      input.isFed ? [] : input.name
    );
    for (const name of new Set(fetches)) showValue(edits, open, name);
    const states = targets.map(() => new TrainingState({ axis: 1 }));
    await this.#pass(
      fetches.length > 0 ? edits.finish() : undefined,
      [...new Set(fetches)],
      { stage: "measure", pass: 0, passes: 1 },
      (outputs, { feeds }) =>
        targets.forEach((target, i) =>
          this.#add(states[i]!, target, outputs, feeds)
        ),
    );
    return new Map(
      targets.map((
        target,
        i,
      ) => [target, this.#statistics(target, states[i]!)]),
    );
  }

  /** One node after another, those before it having their new statistics. */
  async measureInTurn(
    targets: readonly Target[],
  ): Promise<Map<Target, Statistics>> {
    const { view } = this.#open;
    const order = new Map(view.graph.nodes.map((node, i) => [node, i]));
    const inOrder = [...targets].sort((a, b) =>
      order.get(a.found.node)! - order.get(b.found.node)!
    );
    const measured = new Map<Target, Statistics>();
    for (const [pass, target] of inOrder.entries()) {
      const { found, input } = target;
      const state = new TrainingState({ axis: 1 });
      let model: Uint8Array | undefined;
      if (!input.isFed) {
        // The new statistics first: cutting would take away constants' users.
        const updated = openModel(
          withStatistics(this.#open, measured),
          this.#open.external,
        );
        const edits = new Edits(updated.view.bytes);
        cutTo(edits, updated, input.name);
        model = edits.finish();
      }
      await this.#pass(
        model,
        [input.name],
        { stage: "measure", name: found.name, pass, passes: inOrder.length },
        (outputs, { feeds }) => this.#add(state, target, outputs, feeds),
      );
      measured.set(target, this.#statistics(target, state));
    }
    // In the order of the file, as the report has it.
    return new Map(targets.map((target) => [target, measured.get(target)!]));
  }

  #statistics(
    { found, oldMean, oldVariance }: Target,
    state: TrainingState,
  ): Statistics {
    const { count } = state;
    const { mode, weight = 0.5, unbiased = false } = this.#options;
    if (state.mean.length !== oldMean.length) {
      throw new OptionError(
        `Cannot recalibrate "${found.name}": expected ${oldMean.length} channels on axis 1, got ${state.mean.length}`,
      );
    }
    const old = mode === "blend" ? weight : 0;
    const blend = (before: Float64Array, now: Float64Array) =>
      old === 0
        ? now
        : now.map((value, c) => old * before[c]! + (1 - old) * value);
    const factor = unbiased ? count / Math.max(count - 1, 1) : 1;
    const mean = blend(oldMean, state.mean);
    const variance = blend(oldVariance, state.variance.map((v) => v * factor));
    const bad = mean.findIndex((m, c) => !Number.isFinite(m + variance[c]!));
    if (bad >= 0) {
      throw new OptionError(
        count === 0
          ? `Cannot recalibrate "${found.name}": the batches have no elements`
          : `Cannot recalibrate "${found.name}": channel ${bad} would have mean ${
            mean[bad]
          } and variance ${
            variance[bad]
          }; the data, or a layer before it, has NaN or infinity`,
      );
    }
    return { mean, variance, count };
  }

  /** The metric's mean over all samples. */
  async measureMetric(
    model: Uint8Array,
    stage: "before" | "after",
  ): Promise<number> {
    const { metric } = this.#options;
    const fetches = this.#open.view.graph.outputs.map(({ name }) => name);
    let sum = 0;
    await this.#pass(
      model,
      fetches,
      { stage, pass: 0, passes: 1 },
      async (outputs, { batch, size }) => {
        const value = await metric!(outputs, batch);
        if (typeof value !== "number") {
          throw new OptionError(
            `Cannot use the metric: expected a number, got ${value}`,
          );
        }
        sum += value * size;
      },
    );
    return sum / this.sampleCount;
  }
}
