/**
 * Headless Chromium, with a page from loopback that sends its result back.
 *
 * @module
 */

import { run, serveLocally, Service } from "./processes.ts";
import { bundleApp, suiteImports } from "./project.ts";
import type { Report, Runtime } from "./runtime.ts";
import { findChromium } from "./tools.ts";

/** How long a page may take, in ms. */
const PAGE_LIMIT = 120_000;

const FLAGS: readonly string[] = [
  "--headless",
  // It may run as root in a container, where its sandbox does not start.
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--disable-dev-shm-usage",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const PAGE = `<!doctype html><meta charset="utf-8"><title>Evenkeel</title>
<script type="module" src="/app.js"></script>`;

/** Forbids `eval`, and all that is not the page's own; workers are from text. */
const POLICY =
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src blob:";

/** Chromium. */
export const CHROMIUM: Runtime = {
  name: "Chromium (Debian)",
  by: "package, bundled",
  async try({ project, scratch }) {
    const chromium = await findChromium();
    if ("reason" in chromium) return { missing: chromium.reason };
    const source = `${suiteImports(project, "browser")}
async function report() {
  const bytes = await (await fetch("/evenkeel.wasm")).arrayBuffer();
  const module = await WebAssembly.compile(bytes);
  return { outcomes: await runSuite({ evenkeel, second, inference, threads, module, files }) };
}
report().catch((error) => ({ error: String(error) }))
  .then((result) => fetch("/report", { method: "POST", body: JSON.stringify(result) }));
`;
    const files = await bundleApp(project, {
      source,
      conditions: ["browser"],
      format: "esm",
      splitting: true,
    });
    files.set(
      "evenkeel.wasm",
      await Deno.readFile(
        `${project.folder}/node_modules/${project.name}/evenkeel.wasm`,
      ),
    );
    const received = Promise.withResolvers<Report & { error?: string }>();
    await using server = serveLocally(async (request) => {
      const name = new URL(request.url).pathname.slice(1);
      if (request.method === "POST" && name === "report") {
        received.resolve(await request.json());
        return new Response(null, { status: 204 });
      }
      const content = name === "" ? PAGE : files.get(name);
      return content === undefined
        ? new Response("Not found", { status: 404 })
        : new Response(content, {
          headers: {
            "content-type": name === ""
              ? "text/html"
              : name.endsWith(".wasm")
              ? "application/wasm"
              : "text/javascript",
            "content-security-policy": POLICY,
            // For threads.
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-embedder-policy": "require-corp",
          },
        });
    });
    const late = setTimeout(() => {
      received.reject(
        new Error(`Expected a report of the page in ${PAGE_LIMIT} ms`),
      );
    }, PAGE_LIMIT);
    try {
      const { stdout } = await run(chromium.path, ["--version"]);
      await using _browser = new Service(chromium.path, [
        ...FLAGS,
        `--user-data-dir=${scratch}/profile`,
        `${server.origin}/`,
      ]);
      const report = await received.promise;
      if (report.error !== undefined) throw new Error(report.error);
      return { outcomes: report.outcomes, notes: [stdout.trim()] };
    } finally {
      clearTimeout(late);
    }
  },
};
