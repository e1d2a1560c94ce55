/**
 * What becomes of the external packages that the sources load lazily, such as
 * `npm:h5wasm@0.10.3`: bare names, which Node, Bun and bundlers understand.
 *
 * @module
 */

import type { PlatformName } from "./platforms.ts";

/** How the package comes to know another one. */
export type DependencyKind =
  | "dependencies"
  | "optionalDependencies"
  | "peerDependencies";

/** A lazily imported package, as a source names it. */
export interface ExternalPackage {
  /** Such as `h5wasm`. */
  readonly name: string;
  /** Such as `0.10.3`. */
  readonly version: string;
  /** What is imported: the name, and a path in the package if there is one. */
  readonly specifier: string;
}

interface Policy {
  readonly kind: DependencyKind;
  /** What it is for, in the words of an error. */
  readonly purpose: string;
  /** Why it cannot run where WASM from bytes is refused, and what to do. */
  readonly refusedAtEdge?: string;
  /**
   * Whether a bundler shall see the import and bring the package along. An
   * optional one that is not installed would fail its build.
   */
  readonly visible: boolean;
}

const POLICIES: Readonly<Record<string, Policy>> = {
  // 3 KB, and runs everywhere.
  fflate: {
    kind: "dependencies",
    purpose: "reads and writes zip archives (.keras, .npz)",
    visible: true,
  },
  // 5 MB, installed by default; `npm install --omit=optional` leaves it away.
  h5wasm: {
    kind: "optionalDependencies",
    purpose: "reads and writes HDF5 files (.h5, .keras)",
    refusedAtEdge:
      "h5wasm compiles WASM from bytes, which this runtime refuses. Convert the model where Deno, Node, Bun or a browser runs, with `evenkeel convert` or writeKeras, and load that: ONNX, .npz, safetensors, JSON and TensorFlow.js models need no HDF5",
    visible: true,
  },
  // 70 MB, and only to compare with.
  "onnxruntime-web": {
    kind: "peerDependencies",
    purpose: "runs models to compare with",
    refusedAtEdge: "its wasm does not start in this runtime",
    visible: false,
  },
  // 14 MB, and only for `evenkeel bundle`.
  "esbuild-wasm": {
    kind: "peerDependencies",
    purpose: "bundles workers",
    visible: false,
  },
};

const DECLARATION = /^const PACKAGE = "npm:([^"]+)";$/gm;
const IMPORT = /\bimport\(PACKAGE\)/g;

/**
 * The package that a source loads lazily; undefined if it loads none.
 *
 * @throws {Error} If it does so in another way than the house's, or the
 * package is unknown here.
 */
export function packageIn(
  path: string,
  text: string,
): ExternalPackage | undefined {
  const declared = [...text.matchAll(DECLARATION)];
  if (declared.length === 0) {
    if (text.includes("import(PACKAGE)")) {
      throw new Error(`${path} imports PACKAGE, which is no npm: specifier`);
    }
    return undefined;
  }
  const specifier = declared[0]![1]!;
  const parts = /^((?:@[^/]+\/)?[^@/]+)@(\d+\.\d+\.\d+)(\/.*)?$/.exec(
    specifier,
  );
  if (declared.length > 1 || !parts) {
    throw new Error(
      `${path}: expected one pinned package, got ${
        declared.map(([line]) => line).join(" ")
      }`,
    );
  }
  const [, name, version, rest = ""] = parts as unknown as [
    string,
    string,
    string,
    string?,
  ];
  if (!Object.hasOwn(POLICIES, name)) {
    throw new Error(
      `${path} loads ${name}: add to scripts/bundle/packages.ts how the npm package comes to know it`,
    );
  }
  return { name, version, specifier: name + rest };
}

/** The kind of dependency that a package is. */
export function kindOf({ name }: ExternalPackage): DependencyKind {
  return POLICIES[name]!.kind;
}

/** What a source becomes that loads a package lazily. */
export function rewriteImports(
  text: string,
  { specifier }: ExternalPackage,
  loader: string,
): string {
  const body = text
    .replace(DECLARATION, `const PACKAGE = ${JSON.stringify(specifier)};`)
    .replace(IMPORT, "importPackage()");
  return `import { importPackage } from ${JSON.stringify(loader)};\n${body}`;
}

/** The module that loads a package, or says why it cannot be. */
export function loaderSource(
  { name, version, specifier }: ExternalPackage,
  platform: PlatformName,
  errors: string,
): string {
  const { purpose, refusedAtEdge, visible } = POLICIES[name]!;
  const atEdge = platform === "worker" || platform === "edge";
  const header = `import { UnsupportedError } from ${JSON.stringify(errors)};
export async function importPackage() {`;
  if (atEdge && refusedAtEdge !== undefined) {
    const message = `Cannot load ${name}, which ${purpose}: ${refusedAtEdge}`;
    return `${header}
  throw new UnsupportedError(${JSON.stringify(message)});
}`;
  }
  const remedy = platform === "node"
    ? `npm install ${name}@${version}`
    : `install ${name}@${version} for the bundler, or map its name in an import map`;
  const message =
    `Cannot load the package ${name}, which ${purpose}: ${remedy}`;
  const imported = visible
    ? `import(${JSON.stringify(specifier)})`
    : `import(/* webpackIgnore: true */ /* @vite-ignore */ specifier)`;
  return `${
    visible ? "" : `const specifier = ${JSON.stringify(specifier)};\n`
  }${header}
  try {
    return await ${imported};
  } catch (cause) {
    throw new UnsupportedError(${JSON.stringify(message)}, { cause });
  }
}`;
}
