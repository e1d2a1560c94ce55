import { assert, assertEquals, assertMatch } from "@std/assert";
import type onnxProto from "onnx-proto";
import { encodeNpy } from "../keras/numpy/npy_write.ts";
import { externalFiles } from "../onnx/external_files.ts";
import { openOnnx } from "../onnx/onnx_model.ts";
import { bnConstants, bnNode, makeModel } from "../onnx/testing/fold_models.ts";
import { decode, onnx } from "../onnx/testing/onnx_proto.ts";
import { tensor, widen } from "../tensor.ts";
import { run } from "./testing/run.ts";

const MODELS = new URL("../../testdata/onnx/models/", import.meta.url);
const DATA = Deno.readFileSync(new URL("external_data.bin", MODELS));

/** A model whose external data is at a location, or at several in turn. */
function modelAt(...locations: string[]): Uint8Array {
  const model = decode(
    Deno.readFileSync(new URL("external_data.onnx", MODELS)),
  );
  const { initializer } = model.graph as onnxProto.onnx.GraphProto;
  let count = 0;
  for (const { externalData } of initializer) {
    for (const entry of externalData ?? []) {
      if (entry.key !== "location") continue;
      entry.value = locations[count++ % locations.length]!;
    }
  }
  assert(count >= locations.length);
  return onnx.ModelProto.encode(model).finish();
}

/** A folder `in` with a model `m.onnx` and its data, and an empty one, `out`. */
async function withModel(
  locations: readonly string[],
  files: readonly string[],
  test: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    Deno.mkdirSync(`${folder}/in/sub`, { recursive: true });
    Deno.mkdirSync(`${folder}/out`);
    Deno.writeFileSync(`${folder}/in/m.onnx`, modelAt(...locations));
    for (const file of files) {
      Deno.writeFileSync(`${folder}/in/${file}`, DATA);
    }
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** All files, links and folders below a folder. */
function treeOf(folder: string, prefix = ""): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) => [
    prefix + name,
    ...(isDirectory ? treeOf(`${folder}/${name}`, `${prefix}${name}/`) : []),
  ]).sort();
}

/** The means of a model, with the external data beside it. */
async function meansOf(folder: string, name: string): Promise<number[][]> {
  const { batchNormalizations } = openOnnx(
    Deno.readFileSync(`${folder}/${name}`),
    { externalData: await externalFiles(folder) },
  );
  return batchNormalizations.map(({ mean, source }) => {
    assert(mean, source.mean);
    return [...widen(mean!)];
  });
}

/** Asserts that a fold fails, and changes nothing. */
async function assertRefused(
  folder: string,
  output: string,
  code: number,
  message: RegExp,
): Promise<void> {
  const before = treeOf(folder);
  const result = await run(
    "fold",
    `${folder}/in/m.onnx`,
    "-o",
    `${folder}/${output}`,
  );
  assertMatch(result.err, message);
  assertEquals({ code: result.code, out: result.out }, { code, out: "" });
  assertEquals(treeOf(folder), before);
}

const REPLACES = /Cannot write to .+: it is where the model's external data is/;

Deno.test("a model never replaces its own external data", () =>
  withModel(["w.bin", "sub/v.bin"], ["w.bin", "sub/v.bin"], async (folder) => {
    Deno.symlinkSync("../in/w.bin", `${folder}/out/link.onnx`);
    Deno.symlinkSync("in", `${folder}/other`);
    for (
      const output of [
        "in/w.bin",
        "in/sub/../w.bin",
        "in/sub/v.bin",
        "other/w.bin",
        "out/link.onnx",
        // Where it would be copied to.
        "out/w.bin",
      ]
    ) {
      await assertRefused(folder, output, 2, REPLACES);
    }
    Deno.mkdirSync(`${folder}/out/sub`);
    Deno.symlinkSync("sub/v.bin", `${folder}/out/m.onnx`);
    await assertRefused(folder, "out/m.onnx", 2, REPLACES);
    for (const file of ["w.bin", "sub/v.bin"]) {
      assertEquals(Deno.readFileSync(`${folder}/in/${file}`), DATA);
    }
  }));

Deno.test("a model does not take the place of external data that is missing", () =>
  withModel(
    ["w.bin"],
    [],
    (folder) => assertRefused(folder, "in/w.bin", 2, REPLACES),
  ));

Deno.test("recalibrate replaces neither external data nor what it measures", () =>
  withModel(["w.bin"], ["w.bin"], async (folder) => {
    const data = `${folder}/x.npy`;
    Deno.writeFileSync(
      data,
      encodeNpy(tensor(new Float32Array(12), [2, 3, 2])),
    );
    const { code, err } = await run(
      "recalibrate",
      `${folder}/in/m.onnx`,
      "--data",
      data,
      "-o",
      `${folder}/in/w.bin`,
    );
    assertMatch(err, REPLACES);
    assertEquals(code, 2);
    assertEquals(Deno.readFileSync(`${folder}/in/w.bin`), DATA);
    const own = await run(
      "recalibrate",
      `${folder}/in/m.onnx`,
      "--data",
      data,
      "-o",
      data,
    );
    assertMatch(own.err, /it is the data itself/);
    assertEquals(own.code, 2);
  }));

Deno.test("an output that cannot be leaves no external data behind", () =>
  withModel(["w.bin", "sub/v.bin"], ["w.bin", "sub/v.bin"], async (folder) => {
    Deno.mkdirSync(`${folder}/out/o.onnx`);
    await assertRefused(folder, "out/o.onnx", 3, /it is a folder/);
    await assertRefused(folder, "new/o.onnx", 3, /its folder does not exist/);
    await assertRefused(folder, "in/w.bin/o.onnx", 3, /is a file/);
  }));

Deno.test("a folder for external data that cannot be made is told, and nothing stays", () =>
  withModel(["w.bin", "sub/v.bin"], ["w.bin", "sub/v.bin"], async (folder) => {
    Deno.writeTextFileSync(`${folder}/out/sub`, "a file");
    await assertRefused(folder, "out/o.onnx", 3, /sub\/v\.bin": .*is a file/);
  }));

Deno.test("of several files, none stays if one cannot be copied", {
  ignore: Deno.build.os === "windows",
}, () =>
  withModel(["sub/a/w.bin", "n/v.bin"], [], async (folder) => {
    Deno.mkdirSync(`${folder}/in/sub/a`);
    Deno.mkdirSync(`${folder}/in/n`);
    Deno.writeFileSync(`${folder}/in/sub/a/w.bin`, DATA);
    // Made, and then found to be too long a name for its temporary one.
    const name = "v".repeat(250);
    Deno.writeFileSync(`${folder}/in/n/${name}`, DATA);
    Deno.writeFileSync(
      `${folder}/in/m.onnx`,
      modelAt("sub/a/w.bin", `n/${name}`),
    );
    Deno.mkdirSync(`${folder}/out/sub`);
    await assertRefused(folder, "out/o.onnx", 3, /Cannot write ".+v":/);
    // The folder that was there stays, what was made in it does not.
    assertEquals(treeOf(`${folder}/out`), ["sub"]);
  }));

Deno.test("external data does not go through a link out of the output's folder", () =>
  withModel(["sub/v.bin"], ["sub/v.bin"], async (folder) => {
    Deno.mkdirSync(`${folder}/else`);
    Deno.symlinkSync("../else", `${folder}/out/sub`);
    await assertRefused(
      folder,
      "out/o.onnx",
      3,
      /a link leads from the folder/,
    );
  }));

Deno.test("two files of external data do not become one", () =>
  withModel(["w.bin", "sub/w.bin"], ["w.bin", "sub/w.bin"], async (folder) => {
    Deno.symlinkSync(".", `${folder}/out/sub`);
    await assertRefused(folder, "out/o.onnx", 3, /where ".+w\.bin" goes/);
  }));

Deno.test("a backslash in a location separates, for reading and for the copy", {
  // There, it always does.
  ignore: Deno.build.os === "windows",
}, () =>
  withModel(["sub\\w.bin"], ["sub/w.bin"], async (folder) => {
    const { code, err } = await run(
      "fold",
      `${folder}/in/m.onnx`,
      "-o",
      `${folder}/out/o.onnx`,
    );
    assertEquals({ code, err }, { code: 0, err: "" });
    assertEquals(treeOf(`${folder}/out`), ["o.onnx", "sub", "sub/w.bin"]);
    assertEquals(Deno.readFileSync(`${folder}/out/sub/w.bin`), DATA);
    assertEquals(
      await meansOf(`${folder}/out`, "o.onnx"),
      await meansOf(`${folder}/in`, "m.onnx"),
    );
    // The same file by two names is one.
    Deno.writeFileSync(
      `${folder}/in/m.onnx`,
      modelAt("sub\\w.bin", "sub/w.bin", "./sub/w.bin"),
    );
    Deno.removeSync(`${folder}/out/sub`, { recursive: true });
    const again = await run(
      "fold",
      `${folder}/in/m.onnx`,
      "-o",
      `${folder}/out/o.onnx`,
    );
    assertEquals(again.code, 0);
    assertEquals(treeOf(`${folder}/out`), ["o.onnx", "sub", "sub/w.bin"]);
  }));

Deno.test("a pipe as external data is refused, and not waited for", () =>
  withModel(["pipe"], [], async (folder) => {
    const path = `${folder}/in/pipe`;
    const made = await new Deno.Command("mkfifo", { args: [path] }).output()
      .catch(() => undefined);
    // Windows has none.
    if (!made?.success) return;
    const refused = /"pipe", expected a regular file/;
    await assertRefused(folder, "out/o.onnx", 3, refused);
    await assertRefused(folder, "in/o.onnx", 3, refused);
    const externalData = await externalFiles(`${folder}/in`);
    const [node] = openOnnx(modelAt("pipe"), { externalData })
      .batchNormalizations;
    assertMatch(node!.source.mean, refused);
    // Nor is it compared with, where the copy would go.
    Deno.renameSync(path, `${folder}/out/pipe`);
    Deno.writeFileSync(path, DATA);
    await assertRefused(folder, "out/o.onnx", 3, /is there already/);
  }));

/** A model of an input with so many samples. */
function fixedModel(samples: number): Uint8Array {
  let count = 0;
  return makeModel({
    nodes: [bnNode("x", "y")],
    constants: bnConstants("y", 2, () => (++count % 7) / 7),
    inputs: { x: [samples, 2] },
    outputs: { y: [samples, 2] },
  });
}

Deno.test("recalibrate runs as many samples as the input takes", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const [file, data] = [`${folder}/m.onnx`, `${folder}/x.npy`];
    const values = Float32Array.from({ length: 12 }, (_, i) => i * i % 11);
    Deno.writeFileSync(data, encodeNpy(tensor(values, [6, 2])));
    Deno.mkdirSync(`${folder}/single`);
    for (let i = 0; i < 6; i++) {
      Deno.writeFileSync(
        `${folder}/single/${i}.npy`,
        encodeNpy(tensor(values.slice(2 * i, 2 * i + 2), [2])),
      );
    }
    const recalibrate = (from: string, ...more: string[]) =>
      run(
        "recalibrate",
        file,
        "--data",
        from,
        "-o",
        `${folder}/o.onnx`,
        ...more,
      );
    const mean = [0, 1].map((c) =>
      values.filter((_, i) => i % 2 === c).reduce((a, b) => a + b) / 6
    );
    for (const samples of [1, 2, 3, 6]) {
      Deno.writeFileSync(file, fixedModel(samples));
      for (const from of [data, `${folder}/single`]) {
        const { code, out, err } = await recalibrate(from);
        assertEquals({ code, err }, { code: 0, err: "" });
        assertMatch(out, /recalibrated on 6 samples/);
        const [found] = await meansOf(folder, "o.onnx");
        found!.forEach((value, c) =>
          // Means below 11, rounded once to float32.
          assert(Math.abs(value - mean[c]!) <= 8 * 2 ** -23)
        );
      }
    }
    const same = await recalibrate(data, "--batch-size", "6");
    assertEquals({ code: same.code, err: same.err }, { code: 0, err: "" });
    Deno.removeSync(`${folder}/o.onnx`);
    const other = await recalibrate(data, "--batch-size", "3");
    assertMatch(
      other.err,
      /--batch-size 3: .+ is \[6,2\], it takes 6 at a time/,
    );
    assertEquals(other.code, 2);
    Deno.writeFileSync(file, fixedModel(4));
    for (
      const [from, last] of [
        [data, "x.npy"],
        [`${folder}/single`, "single/5.npy"],
      ] as const
    ) {
      const { code, err } = await recalibrate(from);
      assertMatch(err, /takes 4 samples at a time, at its end there are 2/);
      assert(err.includes(`${folder}/${last}`), err);
      assertEquals(code, 3);
    }
    assert(!treeOf(folder).includes("o.onnx"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
