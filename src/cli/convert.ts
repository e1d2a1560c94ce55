/**
 * `evenkeel convert`: a Keras layer as an ONNX model.
 *
 * @module
 */

import { ShapeError } from "../errors.ts";
import { buildOnnx } from "../onnx/build.ts";
import type { BuildOnnxOptions } from "../onnx/build_options.ts";
import { NEWEST_OPSET, OLDEST_OPSET } from "../onnx/versions.ts";
import { type Arguments, type Command, EXIT, UsageError } from "./command.ts";
import { isSameFile, writeWhole } from "./files.ts";
import { type NamedLayer, openModel } from "./model.ts";
import { formatShape, type InputShape, parseShape } from "./shapes.ts";
import type { Terminal } from "./terminal.ts";

/** Where a layer's name goes in `-o`. */
const PLACEHOLDER = "{layer}";

/** What was written; the rows of the JSON. */
interface Written {
  readonly layer: string;
  readonly file: string;
  readonly inputShape: string;
  readonly bytes: number;
}

function readOpset(text: string | boolean | undefined): number | undefined {
  if (text === undefined) return undefined;
  const opset = /^\d+$/.test(String(text)) ? Number(text) : NaN;
  if (!(opset >= OLDEST_OPSET && opset <= NEWEST_OPSET)) {
    throw new UsageError(
      `Cannot use --opset ${text}: expected an integer from ${OLDEST_OPSET} to ${NEWEST_OPSET}`,
    );
  }
  return opset;
}

function readForm(
  text: string | boolean | undefined,
): "op" | "affine" | undefined {
  if (text === undefined || text === "op" || text === "affine") return text;
  throw new UsageError(`Cannot use --form ${text}: expected op or affine`);
}

/** The path of a layer's file; names of nested layers have a `/`. */
function outputPath(output: string, name: string): string {
  return output.replaceAll(PLACEHOLDER, name.replace(/[^\w.-]+/g, "_"));
}

/** The input shapes, given or from the file. */
function shapesOf(
  layers: readonly NamedLayer[],
  given: InputShape | undefined,
): InputShape[] {
  const open = given ? [] : layers.filter(({ certain }) => !certain);
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
  return layers.map(({ shape }) => given ?? shape);
}

/** Where each layer goes; all different, and none of them the input. */
async function outputsOf(
  layers: readonly NamedLayer[],
  output: string,
  input: string,
): Promise<string[]> {
  const paths = layers.map(({ name }) => outputPath(output, name));
  const twice = paths.find((path, i) => paths.indexOf(path) !== i);
  if (twice !== undefined) {
    const both = layers.filter((_, i) => paths[i] === twice);
    throw new UsageError(
      `Cannot write the layers ${
        both.map(({ name }) => `"${name}"`).join(" and ")
      } to one file, ${twice}: choose one with --layer`,
    );
  }
  for (const path of paths) {
    if (await isSameFile(path, input)) {
      throw new UsageError(
        `Cannot write to ${path}: it is the Keras file itself`,
      );
    }
  }
  return paths;
}

/** Builds a layer; a shape that does not fit is the command line's fault. */
function build(
  { name, layer }: NamedLayer,
  options: BuildOnnxOptions,
  given: boolean,
): Uint8Array {
  try {
    return buildOnnx(layer, options);
  } catch (error) {
    if (!given || !(error instanceof ShapeError)) throw error;
    throw new UsageError(
      `Cannot use that --input-shape for layer "${name}": ${error.message}`,
      { cause: error },
    );
  }
}

async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const [file] = args.positionals;
  const { output, layer: only, "input-shape": shapeText } = args.options;
  if (typeof output !== "string") {
    throw new UsageError(
      "Expected -o OUT.onnx; see evenkeel convert --help",
    );
  }
  const opset = readOpset(args.options.opset);
  const form = readForm(args.options.form);
  const given = typeof shapeText === "string"
    ? parseShape(shapeText)
    : undefined;
  const { layers } = await openModel(file!, only as string | undefined);
  if (layers.length === 0) {
    throw new UsageError(`${file} has no BatchNormalization layers to convert`);
  }
  if (layers.length > 1 && !output.includes(PLACEHOLDER)) {
    throw new UsageError(
      `${file} has ${layers.length} BatchNormalization layers: choose one with --layer NAME (${
        layers.map(({ name }) => name).join(", ")
      }), or write a file for each with -o 'bn_${PLACEHOLDER}.onnx'`,
    );
  }
  const shapes = shapesOf(layers, given);
  const paths = await outputsOf(layers, output, file!);
  // All are built before the first is written.
  const models = layers.map((named, i) => ({
    layer: named.name,
    file: paths[i]!,
    inputShape: formatShape(shapes[i]!),
    model: build(named, {
      inputShape: shapes[i]!,
      ...(opset === undefined ? {} : { opset }),
      ...(form === undefined ? {} : { form }),
    }, given !== undefined),
  }));
  const written: Written[] = [];
  for (const { model, ...rest } of models) {
    await writeWhole(rest.file, model);
    written.push({ ...rest, bytes: model.length });
  }
  if (args.options.json) {
    terminal.out(JSON.stringify({ file, written }, null, 2));
  } else {
    for (const { layer, file, inputShape, bytes } of written) {
      terminal.out(
        `${layer} -> ${file} (input ${inputShape}, ${bytes} bytes)`,
      );
    }
  }
  return EXIT.ok;
}

/** The `convert` sub-command. */
export const convert: Command = {
  name: "convert",
  summary: "Writes a Keras file's BatchNormalization layer as an ONNX model",
  positionals: ["FILE"],
  options: {
    output: {
      type: "string",
      short: "o",
      value: "OUT.onnx",
      help: `the file to write; ${PLACEHOLDER} is the layer's name`,
    },
    layer: {
      type: "string",
      value: "NAME",
      help: "only this layer; needed if there are several",
    },
    opset: { type: "string", value: "N", help: "the ONNX opset, 7 to 26" },
    form: {
      type: "string",
      value: "op|affine",
      help: "BatchNormalization (op, default), or Mul and Add",
    },
    "input-shape": {
      type: "string",
      value: "SHAPE",
      help: "extents with commas, ? for any: ?,28,28,64",
    },
  },
  details:
    `.keras files tell the shape of each layer's input; for other files, pass the
rank with --input-shape. The file is written beside itself under a temporary
name and then renamed, which needs the permission for its folder.`,
  permissions: "--allow-read --allow-write",
  run,
};
