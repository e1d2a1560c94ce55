/**
 * A project of a stranger: the packed package, installed by npm in a folder of
 * its own, and the smoke suite beside it.
 *
 * @module
 */

import * as esbuild from "esbuild";
import { buildPackage, writePackage } from "../bundle/build.ts";
import { ROOT } from "../bundle/entries.ts";
import type { PlatformName } from "../bundle/platforms.ts";
import { npm } from "./tools.ts";

/** The project. */
export interface Project {
  /** Its folder. */
  readonly folder: string;
  /** The package's name. */
  readonly name: string;
  /** The package's archive, in bytes. */
  readonly packedBytes: number;
}

/** The test data of the suite, by its name there. */
const TEST_DATA: Readonly<Record<string, string>> = {
  "tfjs/model.json": "keras_tfjs/tfjs_sequential/model.json",
  "tfjs/weights.bin": "keras_tfjs/tfjs_sequential/weights.bin",
  "weights.npz": "keras_arrays/named_compressed.npz",
  "model.keras": "keras/k3_functional_rank4.keras",
  "fold_conv_bias.onnx": "onnx/models/fold_conv_bias.onnx",
};

/** A file of the project's folder, for the command to read. */
export const KERAS_FILE = "model.keras";

/** The test data, read. */
export async function testData(): Promise<Record<string, Uint8Array>> {
  const files: Record<string, Uint8Array> = {};
  for (const [name, path] of Object.entries(TEST_DATA)) {
    files[name] = await Deno.readFile(new URL(`testdata/${path}`, ROOT));
  }
  return files;
}

function base64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

/** A module that every runtime can import, since not all have files. */
function dataModule(files: Readonly<Record<string, Uint8Array>>): string {
  const lines = Object.entries(files).map(([name, bytes]) =>
    `${JSON.stringify(name)}: decode("${base64(bytes)}"),`
  );
  return `const decode = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
export const files = {
${lines.join("\n")}
};
`;
}

/**
 * Packs the package and installs it.
 *
 * @param folder An empty folder.
 */
export async function createProject(folder: string): Promise<Project> {
  const built = `${folder}/package`;
  await writePackage(await buildPackage(), new URL(`file://${built}/`));
  // A list, or by name: npm's releases differ.
  const [archive] = Object.values(
    JSON.parse(await npm(["pack", "--json", built], folder)),
  ) as { name: string; filename: string; size: number }[];
  if (!archive) throw new Error("npm pack made no archive");
  const app = `${folder}/app`;
  await Deno.mkdir(app);
  await Deno.writeTextFile(
    `${app}/package.json`,
    JSON.stringify({
      private: true,
      type: "module",
      dependencies: { [archive.name]: `file:../${archive.filename}` },
    }),
  );
  await npm(["install", "--ignore-scripts"], app);
  // The second copy in one process: the same files in another place.
  await Deno.rename(built, `${app}/second`);
  const source = new URL("suite.ts", import.meta.url);
  try {
    const { code } = await esbuild.transform(
      await Deno.readTextFile(source),
      { loader: "ts", format: "esm", target: "es2022" },
    );
    await Deno.writeTextFile(`${app}/suite.js`, code);
  } finally {
    await esbuild.stop();
  }
  const files = await testData();
  await Deno.writeTextFile(`${app}/files.js`, dataModule(files));
  await Deno.writeFile(`${app}/${KERAS_FILE}`, files[KERAS_FILE]!);
  return { folder: app, name: archive.name, packedBytes: archive.size };
}

/** The lines that import what the suite needs. */
export function suiteImports(
  { name }: Project,
  platform: PlatformName,
): string {
  return `import * as evenkeel from "${name}";
import * as inference from "${name}/inference";
import * as threads from "${name}/threads";
import * as second from "./second/${platform}/mod.js";
import { runSuite } from "./suite.js";
import { files } from "./files.js";
`;
}

/** What a bundler makes of an entry. */
export interface BundleOptions {
  /** The entry's source. */
  readonly source: string;
  /** The conditions of the platform's own bundler. */
  readonly conditions: readonly string[];
  readonly format: "esm" | "iife";
  /** Whether lazily imported packages become files of their own. */
  readonly splitting?: boolean;
  /** The name of the global that holds the module behind `x.wasm?module`. */
  readonly moduleGlobal?: string;
}

/**
 * Bundles an application of the package, as each platform's own tool does:
 * wrangler and Vercel's builder use esbuild too.
 *
 * @returns The files by name; the entry is `app.js`.
 */
export async function bundleApp(
  { folder }: Project,
  { source, conditions, format, splitting = false, moduleGlobal }:
    BundleOptions,
): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  try {
    const { outputFiles } = await esbuild.build({
      absWorkingDir: folder,
      stdin: { contents: source, resolveDir: folder, sourcefile: "app.js" },
      bundle: true,
      write: false,
      format,
      splitting,
      conditions: [...conditions],
      mainFields: ["module", "main"],
      platform: "browser",
      target: "es2022",
      outdir: `${folder}/out`,
      entryNames: "app",
      chunkNames: "chunk-[hash]",
      assetNames: "[name]",
      loader: { ".wasm": "copy" },
      minifyWhitespace: true,
      logLevel: "error",
      plugins: moduleGlobal === undefined ? [] : [{
        name: "module",
        setup(build) {
          build.onResolve({ filter: /\.wasm\?module$/ }, ({ path }) => ({
            path: path.split("/").at(-1)!,
            namespace: "module",
          }));
          build.onLoad({ filter: /.*/, namespace: "module" }, ({ path }) => ({
            contents: `export default globalThis.${moduleGlobal}[${
              JSON.stringify(path.replace("?module", ""))
            }];`,
          }));
        },
      }],
    });
    return new Map(outputFiles.map(({ path, contents }) => [
      path.slice(`${folder}/out/`.length).replace(/^stdin\.js$/, "app.js"),
      contents as Uint8Array<ArrayBuffer>,
    ]));
  } finally {
    await esbuild.stop();
  }
}
