/**
 * What a call costs beyond its arithmetic.
 *
 * @module
 */

import { allocate, tensor } from "../../mod.ts";
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
  const channels = channelsOf(shape);
  const bytes = 4 * countOf(shape);
  const { gamma, beta, mean, variance } = makeWeights(shape);
  // Six vectors, of which folding touches whole SIMD vectors.
  const vectorBytes = 16 * Math.ceil(channels / 4);
  const pages = Math.ceil((2 * bytes + 6 * vectorBytes) / PAGE_BYTES);
  const instance = new WasmInstance(
    compileEmbedded(FULL_FORM),
    pages * PAGE_BYTES,
  );
  const first = HEAP;
  const second = first + bytes;
  const pointers = [0, 1, 2, 3, 4, 5].map((i) =>
    second + bytes + vectorBytes * i
  ) as [number, number, number, number, number, number];
  [gamma, beta, mean, variance].forEach((values, i) => {
    new Float32Array(instance.buffer, pointers[i]!, channels).set(values);
  });
  const [gammas, betas, means, variances, a, b] = pointers;
  const inner = countOf(shape) / channels / shape.dims[0]!;
  return () => {
    instance.exports.fold(
      gammas,
      betas,
      means,
      variances,
      a,
      b,
      channels,
      EPSILON,
    );
    instance.exports.affine.float32(
      first,
      second,
      a,
      b,
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
    const [least, memory, ordinary, copies, arrays, onnx] = await measureRounds(
      [
        { name: "arithmetic", run: arithmetic(shape) },
        {
          name: "WASM memory",
          run: () => void wasm.call(inMemory, { out: outInMemory }),
        },
        { name: "ordinary arrays", run: () => void wasm.call(input, { out }) },
        {
          name: "two copies",
          run: () => {
            (outInMemory.data as Float32Array).set(x);
            (out.data as Float32Array).set(outInMemory.data);
          },
        },
        { name: "typed arrays", run: () => void typed.call(input, { out }) },
        { name: "onnxruntime-web", run: async () => void await peer.run() },
      ],
      options,
    );
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
      formatTime(median(copies!.rounds)),
      formatTime(median(arrays!.rounds)),
      formatRatio(ratio(onnx!, ordinary!)),
      formatRatio(ratio(onnx!, arrays!)),
    ]);
  }
  return {
    title: "Small calls",
    notes: [
      "The arithmetic is two calls of WASM functions on what is in their memory, folding the four vectors and",
      "applying them; what `call` with `out` takes beyond it is checking and bringing arrays into place: for",
      "ordinary arrays, that is a copy into WASM memory and one out of it.",
    ],
    header: [
      "shape",
      "arithmetic",
      "beyond it, WASM memory",
      "beyond it, ordinary",
      "of which two copies",
      "typed, in all",
      "ort / ordinary",
      "ort / typed",
    ],
    rows,
  };
}
