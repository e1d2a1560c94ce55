/**
 * `recalibrate`: new statistics for the BatchNormalizations of an ONNX model.
 *
 * @module
 */

import { EvenkeelError, OptionError, UnsupportedError } from "../errors.ts";
import { Edits } from "../onnx/edit.ts";
import { externalDataOf } from "../onnx/external_data.ts";
import type { FoundNode } from "../onnx/find.ts";
import { cutTo, inputOf, type NodeInput, showValue } from "../onnx/measure.ts";
import { modelToInference } from "../onnx/to_inference.ts";
import { modelToTraining } from "../onnx/to_training.ts";
import { type OpenModel, openModel } from "../onnx/open.ts";
import { loadReference } from "../onnx/reference.ts";
import { type NodeUpdate, updateNodes } from "../onnx/update.ts";
import { type Tensor, widen } from "../tensor.ts";
import { checkBatches, feedsOf, sizeOf } from "./batches.ts";
import { asTensors, type Feed, type OnnxRunner } from "./onnx_runner.ts";
import {
  type Batch,
  type Batches,
  checkRecalibrateOptions,
  type LayerShift,
  type RecalibrateOptions,
  type RecalibrateProgress,
  type RecalibrateReport,
} from "./recalibrate_options.ts";
import { TrainingState } from "./training_state.ts";

/** A node that is recalibrated. */
interface Target {
  readonly found: FoundNode;
  readonly input: NodeInput;
  readonly oldMean: Float64Array;
  readonly oldVariance: Float64Array;
}

/** A batch as it came, and what the model is fed of it. */
interface Given {
  readonly batch: Batch;
  readonly feeds: Readonly<Record<string, Feed>>;
  /** Its samples. */
  readonly size: number;
}

/** New statistics of a node. */
interface Statistics {
  readonly mean: Float64Array;
  readonly variance: Float64Array;
  readonly count: number;
}

interface Plan {
  readonly targets: readonly Target[];
  readonly kept: readonly { name: string; reason: string }[];
}

/** A node with constant statistics, or why it keeps those that it has. */
function targetOf(found: FoundNode): Target | string {
  const { parameters, spatial } = found;
  const { mean, variance } = parameters;
  const input = inputOf(found);
  if (typeof input === "string") return input;
  if (!spatial) return "it has spatial 0: statistics of every place";
  if (!mean.tensor) return `its mean is no constant: ${mean.reason}`;
  if (!variance.tensor) {
    return `its variance is no constant: ${variance.reason}`;
  }
  return {
    found,
    input,
    oldMean: widen(mean.tensor),
    oldVariance: widen(variance.tensor),
  };
}

function planFor(
  { nodes }: OpenModel,
  only: readonly string[] | undefined,
): Plan {
  for (const name of only ?? []) {
    if (!nodes.some((node) => node.name === name)) {
      throw new OptionError(
        `Cannot recalibrate "${name}": expected the name of a BatchNormalization, ${
          nodes.map((node) => `"${node.name}"`).join(", ") ||
          "of which there is none"
        }`,
      );
    }
  }
  const targets: Target[] = [];
  const kept: { name: string; reason: string }[] = [];
  for (const found of nodes) {
    const { name } = found;
    const target = only && !only.includes(name)
      ? "the option only does not name it"
      : targetOf(found);
    if (typeof target === "string") kept.push({ name, reason: target });
    else targets.push(target);
  }
  return { targets, kept };
}

/**
 * Onnxruntime runs float16 between Casts, behind which the outputs of a node
 * in training share memory with its inputs (microsoft/onnxruntime#29790):
 * measured, y and running_var can be entirely wrong, in 1.30 and 1.32.
 */
function checkHalf(
  targets: readonly Target[],
  { mode = "precise", load }: RecalibrateOptions,
): void {
  if (load || mode === "sequential") return;
  const half = targets.find(({ found }) =>
    found.parameters.mean.tensor?.type === "float16"
  );
  // Alone, it is measured by what is fed, or comes out of inference.
  if (!half || targets.length === 1) return;
  throw new UnsupportedError(
    `Cannot recalibrate "${half.found.name}" in mode "${mode}": onnxruntime trains float16 layers wrongly; use mode "sequential", or the option load with another runtime`,
  );
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
function withStatistics(
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
  const names = new Set(scopes.names);
  updateNodes(edits, view, { ...scopes, names }, nodes, updates);
  return edits.finish();
}

/** A copy in which every node is in inference; the model itself if it is. */
function inInference(open: OpenModel): OpenModel {
  return open.nodes.every(({ trainingMode }) => trainingMode === false)
    ? open
    : openModel(modelToInference(open).finish(), open.external);
}

/** The runs of one call, with what they need. */
class Calibration {
  readonly #open: OpenModel;
  readonly #batches: Batches;
  readonly #options: RecalibrateOptions;
  readonly #inputs: readonly string[];
  batchCount = 0;
  sampleCount = 0;

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

function shiftOf(
  { found, oldMean, oldVariance }: Target,
  { mean, variance, count }: Statistics,
): LayerShift {
  const { name, epsilon } = found;
  const shifts = mean.map((m, c) =>
    Math.abs(m - oldMean[c]!) / Math.sqrt(oldVariance[c]! + epsilon)
  );
  const ratios = variance.map((v, c) =>
    (v + epsilon) / (oldVariance[c]! + epsilon)
  );
  const channels = mean.length;
  const meanOf = (values: Float64Array) =>
    values.reduce((sum, value) => sum + value, 0) / channels;
  return {
    name,
    channels,
    count,
    meanShift: {
      rms: Math.sqrt(meanOf(shifts.map((shift) => shift * shift))),
      max: shifts.reduce((a, b) => Math.max(a, b), 0),
    },
    varianceRatio: {
      mean: Math.exp(meanOf(ratios.map(Math.log))),
      min: ratios.reduce((a, b) => Math.min(a, b), Infinity),
      max: ratios.reduce((a, b) => Math.max(a, b), 0),
    },
  };
}

/**
 * Measures the statistics of every BatchNormalization of a model anew, on
 * other data than those it was trained on.
 *
 * The moments are those of all samples together, whatever the batches' sizes
 * (merged as Chan, Golub and LeVeque do), of what comes into each node; the
 * rest of the model runs in inference, whatever mode it is in. Only running
 * means and variances change, in a copy of the model. How the layers before a node normalize
 * meanwhile is the option `mode`.
 *
 * Modes `"precise"` and `"blend"` go through the data once, `"sequential"`
 * once per node; a metric takes two more passes. Nodes in subgraphs and
 * functions keep their statistics, and are reported.
 *
 * The model runs in onnxruntime-web, imported on the first call, which needs
 * `--allow-read` in Deno; or in what the option `load` loads it into.
 *
 * @param model The ONNX file.
 * @param batches Tensors, or objects of tensors by input; an array, or another
 * iterable, also an asynchronous one.
 * @param options The mode, and who is told.
 * @returns The new file, and what changed.
 *
 * @throws {OptionError} If an option or a batch is not allowed, there are no
 * batches, or the data have NaN or infinity.
 * @throws {FormatError} If it is no ONNX model.
 * @throws {UnsupportedError} If the model cannot be run, or has several
 * float16 layers and onnxruntime shall run them in training.
 *
 * @see Precise BN: Wu and Johnson, Rethinking "Batch" in BatchNorm, 2021,
 * https://arxiv.org/abs/2105.07576
 * @see AdaBN: Li et al., Revisiting Batch Normalization For Practical Domain
 * Adaptation, 2016, https://arxiv.org/abs/1603.04779
 * @see The blend: Schneider et al., Improving robustness against common
 * corruptions by covariate shift adaptation, 2020,
 * https://arxiv.org/abs/2006.16971
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { BatchNormalization, buildOnnx, openOnnx, recalibrate, tensor } from "@evenkeel/evenkeel";
 *
 * const layer = new BatchNormalization({ name: "bn" });
 * const model = buildOnnx(layer, { inputShape: [null, 1] });
 * const batches = [tensor([4, 6], [2, 1]), tensor([8], [1, 1])];
 * const { bytes, report } = await recalibrate(model, batches);
 * const [bn] = openOnnx(bytes).batchNormalizations;
 * assertEquals([...bn!.mean!.data], [6]);
 * assertEquals(report.samples, 3);
 * ```
 */
export async function recalibrate(
  model: Uint8Array,
  batches: Batches,
  options: RecalibrateOptions = {},
): Promise<{ bytes: Uint8Array<ArrayBuffer>; report: RecalibrateReport }> {
  checkRecalibrateOptions(options);
  const { mode = "precise", metric, only } = options;
  const open = openModel(model, externalDataOf(options.externalData));
  const running = inInference(open);
  const { targets, kept } = planFor(running, only);
  if (targets.length === 0) {
    throw new OptionError(
      `Cannot recalibrate the model: it has no BatchNormalization to recalibrate${
        kept.map(({ name, reason }) => `; "${name}": ${reason}`).join("")
      }`,
    );
  }
  checkHalf(targets, options);
  const passes = (mode === "sequential" ? targets.length : 1) +
    (metric ? 2 : 0);
  checkBatches(batches, passes);
  const calibration = new Calibration(running, batches, options);
  const before = metric &&
    await calibration.measureMetric(running.view.bytes, "before");
  const measured = mode === "sequential"
    ? await calibration.measureInTurn(targets)
    : await calibration.measureAll(targets);
  const bytes = withStatistics(open, measured);
  const after = metric &&
    await calibration.measureMetric(withStatistics(running, measured), "after");
  return {
    bytes,
    report: {
      mode,
      batches: calibration.batchCount,
      samples: calibration.sampleCount,
      layers: [...measured].map(([target, statistics]) =>
        shiftOf(target, statistics)
      ),
      kept,
      ...(before === undefined || after === undefined
        ? {}
        : { metric: { before, after } }),
    },
  };
}
