/**
 * Inference on float32, against a memory copy and the peers.
 *
 * @module
 */

import { allocate, tensor } from "../../mod.ts";
import { makeLayer, makeValues, makeWeights } from "./data.ts";
import { moveInMemory } from "./floor.ts";
import { startOnnxBatchNormalization } from "./onnxruntime.ts";
import { formatRatio, formatTime, type Section } from "./report.ts";
import {
  type Candidate,
  measureRounds,
  median,
  ratio,
  type RoundOptions,
} from "./rounds.ts";
import { type BenchShape, countOf, nameOf } from "./shapes.ts";
import { tfjsInference } from "./tfjs.ts";

/** One row: a shape on all that can run it. */
async function row(
  shape: BenchShape,
  options: RoundOptions,
): Promise<string[]> {
  const { dims, axis } = shape;
  const x = makeValues(shape, 1);
  const weights = makeWeights(shape);
  const wasm = makeLayer(shape, weights, "wasm");
  const typed = makeLayer(shape, weights, "typed-array");
  const input = tensor(x, dims);
  const out = tensor(x.slice(), dims);
  using inMemory = allocate(dims);
  using outInMemory = allocate(dims);
  (inMemory.data as Float32Array).set(x);
  (outInMemory.data as Float32Array).set(x);
  await using peer = await startOnnxBatchNormalization(
    shape,
    weights,
    x,
    false,
  );
  const candidates: Candidate[] = [
    {
      name: "copy",
      run: () => (out.data as Float32Array).set(x),
    },
    {
      name: "copy in WASM memory",
      run: () => (outInMemory.data as Float32Array).set(inMemory.data),
    },
    {
      name: "load and store in WASM memory",
      run: moveInMemory(inMemory.data, outInMemory.data),
    },
    {
      name: "WASM memory",
      run: () => void wasm.call(inMemory, { out: outInMemory }),
    },
    { name: "ordinary arrays", run: () => void wasm.call(input, { out }) },
    { name: "typed arrays", run: () => void typed.call(input, { out }) },
    { name: "onnxruntime-web", run: async () => void await peer.run() },
    // Its kernels take their channels last only.
    ...axis === dims.length - 1
      ? (["wasm", "cpu"] as const).map((backend) => ({
        name: `tfjs-${backend}`,
        run: tfjsInference(backend, shape, weights, x),
      }))
      : [],
  ];
  const [copy, copyInMemory, move, memory, ordinary, arrays, onnx, ...tfjs] =
    await measureRounds(candidates, options);
  return [
    nameOf(shape),
    (countOf(shape) * 4 / 2 ** 20).toPrecision(2),
    formatTime(median(copyInMemory!.rounds)),
    formatTime(median(memory!.rounds)),
    formatRatio(ratio(move!, copyInMemory!)),
    formatRatio(ratio(memory!, copyInMemory!)),
    formatRatio(ratio(ordinary!, copy!)),
    formatRatio(ratio(arrays!, copy!)),
    formatRatio(ratio(onnx!, memory!)),
    formatRatio(ratio(onnx!, ordinary!)),
    formatRatio(ratio(onnx!, arrays!)),
    ...[0, 1].map((i) =>
      tfjs[i] ? formatRatio(ratio(tfjs[i], ordinary!)) : "-"
    ),
  ];
}

/** The table over some shapes. */
export async function inferenceSection(
  title: string,
  shapes: readonly BenchShape[],
  options: RoundOptions,
): Promise<Section> {
  const rows: string[][] = [];
  for (const shape of shapes) rows.push(await row(shape, options));
  return {
    title,
    notes: [
      "`BatchNormalization.call` with `out`. Columns 5 to 8: how many times as long as a memory copy of the",
      "same bytes, between arrays of the same kind; column 5 is a WASM loop that loads and stores all of it and",
      "does nothing else, which is the least that any kernel in WASM memory can take. The others: how many times",
      "as long a peer takes as we do (onnxruntime-web's `session.run`; TensorFlow.js from an array to an array,",
      "against our ordinary arrays; it runs channels-last tensors only).",
    ],
    header: [
      "shape",
      "MB",
      "copy",
      "WASM memory",
      "load + store / copy",
      "/ copy",
      "ordinary / copy",
      "typed / copy",
      "ort / WASM memory",
      "ort / ordinary",
      "ort / typed",
      "tfjs-wasm / ordinary",
      "tfjs-cpu / ordinary",
    ],
    rows,
  };
}
