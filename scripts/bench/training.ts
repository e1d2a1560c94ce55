/**
 * Training on float32: the forward pass, and both passes.
 *
 * @module
 */

import { allocate, tensor } from "../../mod.ts";
import { makeLayer, makeValues, makeWeights } from "./data.ts";
import {
  startOnnxBatchNormalization,
  startOnnxForwardBackward,
} from "./onnxruntime.ts";
import { formatRatio, formatTime, type Section } from "./report.ts";
import {
  type Candidate,
  measureRounds,
  median,
  ratio,
  type RoundOptions,
} from "./rounds.ts";
import { type BenchShape, nameOf } from "./shapes.ts";

const TRAINING = { training: true };

async function forwardRow(
  shape: BenchShape,
  options: RoundOptions,
): Promise<string[]> {
  const { dims } = shape;
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
  await using peer = await startOnnxBatchNormalization(shape, weights, x, true);
  const candidates: Candidate[] = [
    {
      name: "copy in WASM memory",
      run: () => (outInMemory.data as Float32Array).set(inMemory.data),
    },
    {
      name: "WASM memory",
      run: () => void wasm.call(inMemory, { ...TRAINING, out: outInMemory }),
    },
    {
      name: "ordinary arrays",
      run: () => void wasm.call(input, { ...TRAINING, out }),
    },
    {
      name: "typed arrays",
      run: () => void typed.call(input, { ...TRAINING, out }),
    },
    { name: "onnxruntime-web", run: async () => void await peer.run() },
  ];
  const [copy, memory, ordinary, arrays, onnx] = await measureRounds(
    candidates,
    options,
  );
  return [
    nameOf(shape),
    formatTime(median(memory!.rounds)),
    formatRatio(ratio(memory!, copy!)),
    formatRatio(ratio(onnx!, copy!)),
    formatRatio(ratio(onnx!, memory!)),
    formatRatio(ratio(onnx!, ordinary!)),
    formatRatio(ratio(onnx!, arrays!)),
  ];
}

async function bothRow(
  shape: BenchShape,
  options: RoundOptions,
): Promise<string[]> {
  const { dims } = shape;
  const x = makeValues(shape, 1);
  const dy = makeValues(shape, 2);
  const weights = makeWeights(shape);
  const wasm = makeLayer(shape, weights, "wasm");
  const typed = makeLayer(shape, weights, "typed-array");
  const input = tensor(x, dims);
  const gradient = tensor(dy, dims);
  const out = tensor(x.slice(), dims);
  const dx = tensor(x.slice(), dims);
  using inMemory = allocate(dims);
  using dxInMemory = allocate(dims);
  (dxInMemory.data as Float32Array).set(x);
  using gradientInMemory = allocate(dims);
  using outInMemory = allocate(dims);
  (inMemory.data as Float32Array).set(x);
  (gradientInMemory.data as Float32Array).set(dy);
  (outInMemory.data as Float32Array).set(x);
  await using peer = await startOnnxForwardBackward(shape, weights, x, dy);
  const candidates: Candidate[] = [
    {
      name: "copy in WASM memory",
      run: () => (outInMemory.data as Float32Array).set(inMemory.data),
    },
    {
      name: "WASM memory",
      run: () => {
        wasm.call(inMemory, { ...TRAINING, out: outInMemory });
        wasm.backward(gradientInMemory, { out: dxInMemory });
      },
    },
    {
      name: "ordinary arrays",
      run: () => {
        wasm.call(input, { ...TRAINING, out });
        wasm.backward(gradient, { out: dx });
      },
    },
    {
      name: "typed arrays",
      run: () => {
        typed.call(input, { ...TRAINING, out });
        typed.backward(gradient, { out: dx });
      },
    },
    { name: "onnxruntime-web", run: async () => void await peer.run() },
  ];
  const [copy, memory, ordinary, arrays, other] = await measureRounds(
    candidates,
    options,
  );
  return [
    nameOf(shape),
    formatTime(median(memory!.rounds)),
    formatRatio(ratio(memory!, copy!)),
    formatRatio(ratio(other!, memory!)),
    formatRatio(ratio(other!, ordinary!)),
    formatRatio(ratio(other!, arrays!)),
  ];
}

/** Training's forward pass. */
export async function forwardSection(
  shapes: readonly BenchShape[],
  options: RoundOptions,
): Promise<Section> {
  const rows: string[][] = [];
  for (const shape of shapes) rows.push(await forwardRow(shape, options));
  return {
    title: "Training, forward",
    notes: [
      "`call` with `training` and `out`, moving statistics included; onnxruntime-web's operator with",
      "`training_mode` 1 between two Transposes where the channels are last. `/ copy` is how many times as long",
      "as a memory copy of the input, `ort / ...` how many times as long onnxruntime-web takes as we do.",
    ],
    header: [
      "shape",
      "WASM memory",
      "/ copy",
      "ort / copy",
      "ort / WASM memory",
      "ort / ordinary",
      "ort / typed",
    ],
    rows,
  };
}

/** Training's forward and backward pass. */
export async function bothSection(
  shapes: readonly BenchShape[],
  options: RoundOptions,
): Promise<Section> {
  const rows: string[][] = [];
  for (const shape of shapes) rows.push(await bothRow(shape, options));
  return {
    title: "Training, forward and backward",
    notes: [
      "`call` with `training`, then `backward`, both with `out`. The peer is onnxruntime-web on a graph of the operator",
      "and its gradients in primitive operators, as it has no operator for those; TensorFlow.js registers no gradients",
      "in what Deno loads of it.",
    ],
    header: [
      "shape",
      "WASM memory",
      "/ copy",
      "ort / WASM memory",
      "ort / ordinary",
      "ort / typed",
    ],
    rows,
  };
}
