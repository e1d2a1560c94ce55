/**
 * The bundler: esbuild compiled to WASM, which needs no process of its own
 * and hence no permission to run one.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Plugin } from "npm:esbuild-wasm@0.28.0/lib/browser.js";
import { UnsupportedError } from "../errors.ts";

type Esbuild = typeof import("npm:esbuild-wasm@0.28.0/lib/browser.js");

// Not a literal in the import: Deno would fetch the package with every import
// of Evenkeel.
const PACKAGE = "npm:esbuild-wasm@0.28.0/lib/browser.js";

/** A module that is not a file, such as a model. */
export interface VirtualModule {
  /** How it is made to an ES module: of JavaScript, or of bytes to export. */
  readonly loader: "js" | "binary";
  /** Its content. */
  readonly contents: string | Uint8Array;
}

/** What is bundled. */
export interface BundleTask {
  /** The modules that are not files, by specifier. */
  readonly modules: ReadonlyMap<string, VirtualModule>;
  /** The specifier of the one that is the entry. */
  readonly entry: string;
  /** What stays an import, by specifier. */
  readonly external: readonly string[];
  /** A comment at the top of the output. */
  readonly banner: string;
}

/** What all platforms understand; classes with private members. */
const TARGET = "es2022";

async function start(): Promise<Esbuild> {
  let loaded: Esbuild & { default?: Esbuild };
  let wasm: Uint8Array<ArrayBuffer>;
  try {
    loaded = await import(PACKAGE);
    const url = new URL("../esbuild.wasm", import.meta.resolve(PACKAGE));
    wasm = new Uint8Array(await readFile(fileURLToPath(url)));
  } catch (cause) {
    // Deno's own error says which permission is missing.
    if ((cause as Error).name === "NotCapable") throw cause;
    throw new UnsupportedError(
      `Cannot load the bundler, ${PACKAGE}: ${(cause as Error).message}`,
      { cause },
    );
  }
  const esbuild = loaded.default ?? loaded;
  // It looks for the globals of browsers under the name that they have there.
  const globals = globalThis as { self?: unknown };
  const hasSelf = "self" in globals;
  if (!hasSelf) globals.self = globalThis;
  try {
    await esbuild.initialize({
      wasmModule: new WebAssembly.Module(wasm),
      // Not all runtimes have workers.
      worker: false,
    });
  } finally {
    if (!hasSelf) delete globals.self;
  }
  return esbuild;
}

/** Reads a module of Evenkeel's from where this one came from. */
async function readSource(url: string): Promise<string | Uint8Array> {
  if (url.startsWith("file:")) return await readFile(new URL(url));
  const response = await fetch(url);
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`the server answered ${response.status} for ${url}`);
  }
  return await response.text();
}

/** Modules by URL, and those that are no files. */
function modulesPlugin(
  modules: ReadonlyMap<string, VirtualModule>,
  external: readonly string[],
): Plugin {
  return {
    name: "evenkeel",
    setup(build) {
      build.onResolve({ filter: /.*/ }, ({ path, importer }) => {
        if (external.includes(path)) return { path, external: true };
        if (modules.has(path)) return { path, namespace: "virtual" };
        // A specifier in a virtual module is a URL already.
        const base = importer === "" || modules.has(importer)
          ? undefined
          : importer;
        const url = new URL(path, base).href;
        // A file that something else stands in for.
        return { path: url, namespace: modules.has(url) ? "virtual" : "url" };
      });
      build.onLoad({ filter: /.*/, namespace: "virtual" }, ({ path }) => {
        const { loader, contents } = modules.get(path)!;
        return { loader, contents };
      });
      build.onLoad({ filter: /.*/, namespace: "url" }, async ({ path }) => ({
        loader: path.endsWith(".ts") ? "ts" : "js",
        contents: await readSource(path),
      }));
    },
  };
}

let started: Promise<Esbuild> | undefined;

/**
 * Bundles modules into one ES module, minified.
 *
 * @param task The modules.
 * @returns The module; the same for the same task.
 *
 * @throws {UnsupportedError} If esbuild cannot be loaded, or a module cannot.
 */
export async function bundleModules(task: BundleTask): Promise<Uint8Array> {
  // It does nothing between builds, and does not keep the process alive.
  const esbuild = await (started ??= start().catch((error) => {
    started = undefined; // a permission may be given the next time
    throw error;
  }));
  try {
    const { outputFiles } = await esbuild.build({
      entryPoints: [task.entry],
      plugins: [modulesPlugin(task.modules, task.external)],
      banner: { js: task.banner },
      bundle: true,
      minify: true,
      write: false,
      format: "esm",
      platform: "neutral",
      target: TARGET,
      charset: "utf8",
      logLevel: "silent",
    });
    return outputFiles[0]!.contents;
  } catch (cause) {
    throw new UnsupportedError(
      `Cannot bundle the worker: ${(cause as Error).message}`,
      { cause },
    );
  }
}
