import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { loadReference } from "../onnx/reference.ts";
import { loadKeras } from "../keras/load.ts";
import { tensor } from "../tensor.ts";
import { KERAS, run } from "./testing/run.ts";
import { maxUlp } from "../ulp.ts";

/** Asserts that every line fits 80 columns. */
function assertNarrow(text: string): void {
  for (const line of text.split("\n")) {
    // The name of a file is the user's own.
    if (line.includes("/testdata/")) continue;
    assert(line.length <= 80, `${line.length} columns: ${line}`);
  }
}

Deno.test("without arguments, the overview and exit code 2", async () => {
  const { code, out } = await run();
  assertEquals(code, 2);
  assertStringIncludes(out, "Exit codes: 0");
  assertEquals((await run("--help")).code, 0);
  assertNarrow(out);
});

for (const command of ["inspect", "verify", "convert"]) {
  Deno.test(`${command} --help explains every option`, async () => {
    const { code, out } = await run(command, "--help");
    assertEquals(code, 0);
    assertStringIncludes(out, `evenkeel ${command} FILE`);
    assertStringIncludes(out, "--json");
    assertStringIncludes(out, "Deno permissions: --allow-read");
    assertNarrow(out);
  });
}

const WRONG_LINES: readonly (readonly [string[], RegExp])[] = [
  [["bogus"], /Unknown command "bogus", expected inspect/],
  [["inspect"], /Expected FILE, got nothing/],
  [["inspect", "a", "b"], /Expected FILE, got "a" "b"/],
  [["inspect", "a", "--bogus"], /Unknown option '--bogus'/],
  [["convert", `${KERAS}tfk_rank3.h5`], /Expected -o OUT; see/],
  [["convert", "a", "-o"], /-o.*argument missing/],
  [
    ["convert", "a", "-o", "x.onnx", "--opset", "x"],
    /--opset x: expected an int/,
  ],
  [["convert", "a", "-o", "x.onnx", "--form", "y"], /expected op or affine/],
  [["verify", "a", "--input-shape", "2,x"], /input shape "2,x".*got "x"/],
  [["verify", "a", "--input-shape", "0,3"], /input shape "0,3"/],
  [
    ["verify", `${KERAS}tfk_rank3.h5`, "--layer", "nope"],
    /No .* layer "nope".*"bn_last", "bn_axis1"/,
  ],
  [
    ["convert", `${KERAS}tfk_rank3.h5`, "-o", "x.onnx"],
    /3 BatchNormalization layers: choose one with --layer/,
  ],
  [
    ["convert", `${KERAS}tfk_no_bn.h5`, "-o", "x.onnx"],
    /no BatchNormalization layers to convert/,
  ],
  [
    ["convert", `${KERAS}tfk_nested_weights.h5`, "-o", "{layer}.onnx"],
    /Cannot tell the rank of .*"tail_seq\/seq_bn".*--input-shape \?,\d/,
  ],
];

for (const [args, message] of WRONG_LINES) {
  Deno.test(`a wrong line is exit code 2: ${args.join(" ")}`, async () => {
    const { code, out, err } = await run(...args);
    assertMatch(err, message);
    assertEquals({ code, out }, { code: 2, out: "" });
  });
}

const WRONG_FILES: readonly (readonly [string, RegExp])[] = [
  ["no-such-file.h5", /no-such-file\.h5/],
  [KERAS, /directory/],
  [`${KERAS}tfk_rank3.json`, /Keras/],
];

for (const [file, message] of WRONG_FILES) {
  Deno.test(`a file that is none is exit code 3: ${message}`, async () => {
    for (const command of ["inspect", "verify"]) {
      const { code, out, err } = await run(command, file);
      assertMatch(err, message);
      assertEquals({ code, out }, { code: 3, out: "" });
    }
  });
}

Deno.test("inspect lists layers, options and the release", async () => {
  const { code, out, err } = await run("inspect", `${KERAS}tfk_renorm.h5`);
  assertEquals({ code, err }, { code: 0, err: "" });
  assertStringIncludes(out, "h5, Keras 2.21.0, 3 BatchNormalization of 7");
  assertMatch(out, /bn_clipped +\[3\] +5 +0\.001 +0\.5 +float32/);
  assertStringIncludes(out, "bn_partly_clipped: scale=false renorm dmax=2");
  assertNarrow(out);
});

Deno.test("inspect --json has what the table has", async () => {
  const { out } = await run("inspect", `${KERAS}tfk_renorm.h5`, "--json");
  const report = JSON.parse(out);
  assertEquals(report.kerasVersion, "2.21.0");
  assertEquals(report.batchNormalizations.length, 3);
  const [first] = report.batchNormalizations;
  assertEquals(first.name, "bn_clipped");
  assertEquals(first.axis, [3]);
  assertEquals(first.weights.length, 7);
  assertEquals(first.options.includes("rmax=2.5"), true);
});

Deno.test("inspect tables of all fixtures fit 80 columns", async () => {
  for await (const { name } of Deno.readDir(KERAS)) {
    if (name.endsWith(".json")) continue;
    const { code, out } = await run("inspect", KERAS + name);
    assertEquals(code, 0, name);
    assertNarrow(out);
  }
});

Deno.test("verify compares both kernels with onnxruntime-web", async () => {
  const file = `${KERAS}tfk_many_layers.h5`;
  const { code, out } = await run("verify", file);
  assertEquals(code, 0);
  assertMatch(out, /bn_last +\[3\] +4 +float32 +0 +0 +[\d.]+x +[\d.]+x/);
  assertStringIncludes(out, "3 of 3 layers agree with onnxruntime-web");
  assertNarrow(out);

  const json = await run("verify", file, "--layer", "bn_last", "--json");
  const { layers } = JSON.parse(json.out);
  assertEquals(layers.length, 1);
  assertEquals(layers[0].ulp, { "typed-array": 0, wasm: 0 });
  assertEquals(layers[0].shape, [8, 28, 28, 4]);
});

Deno.test("verify says what it cannot compare", async () => {
  const { code, out } = await run("verify", `${KERAS}k3_dtypes.keras`);
  assertEquals(code, 0);
  assertStringIncludes(out, "onnxruntime-web takes no bfloat16 tensors");
  assertStringIncludes(out, "4 of 4 layers agree with onnxruntime-web, 2 not");
});

Deno.test("verify --input-shape runs on that shape", async () => {
  const { out } = await run(
    "verify",
    `${KERAS}tfk_rank3.h5`,
    "--layer",
    "bn_last",
    "--input-shape",
    "3,7,5",
    "--json",
  );
  assertEquals(JSON.parse(out).layers[0].shape, [3, 7, 5]);
});

Deno.test("convert writes a model that onnxruntime-web runs", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const file = `${KERAS}tfk_rank4_axes.h5`;
    const { batchNormalizations } = await loadKeras(file);
    for (const form of ["op", "affine"]) {
      const output = `${folder}/${form}-{layer}.onnx`;
      const { code, out, err } = await run(
        ...["convert", file, "-o", output, "--form", form, "--opset", "13"],
        "--input-shape",
        "?,5,4,3",
      );
      assertEquals({ code, err }, { code: 0, err: "" });
      assertEquals(out.trim().split("\n").length, 3);
      const x = tensor(Float32Array.from({ length: 120 }, Math.sin), [
        2,
        5,
        4,
        3,
      ]);
      for (const [name, layer] of batchNormalizations) {
        const model = await Deno.readFile(`${folder}/${form}-${name}.onnx`);
        await using session = await loadReference(model);
        const { y } = await session.run({ x });
        assertEquals(maxUlp(layer.call(x), y!), 0, `${form} ${name}`);
      }
    }
    const left = [...Deno.readDirSync(folder)].map(({ name }) => name);
    assertEquals(left.filter((name) => name.endsWith(".tmp")), []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("convert that fails leaves the old file as it was", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const output = `${folder}/old.onnx`;
    await Deno.writeTextFile(output, "old");
    const file = `${KERAS}tfk_rank4_axes.h5`;
    const wrong = await run(
      ...["convert", file, "--layer", "bn_axis2", "-o", output],
      ...["--input-shape", "?,5,9,3"],
    );
    assertEquals(wrong.code, 2);
    assertStringIncludes(
      wrong.err,
      "expected an input of shape [?, 5, 9, 3] to have weights of shape [9]",
    );
    assertEquals(await Deno.readTextFile(output), "old");
    assertEquals([...Deno.readDirSync(folder)].length, 1);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("convert writes over neither its input nor its other output", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const file = `${folder}/model.h5`;
    await Deno.copyFile(`${KERAS}tfk_rank4_axes.h5`, file);
    const before = await Deno.readFile(file);
    const shape = ["--input-shape", "?,5,4,3"];
    const link = `${folder}/link.h5`;
    await Deno.symlink(file, link);
    for (const output of [file, link]) {
      const { code, err } = await run(
        ...["convert", file, "--layer", "bn_axis2", "-o", output, ...shape],
        ...["--format", "onnx"],
      );
      assertEquals(code, 2);
      assertStringIncludes(err, "it is the file itself");
    }
    assertEquals(await Deno.readFile(file), before);
    const missing = `${folder}/no/x.onnx`;
    const { code, err } = await run(
      ...["convert", file, "--layer", "bn_axis2", "-o", missing, ...shape],
    );
    assertEquals(code, 3);
    assertStringIncludes(err, "its folder does not exist");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("convert does not guess a rank", async () => {
  // Weights alone do not tell which axis of how many is theirs.
  const { code, err } = await run(
    ...["convert", `${KERAS}tfk_nested_weights.h5`, "--layer"],
    ...["outer_bn", "-o", "never.onnx"],
  );
  assertEquals(code, 2);
  assertStringIncludes(err, 'Cannot tell the rank of the input of "outer_bn');
});

Deno.test("inspect says what was assumed and what was left out", async () => {
  const file = `${KERAS}k3_subclassed_variables.weights.h5`;
  const { out } = await run("inspect", file);
  assertMatch(out, /first_norm, .*:\n +axis, epsilon, momentum, dtype\n/);
  assertMatch(out, /Not loaded, but may be[^]*step_norm_1:[^]*scale: false/);
  const json = JSON.parse((await run("inspect", file, "--json")).out);
  assertEquals(json.notLoaded[0].name, "step_norm_1");
  assertEquals(json.batchNormalizations[0].assumed.includes("axis"), true);
});

Deno.test("what the machine refuses is exit code 3, without a stack", async () => {
  const { code, err } = await run(
    ...["verify", `${KERAS}tfk_rank3.h5`, "--layer", "bn_last"],
    ...["--input-shape", "100000,10000000,5"],
  );
  assertEquals(code, 3);
  assertMatch(err, /^evenkeel: not enough memory: .*\n$/);
});

Deno.test("each command runs with its documented permissions", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const entry = new URL("main.ts", import.meta.url).pathname;
    const file = `${KERAS}k3_center_scale.keras`;
    const output = `${folder}/{layer}.onnx`;
    const lines: [string[], string[]][] = [
      [["--allow-read"], ["inspect", file]],
      [["--allow-read"], ["verify", file]],
      [["--allow-read", "--allow-write"], ["convert", file, "-o", output]],
    ];
    for (const [permissions, args] of lines) {
      const { code, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "--no-prompt", ...permissions, entry, ...args],
        signal: AbortSignal.timeout(120_000),
      }).output();
      assertEquals(code, 0, new TextDecoder().decode(stderr));
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
