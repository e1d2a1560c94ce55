/**
 * The package.json of the npm package.
 *
 * @module
 */

import type { Entry, Manifest } from "./entries.ts";
import { type ExternalPackage, kindOf } from "./packages.ts";
import { CONDITIONS, entriesFor, PLATFORMS } from "./platforms.ts";

/** The oldest Node that the smoke suite runs on. */
export const NODE_VERSION = ">=20";

/** Files that are exported as they are. */
const FILES: readonly string[] = ["./package.json"];

function exportsOf(entry: Entry): Record<string, string> {
  const conditions = CONDITIONS.filter(([, name]) => {
    const platform = PLATFORMS.find((platform) => platform.name === name)!;
    return entriesFor(platform, [entry]).length > 0;
  });
  return {
    types: `./types/${entry.source.replace(/\.ts$/, ".d.ts")}`,
    ...Object.fromEntries(
      conditions.map(([condition, name]) => [
        condition,
        `./${name}/${entry.name}.js`,
      ]),
    ),
  };
}

function dependenciesOf(
  packages: readonly ExternalPackage[],
): Record<string, unknown> {
  const of = (kind: string) =>
    packages.filter((found) => kindOf(found) === kind)
      .sort((a, b) => a.name < b.name ? -1 : 1);
  const versions = (kind: string) =>
    Object.fromEntries(of(kind).map(({ name, version }) => [name, version]));
  return {
    dependencies: versions("dependencies"),
    optionalDependencies: versions("optionalDependencies"),
    peerDependencies: versions("peerDependencies"),
    peerDependenciesMeta: Object.fromEntries(
      of("peerDependencies").map(({ name }) => [name, { optional: true }]),
    ),
  };
}

/**
 * Makes the content of package.json.
 *
 * @param manifest What deno.json says.
 * @param entries The entries.
 * @param packages The external packages that the sources load.
 * @param binaries The WASM files, in the package's folder.
 */
export function packageJson(
  manifest: Manifest,
  entries: readonly Entry[],
  packages: readonly ExternalPackage[],
  binaries: readonly string[],
): Record<string, unknown> {
  const [main] = entries;
  return {
    name: manifest.name,
    version: manifest.version,
    description:
      "Keras BatchNormalization on every JavaScript runtime, and its ONNX form",
    license: manifest.license,
    type: "module",
    // For what does not know `exports`.
    main: `./node/${main!.name}.js`,
    types: exportsOf(main!).types,
    bin: { evenkeel: "./bin/evenkeel.js" },
    engines: { node: NODE_VERSION },
    exports: {
      ...Object.fromEntries(
        entries.map((entry) => [entry.subpath, exportsOf(entry)]),
      ),
      ...Object.fromEntries(
        [...binaries.map((file) => `./${file}`), ...FILES]
          .map((file) => [file, file]),
      ),
    },
    ...dependenciesOf(packages),
  };
}
