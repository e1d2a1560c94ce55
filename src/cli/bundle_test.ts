import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { BatchNormalization } from "../layer/batch_normalization.ts";
import { buildOnnx } from "../onnx/build.ts";
import { WASM_HEX } from "../kernels/wasm_binary.ts";
import { INFERENCE_HEX } from "../kernels/wasm_inference_binary.ts";
import {
  type Send,
  tryWorker,
  writeTrialModels,
} from "../serve/testing/worker_trial.ts";
import { modelBytes } from "../session/testing/models.ts";
import { bundleWorker } from "./bundle_files.ts";
import { PLATFORMS } from "./bundle_platforms.ts";
import { KERAS, run } from "./testing/run.ts";

/** All files below a folder, with their content. */
async function filesIn(
  folder: string,
  prefix = "",
): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  const entries = await Array.fromAsync(Deno.readDir(`${folder}/${prefix}`));
  for (const { name, isDirectory } of entries) {
    const path = `${prefix}${name}`;
    if (isDirectory) {
      for (const [inner, content] of await filesIn(folder, `${path}/`)) {
        files.set(inner, content);
      }
    } else files.set(path, await Deno.readFile(`${folder}/${path}`));
  }
  return files;
}

async function withFolder(
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const text = (bytes: Uint8Array | undefined) =>
  new TextDecoder().decode(bytes ?? new Uint8Array());

/** Asks a worker over loopback, served by Deno with nothing but the network. */
async function tryOverLoopback(
  folder: string,
  graphs: boolean,
): Promise<number> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--allow-net=127.0.0.1", "main.js"],
    cwd: folder,
    // The documented way to say where Deno.serve listens.
    env: { DENO_SERVE_ADDRESS: "tcp:127.0.0.1:0", NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(120_000),
  }).spawn();
  const chunks: string[] = [];
  const { promise: origin, resolve } = Promise.withResolvers<
    string | undefined
  >();
  const collect = async (stream: ReadableStream<Uint8Array>) => {
    for await (const chunk of stream) {
      chunks.push(text(chunk));
      const match = /http:\/\/127\.0\.0\.1:\d+/.exec(chunks.join(""));
      if (match) resolve(match[0]);
    }
  };
  const ended = Promise.all([collect(child.stdout), collect(child.stderr)])
    .then(() => resolve(undefined));
  try {
    const base = await origin;
    assert(base, chunks.join(""));
    return await tryWorker(
      (path, init) => fetch(`${base}${path}`, init),
      graphs,
    );
  } finally {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await child.status;
    await ended;
  }
}

/**
 * Imports a worker into this process, with what its platform's bundler makes
 * of the import of a .wasm file.
 */
async function importWorker(path: string): Promise<{
  readonly default: unknown;
  readonly config?: unknown;
}> {
  const folder = path.slice(0, path.lastIndexOf("/") + 1);
  const source = (await Deno.readTextFile(path)).replace(
    /import ([\w$]+) ?from ?"\.\/([\w.]+\.wasm)(?:\?module)?";/,
    (_, name, file) =>
      `const ${name} = new WebAssembly.Module(Deno.readFileSync(${
        JSON.stringify(folder + file)
      }));`,
  );
  const copy = `${folder}copy_${crypto.randomUUID()}.js`;
  await Deno.writeTextFile(copy, source);
  return await import(`file://${copy}`);
}

const local =
  (handler: (request: Request) => Promise<Response>): Send => (path, init) =>
    handler(new Request(`http://127.0.0.1${path}`, init));

/** What each platform's folder must have, and how its worker is tried. */
const TRIALS: Readonly<
  Record<string, {
    readonly files: readonly string[];
    check(files: ReadonlyMap<string, Uint8Array>): void;
    try(folder: string, graphs: boolean): Promise<number>;
  }>
> = {
  deno: {
    files: ["deno.json", "main.js"],
    check(files) {
      const { tasks, deploy } = JSON.parse(text(files.get("deno.json")));
      assertStringIncludes(tasks.serve, "main.js");
      assertEquals(deploy.runtime, { type: "dynamic", entrypoint: "main.js" });
    },
    try: tryOverLoopback,
  },
  cloudflare: {
    files: ["evenkeel.wasm", "worker.js", "wrangler.json"],
    check(files) {
      const { main, compatibility_date, rules } = JSON.parse(
        text(files.get("wrangler.json")),
      );
      assertEquals(main, "worker.js");
      assertMatch(compatibility_date, /^\d{4}-\d\d-\d\d$/);
      assertEquals(rules, [{ type: "CompiledWasm", globs: ["**/*.wasm"] }]);
      // What the runtime refuses is not even there.
      const worker = text(files.get("worker.js"));
      for (const hex of [WASM_HEX, INFERENCE_HEX]) {
        assertEquals(worker.includes(hex.slice(0, 60)), false);
      }
      assertEquals(/\beval\b|new Function|import\.meta/.test(worker), false);
    },
    async try(folder, graphs) {
      const worker = await importWorker(`${folder}/worker.js`);
      const { fetch } = worker.default as { fetch: never };
      return await tryWorker(local(fetch), graphs);
    },
  },
  netlify: {
    files: [
      "netlify.toml",
      "netlify/edge-functions/evenkeel.js",
      "public/robots.txt",
    ],
    check(files) {
      const toml = text(files.get("netlify.toml"));
      assertMatch(toml, /function = "evenkeel"\n\s*path = "\/v2\/\*"/);
    },
    async try(folder, graphs) {
      const worker = await importWorker(
        `${folder}/netlify/edge-functions/evenkeel.js`,
      );
      return await tryWorker(local(worker.default as never), graphs);
    },
  },
  vercel: {
    files: [
      "api/evenkeel.js",
      "api/evenkeel.wasm",
      "package.json",
      "vercel.json",
    ],
    check(files) {
      const { rewrites } = JSON.parse(text(files.get("vercel.json")));
      assertEquals(rewrites, [
        { source: "/v2/:path*", destination: "/api/evenkeel" },
      ]);
      assertMatch(
        text(files.get("api/evenkeel.js")),
        /"\.\/evenkeel\.wasm\?module"/,
      );
    },
    async try(folder, graphs) {
      const worker = await importWorker(`${folder}/api/evenkeel.js`);
      assertEquals(worker.config, { runtime: "edge" });
      // Vercel's rewrites keep the path and add what they matched.
      return await tryWorker(
        (path, init) => local(worker.default as never)(`${path}?path=v2`, init),
        graphs,
      );
    },
  },
};

Deno.test("every platform has a trial", () => {
  assertEquals(Object.keys(TRIALS), Object.keys(PLATFORMS));
});

const LAYER_NAMES = ["conv1_bn", "block_depthwise_bn", "bn_last"];

for (const [platform, trial] of Object.entries(TRIALS)) {
  for (const graphs of [true, false]) {
    Deno.test(`a worker of ${graphs ? "graphs" : "layers"} for ${platform} answers with the bits of the models`, () =>
      withFolder(async (folder) => {
        const output = `${folder}/worker`;
        const [layers, ...others] = await writeTrialModels(folder);
        const { code, out, err } = await run(
          "bundle",
          layers!,
          ...(graphs ? others : []),
          "-o",
          `${output}/`,
          "--platform",
          platform,
          "--json",
        );
        assertEquals({ code, err }, { code: 0, err: "" });
        const report = JSON.parse(out);
        assertEquals(
          report.models.map(({ name }: { name: string }) => name),
          [...LAYER_NAMES, ...(graphs ? ["outside", "types"] : [])],
        );
        const files = await filesIn(output);
        assertEquals([...files.keys()].sort(), [...trial.files].sort());
        for (const { path, bytes } of report.files) {
          assertEquals(files.get(path)?.length, bytes, path);
        }
        const all = [...files.values()].reduce(
          (n, { length }) => n + length,
          0,
        );
        for (const { counts, used, most } of report.limits) {
          if (counts === "bytes") assertEquals(used, all);
          else assert(used > all / 10 && used < all);
          assert(used < most);
        }
        trial.check(files);
        assert(await trial.try(output, graphs) > 50);
        // The temporary folder has no other name left.
        assertEquals(
          (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name)
            .sort(),
          ["types.onnx", "worker"],
        );
        // A layer alone brings no session along: it is the entry for inference,
        // of at most 12 KB, and 3 KB of handler and models.
        const [{ gzip }] = report.files;
        assert(graphs ? gzip > 20_000 : gzip < 15 * 1024, `${gzip} bytes`);
      }));
  }
}

Deno.test("bundle --help fits 80 columns and names the permissions", async () => {
  const { code, out } = await run("bundle", "--help");
  assertEquals(code, 0);
  assertMatch(out, /Deno permissions: --allow-read --allow-write/);
  for (const line of out.split("\n")) assert(line.length <= 80, line);
});

Deno.test("the same models give the same files", async () => {
  const model = buildOnnx(new BatchNormalization(), { inputShape: [null, 3] });
  const models = [{ name: "bn", model, externalData: new Map() }];
  const [first, second] = [
    await bundleWorker(models, PLATFORMS.cloudflare!),
    await bundleWorker(models, PLATFORMS.cloudflare!),
  ];
  assertEquals(first, second);
});

Deno.test("what is too large for every plan is refused", async () => {
  const limits = [
    { name: "Tiny, Free", counts: "gzip", most: 500 },
    { name: "Tiny, Pro", counts: "gzip", most: 1000 },
  ] as const;
  const model = buildOnnx(new BatchNormalization(), { inputShape: [null, 3] });
  let message = "";
  try {
    await bundleWorker(
      [{ name: "bn", model, externalData: new Map() }],
      { ...PLATFORMS.deno!, limits },
    );
  } catch (error) {
    message = (error as Error).message;
  }
  assertMatch(message, /Tiny, Pro takes at most 1000 bytes after gzip/);
});

Deno.test("the table shows routes, files and limits in 80 columns", () =>
  withFolder(async (folder) => {
    const { code, out } = await run(
      "bundle",
      `bn=${KERAS}tfk_many_layers.h5`,
      "--layer",
      "bn_last",
      "-o",
      `${folder}/w`,
      "--platform",
      "vercel",
    );
    assertEquals(code, 0);
    assertMatch(out, /\/v2\/models\/bn\/infer +x FP32 \[\?,\?,\?,4\] +y FP32/);
    assertMatch(out, /api\/evenkeel\.wasm +\d+ +\d+/);
    assertMatch(out, /Vercel Edge, Hobby +1 MB gzip +[\d.]+ KB +[\d.]+ %/);
    for (const line of out.split("\n")) {
      assert(line.length <= 80 || line.includes(folder), line);
    }
  }));

Deno.test("a folder with files is kept, but with --force, and then too", () =>
  withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/notes.txt`, "mine");
    await Deno.writeTextFile(`${folder}/main.js`, "old");
    const args = [
      "bundle",
      `${KERAS}tfk_many_layers.h5`,
      "-o",
      folder,
      "--platform",
      "deno",
    ];
    const refused = await run(...args);
    assertEquals(refused.code, 3);
    assertMatch(refused.err, /is there already, with 2 files/);
    assertEquals(await Deno.readTextFile(`${folder}/main.js`), "old");
    assertEquals((await run(...args, "--force")).code, 0);
    const files = await filesIn(folder);
    assertEquals([...files.keys()].sort(), [
      "deno.json",
      "main.js",
      "notes.txt",
    ]);
    assertEquals(text(files.get("notes.txt")), "mine");
    assert(files.get("main.js")!.length > 10_000);
  }));

const MANY = `${KERAS}tfk_many_layers.h5`;

/** Lines that fail: their arguments, the exit code, the reason. */
const WRONG: readonly (readonly [string[], number, RegExp])[] = [
  [[MANY, "--platform", "deno"], 2, /Expected -o FOLDER/],
  [["-o", "OUT", "--platform", "deno"], 2, /Expected MODEL\.\.\., got nothing/],
  [[MANY, "-o", "OUT"], 2, /Expected --platform.*cloudflare/],
  [[MANY, "-o", "OUT", "--platform", "x"], 2, /--platform x: expected deno/],
  [
    [MANY, "-o", "OUT", "--platform", "toString"],
    2,
    /--platform toString: expected deno/,
  ],
  [
    [MANY, MANY, "-o", "OUT", "--platform", "deno"],
    2,
    /two models as "conv1_bn".*NAME=FILE/,
  ],
  [
    [`bn=${MANY}`, "-o", "OUT", "--platform", "deno"],
    2,
    /it has 3 BatchNormalization layers; choose one with --layer/,
  ],
  [
    [`${KERAS}tfk_no_bn.h5`, "-o", "OUT", "--platform", "deno"],
    2,
    /no BatchNormalization layers to serve/,
  ],
  [["nope.onnx", "-o", "OUT", "--platform", "deno"], 3, /nope\.onnx/],
  [["IN/conv.onnx", "-o", "OUT", "--platform", "deno"], 3, /conv\.onnx.*Conv/],
  [
    ["IN/half.onnx", "-o", "OUT", "--platform", "deno"],
    3,
    /half\.onnx: its input "x" is float16, which JSON has no form of/,
  ],
];

for (const [args, code, reason] of WRONG) {
  const line = args.map((arg) => arg.replace(KERAS, "")).join(" ");
  Deno.test(`nothing is written by bundle ${line}`, () =>
    withFolder(async (folder) => {
      await Deno.mkdir(`${folder}/in`);
      await Deno.writeFile(
        `${folder}/in/conv.onnx`,
        modelBytes({
          inputs: {
            x: { type: "float32", dims: [1, 1, 3, 3] },
            w: { type: "float32", dims: [1, 1, 1, 1] },
          },
          outputs: ["y"],
          nodes: [{ op: "Conv", inputs: ["x", "w"], outputs: ["y"] }],
        }),
      );
      await Deno.writeFile(
        `${folder}/in/half.onnx`,
        modelBytes({
          inputs: { x: { type: "float16", dims: [3] } },
          outputs: ["y"],
          nodes: [{ op: "Neg", inputs: ["x"], outputs: ["y"] }],
        }),
      );
      const result = await run(
        "bundle",
        ...args.map((arg) =>
          arg.replace(/^OUT/, `${folder}/out`).replace(/^IN/, `${folder}/in`)
        ),
      );
      assertMatch(result.err, reason);
      assertEquals({ ...result, err: "" }, { code, out: "", err: "" });
      assertEquals(
        (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name),
        ["in"],
      );
    }));
}

Deno.test("bundle needs no permission but to read and to write", () =>
  withFolder(async (folder) => {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-prompt",
        "--allow-read",
        `--allow-write=${folder}`,
        new URL("main.ts", import.meta.url).pathname,
        "bundle",
        MANY,
        "-o",
        `${folder}/worker`,
        "--platform",
        "netlify",
      ],
      stdin: "null",
      env: { NO_COLOR: "1" },
      signal: AbortSignal.timeout(240_000),
    }).output();
    assertEquals(code, 0, text(stderr));
    assert((await filesIn(`${folder}/worker`)).size === 3);
  }));
