/**
 * `evenkeel convert`: a Keras layer as an ONNX model.
 *
 * @module
 */

import { buildOnnx } from "../onnx/build.ts";
import { type Arguments, type Command, EXIT, UsageError } from "./command.ts";
import { writeWhole } from "./files.ts";
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
  if (!/^\d+$/.test(String(text))) {
    throw new UsageError(`Cannot use --opset ${text}: expected an integer`);
  }
  return Number(text);
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

function shapeOf(
  { name, shape, certain }: NamedLayer,
  given: InputShape | undefined,
): InputShape {
  if (given) return given;
  if (certain) return shape;
  throw new UsageError(
    `Cannot tell the input shape of layer "${name}" from the file: pass it, such as --input-shape ${
      formatShape(shape)
    }`,
  );
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
  // All are built before the first is written.
  const models = layers.map((named) => {
    const inputShape = shapeOf(named, given);
    return {
      layer: named.name,
      file: outputPath(output, named.name),
      inputShape: formatShape(inputShape),
      model: buildOnnx(named.layer, {
        inputShape,
        ...(opset === undefined ? {} : { opset }),
        ...(form === undefined ? {} : { form }),
      }),
    };
  });
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
  summary: "Writes a BatchNormalization layer of a Keras file as an ONNX model",
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
  details: "",
  permissions: "--allow-read --allow-write",
  run,
};
