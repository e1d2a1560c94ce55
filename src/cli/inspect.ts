/**
 * `evenkeel inspect`: what BatchNormalization layers a file has.
 *
 * @module
 */

import { widen } from "../tensor.ts";
import { formatAxis } from "../layer/axis.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import { type Arguments, type Command, EXIT } from "./command.ts";
import type { KerasLayer, KerasModel } from "../keras/load/types.ts";
import { type NamedLayer, openModel } from "./model.ts";
import { formatSetting } from "./settings.ts";
import { formatShape } from "./shapes.ts";
import {
  NET_FOR_URLS,
  readSourceOptions,
  SOURCE_DETAILS,
  SOURCE_OPTIONS,
} from "./source.ts";
import { type Column, formatNumber, formatTable, wrapWords } from "./table.ts";
import type { Terminal } from "./terminal.ts";

/** What `inspect` tells of a layer; the rows of its JSON. */
interface LayerReport {
  readonly name: string;
  readonly axis: number | readonly number[];
  readonly channels: number;
  readonly epsilon: number;
  readonly momentum: number;
  readonly dtype: string;
  readonly weights: readonly string[];
  readonly options: readonly string[];
  readonly warnings: readonly string[];
  /** What the file does not say, and was taken to be Keras' default. */
  readonly assumed: readonly string[];
  /** Why it was taken for one, where the file does not say its class; what is special about it. */
  readonly reason: string | null;
  /** Null where the file does not tell the rank. */
  readonly inputShape: string | null;
}

/** The options that change what a layer does, as far as they are not default. */
function optionNames(layer: BatchNormalization): string[] {
  const { options } = layer;
  const names: string[] = [];
  if (!options.center) names.push("center=false");
  if (!options.scale) names.push("scale=false");
  if (options.renorm) {
    const { rmin, rmax, dmax } = options.renormClipping;
    names.push("renorm");
    for (const [key, bound] of Object.entries({ rmin, rmax, dmax })) {
      if (bound !== undefined) names.push(`${key}=${formatNumber(bound)}`);
    }
    names.push(`renorm_momentum=${formatNumber(options.renormMomentum)}`);
  }
  if (options.virtualBatchSize !== null) {
    names.push(`virtual_batch_size=${options.virtualBatchSize}`);
  }
  if (options.synchronized) names.push("synchronized");
  if (!layer.trainable) names.push("trainable=false");
  for (
    const [key, object] of Object.entries({
      gamma_regularizer: options.gammaRegularizer,
      beta_regularizer: options.betaRegularizer,
      gamma_constraint: options.gammaConstraint,
      beta_constraint: options.betaConstraint,
    })
  ) {
    if (object) names.push(`${key}=${object.className}`);
  }
  return names;
}

/** What a user should know before trusting the layer's output. */
function warningsOf(layer: BatchNormalization): string[] {
  const warnings: string[] = [];
  const { movingMean, movingVariance } = layer;
  const variance = widen(movingVariance);
  const negative = variance.findIndex((v) => v < 0);
  if (negative >= 0) {
    warnings.push(
      `moving_variance[${negative}] is negative: ${variance[negative]}`,
    );
  }
  for (const weight of [...layer.weights, movingMean]) {
    const values = widen(weight);
    if (!values.every(Number.isFinite)) {
      warnings.push("some weights are NaN or infinite");
      break;
    }
  }
  return warnings;
}

const WEIGHT_PROPERTIES = [
  ["gamma", "gamma"],
  ["beta", "beta"],
  ["movingMean", "moving_mean"],
  ["movingVariance", "moving_variance"],
  ["movingStddev", "moving_stddev"],
  ["renormMean", "renorm_mean"],
  ["renormStddev", "renorm_stddev"],
] as const;

function reportOf(
  { name, layer, found, shape, certain }: NamedLayer,
  asked: readonly string[],
): LayerReport {
  const { options } = layer;
  return {
    name,
    axis: options.axis,
    channels: layer.movingMean.data.length,
    epsilon: options.epsilon,
    momentum: options.momentum,
    dtype: options.dtype.name,
    weights: WEIGHT_PROPERTIES
      .filter(([property]) => layer[property] !== undefined)
      .map(([, weight]) => weight),
    options: optionNames(layer),
    warnings: warningsOf(layer),
    assumed: found.assumed,
    // The caller knows why.
    reason: [found.key, found.name, found.location ?? found.key]
        .some((each) => asked.includes(each))
      ? null
      : found.reason ?? null,
    inputShape: certain ? formatShape(shape) : null,
  };
}

const COLUMNS: readonly Column<LayerReport>[] = [
  { title: "layer", cell: (r) => r.name, shrink: true },
  { title: "axis", cell: (r) => formatAxis(r.axis), align: "right" },
  { title: "channels", cell: (r) => `${r.channels}`, align: "right" },
  { title: "epsilon", cell: (r) => formatSetting(r.epsilon), align: "right" },
  { title: "momentum", cell: (r) => formatSetting(r.momentum), align: "right" },
  { title: "dtype", cell: (r) => r.dtype },
];

/** A layer that may be one, and was not loaded. */
type NotLoaded = Pick<KerasLayer, "key" | "className"> & { reason: string };

function notLoaded({ layers }: KerasModel): NotLoaded[] {
  return layers.flatMap(({ key, className, loaded, reason }) =>
    loaded || reason === undefined ? [] : [{
      key,
      ...(className === undefined ? {} : { className }),
      reason,
    }]
  );
}

/** A sentence in lines of at most 80 columns. */
function wrapped(text: string, indent: number): string {
  return " ".repeat(indent) + wrapWords(text.split(" "), indent);
}

/** Names with the same text, which stands below them once. */
function printGrouped(
  title: string,
  entries: readonly (readonly [name: string, text: string])[],
  terminal: Terminal,
): void {
  if (entries.length === 0) return;
  const groups = new Map<string, string[]>();
  for (const [name, text] of entries) {
    groups.set(text, [...groups.get(text) ?? [], name]);
  }
  terminal.out("");
  terminal.out(wrapped(title, 0));
  for (const [text, names] of groups) {
    terminal.out(wrapped(`${names.join(", ")}:`, 2));
    terminal.out(wrapped(text, 4));
  }
}

/** What a file is: its format, its release and how much there is. */
function headline(
  { format, kerasVersion, layers }: KerasModel,
  count: number,
): string {
  // Of a graph, only the nodes of interest are listed.
  const isGraph = format === "onnx" || format === "tfjs-graph";
  const total = layers.length;
  const counted = !isGraph
    ? `${count} BatchNormalization of ${total} layers`
    : count === total
    ? `${count} BatchNormalization`
    : `${count} of ${total} BatchNormalization loaded`;
  return `${format}${
    kerasVersion ? `, Keras ${kerasVersion}` : ""
  }, ${counted}`;
}

function printOptions(
  reports: readonly LayerReport[],
  terminal: Terminal,
): void {
  const special = reports.filter(({ options }) => options.length > 0);
  if (special.length > 0) terminal.out("");
  for (const { name, options } of special) {
    const head = `${name}: `;
    // Long names get the line to themselves.
    const indent = head.length > 40 ? 4 : head.length;
    const start = indent === 4 ? `${head}\n    ` : head;
    terminal.out(`${start}${wrapWords(options, indent)}`);
  }
}

function print(
  reports: readonly LayerReport[],
  left: readonly NotLoaded[],
  isGraph: boolean,
  terminal: Terminal,
): void {
  if (reports.length > 0) {
    terminal.out("");
    terminal.out(formatTable(reports, COLUMNS, terminal));
  }
  printOptions(reports, terminal);
  printGrouped(
    "The file does not say these; --layers or --config does:",
    reports.filter(({ assumed }) => assumed.length > 0)
      .map(({ name, assumed }) => [name, assumed.join(", ")]),
    terminal,
  );
  printGrouped(
    // Nodes are what they are; there is something to know about them.
    isGraph ? "To know:" : "Taken for a BatchNormalization:",
    reports.flatMap(({ name, reason }) => reason ? [[name, reason]] : []),
    terminal,
  );
  const isOne = ({ className }: NotLoaded) =>
    className === "BatchNormalization";
  printGrouped(
    "Not loaded:",
    left.filter(isOne).map(({ key, reason }) => [key, reason]),
    terminal,
  );
  printGrouped(
    "Not loaded, but may be a BatchNormalization:",
    left.filter((each) => !isOne(each)).map(({ key, reason }) => [key, reason]),
    terminal,
  );
  for (const { name, warnings } of reports) {
    for (const warning of warnings) {
      terminal.err(`warning: ${name}: ${warning}`);
    }
  }
}

async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const [file] = args.positionals;
  const options = await readSourceOptions(args);
  const { model, layers } = await openModel(file!, options);
  const asked = Object.keys(options.layers ?? {});
  const reports = layers.map((each) => reportOf(each, asked));
  const left = notLoaded(model);
  if (args.options.json) {
    terminal.out(JSON.stringify(
      {
        file,
        format: model.format,
        kerasVersion: model.kerasVersion ?? null,
        layers: model.layers.length,
        batchNormalizations: reports,
        notLoaded: left.map(({ key, reason }) => ({ name: key, reason })),
      },
      null,
      2,
    ));
    return EXIT.ok;
  }
  terminal.out(file!);
  terminal.out(headline(model, reports.length));
  if (model.format === "onnx" && model.layers.length === 0) {
    terminal.out(
      "Converters make Mul and Add of the layers, or fold them into kernels; evenkeel\nupdate finds those with the Keras file.",
    );
  }
  print(reports, left, model.format === "onnx", terminal);
  return EXIT.ok;
}

/** The `inspect` sub-command. */
export const inspect: Command = {
  name: "inspect",
  summary: "Lists the BatchNormalization layers of a file",
  positionals: ["FILE"],
  options: SOURCE_OPTIONS,
  details: SOURCE_DETAILS,
  permissions: `--allow-read${NET_FOR_URLS}`,
  run,
};
