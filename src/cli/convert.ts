/**
 * `evenkeel convert`: layers in another format.
 *
 * @module
 */

import type { KerasFormat } from "../keras/contents/keras_format.ts";
import type { InputShape } from "../keras/model/least_shape.ts";
import { type Arguments, type Command, EXIT, UsageError } from "./command.ts";
import {
  convertInto,
  NOT_INTO,
  ONLY_INTO,
  type Replaced,
} from "./convert_into.ts";
import {
  buildFile,
  type Built,
  checkOutput,
  sizeOf,
  WITH_SHAPES,
  writeBuilt,
} from "./convert_keras.ts";
import { formatNotes, sourceNotes } from "./convert_notes.ts";
import { buildLayer, ONNX_ONLY, readOnnxChoices } from "./convert_onnx.ts";
import { type NamedLayer, openModel } from "./model.ts";
import { type OutputFormat, outputFormat } from "./output_format.ts";
import {
  checkShapeNames,
  formatShape,
  givenShape,
  type GivenShapes,
  readShapes,
  SHAPE_OPTION,
} from "./shapes.ts";
import {
  NET_FOR_URLS,
  readSourceOptions,
  SOURCE_DETAILS,
  SOURCE_OPTIONS,
} from "./source.ts";
import type { Terminal } from "./terminal.ts";

/** Where a layer's name goes in `-o`. */
const PLACEHOLDER = "{layer}";

/** What the command line asks for. */
interface Task {
  readonly file: string;
  readonly output: string;
  readonly layers: readonly NamedLayer[];
  /** The source's format. */
  readonly format: KerasFormat;
}

/** Layers that go to one file, and its path. */
interface Part {
  readonly layers: readonly NamedLayer[];
  readonly path: string;
}

/** The path of a layer's file; names of nested layers have a `/`. */
function outputPath(output: string, name: string): string {
  return output.replaceAll(PLACEHOLDER, name.replace(/[^\w.-]+/g, "_"));
}

/** The input shapes by layer, given or from the file. */
function shapesOf(
  layers: readonly NamedLayer[],
  given: GivenShapes,
): Map<string, InputShape> {
  const shapes = new Map<string, InputShape>();
  const open: NamedLayer[] = [];
  for (const each of layers) {
    const shape = givenShape(given, each);
    if (!shape && !each.certain) open.push(each);
    shapes.set(each.name, shape ?? each.shape);
  }
  if (open.length > 0) {
    const [{ name, shape }] = open as [NamedLayer];
    throw new UsageError(
      `Cannot tell the rank of the input of ${
        open.map(({ name }) => `"${name}"`).join(", ")
      } from the file: pass it, with ? for extents that vary, such as --layer ${name} --input-shape ${
        formatShape(shape)
      } if that is right`,
    );
  }
  return shapes;
}

/** Which layers go where: one to a file of ONNX, or where its name is asked for. */
async function partsOf(
  { file, output, layers }: Task,
  format: OutputFormat,
): Promise<Part[]> {
  const isSplit = output.includes(PLACEHOLDER);
  if (format === "onnx" && layers.length > 1 && !isSplit) {
    throw new UsageError(
      `${file} has ${layers.length} BatchNormalization layers: choose one with --layer NAME (${
        layers.map(({ name }) => name).join(", ")
      }), or write a file for each with -o 'bn_${PLACEHOLDER}.onnx'`,
    );
  }
  const parts = isSplit
    ? layers.map((each) => ({
      layers: [each],
      path: outputPath(output, each.name),
    }))
    : [{ layers, path: output }];
  for (const { path } of parts) {
    const same = parts.filter((each) => each.path === path);
    if (same.length > 1) {
      throw new UsageError(
        `Cannot write the layers ${
          same.map(({ layers }) => `"${layers[0]!.name}"`).join(" and ")
        } to one file, ${path}: choose one with --layer`,
      );
    }
    await checkOutput(path, file);
  }
  return parts;
}

function refuse(
  args: Arguments,
  names: readonly string[],
  reason: string,
): void {
  for (const name of names) {
    if (args.options[name] === undefined && !args.lists[name]?.length) continue;
    throw new UsageError(`Cannot use --${name}: ${reason}`);
  }
}

/** Builds everything before anything is written. */
async function buildParts(
  task: Task,
  format: OutputFormat,
  args: Arguments,
): Promise<{ part: Part; built: Built; shape: InputShape | undefined }[]> {
  const choices = readOnnxChoices(args);
  const given = readShapes(args.lists["input-shape"]);
  checkShapeNames(given, task.layers);
  const parts = await partsOf(task, format);
  const shapes = WITH_SHAPES.includes(format)
    ? shapesOf(task.layers, given)
    : new Map<string, InputShape>();
  const all = [];
  for (const part of parts) {
    const { path, layers } = part;
    const [only] = layers as [NamedLayer];
    const own = layers.filter(({ name }) => shapes.has(name))
      .map(({ name }) => [name, shapes.get(name)!] as const);
    const shape = shapes.get(only.name);
    const built = format === "onnx"
      ? {
        path,
        content: buildLayer(
          only,
          { inputShape: shape!, ...choices },
          given,
        ),
      }
      : await buildFile(layers, format, new Map(own), path);
    all.push({ part, built, shape: format === "onnx" ? shape : undefined });
  }
  return all;
}

async function convertTo(
  task: Task,
  args: Arguments,
  terminal: Terminal,
): Promise<number> {
  const format = await outputFormat(task.output, args.options.format);
  refuse(args, ONLY_INTO, "it goes with --into");
  refuse(args, ["map"], "it goes with --into");
  if (format !== "onnx") refuse(args, ONNX_ONLY, `${format} has no such thing`);
  if (!WITH_SHAPES.includes(format)) {
    refuse(args, ["input-shape"], `${format} has no shapes of inputs`);
  }
  const all = await buildParts(task, format, args);
  for (const { built } of all) await writeBuilt(built);
  const notes = [
    ...sourceNotes(task.layers, task.format),
    ...formatNotes(task.layers, format),
  ];
  const written = all.map(({ part, built, shape }) => ({
    file: built.path,
    layers: part.layers.map(({ name }) => name),
    ...(shape ? { inputShape: formatShape(shape) } : {}),
    bytes: sizeOf(built),
  }));
  if (args.options.json) {
    const { file } = task;
    terminal.out(JSON.stringify({ file, format, written, notes }, null, 2));
    return EXIT.ok;
  }
  for (const { file, layers, inputShape, bytes } of written) {
    terminal.out(
      `${layers.join(", ")} -> ${file} (${
        inputShape ? `input ${inputShape}` : format
      }, ${bytes} bytes)`,
    );
  }
  printNotes(notes, terminal);
  return EXIT.ok;
}

function printNotes(notes: readonly string[], terminal: Terminal): void {
  for (const note of notes) terminal.err(`note: ${note}`);
}

function printReplaced(
  { pairs, kept, output, bytes }: Replaced,
  existing: string,
  terminal: Terminal,
): void {
  for (const { from, to, by } of pairs) {
    terminal.out(`${from.key} -> ${to.key} (by ${by})`);
  }
  terminal.out(
    `${pairs.length} of ${
      pairs.length + kept.length
    } BatchNormalizations of ${existing} replaced -> ${output} (${bytes} bytes)`,
  );
}

async function replaceIn(
  existing: string,
  task: Task,
  args: Arguments,
  terminal: Terminal,
): Promise<number> {
  refuse(args, NOT_INTO, "--into keeps the format of the existing file");
  refuse(args, ["input-shape"], "--into keeps all but the weights");
  await checkOutput(task.output, task.file);
  const replaced = await convertInto({ ...task, existing }, args);
  if (args.options.json) {
    const { pairs, kept, output, bytes, notes } = replaced;
    terminal.out(JSON.stringify(
      {
        file: task.file,
        into: existing,
        output,
        bytes,
        pairs: pairs.map(({ from, to, by }) => ({
          from: from.key,
          to: to.key,
          by,
        })),
        kept,
        notes,
      },
      null,
      2,
    ));
    return EXIT.ok;
  }
  printReplaced(replaced, existing, terminal);
  printNotes(replaced.notes, terminal);
  return EXIT.ok;
}

async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const [file] = args.positionals as [string];
  const { output, into } = args.options;
  if (typeof output !== "string") {
    throw new UsageError("Expected -o OUT; see evenkeel convert --help");
  }
  // What is wrong with the line shows before anything is read.
  if (typeof into !== "string") {
    await outputFormat(output, args.options.format);
  }
  readOnnxChoices(args);
  readShapes(args.lists["input-shape"]);
  const { model, layers } = await openModel(file, {
    ...await readSourceOptions(args),
    only: args.lists.layer ?? [],
  });
  if (layers.length === 0) {
    throw new UsageError(`${file} has no BatchNormalization layers to convert`);
  }
  const task: Task = { file, output, layers, format: model.format };
  return typeof into === "string"
    ? await replaceIn(into, task, args, terminal)
    : await convertTo(task, args, terminal);
}

/** The `convert` sub-command. */
export const convert: Command = {
  name: "convert",
  summary: "Writes layers in another format, or their weights into a file",
  positionals: ["FILE"],
  options: {
    output: {
      type: "string",
      short: "o",
      value: "OUT",
      help: `the file to write; ${PLACEHOLDER} is the layer's name`,
    },
    format: {
      type: "string",
      value: "FORMAT",
      help: "if OUT's name does not tell it",
    },
    layer: {
      type: "string",
      multiple: true,
      value: "NAME",
      help: "only this layer; can be given several times",
    },
    "input-shape": SHAPE_OPTION,
    opset: { type: "string", value: "N", help: "the ONNX opset, 7 to 26" },
    form: {
      type: "string",
      value: "op|affine",
      help: "BatchNormalization (op, default) or Mul and Add",
    },
    into: {
      type: "string",
      value: "EXISTING",
      help: "replace this file's weights, keep all else",
    },
    map: {
      type: "string",
      multiple: true,
      value: "NAME=NAME",
      help: "layer of FILE and its name in EXISTING",
    },
    ...SOURCE_OPTIONS,
    ...Object.fromEntries(
      Object.entries(SOURCE_OPTIONS).map(([name, option]) => [
        `into-${name}`,
        { ...option, help: "the same for EXISTING" },
      ]),
    ),
  },
  details: `${SOURCE_DETAILS}

OUT's name tells its format: .onnx, .npz, .safetensors, .weights.h5, .keras,
.json, or for TensorFlow.js a folder's, with / at its end, or its model.json.
--format takes onnx, npz, safetensors, weights.h5, keras, json and tfjs. An ONNX
model has one layer, other files have all.

--into writes a copy of EXISTING, in its own format, with the weights of FILE.
Layers are paired by --map, by name, or by the last part of the name where that
is clear; otherwise nothing is written.

Files without a whole model do not tell the rank of a layer's input: pass
--input-shape for formats that need it. The file is written beside itself under
a temporary name and then renamed, which needs the permission for its folder.`,
  permissions: `--allow-read --allow-write${NET_FOR_URLS}`,
  run,
};
