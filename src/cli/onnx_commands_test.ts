import { assert, assertEquals, assertMatch } from "@std/assert";
import { encodeNpy } from "../keras/numpy/npy_write.ts";
import { openOnnx } from "../onnx/onnx_model.ts";
import { runReference } from "../onnx/reference.ts";
import { recalibrate } from "../training/recalibrate.ts";
import { tensor, widen } from "../tensor.ts";
import { run } from "./testing/run.ts";

const MODELS = new URL("../../testdata/onnx/models/", import.meta.url);

function model(name: string): string {
  return new URL(name, MODELS).pathname;
}

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

Deno.test("fold writes the model that OnnxModel.fold gives, and says where each layer went", () =>
  inFolder(async (folder) => {
    const output = `${folder}/out.onnx`;
    const { code, out } = await run(
      "fold",
      model("fold_conv.onnx"),
      "-o",
      output,
    );
    assertEquals(code, 0);
    assertMatch(out, /^bn: folded into the Conv ".+" before it$/m);
    assertMatch(out, /1 of 1 BatchNormalizations folded/);
    const bytes = Deno.readFileSync(output);
    assertEquals(openOnnx(bytes).batchNormalizations, []);
    assertEquals(
      bytes,
      openOnnx(Deno.readFileSync(model("fold_conv.onnx"))).fold().bytes,
    );
    const kept = await run("fold", model("fold_used_twice.onnx"), "-o", output);
    assertEquals(kept.code, 0);
    assertMatch(kept.out, /^bn: kept, /m);
    const json = await run(
      "fold",
      model("fold_conv.onnx"),
      "-o",
      output,
      "--json",
    );
    assertEquals(JSON.parse(json.out).folded.length, 1);
  }));

Deno.test("a model with external data takes it along to another folder", () =>
  inFolder(async (folder) => {
    const output = `${folder}/out.onnx`;
    const { code } = await run(
      "fold",
      model("external_data.onnx"),
      "-o",
      output,
    );
    assertEquals(code, 0);
    assertEquals(
      Deno.readFileSync(`${folder}/external_data.bin`),
      Deno.readFileSync(model("external_data.bin")),
    );
    // Again over the same files, and over others.
    assertEquals(
      (await run("fold", model("external_data.onnx"), "-o", output)).code,
      0,
    );
    Deno.writeTextFileSync(`${folder}/external_data.bin`, "mine");
    Deno.writeTextFileSync(output, "mine too");
    const { code: refused, err } = await run(
      "fold",
      model("external_data.onnx"),
      "-o",
      output,
    );
    assertEquals(refused, 3);
    assertMatch(err, /is there already, with other content/);
    assertEquals(Deno.readTextFileSync(output), "mine too");
    assertEquals([...Deno.readDirSync(folder)].length, 2);
  }));

Deno.test("external data behind a link out of the folder is neither read nor copied", () =>
  inFolder(async (folder) => {
    await Deno.mkdir(`${folder}/in`);
    await Deno.mkdir(`${folder}/out`);
    Deno.writeTextFileSync(`${folder}/secret`, "0".repeat(100));
    Deno.copyFileSync(model("external_data.onnx"), `${folder}/in/model.onnx`);
    Deno.symlinkSync(`${folder}/secret`, `${folder}/in/external_data.bin`);
    const { code, err } = await run(
      "fold",
      `${folder}/in/model.onnx`,
      "-o",
      `${folder}/out/model.onnx`,
    );
    assertEquals(code, 3);
    assertMatch(err, /a link that leads out/);
    assertEquals([...Deno.readDirSync(`${folder}/out`)], []);
  }));

Deno.test("recalibrate measures arrays of samples, and single samples, alike", () =>
  inFolder(async (folder) => {
    const values = Float32Array.from(
      { length: 7 * 6 },
      (_, i) => Math.sin(i) * 5,
    );
    const all = tensor(values, [7, 3, 2]);
    Deno.writeFileSync(`${folder}/all.npy`, encodeNpy(all));
    Deno.mkdirSync(`${folder}/single`);
    for (let i = 0; i < 7; i++) {
      Deno.writeFileSync(
        `${folder}/single/${i}.npy`,
        encodeNpy(tensor(values.slice(6 * i, 6 * i + 6), [3, 2])),
      );
    }
    const source = Deno.readFileSync(model("opset17.onnx"));
    const { bytes } = await recalibrate(source, [all]);
    const [expected] = openOnnx(bytes).batchNormalizations;
    for (const data of ["all.npy", "single"]) {
      const output = `${folder}/out.onnx`;
      const { code, out, err } = await run(
        "recalibrate",
        model("opset17.onnx"),
        "--data",
        `${folder}/${data}`,
        "--batch-size",
        "3",
        "-o",
        output,
      );
      assertEquals({ code, err }, { code: 0, err: "" });
      assertMatch(out, /1 of 1 BatchNormalizations recalibrated on 7 samples/);
      const [bn] = openOnnx(Deno.readFileSync(output)).batchNormalizations;
      widen(bn!.mean!).forEach((value, c) =>
        assert(Math.abs(value - widen(expected!.mean!)[c]!) <= 2 ** -22)
      );
      const result = await runReference(Deno.readFileSync(output), { x: all });
      assert(Object.values(result).length === 1);
    }
  }));

Deno.test("samples that the model cannot take are exit code 3, and nothing is written", () =>
  inFolder(async (folder) => {
    const data = `${folder}/data.npy`;
    Deno.writeFileSync(data, encodeNpy(tensor([1, 2, 3, 4], [1, 4, 1])));
    const { code, out, err } = await run(
      "recalibrate",
      model("opset17.onnx"),
      "--data",
      data,
      "-o",
      `${folder}/out.onnx`,
    );
    assertMatch(err, /channels|Cannot run the model on batch 1/);
    assertEquals({ code, out }, { code: 3, out: "" });
    assertEquals([...Deno.readDirSync(folder)].length, 1);
  }));

const WRONG: readonly (readonly [string[], number, RegExp])[] = [
  [["fold", "a.onnx"], 2, /Expected -o OUT\.onnx/],
  [["fold", "no-such.onnx", "-o", "x.onnx"], 3, /Cannot read "no-such\.onnx"/],
  [
    ["fold", model("../models.json"), "-o", "x.onnx"],
    3,
    /is no ONNX model, or damaged/,
  ],
  [["recalibrate", "a.onnx", "-o", "x.onnx"], 2, /Expected --data/],
  [
    ["recalibrate", "a.onnx", "--data", "x", "-o", "y.onnx", "--mode", "z"],
    2,
    /--mode z: expected precise, sequential, blend/,
  ],
  [
    ["recalibrate", "a.onnx", "--data", "x", "-o", "y.onnx", "--weight", "0.5"],
    2,
    /--weight without --mode blend/,
  ],
  [
    [
      "recalibrate",
      "a.onnx",
      "--data",
      "x",
      "-o",
      "y.onnx",
      "--batch-size",
      "0",
    ],
    2,
    /--batch-size 0: expected a positive integer/,
  ],
  [
    ["recalibrate", model("opset17.onnx"), "--data", "nowhere", "-o", "y.onnx"],
    3,
    /Cannot read "nowhere"/,
  ],
  [
    [
      "recalibrate",
      model("input_without_value.onnx"),
      "--data",
      ".",
      "-o",
      "y.onnx",
    ],
    2,
    /expected a model with one input/,
  ],
];

for (const [args, code, message] of WRONG) {
  Deno.test(`a wrong line or file: ${args.slice(0, 1)} ${message.source}`, async () => {
    const result = await run(...args);
    assertMatch(result.err, message);
    assertEquals({ code: result.code, out: result.out }, { code, out: "" });
  });
}
