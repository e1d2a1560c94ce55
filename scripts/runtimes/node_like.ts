/**
 * Runtimes with a command line that run the installed package's files: Deno,
 * Node and Bun.
 *
 * @module
 */

import { ROOT } from "../bundle/entries.ts";
import { run, serveLocally } from "./processes.ts";
import { KERAS_FILE, suiteImports } from "./project.ts";
import {
  COMMAND_FEATURE,
  type Place,
  REPORT,
  reportIn,
  type Runtime,
  type Trial,
} from "./runtime.ts";
import type { Outcome } from "./suite.ts";
import { VERSIONS } from "./tools.ts";

/** How a runtime is called. */
interface Call {
  readonly command: string;
  readonly env?: Record<string, string>;
  /** What precedes a script's name. */
  readonly args: readonly string[];
}

/** The script that runs the suite and prints the report. */
function script(timed: string, wasm: string): string {
  return `const started = performance.now();
await import(${JSON.stringify(timed)});
const importMs = performance.now() - started;
const { default: run } = await import("./suite_run.js");
const { readFile } = await import("node:fs/promises");
const module = new WebAssembly.Module(await readFile(new URL(${wasm})));
console.log(${
    JSON.stringify(REPORT)
  } + JSON.stringify({ outcomes: await run(module), importMs }));
`;
}

/** Runs `evenkeel inspect` on a file, as a feature. */
async function tryCommand(
  { command, args, env = {} }: Call,
  entry: string,
  cwd: string,
): Promise<Outcome> {
  const feature = COMMAND_FEATURE;
  try {
    const { stdout } = await run(
      command,
      [...args, entry, "inspect", KERAS_FILE, "--json"],
      { cwd, env },
    );
    // Its form is tested elsewhere: here it has to be whole.
    JSON.parse(stdout);
    return { feature, state: "ok", detail: stdout };
  } catch (error) {
    return { feature, state: "failed", detail: String(error) };
  }
}

async function tryInstalled(
  call: Call,
  { project }: Place,
): Promise<Trial> {
  const { folder, name } = project;
  await Deno.writeTextFile(
    `${folder}/suite_run.js`,
    `${suiteImports(project, "node")}export default (module) =>
  runSuite({ evenkeel, second, inference, threads, module, files });
`,
  );
  await Deno.writeTextFile(
    `${folder}/main.js`,
    script(name, `import.meta.resolve("${name}/evenkeel.wasm")`),
  );
  const { stdout } = await run(call.command, [...call.args, "main.js"], {
    cwd: folder,
  });
  const { outcomes, importMs } = reportIn(stdout);
  const command = await tryCommand(
    call,
    `node_modules/${name}/bin/evenkeel.js`,
    folder,
  );
  return {
    outcomes: [...outcomes, command],
    notes: [`import ${importMs!.toFixed(0)} ms`],
  };
}

/** The sources as a static host has them, and once more below `second/`. */
async function source(request: Request): Promise<Response> {
  const path = new URL(request.url).pathname.slice(1).replace(/^second\//, "");
  if (!/^(?:\w+\.ts|src\/[\w/]+\.ts)$/.test(path)) {
    return new Response("Not found", { status: 404 });
  }
  try {
    return new Response(await Deno.readTextFile(new URL(path, ROOT)), {
      headers: { "content-type": "application/typescript" },
    });
  } catch {
    return new Response("Not found", { status: 404 });
  }
}

async function tryByUrl({ project, scratch }: Place): Promise<Trial> {
  await using server = serveLocally(source);
  const { origin } = server;
  for (const name of ["suite.js", "files.js", KERAS_FILE]) {
    await Deno.copyFile(`${project.folder}/${name}`, `${scratch}/${name}`);
  }
  await Deno.writeTextFile(
    `${scratch}/suite_run.js`,
    `import * as evenkeel from "${origin}/mod.ts";
import * as inference from "${origin}/inference.ts";
import * as threads from "${origin}/threads.ts";
import * as second from "${origin}/second/mod.ts";
import { runSuite } from "./suite.js";
import { files } from "./files.js";
export default (module) =>
  runSuite({ evenkeel, second, inference, threads, module, files });
`,
  );
  await Deno.writeTextFile(
    `${scratch}/main.js`,
    script(
      `${origin}/mod.ts`,
      JSON.stringify(new URL("kernels/evenkeel.wasm", ROOT).href),
    ),
  );
  const host = new URL(origin).host;
  // A cache of its own: nobody else wants what comes from this server.
  const env = { DENO_DIR: `${scratch}/cache` };
  const call: Call = {
    command: Deno.execPath(),
    env,
    // All that such a script needs: to import, and to read its own files.
    args: [
      "run",
      "--no-config",
      "--no-lock",
      "--no-prompt",
      `--allow-import=${host}`,
      "--allow-read",
    ],
  };
  const { stdout } = await run(call.command, [...call.args, "main.js"], {
    cwd: scratch,
    env,
  });
  const { outcomes, importMs } = reportIn(stdout);
  const command = await tryCommand(
    call,
    `${origin}/src/cli/main.ts`,
    scratch,
  );
  return {
    outcomes: [...outcomes, command],
    notes: [`download, compile and import ${importMs!.toFixed(0)} ms`],
  };
}

function installed(
  name: string,
  call: (place: Place) => Call,
): Runtime {
  return {
    name,
    by: "package",
    try: (place) => tryInstalled(call(place), place),
  };
}

/** Deno, Node and Bun. */
export const NODE_LIKE: readonly Runtime[] = [
  { name: `Deno ${Deno.version.deno}`, by: "URL", try: tryByUrl },
  installed(`Deno ${Deno.version.deno}`, () => ({
    command: Deno.execPath(),
    args: ["run", "--no-prompt", "--node-modules-dir=manual", "--allow-read"],
  })),
  installed(
    `Node ${VERSIONS.node20}`,
    ({ tools }) => ({ command: tools.node20, args: [] }),
  ),
  installed(
    `Node ${VERSIONS.node24}`,
    ({ tools }) => ({ command: tools.node24, args: [] }),
  ),
  installed(
    `Node ${VERSIONS.node26}`,
    ({ tools }) => ({ command: tools.node26, args: [] }),
  ),
  installed(
    `Bun ${VERSIONS.bun}`,
    ({ tools }) => ({ command: tools.bun, args: [] }),
  ),
];
