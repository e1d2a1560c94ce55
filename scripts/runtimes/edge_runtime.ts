/**
 * Vercel's edge-runtime, as strict as the platform: it neither evaluates code
 * nor compiles WASM from bytes, and gives the `x.wasm?module` of a bundle as a
 * compiled module.
 *
 * @module
 */

import { run } from "./processes.ts";
import { bundleApp, suiteImports } from "./project.ts";
import {
  checkStrict,
  REPORT,
  reportIn,
  type Runtime,
  STRICTNESS,
} from "./runtime.ts";
import { VERSIONS } from "./tools.ts";

const MODULES = "evenkeelModules";

/** The script that starts the runtime in Node, and fetches from it once. */
const HOST = `import { readFile } from "node:fs/promises";
import { EdgeRuntime } from "edge-runtime";
const [app, ...files] = process.argv.slice(2);
const modules = {};
for (const file of files) {
  modules[file.split("/").at(-1)] = new WebAssembly.Module(await readFile(file));
}
const runtime = new EdgeRuntime({
  codeGeneration: { strings: false, wasm: false },
  extend: (context) => Object.assign(context, { ${MODULES}: modules }),
  initialCode: await readFile(app, "utf8"),
});
const response = await runtime.dispatchFetch("http://127.0.0.1/");
await response.waitUntil();
console.log("${REPORT}" + await response.text());
`;

/** edge-runtime. */
export const EDGE_RUNTIME: Runtime = {
  name: `edge-runtime ${VERSIONS.edgeRuntime}`,
  by: "package, bundled",
  async try({ project, tools, scratch }) {
    const source = `${suiteImports(project, "edge")}
const module = globalThis.${MODULES}["evenkeel.wasm"];
${STRICTNESS}
addEventListener("fetch", (event) => event.respondWith((async () => {
  const outcomes = await runSuite({ evenkeel, second, inference, threads, module, files });
  return new Response(JSON.stringify({ outcomes, allowed: findAllowed() }));
})()));
`;
    const bundled = await bundleApp(project, {
      source,
      conditions: ["edge-light", "worker", "browser"],
      format: "iife",
      moduleGlobal: MODULES,
    });
    const app = `${scratch}/app.js`;
    await Deno.writeFile(app, bundled.get("app.js")!);
    const host = `${tools.folder}/edge_host.js`;
    await Deno.writeTextFile(host, HOST);
    const wasm = (name: string) =>
      `${project.folder}/node_modules/${project.name}/${name}`;
    const { stdout } = await run(
      tools.node20,
      [host, app, wasm("evenkeel.wasm"), wasm("inference.wasm")],
      { cwd: tools.folder },
    );
    const report = reportIn(stdout);
    checkStrict(report);
    return {
      outcomes: report.outcomes,
      notes: [`on Node ${VERSIONS.node20}, code from text and bytes refused`],
    };
  },
};
