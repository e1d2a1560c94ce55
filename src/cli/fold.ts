/**
 * `evenkeel fold`: BatchNormalizations into their neighbours.
 *
 * @module
 */

import { type Arguments, type Command, EXIT } from "./command.ts";
import { openOnnxFile, outputOf, writeOnnx } from "./onnx_files.ts";
import type { Terminal } from "./terminal.ts";

async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const [file] = args.positionals;
  const output = outputOf("fold", args.options.output);
  const { model } = await openOnnxFile(file!);
  const { bytes, folded, kept } = model.fold();
  await writeOnnx(file!, output, [bytes], model.externalLocations);
  if (args.options.json) {
    terminal.out(
      JSON.stringify(
        { file, output, bytes: bytes.length, folded, kept },
        null,
        2,
      ),
    );
    return EXIT.ok;
  }
  for (const { name, operator, into, direction, through } of folded) {
    const way = through.length > 0 ? `, through ${through.join(", ")}` : "";
    terminal.out(
      `${name}: folded into the ${operator} "${into}" ${direction} it${way}`,
    );
  }
  for (const { name, reason } of kept) terminal.out(`${name}: kept, ${reason}`);
  terminal.out(
    `${folded.length} of ${
      folded.length + kept.length
    } BatchNormalizations folded -> ${output} (${bytes.length} bytes)`,
  );
  return EXIT.ok;
}

/** The `fold` sub-command. */
export const fold: Command = {
  name: "fold",
  summary: "Folds BatchNormalizations of an ONNX model into their neighbours",
  positionals: ["MODEL.onnx"],
  options: {
    output: {
      type: "string",
      short: "o",
      value: "OUT.onnx",
      help: "the file to write; may be MODEL.onnx",
    },
  },
  details:
    `A Conv, ConvTranspose, Gemm or MatMul before a BatchNormalization, or a Conv,
Gemm or MatMul after it, takes it in where its weights are constant and no one
else sees what is between them. What stays is listed with the reason.`,
  permissions: "--allow-read --allow-write",
  run,
};
