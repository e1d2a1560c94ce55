/**
 * How long, and how much memory, an update of a large ONNX model takes beside
 * copying its file: 500 MB with all tensors inside, and 1 GB with external
 * data.
 *
 * Run with `deno run --allow-read --allow-write --allow-run scripts/bench/large_models.ts`.
 * It writes 3 GB to a temporary folder and removes them.
 *
 * @module
 */

import { encodeFields } from "../../src/onnx/edit.ts";
import { externalFiles } from "../../src/onnx/external_files.ts";
import { DataType, writeNode, writeTensor } from "../../src/onnx/model.ts";
import { openOnnx } from "../../src/onnx/onnx_model.ts";
import { constant } from "../../src/onnx/step.ts";
import type { WireWriter } from "../../src/onnx/wire.ts";
import { writeWhole } from "../../src/cli/files.ts";

const MEGABYTE = 2 ** 20;
const CHANNELS = 1024;

/** A tensor whose elements are in `weights.bin`. */
function external(
  writer: WireWriter,
  name: string,
  count: number,
  offset: number,
): void {
  writer.message(5, (tensor) => {
    tensor.integers(1, [count]);
    tensor.integer(2, DataType.float32);
    tensor.string(8, name);
    const entries = {
      location: "weights.bin",
      offset: `${offset}`,
      length: `${count * 4}`,
    };
    for (const [key, value] of Object.entries(entries)) {
      tensor.message(13, (entry) => {
        entry.string(1, key);
        entry.string(2, value);
      });
    }
    tensor.integer(14, 1);
  });
}

/** A model with one BatchNormalization and a tensor of many megabytes. */
function model(megabytes: number, isExternal: boolean): Uint8Array {
  const vectors = ["scale", "B", "mean", "variance"];
  const data = new Float32Array(CHANNELS).fill(1);
  return encodeFields((writer) => {
    writer.integer(1, 8);
    writer.message(7, (graph) => {
      graph.message(1, (node) =>
        writeNode(node, {
          name: "bn",
          opType: "BatchNormalization",
          input: ["x", ...vectors],
          output: ["y"],
          attribute: [],
        }));
      vectors.forEach((name, i) => {
        if (isExternal) external(graph, name, CHANNELS, i * CHANNELS * 4);
        else {
          graph.message(5, (tensor) =>
            writeTensor(
              tensor,
              constant(name, { type: "float32", dims: [CHANNELS], data }),
            ));
        }
      });
      const count = megabytes * MEGABYTE / 4;
      if (isExternal) external(graph, "large", count, 4 * CHANNELS * 4);
      else {
        const large = new Float32Array(count);
        graph.message(5, (tensor) =>
          writeTensor(
            tensor,
            constant("large", { type: "float32", dims: [count], data: large }),
          ));
      }
    });
    writer.message(8, (opset) => opset.integer(2, 17));
  });
}

/** Runs this script again for one step, so that memory is that step's own. */
async function measure(
  ...args: string[]
): Promise<{ ms: number; megabytes: number }> {
  const { stdout, success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-lock", "-A", import.meta.filename!, ...args],
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`${args} failed`);
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** The most memory that the process has had, on Linux. */
function peakMegabytes(): number {
  const status = Deno.readTextFileSync("/proc/self/status");
  return Number(/VmHWM:\s*(\d+)/.exec(status)![1]) / 1024;
}

const STEPS: Record<string, (folder: string) => Promise<void>> = {
  // deno-lint-ignore require-await
  idle: async (folder) => {
    Deno.readFileSync(`${folder}/model.onnx`);
  },
  copy: async (folder) => {
    // As a program would that has to read it: through memory.
    await writeWhole(
      `${folder}/copy.onnx`,
      Deno.readFileSync(`${folder}/model.onnx`),
    );
    try {
      await Deno.copyFile(`${folder}/weights.bin`, `${folder}/copy.bin`);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  },
  update: async (folder) => {
    const model = openOnnx(Deno.readFileSync(`${folder}/model.onnx`), {
      externalData: await externalFiles(folder),
    });
    const mean = new Float32Array(CHANNELS).fill(2);
    await writeWhole(
      `${folder}/copy.onnx`,
      model.updatePieces({ bn: { mean } }),
    );
  },
};

const [step, folder] = Deno.args;
if (step) {
  const start = performance.now();
  await STEPS[step]!(folder!);
  const ms = performance.now() - start;
  console.log(JSON.stringify({ ms, megabytes: peakMegabytes() }));
} else {
  for (const [megabytes, isExternal] of [[500, false], [1000, true]] as const) {
    const folder = await Deno.makeTempDir();
    try {
      Deno.writeFileSync(`${folder}/model.onnx`, model(megabytes, isExternal));
      if (isExternal) {
        using file = Deno.openSync(`${folder}/weights.bin`, {
          write: true,
          create: true,
        });
        file.truncateSync(megabytes * MEGABYTE + 4 * CHANNELS * 4);
      }
      const runs: Record<string, { ms: number; megabytes: number }[]> = {};
      for (let round = 0; round < 5; round++) {
        for (const name of Object.keys(STEPS)) {
          (runs[name] ??= []).push(await measure(name, folder));
        }
      }
      const median = (values: number[]) =>
        values.sort((a, b) => a - b)[values.length >> 1]!;
      const of = (name: string) => ({
        ms: median(runs[name]!.map(({ ms }) => ms)),
        megabytes: median(runs[name]!.map(({ megabytes }) => megabytes)),
      });
      const [idle, copy, update] = [of("idle"), of("copy"), of("update")];
      console.log(
        `${megabytes} MB ${
          isExternal ? "of external data" : "in the model"
        }: update ${(update.ms / copy.ms).toFixed(2)} times the copy (${
          update.ms.toFixed(0)
        } and ${copy.ms.toFixed(0)} ms), ${
          (update.megabytes - idle.megabytes).toFixed(1)
        } MB of memory beyond the file's own buffer`,
      );
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }
}
