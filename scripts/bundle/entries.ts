/**
 * The entries of the package: those of `deno.json`'s `exports`, so that there
 * is one list of them.
 *
 * @module
 */

/** The project's folder. */
export const ROOT: URL = new URL("../../", import.meta.url);

/** What `deno.json` says that the npm package says too. */
export interface Manifest {
  /** The package's name. */
  readonly name: string;
  /** Its version. */
  readonly version: string;
  /** Its license, as SPDX has it. */
  readonly license: string;
  /** The sources of the entries, by what follows the package's name. */
  readonly exports: Readonly<Record<string, string>>;
}

/** An entry of the package. */
export interface Entry {
  /** What follows the package's name in an import, such as `./cli`. */
  readonly subpath: string;
  /** Its source, relative to the project's folder. */
  readonly source: string;
  /** The name of its files in the package, without an extension. */
  readonly name: string;
  /** Whether it needs Node's modules: what runs in Deno, Node and Bun only. */
  readonly nodeOnly: boolean;
}

/** Entries that are for a command line. */
const NODE_ONLY: ReadonlySet<string> = new Set(["./cli"]);

/** Reads `deno.json`. */
export async function readManifest(root: URL = ROOT): Promise<Manifest> {
  return JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
}

/** The entries of a manifest, in its order. */
export function entriesOf({ exports }: Manifest): Entry[] {
  return Object.entries(exports).map(([subpath, source]) => ({
    subpath,
    source: source.replace(/^\.\//, ""),
    name: subpath === "." ? "mod" : subpath.slice(2).replaceAll("/", "_"),
    nodeOnly: NODE_ONLY.has(subpath),
  }));
}
