/**
 * `evenkeel verify`: every layer on every kernel against onnxruntime-web.
 *
 * @module
 */

import { ShapeError } from "../errors.ts";
import { formatAxis } from "../layer/axis.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import type { KernelName } from "../kernels/types.ts";
import { type Agreement, measureAgreement, ULP_LIMIT } from "./agreement.ts";
import { type Arguments, type Command, EXIT, UsageError } from "./command.ts";
import { type NamedLayer, openModel } from "./model.ts";
import { concreteShape, parseShape } from "./shapes.ts";
import { type Column, formatTable } from "./table.ts";
import type { Style, Terminal } from "./terminal.ts";

/** The trial run's batch and spatial extents, where the file leaves them open. */
const BATCH = 8;
const EXTENT = 28;

/** A layer and how it did. */
interface Row extends Agreement {
  readonly name: string;
  readonly axis: number | readonly number[];
  readonly channels: number;
  /** Null where there is nothing to compare with. */
  readonly agrees: boolean | null;
}

function agrees({ type, ulp, reason }: Agreement): boolean | null {
  if (reason !== undefined) return null;
  return Object.values(ulp).every((distance) =>
    distance === null || distance <= ULP_LIMIT[type]
  );
}

const verdictStyle = ({ agrees }: Row): Style | undefined =>
  agrees === null ? undefined : agrees ? "good" : "bad";

/** The closing line: what was compared, and how it went. */
function verdict(rows: readonly Row[]): string {
  const compared = rows.filter((row) => row.agrees !== null);
  const failed = compared.filter((row) => !row.agrees);
  const skipped = rows.length - compared.length;
  const result = failed.length === 0
    ? `${compared.length} of ${compared.length} layers agree with onnxruntime-web`
    : `${failed.length} of ${compared.length} layers DISAGREE with onnxruntime-web`;
  return skipped === 0 ? result : `${result}, ${skipped} not compared`;
}

/** How many times longer onnxruntime-web takes than a kernel. */
function speedup(row: Row, kernel: KernelName): string {
  const ours = row.milliseconds[kernel];
  const theirs = row.milliseconds["onnxruntime-web"];
  return ours === null || theirs === null
    ? "-"
    : `${(theirs / ours).toFixed(1)}x`;
}

const ulpCell = (kernel: KernelName) => (row: Row): string =>
  row.ulp[kernel] === null ? "-" : `${row.ulp[kernel]}`;

const COLUMNS: readonly Column<Row>[] = [
  { title: "layer", cell: (row) => row.name, shrink: true },
  { title: "axis", cell: (row) => formatAxis(row.axis), align: "right" },
  { title: "channels", cell: (row) => `${row.channels}`, align: "right" },
  { title: "type", cell: (row) => row.type },
  {
    title: "ULP js",
    cell: ulpCell("typed-array"),
    align: "right",
    style: verdictStyle,
  },
  {
    title: "ULP wasm",
    cell: ulpCell("wasm"),
    align: "right",
    style: verdictStyle,
  },
  {
    title: "ort/js",
    cell: (row) => speedup(row, "typed-array"),
    align: "right",
  },
  {
    title: "ort/wasm",
    cell: (row) => speedup(row, "wasm"),
    align: "right",
  },
];

/** Measures a layer; a shape that does not fit is the command line's fault. */
async function measure(
  name: string,
  layer: BatchNormalization,
  shape: readonly number[],
  given: boolean,
): Promise<Agreement> {
  try {
    return await measureAgreement(layer, shape);
  } catch (error) {
    if (!given || !(error instanceof ShapeError)) throw error;
    throw new UsageError(
      `Cannot use that --input-shape for layer "${name}": ${error.message}`,
      { cause: error },
    );
  }
}

/** Runs every layer and yields its row as soon as it is known. */
async function* measureAll(
  layers: readonly NamedLayer[],
  given: ReturnType<typeof parseShape> | undefined,
): AsyncGenerator<Row> {
  for (const { name, layer, shape } of layers) {
    const concrete = concreteShape(given ?? shape, BATCH, EXTENT);
    const agreement = await measure(name, layer, concrete, given !== undefined);
    yield {
      name,
      axis: layer.options.axis,
      channels: layer.movingMean.data.length,
      ...agreement,
      agrees: agrees(agreement),
    };
  }
}

async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const [file] = args.positionals;
  const { json, layer, "input-shape": shape } = args.options;
  const given = typeof shape === "string" ? parseShape(shape) : undefined;
  const { layers } = await openModel(file!, layer as string | undefined);
  const rows: Row[] = [];
  const progress = () =>
    terminal.progress(`verify: ${rows.length} of ${layers.length} layers`);
  progress();
  for await (const row of measureAll(layers, given)) {
    rows.push(row);
    progress();
  }
  if (json) {
    terminal.out(JSON.stringify({ file, layers: rows }, null, 2));
  } else if (rows.length === 0) {
    terminal.out(`${file}: no BatchNormalization layers`);
  } else {
    terminal.out(formatTable(rows, COLUMNS, terminal));
    terminal.out("");
    for (const reason of new Set(rows.map((row) => row.reason))) {
      if (reason) terminal.out(`- ${reason}`);
    }
    terminal.out(verdict(rows));
  }
  return rows.some((row) => row.agrees === false) ? EXIT.failed : EXIT.ok;
}

/** The `verify` sub-command. */
export const verify: Command = {
  name: "verify",
  summary: "Runs a Keras file's layers on both kernels and in onnxruntime-web",
  positionals: ["FILE"],
  options: {
    layer: { type: "string", value: "NAME", help: "only this layer" },
    "input-shape": {
      type: "string",
      value: "SHAPE",
      help: "extents with commas, ? for any: ?,28,28,64",
    },
  },
  details:
    `ULP is the largest difference to onnxruntime-web in units in the last place,
for the typed-array (js) and the WASM kernels; 0 means the same bits. Float32
must be 0, other types at most 1. ort/js and ort/wasm are how many times longer
onnxruntime-web takes, by medians on one thread. Exit code 1 means that a layer
disagrees. Extents that the file leaves open are 8 for the batch, else 28.`,
  permissions: "--allow-read",
  run,
};
