/**
 * `recalibrate`: new statistics for the BatchNormalizations of an ONNX model.
 *
 * @module
 */

import { OptionError, UnsupportedError } from "../errors.ts";
import { externalDataOf } from "../onnx/external_data.ts";
import type { FoundNode } from "../onnx/find.ts";
import { inputOf } from "../onnx/measure.ts";
import { modelToInference } from "../onnx/to_inference.ts";
import { type OpenModel, openModel } from "../onnx/open.ts";
import { widen } from "../tensor.ts";
import { checkBatches } from "./batches.ts";
import {
  Calibration,
  type Statistics,
  type Target,
  withStatistics,
} from "./calibration.ts";
import {
  type Batches,
  checkRecalibrateOptions,
  type LayerShift,
  type RecalibrateOptions,
  type RecalibrateReport,
} from "./recalibrate_options.ts";

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

/** A copy in which every node is in inference; the model itself if it is. */
function inInference(open: OpenModel): OpenModel {
  return open.nodes.every(({ trainingMode }) => trainingMode === false)
    ? open
    : openModel(modelToInference(open).finish(), open.external);
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
