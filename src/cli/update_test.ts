import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { join } from "node:path";
import {
  anonymous,
  convertedBytes,
  convertedCase,
  convertedPath,
} from "../keras/testing/converted.ts";
import { updateFromKeras } from "../keras/update_onnx.ts";
import { run } from "./testing/run.ts";

/** Runs something in a folder that is removed afterwards. */
async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const CASE = convertedCase("tfk_conv_13");
const MODEL = convertedPath(CASE.old.onnx);
const FROM = convertedPath(CASE.bn!.keras);
const WAS = convertedPath(CASE.old.keras);

Deno.test("update --help explains every option", async () => {
  const { code, out } = await run("update", "--help");
  assertEquals(code, 0);
  for (
    const option of [
      "from",
      "was",
      "map",
      "config",
      "dry-run",
      "output",
      "json",
    ]
  ) {
    assertStringIncludes(out, `--${option}`);
  }
  for (const line of out.split("\n")) assert(line.length <= 80, line);
});

Deno.test("update prints the pairing and writes the model", async () => {
  await inFolder(async (folder) => {
    const output = join(folder, "out.onnx");
    const { code, out, err } = await run(
      "update",
      MODEL,
      "--from",
      FROM,
      "--was",
      WAS,
      "-o",
      output,
    );
    assertEquals([code, err], [0, ""]);
    const table = out.split("\n");
    assertMatch(table[0]!, /^Layer +Channels +Form +Node +Found by$/);
    assertMatch(table[3]!, /^bn_1 +4 +in conv_1 +conv_net\S* +old values$/);
    for (const line of table.slice(0, 7)) assert(line.length <= 80, line);
    assertStringIncludes(out, `${MODEL} -> ${output}`);
    const { bytes } = await updateFromKeras(
      convertedBytes(CASE.old.onnx),
      FROM,
      { was: WAS },
    );
    assertEquals(await Deno.readFile(output), bytes);
    assertEquals((await Array.fromAsync(Deno.readDir(folder))).length, 1);
  });
});

Deno.test("update writes over the model that it reads, if it is told to", async () => {
  await inFolder(async (folder) => {
    const file = join(folder, "model.onnx");
    await Deno.writeFile(file, convertedBytes(CASE.old.onnx));
    const { code } = await run("update", file, "--from", FROM, "-o", file);
    assertEquals(code, 0);
    const { bytes } = await updateFromKeras(
      convertedBytes(CASE.old.onnx),
      FROM,
    );
    assertEquals(await Deno.readFile(file), bytes);
  });
});

Deno.test("update --json is one object", async () => {
  const { code, out, err } = await run(
    "update",
    MODEL,
    "--from",
    convertedPath(CASE.new.keras),
    "--dry-run",
    "--json",
  );
  assertEquals([code, err], [0, ""]);
  const { pairs, unpaired, notices, output } = JSON.parse(out);
  assertEquals(pairs.length, 5);
  assertEquals(pairs[1], {
    layer: "bn_1",
    channels: 4,
    form: "folded",
    into: "conv_1",
    nodes: ["conv_net/conv_1/Conv2D"],
    by: "name",
  });
  assertEquals([unpaired, output], [[], undefined]);
  assertEquals(notices.length, 2);
});

Deno.test("update warns of what it does not write", async () => {
  const { err } = await run(
    "update",
    MODEL,
    "--from",
    convertedPath(CASE.new.keras),
    "--dry-run",
  );
  assertMatch(err, /^warning: The model has other weights.*"head"/);
  assertMatch(err, /\nwarning: Of "bn_1", "bn_2", "bn_depthwise"/);
});

Deno.test("update writes nothing as long as a layer is in doubt", async () => {
  const { old, bn } = convertedCase("tfk_more_17");
  await inFolder(async (folder) => {
    const file = join(folder, "model.onnx");
    const output = join(folder, "out.onnx");
    await Deno.writeFile(file, anonymous(convertedBytes(old.onnx)));
    const line = ["update", file, "--from", convertedPath(bn!.keras)];
    const refused = await run(...line, "-o", output);
    assertEquals(refused.code, 3);
    assertMatch(refused.out, /Not found, or not without doubt:/);
    assertMatch(
      refused.err,
      /2 of the layers are not found.*nothing is written.*--was.*--map bn_branch_a=n\d+/,
    );
    assertEquals((await Array.fromAsync(Deno.readDir(folder))).length, 1);
    assertEquals((await run(...line, "--dry-run")).code, 3);

    const [, node] = /--map bn_branch_a=(n\d+)/.exec(refused.err)!;
    const mapped = await run(
      ...line,
      "-o",
      output,
      "--map",
      `bn_branch_a=${node}`,
    );
    assertEquals(mapped.code, 0);
    assertMatch(mapped.out, /bn_branch_a +6 +\S+ +n\d+ +--map/);
    assertMatch(mapped.out, /bn_branch_b +6 +\S+ +n\d+ +order/);
  });
});

Deno.test("update leaves a layer out", async () => {
  const line = ["update", MODEL, "--from", FROM, "--was", WAS, "--dry-run"];
  const { code, out, err } = await run(...line, "--map", "bn_sum=");
  assertEquals(code, 0);
  assertMatch(out, /\n {2}bn_sum: left out/);
  assertMatch(err, /no layer for the BatchNormalization "conv_net\/bn_sum/);
});

const WRONG_LINES: readonly (readonly [string[], RegExp])[] = [
  [["update", MODEL], /Expected --from WEIGHTS\.keras/],
  [["update", MODEL, "--from", FROM], /Expected -o OUT\.onnx/],
  [
    ["update", MODEL, "--from", FROM, "-o", FROM],
    /it is the Keras file itself/,
  ],
  [
    ["update", MODEL, "--from", FROM, "--dry-run", "--map", "bn_1"],
    /--map bn_1: expected LAYER=NODE/,
  ],
  [
    [
      "update",
      MODEL,
      "--from",
      FROM,
      "--dry-run",
      "--map",
      "a=b",
      "--map",
      "a=c",
    ],
    /"a" is there twice/,
  ],
  [
    ["update", MODEL, "--from", FROM, "--dry-run", "--map", "nope=b"],
    /"nope" in the option map/,
  ],
  [
    ["update", MODEL, "--from", FROM, "--dry-run", "--map", "bn_1=b"],
    /no such node/,
  ],
];

for (const [line, message] of WRONG_LINES) {
  Deno.test(`a wrong line of update is exit code 2: ${message.source}`, async () => {
    const { code, err, out } = await run(...line);
    assertEquals([code, out], [2, ""]);
    assertMatch(err, message);
  });
}

Deno.test("update names the file that is wrong", async () => {
  await inFolder(async (folder) => {
    const output = join(folder, "out.onnx");
    const other = convertedPath(convertedCase("tfk_mlp_17").old.keras);
    const LINES: readonly (readonly [string[], RegExp])[] = [
      [[FROM, "--from", FROM], /no ONNX model/],
      [[MODEL, "--from", join(folder, "nope.keras")], /nope\.keras/],
      [[MODEL, "--from", FROM, "--was", other], /it is another model's/],
      [[MODEL, "--from", other], /2 of the layers are not found/],
      [[MODEL, "--from", FROM, "--config", join(folder, "x")], /Cannot read/],
    ];
    for (const [line, message] of LINES) {
      const { code, err } = await run("update", ...line, "-o", output);
      assertEquals(code, 3);
      assertMatch(err, message);
    }
    assertEquals(await Array.fromAsync(Deno.readDir(folder)), []);
  });
});
