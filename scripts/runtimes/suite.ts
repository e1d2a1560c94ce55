/**
 * The smoke suite that every runtime runs: what the package promises, in the
 * package's own words, with nothing but web standards around it.
 *
 * A feature gives a digest of the bits that it computed, which the runner
 * compares with those of the sources on Deno: what the unit tests check there
 * then holds everywhere.
 *
 * @module
 */

import type * as Package from "../../mod.ts";
import type * as Inference from "../../inference.ts";
import type * as Threads from "../../threads.ts";

/** The public surface of the package. */
export type Evenkeel = typeof Package;

/** What the suite runs with. */
export interface Setup {
  /** The package. */
  readonly evenkeel: Evenkeel;
  /** Another copy of it in the same process. */
  readonly second: Evenkeel;
  /** Its entry for inference alone. */
  readonly inference: typeof Inference;
  /** Its entry for threads. */
  readonly threads: typeof Threads;
  /** `evenkeel.wasm`, compiled. */
  readonly module: WebAssembly.Module;
  /** The test data by name. */
  readonly files: Readonly<Record<string, Uint8Array>>;
}

/** What came of a feature. */
export interface Outcome {
  /** Such as `session`; see {@linkcode FEATURES}. */
  readonly feature: string;
  /**
   * `ok`; `refused`, with an error of ours that says what to do; or `failed`.
   */
  readonly state: "ok" | "refused" | "failed";
  /** A digest of the bits, or the error's message. */
  readonly detail: string;
}

type Tensor = Package.Tensor;
type Layer = Package.BatchNormalization;

/** The setup, and where bits are put that belong to the digest. */
interface Run extends Setup {
  add(...tensors: readonly { readonly data: ArrayBufferView }[]): void;
  addText(text: string): void;
}

/** FNV-1a, 64 bits. */
class Digest {
  #hash = 0xcbf29ce484222325n;

  add(bytes: Uint8Array): void {
    for (const byte of bytes) {
      this.#hash = BigInt.asUintN(
        64,
        (this.#hash ^ BigInt(byte)) * 0x100000001b3n,
      );
    }
  }

  get text(): string {
    return this.#hash.toString(16).padStart(16, "0");
  }
}

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`Expected that ${what}`);
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView) {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function checkSame(a: ArrayBufferView, b: ArrayBufferView, what: string): void {
  const [first, second] = [bytesOf(a), bytesOf(b)];
  check(
    first.length === second.length &&
      first.every((byte, i) => byte === second[i]),
    `${what} has the same bits`,
  );
}

/** Values of many sizes that are the same everywhere. */
function values(count: number, seed: number): Float64Array {
  let state = seed >>> 0;
  const made = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    // The constants of Numerical Recipes.
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    made[i] = (state / 2 ** 32 - 0.5) * 2 ** (state % 9 - 3);
  }
  return made;
}

/** A layer with statistics, and an input of any type. */
function sample(
  { evenkeel: { BatchNormalization, tensor } }: Setup,
  dims: readonly number[],
  type: Package.ElementType,
): { layer: Layer; x: Tensor } {
  const channels = dims.at(-1)!;
  const count = dims.reduce((a, b) => a * b);
  const vector = (seed: number, map = (value: number) => value) =>
    tensor(Float32Array.from(values(channels, seed), map), [channels]);
  const layer = new BatchNormalization({ axis: -1 });
  layer.setWeights([
    vector(1),
    vector(2),
    vector(3),
    vector(4, (value) => Math.abs(value) + 0.25),
  ]);
  const input = values(count, 5);
  const x = type === "float32"
    ? tensor(Float32Array.from(input), dims)
    : type === "float64"
    ? tensor(input, dims)
    // Any bits but those with all exponent bits, which are no numbers.
    : tensor(
      Uint16Array.from(input, (_, i) => (i * 2654435761 >>> 7) & 0xbbff),
      dims,
      type,
    );
  return { layer, x };
}

const SHAPES: readonly (readonly number[])[] = [[7, 3], [2, 5, 5, 17]];
const TYPES = ["float32", "float64", "float16", "bfloat16"] as const;

function infer(run: Run): void {
  const { evenkeel: { setKernels } } = run;
  for (const dims of SHAPES) {
    for (const type of TYPES) {
      const { layer, x } = sample(run, dims, type);
      setKernels("wasm");
      const wasm = layer.call(x);
      setKernels("typed-array");
      const typed = layer.call(x);
      checkSame(wasm.data, typed.data, `${type} ${dims}`);
      run.add(wasm);
    }
  }
  // Where the engine has no Float16Array, the bits serve.
  const native = (globalThis as {
    Float16Array?: new (buffer: ArrayBufferLike) => ArrayBufferView;
  }).Float16Array;
  if (native) {
    const { layer, x } = sample(run, [7, 3], "float16");
    const same = new native(x.data.buffer) as unknown as Float16Array;
    const y = layer.call({ ...x, data: same });
    checkSame(y.data, layer.call(x).data, "a Float16Array");
  }
}

function inferAlone(run: Run): void {
  const { layer, x } = sample(run, [7, 3], "float32");
  const { FrozenBatchNormalization, setKernels } = run.inference;
  setKernels("wasm");
  const frozen = new FrozenBatchNormalization({
    gamma: layer.gamma!,
    beta: layer.beta!,
    movingMean: layer.movingMean,
    movingVariance: layer.movingVariance,
  }, { epsilon: layer.effectiveEpsilon });
  const y = frozen.call(x);
  checkSame(y.data, layer.call(x).data, "the entry for inference");
  run.add(y);
}

function inject(run: Run): void {
  const { evenkeel: { setKernels }, module } = run;
  const { layer, x } = sample(run, [7, 3], "float32");
  setKernels("wasm", { module });
  run.add(layer.call(x));
}

function fallBack(run: Run): void {
  const { evenkeel: { setKernels }, module } = run;
  const { layer, x } = sample(run, [7, 3], "float32");
  setKernels("typed-array");
  const expected = layer.call(x);
  const told: string[] = [];
  const onFallback = (reason: Error) => void told.push(reason.message);
  const { Instance } = WebAssembly;
  WebAssembly.Instance = class {
    constructor() {
      throw new WebAssembly.RuntimeError("no instances during this test");
    }
  } as unknown as typeof Instance;
  try {
    setKernels("auto", { module, onFallback });
    for (let i = 0; i < 2; i++) {
      checkSame(layer.call(x).data, expected.data, "the fallback");
    }
  } finally {
    WebAssembly.Instance = Instance;
  }
  check(
    told.length === 1 && told[0]!.includes("no instances during this test"),
    `the fallback is told once with its reason, got ${JSON.stringify(told)}`,
  );
  setKernels("auto", { module, onFallback });
  checkSame(layer.call(x).data, expected.data, "the second try");
  check(told.length === 1, "the second try starts");
  run.add(expected);
}

function twoCopies(run: Run): void {
  const { evenkeel, second, module } = run;
  check(
    evenkeel.BatchNormalization !== second.BatchNormalization,
    "there are two copies",
  );
  const first = sample(run, [2, 5, 5, 17], "float32");
  const other = sample({ ...run, evenkeel: second }, [7, 3], "float32");
  evenkeel.setKernels("wasm");
  const before = [first.layer.call(first.x), other.layer.call(other.x)];
  // What one chooses, the other does not notice.
  second.setKernels("typed-array");
  evenkeel.setKernels("wasm", { module });
  using allocated = evenkeel.allocate([2, 5, 5, 17]);
  check(
    allocated.data.buffer.byteLength > allocated.data.byteLength,
    "the first copy still allocates in WASM memory",
  );
  using own = second.allocate([7, 3]);
  check(
    own.data.buffer.byteLength === own.data.byteLength,
    "the second copy allocates no WASM memory",
  );
  allocated.data.set(first.x.data as Float32Array);
  const foreign = sample({ ...run, evenkeel: second }, [2, 5, 5, 17], "float32")
    .layer.call(allocated);
  checkSame(foreign.data, before[0]!.data, "a tensor of the other copy");
  second.setKernels("wasm");
  checkSame(first.layer.call(first.x).data, before[0]!.data, "the first copy");
  checkSame(other.layer.call(other.x).data, before[1]!.data, "the second copy");
  run.add(...before);
}

async function load(
  run: Run,
  source: Uint8Array | Map<string, Uint8Array>,
): Promise<void> {
  const { evenkeel } = run;
  evenkeel.setKernels("auto");
  const model = await evenkeel.loadKeras(source);
  check(model.batchNormalizations.size > 0, "the model has layers");
  for (const [name, layer] of model.batchNormalizations) {
    run.addText(name);
    for (const weight of layer.getWeights()) run.add(weight);
  }
}

function fileNamed({ files }: Setup, name: string): Uint8Array {
  const file = files[name];
  check(file !== undefined, `the test data has ${name}`);
  return file;
}

function filesBelow({ files }: Setup, folder: string): Map<string, Uint8Array> {
  return new Map(
    Object.entries(files).filter(([name]) => name.startsWith(folder))
      .map(([name, bytes]) => [name.slice(folder.length), bytes]),
  );
}

function train(run: Run): void {
  const { Adam, setKernels, tensor, trainStep } = run.evenkeel;
  const results = (["wasm", "typed-array"] as const).map((kernels) => {
    setKernels(kernels);
    const { layer, x } = sample(run, [2, 5, 5, 17], "float32");
    const optimizer = new Adam({ learningRate: 0.125 });
    const gradient = (y: Tensor): Tensor =>
      tensor(Float32Array.from(y.data as Float32Array, (v) => v / 64), y.dims);
    const steps = Array.from(
      { length: 3 },
      () => trainStep(layer, x, { optimizer, gradient }),
    );
    return [...steps.flatMap(({ y, dx }) => [y, dx]), ...layer.getWeights()];
  });
  results[0]!.forEach((tensor, i) =>
    checkSame(tensor.data, results[1]![i]!.data, `result ${i} of training`)
  );
  run.add(...results[0]!);
}

async function trainOnThreads(run: Run): Promise<void> {
  const dims = [16, 32, 32, 8];
  const count = dims.reduce((a, b) => a * b);
  await using pool = await run.threads.startThreads({
    threads: 2,
    memoryBytes: 2 ** 23,
  });
  check(pool.threads === 2, "two threads run");
  const results = (["wasm", pool] as const).map((kernels) => {
    const layer = new run.evenkeel.BatchNormalization({ axis: -1, kernels });
    const [x, dy] = [pool.allocate(dims), pool.allocate(dims)];
    const [out, dx] = [pool.allocate(dims), pool.allocate(dims)];
    x.data.set(Float32Array.from(values(count, 5)));
    dy.data.set(Float32Array.from(values(count, 6)));
    layer.call(x, { training: true, out });
    const { dgamma, dbeta } = layer.backward(dy, { out: dx });
    return [out, dx, dgamma!, dbeta!, ...layer.getWeights()];
  });
  results[0]!.forEach((tensor, i) =>
    checkSame(tensor.data, results[1]![i]!.data, `result ${i} on threads`)
  );
  run.add(...results[0]!);
}

function updateOnnx(run: Run): void {
  const { openOnnx } = run.evenkeel;
  const model = openOnnx(fileNamed(run, "fold_conv_bias.onnx"));
  const { name, mean } = model.batchNormalizations[0]!;
  const updated = model.update(
    new Map([[name, { mean: Float32Array.from(mean!.data, (v) => v + 1) }]]),
  );
  const { bytes, folded, kept } = openOnnx(updated).fold();
  check(folded.length === 1 && kept.length === 0, "the node is folded");
  run.add({ data: updated }, { data: bytes });
}

async function runSession(run: Run): Promise<void> {
  const { buildOnnx, createSession, setKernels } = run.evenkeel;
  setKernels("auto");
  const { layer, x } = sample(run, [2, 5, 5, 17], "float32");
  const model = buildOnnx(layer, { inputShape: [null, 5, 5, 17], opset: 17 });
  await using session = await createSession(model);
  const [input] = session.inputNames;
  const [output] = session.outputNames;
  const outputs = await session.run({ [input!]: x });
  const y = outputs[output!]!.data as Float32Array;
  checkSame(y, layer.call(x).data, "the session's output");
  run.add({ data: y });
}

/** What is run, and what it is called in the table. */
const FEATURE_LIST: readonly (readonly [
  name: string,
  run: (run: Run) => void | Promise<void>,
])[] = [
  ["WASM and typed arrays, same bits", infer],
  ["inference entry", inferAlone],
  ["own WASM module", inject],
  ["fallback told, retried", fallBack],
  ["two copies", twoCopies],
  ["TensorFlow.js model", (run) => load(run, filesBelow(run, "tfjs/"))],
  [".npz", (run) => load(run, fileNamed(run, "weights.npz"))],
  [".keras", (run) => load(run, fileNamed(run, "model.keras"))],
  ["training step", train],
  ["threads", trainOnThreads],
  ["ONNX update, fold", updateOnnx],
  ["session", runSession],
];

/** The names of the features, in the table's order. */
export const FEATURES: readonly string[] = FEATURE_LIST.map(([name]) => name);

function describe(error: unknown): string {
  return error instanceof Error
    ? `${error.name}: ${error.message}`
    : `${error}`;
}

/** Runs all features; one that fails does not keep the others from running. */
export async function runSuite(setup: Setup): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const [feature, test] of FEATURE_LIST) {
    const digest = new Digest();
    const run: Run = {
      ...setup,
      add: (...tensors) =>
        tensors.forEach(({ data }) => digest.add(bytesOf(data))),
      addText: (text) => digest.add(new TextEncoder().encode(text)),
    };
    try {
      await test(run);
      outcomes.push({ feature, state: "ok", detail: digest.text });
    } catch (error) {
      const { EvenkeelError } = setup.evenkeel;
      const refused = error instanceof EvenkeelError &&
        error.code === "EVENKEEL_UNSUPPORTED";
      outcomes.push({
        feature,
        state: refused ? "refused" : "failed",
        detail: describe(error),
      });
    } finally {
      setup.evenkeel.setKernels("auto");
      setup.second.setKernels("auto");
    }
  }
  return outcomes;
}
