/**
 * The platforms that have a build of their own, and what differs in each: how
 * the WASM module, files and external packages are reached.
 *
 * @module
 */

import type { Plugin } from "esbuild";
import { type Entry, ROOT } from "./entries.ts";
import {
  type ExternalPackage,
  loaderSource,
  packageIn,
  rewriteImports,
} from "./packages.ts";

/** The folder of a build in the package. */
export type PlatformName = "node" | "browser" | "worker" | "edge";

/** A platform with a build of its own. */
export interface Platform {
  /** The folder of its files in the package. */
  readonly name: PlatformName;
  /**
   * How the WASM module is imported: not at all, for it is embedded and
   * compiled from bytes, or by the suffix of its specifier.
   */
  readonly wasm: "embedded" | { readonly suffix: string };
  /** Whether Node's modules are there. */
  readonly hasNode: boolean;
}

/** All platforms. */
export const PLATFORMS: readonly Platform[] = [
  { name: "node", wasm: "embedded", hasNode: true },
  { name: "browser", wasm: "embedded", hasNode: false },
  // workerd and wrangler give a WebAssembly.Module for such an import,
  { name: "worker", wasm: { suffix: "" }, hasNode: false },
  // and so do Vercel's and Next.js' bundlers for this one.
  { name: "edge", wasm: { suffix: "?module" }, hasNode: false },
];

/** The conditions of `exports` in package.json, in order, and their builds. */
export const CONDITIONS: readonly (readonly [string, PlatformName])[] = [
  ["deno", "node"],
  ["workerd", "worker"],
  ["edge-light", "edge"],
  ["browser", "browser"],
  ["node", "node"],
  ["bun", "node"],
  // What asks for none of them has what every standard platform has.
  ["default", "browser"],
];

/** The entries that a platform has. */
export function entriesFor(
  { hasNode }: Platform,
  entries: readonly Entry[],
): Entry[] {
  return entries.filter(({ nodeOnly }) => hasNode || !nodeOnly);
}

/** What reading a path says where there are no files. */
const NO_FILES =
  "Cannot use files by path: this runtime has no files. Pass the bytes, a Blob, a Map of files by name, or an http: or https: URL";

const SOURCES = decodeURIComponent(new URL("src/", ROOT).pathname);
const ERRORS = `${SOURCES}errors.ts`;
/** The generated sources that embed a WASM module, and the file they embed. */
const BINARY = /\/\*\* (kernels\/(\w+\.wasm)) [^*]*\*\/\s*export const (\w+) =/;
const NODE_IMPORT = /\bimport\("node:[\w/]+"\)/g;

/**
 * The esbuild plugin of a platform.
 *
 * @param platform The platform.
 * @param found Gets the external packages that the sources load, by name.
 * @param binaries Gets the WASM files that the sources embed.
 */
export function platformPlugin(
  platform: Platform,
  found: Map<string, ExternalPackage>,
  binaries: Set<string>,
): Plugin {
  return {
    name: `evenkeel-${platform.name}`,
    setup(build) {
      build.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
        if (!path.startsWith(SOURCES)) return undefined;
        let text = await Deno.readTextFile(path);
        const binary = BINARY.exec(text);
        if (binary) {
          const [, , file, constant] = binary as unknown as string[];
          binaries.add(file!);
          if (platform.wasm === "embedded") return undefined;
          return {
            loader: "js",
            contents: `import module from "evenkeel-wasm:${file}";
export const ${constant} = module;`,
          };
        }
        const external = packageIn(path, text);
        if (external) {
          found.set(external.name, external);
          text = rewriteImports(
            text,
            external,
            `evenkeel-package:${external.name}`,
          );
        }
        if (!platform.hasNode && text.match(NODE_IMPORT)) {
          text = `import { refuseFiles } from "evenkeel-files:node";\n${
            text.replace(NODE_IMPORT, "refuseFiles()")
          }`;
        }
        return { loader: "ts", contents: text };
      });
      build.onResolve({ filter: /^evenkeel-wasm:/ }, ({ path }) => {
        const { suffix } = platform.wasm as { suffix: string };
        return {
          path: `../${path.slice("evenkeel-wasm:".length)}${suffix}`,
          external: true,
        };
      });
      for (const namespace of ["evenkeel-package", "evenkeel-files"]) {
        const filter = new RegExp(`^${namespace}:`);
        build.onResolve(
          { filter },
          ({ path }) => ({ path: path.slice(namespace.length + 1), namespace }),
        );
      }
      // What a loader imports stays an import; `ERRORS` is ours.
      build.onResolve(
        { filter: /^[^/]/, namespace: "evenkeel-package" },
        ({ path }) => ({ path, external: true }),
      );
      build.onLoad(
        { filter: /.*/, namespace: "evenkeel-package" },
        ({ path }) => {
          const external = found.get(path)!;
          return {
            contents: loaderSource(external, platform.name, ERRORS),
            resolveDir: SOURCES,
          };
        },
      );
      build.onLoad({ filter: /.*/, namespace: "evenkeel-files" }, () => ({
        contents: `import { UnsupportedError } from ${JSON.stringify(ERRORS)};
export async function refuseFiles() {
  throw new UnsupportedError(${JSON.stringify(NO_FILES)});
}`,
        resolveDir: SOURCES,
      }));
    },
  };
}
