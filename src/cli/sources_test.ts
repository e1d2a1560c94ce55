// `inspect` and `verify` on every kind of source, and commands on hostile ones.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { run } from "./testing/run.ts";

const TESTDATA = new URL("../../testdata/", import.meta.url).pathname;

/** Files that are no source of layers by themselves. */
const NO_SOURCES = ["model_config.json", "weight_counts.json", "objects.npy"];

/** Every source in the fixtures. */
function* sources(): Generator<string> {
  const names = (folder: string): string[] =>
    [...Deno.readDirSync(`${TESTDATA}${folder}`)].map(({ name }) => name);
  const files: readonly (readonly [string, RegExp])[] = [
    ["keras_arrays", /\.(npz|npy|safetensors)$/],
    ["keras_names", /\.h5$/],
    ["keras_shards", /\.(keras|weights\.json)$/],
    ["onnx/models", /\.onnx$/],
    ["onnx/converted", /\.onnx$/],
  ];
  for (const [folder, pattern] of files) {
    for (const name of names(folder)) {
      if (pattern.test(name) && !NO_SOURCES.includes(name)) {
        yield `${folder}/${name}`;
      }
    }
  }
  for (const name of names("keras_tfjs")) {
    if (!name.includes(".")) yield `keras_tfjs/${name}`;
  }
  for (const folder of names("keras_checkpoints")) {
    if (folder.includes(".")) continue;
    const index = names(`keras_checkpoints/${folder}`)
      .find((name) => name.endsWith(".index"));
    // A checkpoint by its prefix, a SavedModel by its folder.
    const prefix = index ? `/${index.slice(0, -".index".length)}` : "";
    yield `keras_checkpoints/${folder}${prefix}`;
  }
}

Deno.test("inspect explains every source in the fixtures, in 80 columns", async () => {
  let count = 0;
  for (const source of sources()) {
    const { code, out, err } = await run("inspect", TESTDATA + source);
    assertEquals(code, 0, `${source}: ${err}`);
    for (const line of out.split("\n")) {
      const isName = line.includes("/testdata/") || !/\s\S+\s/.test(line);
      assert(isName || line.length <= 80, `${source}: ${line}`);
    }
    const { batchNormalizations, notLoaded } = JSON.parse(
      (await run("inspect", TESTDATA + source, "--json")).out,
    );
    // Nothing is left unsaid about what is not loaded.
    for (const { reason } of notLoaded) assert(reason.length > 10, source);
    assert(Array.isArray(batchNormalizations));
    count++;
  }
  assert(count > 200, `${count}`);
});

Deno.test("inspect writes an epsilon that ONNX has rounded as it was given", async () => {
  const file = `${TESTDATA}onnx/models/opset17.onnx`;
  const { out } = await run("inspect", file);
  assertMatch(out, /onnx, 1 BatchNormalization\n/);
  assertMatch(out, /bn +1 +3 +1e-5 +/);
  const json = JSON.parse((await run("inspect", file, "--json")).out);
  assertEquals(json.batchNormalizations[0].epsilon, Math.fround(1e-5));
});

Deno.test("verify runs ONNX models' nodes, and says which it cannot", async () => {
  const model = (name: string) => `${TESTDATA}onnx/models/${name}.onnx`;
  const one = await run("verify", model("opset17"));
  assertEquals(one.code, 0);
  assertMatch(one.out, /1 of 1 layers agree with onnxruntime-web/);
  const training = await run("verify", model("opset14_training1"));
  assertMatch(training.out, /- bn: its training_mode is on/);
  assertMatch(training.out, /1 of 1 layers agree/);
  const computed = await run("verify", model("computed_parameters"));
  assertEquals(computed.code, 0);
  assertMatch(computed.out, /- bn: its gamma is not known: the Add node/);
  assertMatch(computed.out, /No layer is compared .*, 1 not compared/);
  const json = JSON.parse(
    (await run("verify", model("computed_parameters"), "--json")).out,
  );
  assertEquals(json.notLoaded[0].name, "bn");
  const torch = `${TESTDATA}keras_arrays/torch_names.safetensors`;
  const open = await run("verify", torch);
  assertMatch(open.out, /- features\/1: not loaded, but may be/);
  const named = await run(
    ...["verify", torch, "--layers", '{"features/1": {"axis": 1}}'],
  );
  assertMatch(named.out, /1 of 1 layers agree/);
});

/** A TensorFlow.js model whose weights are in some file. */
function tfjs(path: string): string {
  return JSON.stringify({
    format: "layers-model",
    modelTopology: {
      class_name: "Sequential",
      config: {
        name: "model",
        layers: [{
          class_name: "BatchNormalization",
          config: { name: "bn", trainable: true },
        }],
      },
    },
    weightsManifest: [{
      paths: [path],
      weights: ["gamma", "beta", "moving_mean", "moving_variance"].map(
        (role) => ({ name: `bn/${role}`, shape: [2], dtype: "float32" }),
      ),
    }],
  });
}

function safetensors(header: string, length = header.length): Uint8Array {
  const bytes = new Uint8Array(8 + header.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(new TextEncoder().encode(header), 8);
  return bytes;
}

const VARIABLES =
  '"gamma": [1], "beta": [1], "moving_mean": [1], "moving_variance": [1]';

/** Files that claim, or reach for, what they must not have. */
const HOSTILE: readonly (readonly [string, string | Uint8Array, RegExp])[] = [
  ["model.json", tfjs("../secret.bin"), /Cannot open "\.\.\/secret\.bin"/],
  ["model.json", tfjs("/etc/hostname"), /Cannot open "\/etc\/hostname"/],
  ["model.json", tfjs("..\\secret.bin"), /in the same folder, or in one below/],
  ["model.json", tfjs("http://127.0.0.1/x"), /in the same folder, or in one/],
  [
    "x.weights.json",
    '{"weight_map": {"/layers/bn/vars": "../secret.bin"}, "metadata": {}}',
    /Cannot open "\.\.\/secret\.bin"/,
  ],
  ["x.json", `{"__proto__": {${VARIABLES}}}`, /it has a key "__proto__"/],
  ["x.json", `{"bn": {"__proto__": [1], ${VARIABLES}}}`, /key "__proto__"/],
  ["x.json", "[".repeat(1e5) + "]".repeat(1e5), /nested more than 400 deep/],
  ["x.safetensors", safetensors("{}", 2 ** 52), /Cannot load a Keras model/],
  [
    "x.safetensors",
    safetensors(
      '{"bn/gamma":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}',
    ),
    /expected 4398046511104 bytes of tensors behind the header, got 0/,
  ],
  ["x.onnx", Uint8Array.of(8, 8, 0x3a, 0xff, 0xff, 0xff, 0x7f), /0 are left/],
];

for (const [name, content, message] of HOSTILE) {
  Deno.test(`a hostile file is exit code 3 and writes nothing: ${message.source}`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      await Deno.mkdir(`${folder}/in`);
      await Deno.writeFile(`${folder}/secret.bin`, new Uint8Array(32));
      const file = `${folder}/in/${name}`;
      const bytes = typeof content === "string"
        ? new TextEncoder().encode(content)
        : content;
      await Deno.writeFile(file, bytes);
      const source = `${TESTDATA}keras/tfk_sequential.h5`;
      const lines = [
        ["inspect", file],
        ["verify", file],
        ["convert", file, "-o", `${folder}/out.npz`],
        ["convert", source, "--into", file, "-o", `${folder}/${name}`],
      ];
      for (const line of lines) {
        const { code, out, err } = await run(...line);
        assertMatch(err, message);
        assertEquals({ code, out }, { code: 3, out: "" }, line.join(" "));
      }
      const left = [...Deno.readDirSync(folder)].map(({ name }) => name);
      assertEquals(left.sort(), ["in", "secret.bin"]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}
