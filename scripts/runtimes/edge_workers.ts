/**
 * Tries what `evenkeel bundle` writes on the runtimes of the platforms: the
 * worker for Cloudflare on workerd, the one for Vercel on its edge-runtime.
 * (Those for Deno and Netlify run in src/cli/bundle_test.ts, on Deno.)
 *
 *     deno run --allow-all scripts/runtimes/edge_workers.ts
 *
 * installs the runtimes in a temporary folder, and removes it at the end.
 *
 * @module
 */

import { bundleModules } from "../../src/cli/esbuild.ts";
import {
  tryWorker,
  writeTrialModels,
} from "../../src/serve/testing/worker_trial.ts";
import { run, Service } from "./processes.ts";
import { installTools, type Tools, VERSIONS } from "./tools.ts";

const COMMAND = new URL("../../src/cli/main.ts", import.meta.url).pathname;

/** The part of a runtime's folder that is needed here. */
type EdgeTools = Pick<Tools, "folder" | "workerd" | "node20">;

/** Tries the worker in a folder, and tells how many requests were made. */
type TryOn = (
  tools: EdgeTools,
  folder: string,
  graphs: boolean,
) => Promise<number>;

/** Asks a worker that listens on loopback. */
async function ask(port: string, graphs: boolean): Promise<number> {
  return await tryWorker(
    (path, init) => fetch(`http://127.0.0.1:${port}${path}`, init),
    graphs,
  );
}

/** As wrangler would set workerd up by the folder's own configuration. */
const tryOnWorkerd: TryOn = async ({ workerd }, folder, graphs) => {
  const { main, compatibility_date } = JSON.parse(
    await Deno.readTextFile(`${folder}/wrangler.json`),
  );
  await Deno.writeTextFile(
    `${folder}/config.capnp`,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .worker)],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [
    (name = "${main}", esModule = embed "${main}"),
    (name = "evenkeel.wasm", wasm = embed "evenkeel.wasm"),
  ],
  compatibilityDate = "${compatibility_date}",
);
`,
  );
  await using service = new Service(
    workerd,
    ["serve", "config.capnp", "--control-fd=1"],
    folder,
  );
  const [, port] = await service.printed(/"event":"listen".*"port":(\d+)/);
  return await ask(port!, graphs);
};

/**
 * Serves a script in edge-runtime, which then compiles no WASM from bytes and
 * evaluates no text, as Vercel's platform does not.
 */
const HOST = `import { readFile } from "node:fs/promises";
import { EdgeRuntime, runServer } from "edge-runtime";
const [script, wasm] = process.argv.slice(2);
const evenkeelModule = new WebAssembly.Module(await readFile(wasm));
const runtime = new EdgeRuntime({
  codeGeneration: { strings: false, wasm: false },
  extend: (context) => Object.assign(context, { evenkeelModule }),
  initialCode: await readFile(script, "utf8"),
});
const { url } = await runServer({ runtime, host: "127.0.0.1", port: 0 });
console.log("listening on " + url);
`;

/** As Vercel's bundler makes a function of api/: a script that has the module. */
const tryOnEdgeRuntime: TryOn = async (
  { folder: tools, node20 },
  folder,
  graphs,
) => {
  const worker = new URL(`file://${folder}/api/evenkeel.js`).href;
  const script = await bundleModules({
    modules: new Map([
      ["evenkeel:script", {
        loader: "js",
        contents: `import handler, { config } from "${worker}";
if (config.runtime !== "edge") throw new Error("Expected the edge runtime");
addEventListener("fetch", (event) => event.respondWith(handler(event.request)));`,
      }],
      [new URL("./evenkeel.wasm?module", worker).href, {
        loader: "js",
        contents: "export default globalThis.evenkeelModule;",
      }],
    ]),
    entry: "evenkeel:script",
    external: [],
    banner: "",
  });
  await Deno.writeFile(`${folder}/script.js`, script);
  const host = `${tools}/edge_worker_host.mjs`;
  await Deno.writeTextFile(host, HOST);
  await using service = new Service(
    node20,
    [host, `${folder}/script.js`, `${folder}/api/evenkeel.wasm`],
    tools,
  );
  const [, port] = await service.printed(/listening on \S+:(\d+)/);
  return await ask(port!, graphs);
};

const RUNTIMES: readonly (readonly [string, string, TryOn])[] = [
  [`workerd ${VERSIONS.workerd}`, "cloudflare", tryOnWorkerd],
  [`edge-runtime ${VERSIONS.edgeRuntime}`, "vercel", tryOnEdgeRuntime],
];

/**
 * Bundles workers and tries them.
 *
 * @param tools Where the runtimes are.
 * @param scratch An empty folder.
 * @returns A line for each worker: what was tried.
 *
 * @throws {Error} If an answer is wrong, or something does not run.
 */
export async function tryEdgeWorkers(
  tools: EdgeTools,
  scratch: string,
): Promise<string[]> {
  const lines: string[] = [];
  const [layers, ...others] = await writeTrialModels(scratch);
  for (const [runtime, platform, tryOn] of RUNTIMES) {
    for (const graphs of [true, false]) {
      const folder = `${scratch}/${platform}_${graphs ? "graphs" : "layers"}`;
      await run(Deno.execPath(), [
        "run",
        "--no-prompt",
        "--allow-read",
        `--allow-write=${scratch}`,
        COMMAND,
        "bundle",
        layers!,
        ...(graphs ? others : []),
        "-o",
        folder,
        "--platform",
        platform,
      ]);
      const requests = await tryOn(tools, folder, graphs);
      lines.push(
        `${runtime}: ${
          graphs ? "layers and graphs" : "layers alone"
        }, ${requests} requests`,
      );
    }
  }
  return lines;
}

if (import.meta.main) {
  const folder = await Deno.makeTempDir();
  try {
    const tools = await installTools(`${folder}/tools`);
    await Deno.mkdir(`${folder}/workers`);
    const lines = await tryEdgeWorkers(tools, `${folder}/workers`);
    console.log(lines.join("\n"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
