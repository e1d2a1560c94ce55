/**
 * `evenkeel inspect`: what BatchNormalization layers a file has.
 *
 * @module
 */

import { widen } from "../tensor.ts";
import { formatAxis } from "../layer/axis.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import { type Arguments, type Command, EXIT } from "./command.ts";
import { type NamedLayer, openModel } from "./model.ts";
import { formatShape } from "./shapes.ts";
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
  { name, layer, shape, certain }: NamedLayer,
  assumed: readonly string[],
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
    assumed,
    inputShape: certain ? formatShape(shape) : null,
  };
}

const COLUMNS: readonly Column<LayerReport>[] = [
  { title: "layer", cell: (r) => r.name, shrink: true },
  { title: "axis", cell: (r) => formatAxis(r.axis), align: "right" },
  { title: "channels", cell: (r) => `${r.channels}`, align: "right" },
  { title: "epsilon", cell: (r) => formatNumber(r.epsilon), align: "right" },
  { title: "momentum", cell: (r) => formatNumber(r.momentum), align: "right" },
  { title: "dtype", cell: (r) => r.dtype },
];

async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const [file] = args.positionals;
  const { model, layers } = await openModel(file!);
  const found = new Map(model.layers.map((each) => [each.key, each]));
  const reports = layers.map((named) =>
    reportOf(named, found.get(named.name)?.assumed ?? [])
  );
  // What may be one, and was not loaded.
  const left = model.layers.flatMap(({ key, loaded, reason }) =>
    !loaded && reason !== undefined ? [{ name: key, reason }] : []
  );
  const { format, kerasVersion } = model;
  if (args.options.json) {
    terminal.out(JSON.stringify(
      {
        file,
        format,
        kerasVersion: kerasVersion ?? null,
        layers: model.layers.length,
        batchNormalizations: reports,
        notLoaded: left,
      },
      null,
      2,
    ));
    return EXIT.ok;
  }
  terminal.out(file!);
  terminal.out(
    `${format}${
      kerasVersion ? `, Keras ${kerasVersion}` : ""
    }, ${reports.length} BatchNormalization of ${model.layers.length} layers`,
  );
  if (reports.length > 0) {
    terminal.out("");
    terminal.out(formatTable(reports, COLUMNS, terminal));
  }
  const special = reports.filter(({ options }) => options.length > 0);
  if (special.length > 0) terminal.out("");
  for (const { name, options } of special) {
    const head = `${name}: `;
    // Long names get the line to themselves.
    const indent = head.length > 40 ? 4 : head.length;
    const start = indent === 4 ? `${head}\n    ` : head;
    terminal.out(`${start}${wrapWords(options, indent)}`);
  }
  const guessed = reports.filter(({ assumed }) => assumed.length > 0);
  if (guessed.length > 0) {
    terminal.out("");
    terminal.out(
      "The file does not say these; loadKeras takes them in the option layers:",
    );
  }
  for (const { name, assumed } of guessed) {
    terminal.out(`  ${name}: ${assumed.join(", ")}`);
  }
  if (left.length > 0) {
    terminal.out("");
    terminal.out("Not loaded, but may be a BatchNormalization:");
  }
  for (const { name, reason } of left) {
    terminal.out(`  ${name}:`);
    terminal.out(`    ${wrapWords(reason.split(" "), 4)}`);
  }
  for (const { name, warnings } of reports) {
    for (const warning of warnings) {
      terminal.err(`warning: ${name}: ${warning}`);
    }
  }
  return EXIT.ok;
}

/** The `inspect` sub-command. */
export const inspect: Command = {
  name: "inspect",
  summary: "Lists the BatchNormalization layers of a Keras file",
  positionals: ["FILE"],
  options: {},
  details: "",
  permissions: "--allow-read",
  run,
};
