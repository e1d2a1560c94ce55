/**
 * Builds the npm package: a folder that `npm pack` takes as it is.
 *
 * @module
 */

import * as esbuild from "esbuild";
import { declareTypes } from "./declarations.ts";
import { entriesOf, type Entry, readManifest, ROOT } from "./entries.ts";
import { packageJson } from "./package_json.ts";
import type { ExternalPackage } from "./packages.ts";
import {
  entriesFor,
  type Platform,
  platformPlugin,
  PLATFORMS,
} from "./platforms.ts";

/** What the oldest supported runtimes understand: Node 20, and browsers of 2023. */
const TARGET = "es2022";

/** Files of the project that the package has too. */
const COPIED: readonly string[] = ["README.md", "LICENSE"];

/** Sources that `evenkeel bundle` makes workers of, wherever it runs. */
const WORKER_SOURCES: readonly string[] = [
  "serve",
  "session",
  "onnx",
  "layer",
  "kernels",
];

/** Every source below a folder of `src/`, without tests and their helpers. */
async function* sourcesBelow(folder: string): AsyncGenerator<string> {
  for await (
    const { name, isDirectory } of Deno.readDir(new URL(folder, ROOT))
  ) {
    const path = `${folder}${name}`;
    if (isDirectory && name !== "testing") yield* sourcesBelow(`${path}/`);
    else if (/\.ts$/.test(name) && !/_(test|bench)\.ts$/.test(name)) yield path;
  }
}

/** The sources of workers, sorted so that the package is the same everywhere. */
async function workerSources(): Promise<string[]> {
  const paths: string[] = [];
  for (const folder of WORKER_SOURCES) {
    for await (const path of sourcesBelow(`src/${folder}/`)) paths.push(path);
  }
  for await (const { name, isFile } of Deno.readDir(new URL("src/", ROOT))) {
    if (isFile && /\.ts$/.test(name) && !/_test\.ts$/.test(name)) {
      paths.push(`src/${name}`);
    }
  }
  return paths.sort();
}

const COMMAND = `#!/usr/bin/env node
import process from "node:process";
import { main } from "../node/cli.js";
process.exitCode = await main(process.argv.slice(2));
`;

/** A file of the package, by its path there. */
export type PackageFiles = Map<string, Uint8Array>;

const encoder = new TextEncoder();

async function bundle(
  platform: Platform,
  entries: readonly Entry[],
  found: Map<string, ExternalPackage>,
  binaries: Set<string>,
): Promise<PackageFiles> {
  const root = decodeURIComponent(ROOT.pathname);
  const folder = `${root}dist/${platform.name}/`;
  const { outputFiles } = await esbuild.build({
    absWorkingDir: root,
    entryPoints: Object.fromEntries(
      entriesFor(platform, entries).map(({ name, source }) => [name, source]),
    ),
    plugins: [platformPlugin(platform, found, binaries)],
    external: ["node:*"],
    bundle: true,
    // Entries share their classes: an error of one is `instanceof` in another.
    splitting: true,
    write: false,
    format: "esm",
    platform: "neutral",
    target: TARGET,
    minifyWhitespace: true,
    minifySyntax: true,
    // Not the identifiers: an error's name is that of its class.
    outdir: folder,
    chunkNames: "chunk-[hash]",
    // esbuild asks the nearest tsconfig.json, which is none of ours.
    tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
    logLevel: "error",
  });
  return new Map(outputFiles.map(({ path, contents }) => [
    `${platform.name}/${path.slice(folder.length)}`,
    contents,
  ]));
}

/**
 * Makes all files of the package, without writing any.
 *
 * @returns The files by path, in the order in which they were made.
 *
 * @throws {Error} If something does not build.
 */
export async function buildPackage(): Promise<PackageFiles> {
  const manifest = await readManifest();
  const entries = entriesOf(manifest);
  const found = new Map<string, ExternalPackage>();
  const binaries = new Set<string>();
  const files: PackageFiles = new Map();
  try {
    for (const platform of PLATFORMS) {
      const built = await bundle(platform, entries, found, binaries);
      for (const [path, content] of built) files.set(path, content);
    }
  } finally {
    await esbuild.stop();
  }
  for (const file of binaries) {
    files.set(file, await Deno.readFile(new URL(`kernels/${file}`, ROOT)));
  }
  const types = declareTypes(entries.map(({ source }) => source));
  for (const [path, text] of types) {
    files.set(`types/${path}`, encoder.encode(text));
  }
  files.set("bin/evenkeel.js", encoder.encode(COMMAND));
  for (const name of [...COPIED, ...await workerSources()]) {
    files.set(name, await Deno.readFile(new URL(name, ROOT)));
  }
  const json = packageJson(
    manifest,
    entries,
    [...found.values()],
    [...binaries].sort(),
  );
  files.set(
    "package.json",
    encoder.encode(`${JSON.stringify(json, undefined, 2)}\n`),
  );
  return files;
}

/**
 * Writes the files of a package into a folder, which is emptied before.
 *
 * @param files The files.
 * @param folder The folder.
 */
export async function writePackage(
  files: PackageFiles,
  folder: URL,
): Promise<void> {
  try {
    await Deno.remove(folder, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  for (const [path, content] of files) {
    const url = new URL(path, folder);
    await Deno.mkdir(new URL(".", url), { recursive: true });
    await Deno.writeFile(
      url,
      content,
      path.startsWith("bin/") ? { mode: 0o755 } : {},
    );
  }
}
