/**
 * What a call costs beyond its arithmetic.
 *
 * @module
 */

import { allocate, tensor } from "../../mod.ts";
import { foldStatistics } from "../../src/kernels/coefficients.ts";
import {
  HEAP,
  PAGE_BYTES,
  WasmInstance,
} from "../../src/kernels/wasm_instance.ts";
import { FULL_FORM } from "../../src/kernels/wasm.ts";
import { compileEmbedded } from "../../src/kernels/wasm_module.ts";
import { EPSILON, makeLayer, makeValues, makeWeights } from "./data.ts";
import { startOnnxBatchNormalization } from "./onnxruntime.ts";
import { formatRatio, formatTime, type Section } from "./report.ts";
import { measureRounds, median, ratio, type RoundOptions } from "./rounds.ts";
import { type BenchShape, channelsOf, countOf, nameOf } from "./shapes.ts";

/** The least that a call can do: fold the vectors, run the kernel once. */
function arithmetic(shape: BenchShape): () => void {
  const weights = makeWeights(shape);
  const channels = channelsOf(shape);
  const bytes = 4 * countOf(shape);
  const pages = Math.ceil((2 * bytes + 8 * channels) / PAGE_BYTES);
  const instance = new WasmInstance(
    compileEmbedded(FULL_FORM),
    pages * PAGE_BYTES,
  );
  const first = HEAP;
  const second = first + bytes;
  const a = new Float32Array(instance.buffer, second + bytes, channels);
  const b = new Float32Array(
    instance.buffer,
    second + bytes + 4 * channels,
    channels,
  );
  const inner = countOf(shape) / channels / shape.dims[0]!;
  const statistics = { ...weights, epsilon: EPSILON };
  return () => {
    foldStatistics(a, b, statistics);
    instance.exports.affine.float32(
      first,
      second,
      a.byteOffset,
      b.byteOffset,
      shape.dims[0]!,
      channels,
      inner,
    );
  };
}

/** The table over small shapes, channels first. */
export async function overheadSection(
  shapes: readonly BenchShape[],
  options: RoundOptions,
): Promise<Section> {
  const rows: string[][] = [];
  for (const shape of shapes) {
    const weights = makeWeights(shape);
    const x = makeValues(shape, 1);
    const input = tensor(x, shape.dims);
    const out = tensor(x.slice(), shape.dims);
    using inMemory = allocate(shape.dims);
    using outInMemory = allocate(shape.dims);
    const wasm = makeLayer(shape, weights, "wasm");
    const typed = makeLayer(shape, weights, "typed-array");
    await using peer = await startOnnxBatchNormalization(
      shape,
      weights,
      x,
      false,
    );
    const [least, memory, ordinary, arrays, onnx] = await measureRounds([
      { name: "arithmetic", run: arithmetic(shape) },
      {
        name: "WASM memory",
        run: () => void wasm.call(inMemory, { out: outInMemory }),
      },
      { name: "ordinary arrays", run: () => void wasm.call(input, { out }) },
      { name: "typed arrays", run: () => void typed.call(input, { out }) },
      { name: "onnxruntime-web", run: async () => void await peer.run() },
    ], options);
    const beyond = (timing: typeof least): string =>
      formatTime(
        median(
          timing!.rounds.map((time, i) =>
            Math.max(0, time - least!.rounds[i]!)
          ),
        ),
      );
    rows.push([
      nameOf(shape),
      formatTime(median(least!.rounds)),
      beyond(memory),
      beyond(ordinary),
      formatTime(median(arrays!.rounds)),
      formatRatio(ratio(onnx!, ordinary!)),
      formatRatio(ratio(onnx!, arrays!)),
    ]);
  }
  return {
    title: "Small calls",
    notes: [
      "The arithmetic is folding the four vectors and one call of the WASM function on them; what `call` with",
      "`out` takes beyond it is checking and bringing arrays into place.",
    ],
    header: [
      "shape",
      "arithmetic",
      "beyond it, WASM memory",
      "beyond it, ordinary",
      "typed, in all",
      "ort / ordinary",
      "ort / typed",
    ],
    rows,
  };
}
