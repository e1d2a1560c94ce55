/**
 * workerd, the runtime of Cloudflare Workers.
 *
 * @module
 */

import { Service } from "./processes.ts";
import { bundleApp, type Project, suiteImports } from "./project.ts";
import {
  checkStrict,
  type Place,
  type Report,
  type Runtime,
  STRICTNESS,
  type Trial,
} from "./runtime.ts";
import { VERSIONS } from "./tools.ts";

/** Cloudflare's wrangler asks for these. */
const CONDITIONS = ["workerd", "worker", "browser"];
const COMPATIBILITY_DATE = "2026-11-01";

/** How many starts of each worker are measured. */
const STARTS = 15;

type Modules = ReadonlyMap<string, Uint8Array>;

/** Serves a worker; where it listens is told on file descriptor 1, its output. */
const SERVE = ["serve", "config.capnp", "--control-fd=1"];

/** Writes a worker with its configuration. */
async function configure(folder: string, modules: Modules): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  const lines: string[] = [];
  // The first one is the entry.
  const names = [
    "app.js",
    ...[...modules.keys()].filter((name) => name !== "app.js"),
  ];
  for (const name of names) {
    await Deno.writeFile(`${folder}/${name}`, modules.get(name)!);
    const kind = name.endsWith(".wasm") ? "wasm" : "esModule";
    lines.push(`(name = "${name}", ${kind} = embed "${name}")`);
  }
  await Deno.writeTextFile(
    `${folder}/config.capnp`,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .worker)],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [${lines.join(", ")}],
  compatibilityDate = "${COMPATIBILITY_DATE}",
);
`,
  );
}

const LISTENING = /"event":"listen".*"port":(\d+)/;

/** The time of the CPU that all threads of a process took so far, in ms. */
async function cpuTime(pid: number): Promise<number> {
  let nanoseconds = 0;
  for await (const { name } of Deno.readDir(`/proc/${pid}/task`)) {
    const [time] =
      (await Deno.readTextFile(`/proc/${pid}/task/${name}/schedstat`))
        .split(" ");
    nanoseconds += Number(time);
  }
  return nanoseconds / 1e6;
}

/** What one start of a worker took of the CPU, in ms. */
async function startOnce(workerd: string, folder: string): Promise<number> {
  await using service = new Service(workerd, SERVE, folder);
  await service.printed(LISTENING);
  return await cpuTime(service.pid);
}

/** Workers whose start is measured, by what they import. */
const STARTED: readonly (readonly [string, (project: Project) => string])[] = [
  // The entry for the edge.
  [
    "the inference entry",
    ({ name }) =>
      `import { FrozenBatchNormalization } from "${name}/inference";
export default { fetch: () => new Response(FrozenBatchNormalization.name) };
`,
  ],
  [
    "a layer",
    ({ name }) =>
      `import { BatchNormalization } from "${name}";
export default { fetch: () => new Response(BatchNormalization.name) };
`,
  ],
  [
    "the whole package",
    ({ name }) =>
      `import * as evenkeel from "${name}";
export default { fetch: () => new Response(Object.keys(evenkeel).join()) };
`,
  ],
];

async function startNotes(
  { project, tools, scratch }: Place,
): Promise<string[]> {
  if (Deno.build.os !== "linux") {
    return ["CPU of a start: measured on Linux only"];
  }
  const empty = new TextEncoder().encode(
    `export default { fetch: () => new Response("") };`,
  );
  const workers: { modules: Modules; folder: string; least: number }[] = [];
  for (const [i, [, source]] of STARTED.entries()) {
    const modules = await bundleApp(project, {
      source: source(project),
      conditions: CONDITIONS,
      format: "esm",
    });
    workers.push({ modules, folder: `${scratch}/${i}`, least: Infinity });
  }
  const base = {
    modules: new Map([["app.js", empty]]),
    folder: `${scratch}/empty`,
    least: Infinity,
  };
  workers.unshift(base);
  for (const { folder, modules } of workers) await configure(folder, modules);
  // In turns, and the least of each: what else the machine does only adds.
  for (let start = 0; start < STARTS; start++) {
    for (const worker of workers) {
      const time = await startOnce(tools.workerd, worker.folder);
      worker.least = Math.min(worker.least, time);
    }
  }
  const notes = [
    `CPU of a start beyond an empty worker's ${
      base.least.toFixed(1)
    } ms, the least of ${STARTS}`,
  ];
  for (const [i, { modules, least }] of workers.slice(1).entries()) {
    const kilobytes = modules.get("app.js")!.length / 1024;
    notes.push(
      `${STARTED[i]![0]} (${kilobytes.toFixed(0)} KB) ${
        (least - base.least).toFixed(1)
      } ms`,
    );
  }
  return notes;
}

async function trySuite(place: Place): Promise<Trial> {
  const { project, tools, scratch } = place;
  const source = `${suiteImports(project, "worker")}
import module from "${project.name}/evenkeel.wasm";
${STRICTNESS}
export default {
  async fetch() {
    const outcomes = await runSuite({ evenkeel, second, inference, threads, module, files });
    return Response.json({ outcomes, allowed: findAllowed() });
  },
};
`;
  const modules = await bundleApp(project, {
    source,
    conditions: CONDITIONS,
    format: "esm",
  });
  const folder = `${scratch}/suite`;
  await configure(folder, modules);
  let report: Report;
  {
    await using service = new Service(tools.workerd, SERVE, folder);
    const [, port] = await service.printed(LISTENING);
    const response = await fetch(`http://127.0.0.1:${port}/`);
    const text = await response.text();
    if (!response.ok) throw new Error(`${response.status} ${text}`);
    report = JSON.parse(text);
  }
  checkStrict(report);
  return { outcomes: report.outcomes, notes: await startNotes(place) };
}

/** workerd. */
export const WORKERD: Runtime = {
  name: `workerd ${VERSIONS.workerd}`,
  by: "package, bundled",
  try: trySuite,
};
