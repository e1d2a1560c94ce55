/**
 * Training on float32: the forward pass, and both passes.
 *
 * @module
 */

import { allocate, tensor } from "../../mod.ts";
import { resolveKernels } from "../../src/kernels/dispatch.ts";
import { layoutOf } from "../../src/kernels/layout.ts";
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
import { type BenchShape, countOf, nameOf } from "./shapes.ts";

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

/** What is copied, and what is computed on, to see what bounds training. */
const COPIED: BenchShape = { dims: [8, 64, 56, 56], axis: 1 };
const CACHED: BenchShape = { dims: [1, 8, 4096], axis: 1 };

/** How many copies of `COPIED` the arithmetic alone takes, per element. */
interface Arithmetic {
  readonly forward: string;
  readonly both: string;
}

/**
 * Measures the kernels on what a cache holds, against a copy of what it does
 * not hold.
 */
async function measureArithmetic(options: RoundOptions): Promise<Arithmetic> {
  using from = allocate(COPIED.dims);
  using to = allocate(COPIED.dims);
  (from.data as Float32Array).set(makeValues(COPIED, 1));
  (to.data as Float32Array).set(from.data);
  using x = allocate(CACHED.dims);
  using y = allocate(CACHED.dims);
  using dy = allocate(CACHED.dims);
  using dx = allocate(CACHED.dims);
  (x.data as Float32Array).set(makeValues(CACHED, 1));
  (dy.data as Float32Array).set(makeValues(CACHED, 2));
  const kernels = resolveKernels("wasm");
  const layout = layoutOf(CACHED.dims, [CACHED.axis]);
  const vector = (): Float64Array => new Float64Array(layout.channels).fill(1);
  const [mean, m2, sum, product, one] = [
    vector(),
    vector(),
    vector(),
    vector(),
    vector(),
  ];
  const forward = (): void => {
    kernels.moments("float32", layout, x.data, mean, m2);
    kernels.normalize("float32", layout, x.data, y.data, mean, one, one);
  };
  const backward = (): void => {
    kernels.gradientSums(
      "float32",
      layout,
      x.data,
      dy.data,
      mean,
      sum,
      product,
    );
    kernels.inputGradient(
      "float32",
      layout,
      x.data,
      dy.data,
      dx.data,
      mean,
      one,
      one,
      one,
    );
  };
  const [copy, alone, together] = await measureRounds([
    {
      name: "copy in WASM memory",
      run: () => (to.data as Float32Array).set(from.data),
    },
    { name: "forward", run: forward },
    {
      name: "forward and backward",
      run: () => {
        forward();
        backward();
      },
    },
  ], options);
  const repeated = countOf(COPIED) / countOf(CACHED);
  return {
    forward: formatRatio(repeated * ratio(alone!, copy!)),
    both: formatRatio(repeated * ratio(together!, copy!)),
  };
}

/** Training's forward pass. */
export async function forwardSection(
  shapes: readonly BenchShape[],
  options: RoundOptions,
): Promise<Section> {
  const rows: string[][] = [];
  for (const shape of shapes) rows.push(await forwardRow(shape, options));
  const { forward } = await measureArithmetic(options);
  return {
    title: "Training, forward",
    notes: [
      "`call` with `training` and `out`, moving statistics included; onnxruntime-web's operator with",
      "`training_mode` 1 between two Transposes where the channels are last. `/ copy` is how many times as long",
      "as a memory copy of the input, `ort / ...` how many times as long onnxruntime-web takes as we do.",
      "",
      "What bounds it: on elements that a cache holds, the arithmetic in float64 alone, moments and output,",
      `takes as long per element as ${forward} memory copies of ${
        nameOf(COPIED)
      }; reading and writing come on top of it.`,
      "Ten times as fast as onnxruntime-web would be less than that wherever `ort / copy` is less than ten",
      "times as much. Small tensors are bound by what a call costs beyond it, some 5 microseconds.",
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
  const { both } = await measureArithmetic(options);
  return {
    title: "Training, forward and backward",
    notes: [
      "`call` with `training`, then `backward`, both with `out`. The peer is onnxruntime-web on a graph of the operator",
      "and its gradients in primitive operators, as it has no operator for those; TensorFlow.js registers no gradients",
      "in what Deno loads of it.",
      "",
      `The arithmetic alone, measured as above, takes as long as ${both} memory copies.`,
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
