/**
 * `evenkeel verify`: every layer on every kernel against onnxruntime-web.
 *
 * @module
 */

import { ShapeError } from "../errors.ts";
import { formatAxis } from "../layer/axis.ts";
import type { KerasLayer, KerasModel } from "../keras/load/types.ts";
import type { KernelName } from "../kernels/types.ts";
import { type Agreement, measureAgreement, ULP_LIMIT } from "./agreement.ts";
import { type Arguments, type Command, EXIT } from "./command.ts";
import { type NamedLayer, openModel } from "./model.ts";
import {
  checkShapeNames,
  concreteShape,
  givenShape,
  type GivenShapes,
  readShapes,
  SHAPE_OPTION,
  shapeError,
} from "./shapes.ts";
import {
  NET_FOR_URLS,
  readSourceOptions,
  SOURCE_DETAILS,
  SOURCE_OPTIONS,
} from "./source.ts";
import { type Column, formatTable, wrapWords } from "./table.ts";
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
function verdict(rows: readonly Row[], unloaded: number): string {
  const compared = rows.filter((row) => row.agrees !== null);
  const failed = compared.filter((row) => !row.agrees);
  const skipped = rows.length - compared.length + unloaded;
  const result = compared.length === 0
    ? "No layer is compared with onnxruntime-web"
    : failed.length === 0
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
  named: NamedLayer,
  given: GivenShapes,
): Promise<Agreement> {
  const shape = givenShape(given, named);
  const concrete = concreteShape(shape ?? named.shape, BATCH, EXTENT);
  try {
    return await measureAgreement(named.layer, concrete);
  } catch (error) {
    if (!shape || !(error instanceof ShapeError)) throw error;
    throw shapeError(named.name, error);
  }
}

/** Runs every layer and yields its row as soon as it is known. */
async function* measureAll(
  layers: readonly NamedLayer[],
  given: GivenShapes,
): AsyncGenerator<Row> {
  for (const named of layers) {
    const { name, layer } = named;
    const agreement = await measure(named, given);
    yield {
      name,
      axis: layer.options.axis,
      channels: layer.movingMean.data.length,
      ...agreement,
      agrees: agrees(agreement),
    };
  }
}

/** What there is to know about a layer beside its numbers. */
interface Remark {
  readonly name: string;
  readonly reason: string;
}

/** Layers of the model that are, or may be, BatchNormalizations and could not be loaded. */
function notLoaded({ layers }: KerasModel): Remark[] {
  const left = layers.filter(({ loaded, reason }) =>
    !loaded && reason !== undefined
  );
  const isOne = ({ className }: KerasLayer) =>
    className === "BatchNormalization";
  const others = left.filter((each) => !isOne(each)).map(({ key }) => key);
  return [
    ...left.filter(isOne).map(({ key, reason }) => ({
      name: key,
      reason: reason!,
    })),
    ...others.map((name) => ({ name, reason: MAY_BE })),
  ];
}

const MAY_BE =
  "not loaded, but may be a BatchNormalization: evenkeel inspect tells why";

/** What an ONNX model says about its nodes, such as that one is in training. */
function remarks({ format, layers }: KerasModel): Remark[] {
  return layers.flatMap(({ key, loaded, reason }) =>
    format === "onnx" && loaded && reason !== undefined
      ? [{ name: key, reason }]
      : []
  );
}

/** Remarks, those of the same text in one. */
function printRemarks(remarks: readonly Remark[], terminal: Terminal): void {
  for (const reason of new Set(remarks.map(({ reason }) => reason))) {
    const names = remarks.filter((each) => each.reason === reason)
      .map(({ name }) => name);
    terminal.out(
      `- ${wrapWords(`${names.join(", ")}: ${reason}`.split(" "), 2)}`,
    );
  }
}

async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const [file] = args.positionals;
  const given = readShapes(args.lists["input-shape"]);
  const only = args.lists.layer ?? [];
  const { model, layers } = await openModel(file!, {
    ...await readSourceOptions(args),
    only,
  });
  checkShapeNames(given, layers);
  const left = only.length > 0 ? [] : notLoaded(model);
  const rows: Row[] = [];
  const progress = () =>
    terminal.progress(`verify: ${rows.length} of ${layers.length} layers`);
  progress();
  for await (const row of measureAll(layers, given)) {
    rows.push(row);
    progress();
  }
  if (args.options.json) {
    terminal.out(
      JSON.stringify({ file, layers: rows, notLoaded: left }, null, 2),
    );
  } else if (rows.length + left.length === 0) {
    terminal.out(`${file}: no BatchNormalization layers`);
  } else {
    if (rows.length > 0) {
      terminal.out(formatTable(rows, COLUMNS, terminal));
      terminal.out("");
    }
    for (const reason of new Set(rows.map((row) => row.reason))) {
      if (reason) terminal.out(`- ${reason}`);
    }
    printRemarks([...remarks(model), ...left], terminal);
    terminal.out(verdict(rows, left.length));
  }
  return rows.some((row) => row.agrees === false) ? EXIT.failed : EXIT.ok;
}

/** The `verify` sub-command. */
export const verify: Command = {
  name: "verify",
  summary: "Runs a file's layers on both kernels and in onnxruntime-web",
  positionals: ["FILE"],
  options: {
    layer: {
      type: "string",
      multiple: true,
      value: "NAME",
      help: "only this layer; can be given several times",
    },
    "input-shape": SHAPE_OPTION,
    ...SOURCE_OPTIONS,
  },
  details: `${SOURCE_DETAILS}

ULP is the largest difference to onnxruntime-web in units in the last place,
for the typed-array (js) and the WASM kernels; 0 means the same bits. Float32
must be 0, other types at most 1. ort/js and ort/wasm are how many times longer
onnxruntime-web takes, by medians on one thread. Exit code 1 means that a layer
disagrees. Extents that the file leaves open are 8 for the batch, else 28.`,
  permissions: `--allow-read${NET_FOR_URLS}`,
  run,
};
