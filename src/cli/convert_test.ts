// `evenkeel convert` between all formats, and into existing files.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { loadKeras } from "../keras/load.ts";
import { writeKeras } from "../keras/write.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import { type Tensor, widen } from "../tensor.ts";
import { KERAS, run } from "./testing/run.ts";

const TESTDATA = new URL("../../testdata/", import.meta.url).pathname;
const SEQUENTIAL = `${KERAS}tfk_sequential.h5`;

/** A folder that is there for one test. */
async function inFolder(
  test: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Everything in a folder, by name. */
function contentOf(folder: string): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    if (!isDirectory) {
      files.set(name, Deno.readFileSync(`${folder}/${name}`));
      continue;
    }
    for (const [inner, bytes] of contentOf(`${folder}/${name}`)) {
      files.set(`${name}/${inner}`, bytes);
    }
  }
  return files;
}

async function layersOf(
  source: string,
): Promise<Map<string, BatchNormalization>> {
  return (await loadKeras(source)).batchNormalizations;
}

async function weightsOf(source: string): Promise<Record<string, Tensor[]>> {
  return Object.fromEntries(
    [...await layersOf(source)].map(([name, layer]) => [
      name,
      layer.getWeights(),
    ]),
  );
}

async function ok(...args: string[]): Promise<string> {
  const { code, out, err } = await run(...args);
  assertEquals(code, 0, err);
  return out;
}

/** A line that fails, and leaves what was there as it was. */
async function fails(
  folder: string,
  args: readonly string[],
  code: number,
  message: RegExp,
): Promise<void> {
  const before = contentOf(folder);
  const result = await run(...args);
  assertMatch(result.err, message);
  assertEquals({ code: result.code, out: result.out }, { code, out: "" });
  assertEquals(contentOf(folder), before);
}

/** What each format's output is called. */
const OUTPUTS: Readonly<Record<string, string>> = {
  onnx: "{layer}.onnx",
  npz: "x.npz",
  safetensors: "x.safetensors",
  "weights.h5": "x.weights.h5",
  keras: "x.keras",
  json: "x.json",
  tfjs: "x/",
};
const WITH_SHAPES = ["onnx", "keras", "tfjs"];

for (const from of Object.keys(OUTPUTS)) {
  Deno.test(`the weights of ${from} come through every format`, () =>
    inFolder(async (folder) => {
      const expected = await weightsOf(SEQUENTIAL);
      const names = Object.keys(expected);
      assertEquals(names.length, 2);
      await ok("convert", SEQUENTIAL, "-o", `${folder}/${OUTPUTS[from]}`);
      for (const to of Object.keys(OUTPUTS)) {
        const shape = WITH_SHAPES.includes(to) ? ["--input-shape", "?,?"] : [];
        // An ONNX model has one layer.
        const sources = from === "onnx" ? names.map((name) => [name]) : [names];
        for (const [at, inside] of sources.entries()) {
          const source = OUTPUTS[from]!.replace("{layer}", inside[0]!);
          const target = `${folder}/${to}-${at}`;
          await Deno.mkdir(target);
          await ok(
            ...["convert", `${folder}/${source}`],
            ...["-o", `${target}/${OUTPUTS[to]}`, ...shape],
          );
          const results = to === "onnx"
            ? inside.map((name) => `${name}.onnx`)
            : [OUTPUTS[to]!];
          const found: Record<string, Tensor[]> = {};
          for (const file of results) {
            Object.assign(found, await weightsOf(`${target}/${file}`));
          }
          assertEquals(
            found,
            Object.fromEntries(inside.map((name) => [name, expected[name]!])),
            `${from} to ${to}`,
          );
        }
      }
    }));
}

Deno.test("every element type comes through formats that have it", () =>
  inFolder(async (folder) => {
    const source = `${KERAS}k3_dtypes.keras`;
    const expected = await weightsOf(source);
    const types = Object.values(expected).map(([first]) => first!.type);
    assertEquals([...new Set(types)].sort(), [
      "bfloat16",
      "float16",
      "float32",
      "float64",
    ]);
    for (const format of ["npz", "safetensors", "keras"]) {
      const output = `${folder}/x.${format}`;
      await ok("convert", source, "-o", output);
      assertEquals(await weightsOf(output), expected, format);
    }
    // HDF5 has the 16-bit types' values as float32, which is exact.
    await ok("convert", source, "-o", `${folder}/x.weights.h5`);
    const floats = await weightsOf(`${folder}/x.weights.h5`);
    for (const [name, weights] of Object.entries(expected)) {
      assertEquals(floats[name]!.map(widen), weights.map(widen), name);
    }
    // TensorFlow.js has no other type; that is said.
    const { code, err } = await run("convert", source, "-o", `${folder}/js/`);
    assertEquals(code, 0);
    assertMatch(err, /note: \S+: TensorFlow\.js has float32 only/);
  }));

Deno.test("convert does what a script does with writeKeras", () =>
  inFolder(async (folder) => {
    const layers = await layersOf(SEQUENTIAL);
    for (const format of ["npz", "safetensors", "json"] as const) {
      await ok("convert", SEQUENTIAL, "-o", `${folder}/x`, "--format", format);
      assertEquals(
        Deno.readFileSync(`${folder}/x`),
        await writeKeras(layers, { format }),
      );
    }
    const report = JSON.parse(
      await ok("convert", SEQUENTIAL, "-o", `${folder}/x.npz`, "--json"),
    );
    assertEquals(report.format, "npz");
    assertEquals(report.written[0].layers, [...layers.keys()]);
    assertEquals(
      report.written[0].bytes,
      Deno.statSync(`${folder}/x.npz`).size,
    );
    assertEquals(report.notes, [
      "batch_normalization_1: npz has variables only, a reader must be told momentum=0.9",
    ]);
  }));

Deno.test("layers are chosen, one or several", () =>
  inFolder(async (folder) => {
    const source = `${KERAS}tfk_nested.h5`;
    const all = await weightsOf(source);
    const chosen = ["outer_bn", "tail_seq/seq_bn"];
    await ok(
      ...["convert", source, "-o", `${folder}/x.npz`],
      ...chosen.flatMap((name) => ["--layer", name]),
    );
    assertEquals(
      await weightsOf(`${folder}/x.npz`),
      Object.fromEntries(chosen.map((name) => [name, all[name]!])),
    );
    // One file each, in any format.
    await ok("convert", source, "-o", `${folder}/{layer}.safetensors`);
    assertEquals(
      await weightsOf(`${folder}/tail_seq_seq_bn.safetensors`),
      { "tail_seq/seq_bn": all["tail_seq/seq_bn"]! },
    );
  }));

Deno.test("--input-shape gets the channels of each layer, and can be one's own", () =>
  inFolder(async (folder) => {
    const npz = `${folder}/x.npz`;
    await ok("convert", SEQUENTIAL, "-o", npz);
    await ok(
      ...["convert", npz, "-o", `${folder}/x.keras`, "--input-shape", "?,?,?"],
      ...["--input-shape", "batch_normalization_1=?,4"],
    );
    const { layers } = await loadKeras(`${folder}/x.keras`);
    assertEquals(
      layers.filter(({ loaded }) => loaded).map(({ inputShape }) => inputShape),
      [[null, null, 6], [null, 4]],
    );
  }));

Deno.test("--config and --layers tell what a file does not", () =>
  inFolder(async (folder) => {
    const torch = `${TESTDATA}keras_arrays/torch_names.safetensors`;
    const output = `${folder}/x.safetensors`;
    const layers = '{"features/1": {"axis": 1, "epsilon": 1e-5}}';
    await ok("convert", torch, "-o", output, "--layers", layers);
    const [layer] = [...(await layersOf(output)).values()];
    assertEquals([layer!.options.axis, layer!.options.epsilon], [1, 1e-5]);
    await fails(
      folder,
      ["convert", torch, "-o", output],
      2,
      /has no BatchNormalization layers to convert/,
    );
    await fails(
      folder,
      ["convert", torch, "-o", output, "--layer", "features/1"],
      2,
      /Cannot use the layer "features\/1".*named as PyTorch's/,
    );
    const config = `${TESTDATA}keras_arrays/model_config.json`;
    const list = `${TESTDATA}keras_arrays/model.npz`;
    await ok("convert", list, "--config", config, "-o", `${folder}/l.npz`);
    assert((await layersOf(`${folder}/l.npz`)).size > 0);
  }));

/** Lines that are wrong, with OUT for an output in a folder of the test. */
const WRONG: readonly (readonly [string[], RegExp])[] = [
  [["-o", "OUT/x.h5"], /older \.h5 is not written anew/],
  [["-o", "OUT/x.weights.json"], /shards are not written anew/],
  [["-o", "OUT/x.dat"], /expected NAME\.onnx.*or --format/],
  [["-o", "OUT/x", "--format", "h5"], /--format h5: expected onnx, npz/],
  [["-o", "OUT/x.npz", "--opset", "13"], /--opset: npz has no such thing/],
  [["-o", "OUT/x.npz", "--input-shape", "?,6"], /npz has no shapes of inputs/],
  [["-o", "OUT/x.npz", "--map", "a=b"], /--map: it goes with --into/],
  [["-o", "OUT/x.npz", "--into-layers", "{}"], /it goes with --into/],
  [["-o", "OUT/x.npz", "--layers", "bn"], /expected a JSON object/],
  [["-o", "OUT/x.npz", "--layers", '{"bn": 1}'], /an object for each layer/],
  [["-o", "OUT/x.npz", "--layers", '{"__proto__": {}}'], /a JSON object/],
  [["-o", "OUT/x.npz", "--layers", '{"no": {}}'], /"no" in the option layers/],
  [["-o", "OUT/x.npz", "--layer", "no"], /No BatchNormalization layer "no"/],
  [
    ["-o", "OUT/{layer}.onnx", "--input-shape", "no=?,6"],
    /there is no layer "no"/,
  ],
  [
    ["-o", "OUT/x.keras", "--input-shape", "?,7"],
    /for inputs of shape \[null, 7\]/,
  ],
  [
    ["-o", "OUT/x.h5", "--into", SEQUENTIAL, "--format", "npz"],
    /--into keeps the format/,
  ],
  [["-o", "OUT/x.npz", "--into", SEQUENTIAL], /a name that ends in \.h5/],
  [["-o", "OUT/x.h5", "--into", "http://127.0.0.1/x.h5"], /expected a path/],
  [["-o", "OUT/x.h5", "--into", SEQUENTIAL, "--map", "a"], /LAYER=EXISTING/],
  [
    ["-o", "OUT/x.h5", "--into", SEQUENTIAL, "--map", "a=b"],
    /Cannot use "a" in --map/,
  ],
];

for (const [args, message] of WRONG) {
  Deno.test(`a wrong line is exit code 2: ${args.join(" ")}`, () =>
    inFolder(async (folder) => {
      const line = args.map((arg) => arg.replace("OUT", folder));
      await fails(folder, ["convert", SEQUENTIAL, ...line], 2, message);
    }));
}

Deno.test("a file that does not tell a rank is not guessed at", () =>
  inFolder(async (folder) => {
    const npz = `${folder}/x.npz`;
    await ok("convert", SEQUENTIAL, "-o", npz);
    for (const output of ["{layer}.onnx", "x.keras", "js/"]) {
      await fails(
        folder,
        ["convert", npz, "-o", `${folder}/${output}`],
        2,
        /Cannot tell the rank .*"batch_normalization_1".*--input-shape \?,6/,
      );
    }
  }));

/** The source with other weights: multiples of 1/8, which every type has. */
async function otherWeights(source: string, path: string): Promise<void> {
  const { batchNormalizations } = await loadKeras(source);
  for (const layer of batchNormalizations.values()) {
    layer.setWeights(
      layer.getWeights().map((weight, role) => ({
        ...weight,
        data: Float32Array.from(weight.data, (_, i) => role + 1 + i / 8),
      })),
    );
  }
  const bytes = await writeKeras(batchNormalizations, {
    format: "safetensors",
  });
  Deno.writeFileSync(path, bytes);
}

function differences(a: Uint8Array, b: Uint8Array): number {
  assertEquals(a.length, b.length);
  return a.reduce((count, byte, i) => count + (byte === b[i] ? 0 : 1), 0);
}

Deno.test("--into replaces the weights, and nothing else", () =>
  inFolder(async (folder) => {
    const news = `${folder}/new.safetensors`;
    for (
      const [file, output] of [
        [`${KERAS}tfk_nested.h5`, "out.h5"],
        [`${KERAS}tfk_nested_variables.weights.h5`, "out.weights.h5"],
        [`${KERAS}tfk_nested_archive.keras`, "out.keras"],
        [`${TESTDATA}keras_arrays/named_compressed.npz`, "out.npz"],
      ] as const
    ) {
      await otherWeights(file, news);
      const target = `${folder}/${output}`;
      const out = await ok("convert", news, "--into", file, "-o", target);
      const before = await weightsOf(file);
      const count = Object.keys(before).length;
      assertMatch(out, /^\S+ -> \S+ \(by name\)$/m);
      assertMatch(
        out,
        new RegExp(`^${count} of ${count} Batch.* replaced`, "m"),
      );
      assertEquals(await weightsOf(target), await weightsOf(news), file);
      if (output === "out.npz") continue; // compressed anew
      const elements = Object.values(before).flat()
        .reduce((sum, { data }) => sum + data.length, 0);
      const changed = differences(
        Deno.readFileSync(file),
        Deno.readFileSync(target),
      );
      // 4 bytes per element, and in an archive two checksums.
      assert(changed > 0 && changed <= 4 * elements + 8, `${changed}`);
    }
  }));

Deno.test("--into writes a model of several files as a folder, whole or not at all", () =>
  inFolder(async (folder) => {
    const news = `${folder}/new.safetensors`;
    for (
      const [into, main] of [
        [`${TESTDATA}keras_tfjs/tfk_nested`, "model.json"],
        [
          `${TESTDATA}keras_shards/sharded.weights.json`,
          "sharded.weights.json",
        ],
      ] as const
    ) {
      await otherWeights(into, news);
      const target = `${folder}/${main}-folder`;
      await ok("convert", news, "--into", into, "-o", `${target}/`);
      const result = `${target}/${main}`;
      assertEquals(await weightsOf(result), await weightsOf(news));
      const old = main === "model.json"
        ? contentOf(into)
        : new Map([[main, Deno.readFileSync(into)]]);
      assertEquals(contentOf(target).get(main), old.get(main));
      await fails(
        folder,
        ["convert", news, "--into", into, "-o", result],
        3,
        /Cannot write the folder .* it is there already, with \d+ files/,
      );
    }
  }));

Deno.test("--into in place replaces the file in one step", () =>
  inFolder(async (folder) => {
    const file = `${folder}/model.h5`;
    await Deno.copyFile(SEQUENTIAL, file);
    await otherWeights(file, `${folder}/new.safetensors`);
    await ok(
      ...["convert", `${folder}/new.safetensors`, "--into", file, "-o", file],
    );
    assertEquals(
      await weightsOf(file),
      await weightsOf(`${folder}/new.safetensors`),
    );
    assertEquals(contentOf(folder).size, 2);
  }));

Deno.test("--into pairs by name, and refuses what is not clear", () =>
  inFolder(async (folder) => {
    const layers = await layersOf(SEQUENTIAL);
    const [first, second] = [...layers.values()] as [
      BatchNormalization,
      BatchNormalization,
    ];
    const news = `${folder}/new.npz`;
    const into = async (
      names: Record<string, BatchNormalization>,
      existing: Record<string, BatchNormalization>,
      ...args: string[]
    ) => {
      for (
        const [path, map] of [[news, names], ["old.npz", existing]] as const
      ) {
        const target = path === news ? news : `${folder}/${path}`;
        Deno.writeFileSync(
          target,
          await writeKeras(new Map(Object.entries(map)), { format: "npz" }),
        );
      }
      return await run(
        ...["convert", news, "--into", `${folder}/old.npz`],
        ...["-o", `${folder}/out.npz`, "--json", ...args],
      );
    };
    const pairsOf = ({ out }: { out: string }) =>
      JSON.parse(out).pairs.map(
        ({ from, to, by }: Record<string, string>) => [from, to, by],
      );
    assertEquals(
      pairsOf(await into({ "a/x": first }, { "a/x": first, "b/x": first })),
      [["a/x", "a/x", "name"]],
    );
    assertEquals(
      pairsOf(await into({ a_x: first }, { "a/x": first, "b/x": first })),
      [["a_x", "a/x", "name, _ for /"]],
    );
    assertEquals(
      pairsOf(await into({ "m/x": first }, { "n/x": first, y: second })),
      [["m/x", "n/x", "last part of name"]],
    );
    assertEquals(
      pairsOf(
        await into({ a: first, b: second }, { y: second, b: first }, ...[
          ...["--map", "a=b", "--map", "b=y"],
        ]),
      ),
      [["a", "b", "--map"], ["b", "y", "--map"]],
    );
    for (
      const [names, existing, message] of [
        [
          { x: first },
          { "a/x": first, "b/x": first },
          /it could be "a\/x", "b\/x"; say it with --map x=a\/x/,
        ],
        [{ "a/x": first, "b/x": first }, { x: first }, /it could be "x"/],
        [
          { bn: first },
          { bn_1: first },
          /none is called so among "bn_1"; say it with --map bn=bn_1/,
        ],
        [{ x: first, y: second }, { x: first }, /layer "y"/],
      ] as const
    ) {
      await Deno.remove(`${folder}/out.npz`).catch(() => {});
      const { code, out, err } = await into(
        names as unknown as Record<string, BatchNormalization>,
        existing as unknown as Record<string, BatchNormalization>,
      );
      assertMatch(err, message);
      assertEquals({ code, out }, { code: 2, out: "" });
      assertEquals(contentOf(folder).has("out.npz"), false);
    }
    // The name is right, the variables are not.
    const { code, err } = await into({ x: first }, { x: second });
    assertMatch(err, /old\.npz: Cannot replace gamma of "x": .*shape \[4\]/);
    assertEquals(code, 3);
    assertEquals(contentOf(folder).has("out.npz"), false);
  }));

Deno.test("--into says what does not come along", () =>
  inFolder(async (folder) => {
    const layers = await layersOf(SEQUENTIAL);
    const name = "batch_normalization_1";
    const layer = layers.get(name)!;
    assertEquals(layer.options.momentum, 0.9);
    const { BatchNormalization } = await import(
      "../layer/batch_normalization.ts"
    );
    const other = new BatchNormalization({ epsilon: 0.5, momentum: 0.9 });
    other.setWeights(layer.getWeights());
    Deno.writeFileSync(
      `${folder}/new.safetensors`,
      await writeKeras(new Map([[name, other]]), { format: "safetensors" }),
    );
    const { code, out, err } = await run(
      ...["convert", `${folder}/new.safetensors`, "--into", SEQUENTIAL],
      ...["-o", `${folder}/x.h5`],
    );
    assertEquals(code, 0);
    assertMatch(out, /1 of 2 BatchNormalizations .* replaced/);
    assertEquals(
      err,
      `note: ${name}: its epsilon stays ${layer.options.epsilon}, that of the new layer is 0.5\n`,
    );
  }));

Deno.test("--into an ONNX model or a checkpoint says what to do", () =>
  inFolder(async (folder) => {
    await fails(
      folder,
      [
        ...["convert", SEQUENTIAL, "-o", `${folder}/x.onnx`],
        ...["--into", `${TESTDATA}onnx/models/opset17.onnx`],
      ],
      2,
      /evenkeel update \S+opset17\.onnx --from \S+tfk_sequential\.h5 -o/,
    );
    await fails(
      folder,
      [
        ...["convert", SEQUENTIAL, "-o", `${folder}/x`],
        ...["--into", `${TESTDATA}keras_checkpoints/k24_nested/ckpt`],
      ],
      3,
      /weights of the format tf-checkpoint are read only; those of h5/,
    );
  }));

Deno.test("a URL is a source as well", () =>
  inFolder(async (folder) => {
    await using server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      async (request) => {
        const { pathname } = new URL(request.url);
        try {
          return new Response(await Deno.readFile(`${TESTDATA}${pathname}`));
        } catch {
          return new Response(null, { status: 404 });
        }
      },
    );
    const base = `http://127.0.0.1:${server.addr.port}`;
    await ok(
      ...["convert", `${base}/keras_tfjs/tfk_nested/model.json`],
      ...["-o", `${folder}/x.npz`],
    );
    assertEquals(
      await weightsOf(`${folder}/x.npz`),
      await weightsOf(`${TESTDATA}keras_tfjs/tfk_nested`),
    );
    const missing = await run("inspect", `${base}/no.h5`);
    assertEquals(missing.code, 3);
    assertMatch(missing.err, /no\.h5/);
  }));
