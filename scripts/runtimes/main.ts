/**
 * Tries the packed package on real runtimes, and prints what works where.
 *
 *     deno task runtimes [--check]
 *
 * Packs the package, installs it in a temporary folder, installs the runtimes
 * in another one (from npm; Chromium from Debian), runs one suite on each, and
 * checks the type declarations. Nothing listens on anything but loopback, and
 * all is removed at the end. Writes `scripts/runtimes/RUNTIMES.md`; with
 * `--check` nothing is written, and the script exits with 1 where the table is
 * another one. It does so too where something fails.
 *
 * @module
 */

import { CHROMIUM } from "./chromium.ts";
import { EDGE_RUNTIME } from "./edge_runtime.ts";
import { tryEdgeWorkers } from "./edge_workers.ts";
import { NODE_LIKE } from "./node_like.ts";
import { createProject } from "./project.ts";
import { complaintsOf, formatTable, type Row } from "./report.ts";
import type { Runtime, Trial } from "./runtime.ts";
import { installTools } from "./tools.ts";
import { checkTypes } from "./types_check.ts";
import { WORKERD } from "./workerd.ts";

const TABLE = new URL("RUNTIMES.md", import.meta.url);
/** All runtimes. The first runs the sources, with which the others agree. */
const RUNTIMES: readonly Runtime[] = [
  ...NODE_LIKE,
  WORKERD,
  EDGE_RUNTIME,
  CHROMIUM,
];

function format(rows: readonly Row[]): string {
  return `# Runtimes

What the packed package does on real runtimes. Written by \`deno task runtimes\`, checked by
\`deno task runtimes --check\`: "yes" means the same bits as the sources on Deno.

${formatTable(rows)}
`;
}

async function tryAll(folder: string): Promise<number> {
  const failures: string[] = [];
  // The bits of the first, which runs the sources as they are.
  let expected: ReadonlyMap<string, string> | undefined;
  const project = await createProject(folder);
  console.log(`${project.name}: ${project.packedBytes} bytes packed`);
  const tools = await installTools(`${folder}/tools`);
  const workers = `${folder}/workers`;
  await Deno.mkdir(workers);
  try {
    for (const line of await tryEdgeWorkers(tools, workers)) console.log(line);
  } catch (error) {
    failures.push(`evenkeel bundle: ${error}`);
  }
  const rows: Row[] = [];
  for (const [i, runtime] of RUNTIMES.entries()) {
    const { name, by } = runtime;
    const scratch = `${folder}/${i}`;
    await Deno.mkdir(scratch);
    let trial: Trial | { readonly missing: string };
    try {
      trial = await runtime.try({ project, tools, scratch });
    } catch (error) {
      failures.push(`${name} (${by}): ${error}`);
      trial = { outcomes: [], notes: ["failed"] };
    }
    const row: Row = "missing" in trial
      ? { name, by, outcomes: [], missing: trial.missing }
      : { name, by, outcomes: trial.outcomes };
    rows.push(row);
    expected ??= new Map(
      row.outcomes.map(({ feature, detail }) => [feature, detail]),
    );
    failures.push(...complaintsOf(row, expected));
    const notes = "missing" in trial
      ? `NOT TRIED: ${trial.missing}`
      : trial.notes.join("; ");
    console.log(`${name} (${by}): ${notes}`);
  }
  const types = await checkTypes(project, tools);
  for (const { name, complaints } of types) {
    console.log(`${name}: ${complaints === "" ? "checks" : "FAILED"}`);
    if (complaints !== "") failures.push(`${name}: ${complaints}`);
  }
  console.log(`\n${formatTable(rows)}\n`);
  await compare(format(rows), rows, failures);
  for (const failure of failures) console.error(failure);
  return failures.length > 0 ? 1 : 0;
}

/** Writes the table, or compares it with the one that is there. */
async function compare(
  text: string,
  rows: readonly Row[],
  failures: string[],
): Promise<void> {
  if (!Deno.args.includes("--check")) {
    await Deno.writeTextFile(TABLE, text);
    return;
  }
  const recorded = await Deno.readTextFile(TABLE);
  // What could not be tried here is said above, and proves nothing else.
  const tried = rows.filter(({ missing }) => missing === undefined);
  const lines = text.split("\n");
  const differs = tried.length === rows.length
    ? text !== recorded
    : tried.some(({ name, by }) =>
      !lines.filter((line) => line.startsWith(`| ${name} | ${by} |`))
        .every((line) => recorded.includes(line))
    );
  if (differs) {
    failures.push(
      "The table is not that of scripts/runtimes/RUNTIMES.md: run `deno task runtimes` and commit it",
    );
  }
}

/** Removes a folder in which processes that were just ended may still write. */
async function removeAll(folder: string): Promise<void> {
  for (let tries = 10;; tries--) {
    try {
      return await Deno.remove(folder, { recursive: true });
    } catch (error) {
      if (tries === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function main(): Promise<number> {
  const unknown = Deno.args.filter((argument) => argument !== "--check");
  if (unknown.length > 0) {
    console.error(
      `Unknown argument ${unknown.join(" ")}: expected nothing or --check`,
    );
    return 2;
  }
  const folder = await Deno.makeTempDir({ prefix: "evenkeel_runtimes_" });
  try {
    return await tryAll(folder);
  } finally {
    await removeAll(folder);
  }
}

if (import.meta.main) Deno.exit(await main());
