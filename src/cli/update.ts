/**
 * `evenkeel update`: what was trained on in Keras, written into the ONNX
 * model that was made of it before.
 *
 * @module
 */

import { FormatError, OptionError } from "../errors.ts";
import {
  type KerasPair,
  type KerasPairing,
  pairOpened,
  type UnpairedLayer,
  updateOpened,
} from "../keras/update_onnx.ts";
import type { PairOptions } from "../keras/update_onnx/options.ts";
import { externalLocations } from "../onnx/open.ts";
import { type Arguments, type Command, EXIT, UsageError } from "./command.ts";
import { isSameFile } from "./files.ts";
import { decodeOnnxFile, outputOf, writeOnnx } from "./onnx_files.ts";
import { readConfig } from "./source.ts";
import { type Column, formatTable, wrapWords } from "./table.ts";
import type { Terminal } from "./terminal.ts";

/** What the command line asks for. */
interface Task {
  readonly file: string;
  readonly from: string;
  readonly options: PairOptions;
  /** Undefined for a dry run. */
  readonly output: string | undefined;
  readonly json: boolean;
}

const BY: Readonly<Record<KerasPair["by"], string>> = {
  map: "--map",
  values: "old values",
  name: "name",
  "tensor name": "tensor name",
  order: "order",
};

const COLUMNS: readonly Column<KerasPair>[] = [
  { title: "Layer", cell: ({ layer }) => layer, shrink: true },
  {
    title: "Channels",
    cell: ({ channels }) => String(channels),
    align: "right",
  },
  {
    title: "Form",
    cell: ({ form, into }) => into === undefined ? form : `in ${into}`,
    shrink: true,
  },
  { title: "Node", cell: ({ nodes }) => nodes[0]!, shrink: true },
  { title: "Found by", cell: ({ by }) => BY[by] },
];

/** `layer=node`, `layer=node,node` or, to leave it out, `layer=`. */
function readMap(texts: readonly string[]): NonNullable<PairOptions["map"]> {
  const map = new Map<string, string[] | null>();
  for (const text of texts) {
    const at = text.indexOf("=");
    const layer = text.slice(0, Math.max(0, at));
    if (layer === "") {
      throw new UsageError(
        `Cannot use --map ${text}: expected LAYER=NODE, or LAYER= to leave it out`,
      );
    }
    if (map.has(layer)) {
      throw new UsageError(
        `Cannot use --map ${text}: the layer "${layer}" is there twice; several nodes go behind one =, with commas`,
      );
    }
    const nodes = text.slice(at + 1);
    map.set(layer, nodes === "" ? null : nodes.split(","));
  }
  return map;
}

async function readTask(args: Arguments): Promise<Task> {
  const [file] = args.positionals as [string];
  const { from, was, config, json, "dry-run": dryRun } = args.options;
  if (typeof from !== "string") {
    throw new UsageError(
      "Expected --from WEIGHTS.keras; see evenkeel update --help",
    );
  }
  const output = dryRun ? undefined : outputOf("update", args.options.output);
  for (const source of [from, was]) {
    if (
      output !== undefined && typeof source === "string" &&
      await isSameFile(output, source)
    ) {
      throw new UsageError(
        `Cannot write to ${output}: it is the Keras file itself`,
      );
    }
  }
  return {
    file,
    from,
    output,
    json: json === true,
    options: {
      map: readMap(args.lists.map ?? []),
      ...(typeof was === "string" ? { was } : {}),
      ...(typeof config === "string"
        ? { load: { config: await readConfig(config) } }
        : {}),
    },
  };
}

function words(text: string): string {
  return `  ${wrapWords(text.split(" "), 2)}`;
}

function unpairedText({ layer, channels, reason }: UnpairedLayer): string {
  return words(`${layer} (${channels} channels): ${reason}`);
}

/** Prints a pairing. */
function print(
  { file, from, output, json }: Task,
  pairing: KerasPairing,
  terminal: Terminal,
): void {
  if (json) {
    const { pairs, unpaired, leftOut, kept, notices } = pairing;
    terminal.out(JSON.stringify(
      {
        file,
        from,
        ...(output !== undefined && unpaired.length === 0 ? { output } : {}),
        pairs,
        unpaired,
        leftOut,
        kept,
        notices,
      },
      null,
      2,
    ));
    return;
  }
  if (pairing.pairs.length > 0) {
    terminal.out(formatTable(pairing.pairs, COLUMNS, terminal));
  }
  if (pairing.unpaired.length > 0) {
    terminal.out("");
    terminal.out("Not found, or not without doubt:");
    terminal.out(pairing.unpaired.map(unpairedText).join("\n"));
  }
  for (const layer of pairing.leftOut) {
    terminal.out(words(`${layer}: left out`));
  }
  for (const notice of pairing.notices) {
    terminal.err(`warning: ${notice}`);
  }
}

/** The error for layers that have no node, or several. */
function unpairedError(unpaired: readonly UnpairedLayer[]): OptionError {
  const [{ layer, candidates }] = unpaired as [UnpairedLayer];
  return new OptionError(
    `${unpaired.length} of the layers ${
      unpaired.length === 1 ? "is" : "are"
    } not found without doubt, nothing is written: give the Keras file that the model was made of with --was, or say which node it is with --map, such as --map ${layer}=${
      candidates[0] ?? ""
    }`,
  );
}

/** Lets an error say which file it is about. */
async function named<T>(task: Task, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { file, from } = task;
    if (
      !(error instanceof FormatError) ||
      [file, from].some((path) => error.message.includes(path))
    ) {
      throw error;
    }
    throw new FormatError(`${file} from ${from}: ${error.message}`, {
      cause: error,
    });
  }
}

async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const task = await readTask(args);
  const { file, from, output, options } = task;
  const model = await decodeOnnxFile(file);
  let isSeen = false;
  const see = (pairing: KerasPairing): void => {
    isSeen = true;
    print(task, pairing, terminal);
    if (pairing.unpaired.length > 0) throw unpairedError(pairing.unpaired);
  };
  try {
    if (output === undefined) {
      see(await named(task, () => pairOpened(model, from, options)));
      return EXIT.ok;
    }
    const { pieces } = await named(
      task,
      () => updateOpened(model, from, options, see),
    );
    await writeOnnx(file, output, pieces, externalLocations(model.scopes));
  } catch (error) {
    // Before there is a pairing, it is what --map says that is wrong.
    if (!(error instanceof OptionError) || isSeen) throw error;
    throw new UsageError(error.message, { cause: error });
  }
  if (!task.json) terminal.out(`\n${file} -> ${output}`);
  return EXIT.ok;
}

/** The `update` sub-command. */
export const update: Command = {
  name: "update",
  summary: "Writes a retrained Keras model's layers into its ONNX model",
  positionals: ["MODEL.onnx"],
  options: {
    from: {
      type: "string",
      value: "WEIGHTS.keras",
      help: "the Keras file with the new weights",
    },
    output: {
      type: "string",
      short: "o",
      value: "OUT.onnx",
      help: "the file to write",
    },
    was: {
      type: "string",
      value: "OLD.keras",
      help: "the Keras file that the model was made of",
    },
    map: {
      type: "string",
      multiple: true,
      value: "LAYER=NODE",
      help: "where a layer is; can be given several times",
    },
    config: {
      type: "string",
      value: "CONFIG.json",
      help: "the Keras model, for files of weights only",
    },
    "dry-run": { type: "boolean", help: "show what is found, write nothing" },
  },
  details:
    `Converters leave few BatchNormalization nodes: most layers are a Mul and an Add,
or part of the kernel before them. Each layer is found in its form by, in this
order: --map; the values that --was gives; the names of nodes; the order of the
layers. If a layer is not found without doubt, nothing is written, and the exit
code is 3. LAYER= leaves a layer out; a layer that the model uses several times
takes LAYER=NODE,NODE.

Only BatchNormalizations are written, and kernels that they are folded into. If
other layers were trained too, convert the model again; with --was, the command
notices.`,
  permissions: "--allow-read --allow-write",
  run,
};
