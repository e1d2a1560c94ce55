/**
 * `evenkeel recalibrate`: new statistics for an ONNX model.
 *
 * @module
 */

import { recalibrate as recalibrateModel } from "../training/recalibrate.ts";
import type {
  LayerShift,
  RecalibrateMode,
  RecalibrateOptions,
} from "../training/recalibrate_options.ts";
import { type Arguments, type Command, EXIT, UsageError } from "./command.ts";
import { isSameFile } from "./files.ts";
import { batchSizeFor, npyBatches } from "./npy_batches.ts";
import {
  openOnnxFile,
  outputOf,
  planOnnx,
  readExternal,
  writePlanned,
} from "./onnx_files.ts";
import { type Column, formatNumber, formatTable } from "./table.ts";
import type { Terminal } from "./terminal.ts";

const MODES = ["precise", "sequential", "blend"];

const round = (value: number) => formatNumber(Number(value.toPrecision(3)));

const COLUMNS: readonly Column<LayerShift>[] = [
  { title: "layer", cell: ({ name }) => name, shrink: true },
  { title: "channels", cell: (r) => `${r.channels}`, align: "right" },
  { title: "values", cell: (r) => `${r.count}`, align: "right" },
  {
    title: "mean moved",
    cell: (r) => round(r.meanShift.rms),
    align: "right",
  },
  { title: "at most", cell: (r) => round(r.meanShift.max), align: "right" },
  {
    title: "variance",
    cell: (r) => `${round(r.varianceRatio.mean)}x`,
    align: "right",
  },
  {
    title: "from, to",
    cell: (r) =>
      `${round(r.varianceRatio.min)}, ${round(r.varianceRatio.max)}x`,
    align: "right",
  },
];

function readNumber(
  name: string,
  text: string | boolean | undefined,
  isValid: (value: number) => boolean,
  expected: string,
): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text !== "" && isValid(value)) return value;
  throw new UsageError(`Cannot use --${name} ${text}: expected ${expected}`);
}

function optionsOf({ options }: Arguments): RecalibrateOptions {
  const { mode, weight } = options;
  if (mode !== undefined && !MODES.includes(mode as string)) {
    throw new UsageError(
      `Cannot use --mode ${mode}: expected ${MODES.join(", ")}`,
    );
  }
  const old = readNumber(
    "weight",
    weight,
    (value) => value >= 0 && value <= 1,
    "a number from 0 to 1",
  );
  if (old !== undefined && mode !== "blend") {
    throw new UsageError("Cannot use --weight without --mode blend");
  }
  return {
    ...(mode === undefined ? {} : { mode: mode as RecalibrateMode }),
    ...(old === undefined ? {} : { weight: old }),
    ...(options.unbiased ? { unbiased: true } : {}),
  };
}

async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const [file] = args.positionals;
  const output = outputOf("recalibrate", args.options.output);
  const { data } = args.options;
  if (typeof data !== "string") {
    throw new UsageError(
      "Expected --data DIR_OR_NPY; see evenkeel recalibrate --help",
    );
  }
  if (await isSameFile(output, data)) {
    throw new UsageError(`Cannot write to ${output}: it is the data itself`);
  }
  const options = optionsOf(args);
  const askedSize = readNumber(
    "batch-size",
    args.options["batch-size"],
    (value) => Number.isInteger(value) && value > 0,
    "a positive integer",
  );
  const { model, bytes: old } = await openOnnxFile(file!);
  const { inputs, externalLocations } = model;
  const [input] = inputs;
  if (!input || inputs.length > 1) {
    throw new UsageError(
      `Cannot recalibrate ${file} from arrays: expected a model with one input, it has ${inputs.length} (${
        inputs.map(({ name }) => name).join(", ")
      }); call recalibrate() from a script`,
    );
  }
  const batchSize = batchSizeFor(input, askedSize);
  // Before the work that would be for nothing.
  const target = await planOnnx(file!, output, externalLocations);
  const { bytes, report } = await recalibrateModel(
    old,
    await npyBatches(data, input, batchSize),
    {
      ...options,
      ...(externalLocations.length > 0
        ? { externalData: await readExternal(file!, externalLocations) }
        : {}),
    },
  );
  await writePlanned(target, [bytes]);
  if (args.options.json) {
    terminal.out(JSON.stringify({ file, output, ...report }, null, 2));
    return EXIT.ok;
  }
  terminal.out(formatTable(report.layers, COLUMNS, terminal));
  for (const { name, reason } of report.kept) {
    terminal.out(`${name}: kept, ${reason}`);
  }
  terminal.out("");
  terminal.out(
    `${report.layers.length} of ${
      report.layers.length + report.kept.length
    } BatchNormalizations recalibrated on ${report.samples} samples -> ${output}`,
  );
  return EXIT.ok;
}

/** The `recalibrate` sub-command. */
export const recalibrate: Command = {
  name: "recalibrate",
  summary: "Measures the statistics of an ONNX model anew, on other data",
  positionals: ["MODEL.onnx"],
  options: {
    data: {
      type: "string",
      value: "DIR_OR_NPY",
      help: "samples: a .npy array, or a folder of them",
    },
    output: {
      type: "string",
      short: "o",
      value: "OUT.onnx",
      help: "the file to write; may be MODEL.onnx",
    },
    mode: {
      type: "string",
      value: "MODE",
      help: "precise (default), sequential or blend",
    },
    weight: {
      type: "string",
      value: "W",
      help: "with blend: the weight of the old ones, default 0.5",
    },
    "batch-size": {
      type: "string",
      value: "N",
      help: "samples run together, default 32 or the input's",
    },
    unbiased: {
      type: "boolean",
      help: "write the variance with N - 1 instead of N",
    },
  },
  details:
    `Arrays have the rank of the model's input; those of a rank less are one sample.
precise: while it is measured, what is before a layer normalizes by the batch,
as in training; sequential: by its new statistics, one layer after another;
blend: as precise, mixed with the old statistics. "mean moved" is in old
standard deviations, "variance" is new by old.`,
  permissions: "--allow-read --allow-write",
  run,
};
