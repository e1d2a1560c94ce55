/**
 * The type declarations of the package, which check in strict projects that
 * are not Deno's: with TypeScript's `dom` library and without it, and with
 * libraries that are older than Float16Array.
 *
 * @module
 */

import ts from "typescript";
import { ROOT } from "./entries.ts";

/** Types of the platform, which a project may have no declarations of. */
const PLATFORM_TYPES: readonly string[] = [
  "AbortSignal",
  "Blob",
  "File",
  "Float16Array",
  "Headers",
  "ReadableStream",
  "Request",
  "Response",
  "URL",
  "WebAssembly",
  "WritableStream",
];

/** The file that takes them from the project's globals where it has them. */
const PLATFORM_FILE = "platform.d.ts";

/** The classes of `WebAssembly` that the declarations may use. */
const WASM_TYPES: readonly string[] = ["Instance", "Memory", "Module"];

function wasmType(name: string): string {
  return `  type ${name} = typeof globalThis extends
    { WebAssembly: { ${name}: { prototype: infer T } } } ? T : object;`;
}

/** The lines of that file for one type. */
function platformType(name: string): string {
  if (name === "WebAssembly") {
    return `export declare namespace WebAssembly {
${WASM_TYPES.map(wasmType).join("\n")}
}`;
  }
  // A class without declarations is a type that has no values: what nobody
  // can name, nobody can pass.
  return `export type ${name} = typeof globalThis extends
  { ${name}: { prototype: infer T } } ? T : never;`;
}

const PLATFORM_SOURCE =
  `// What the project's own libraries declare; or nothing.
/// <reference lib="esnext.disposable" />
${PLATFORM_TYPES.map(platformType).join("\n")}
`;

const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ESNext,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  lib: ["lib.esnext.d.ts", "lib.dom.d.ts"],
  types: [],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  allowImportingTsExtensions: true,
  declaration: true,
  emitDeclarationOnly: true,
  // That is `deno check`'s.
  noCheck: true,
  skipLibCheck: true,
  stripInternal: true,
};

/** Compiles sources to declarations, each when it is asked for. */
class Compiler {
  readonly #root: string;
  readonly #program: ts.Program;

  constructor(root: string, sources: readonly string[]) {
    this.#root = root;
    this.#program = ts.createProgram(
      sources.map((source) => root + source),
      OPTIONS,
    );
  }

  /** The declarations of a source. */
  declare(source: string): string {
    let declared: string | undefined;
    const { diagnostics } = this.#program.emit(
      this.#program.getSourceFile(this.#root + source),
      (_path, text) => {
        declared = text;
      },
    );
    if (diagnostics.length > 0 || declared === undefined) {
      throw new Error(
        `Cannot declare the types of ${source}: ${
          ts.formatDiagnostics(diagnostics, {
            getCanonicalFileName: (name) => name,
            getCurrentDirectory: () => this.#root,
            getNewLine: () => "\n",
          })
        }`,
      );
    }
    return declared;
  }
}

/** A path relative to a file of the package. */
function relative(from: string, to: string): string {
  const up = "../".repeat(from.split("/").length - 1);
  return (up === "" ? "./" : up) + to;
}

/** The specifiers that a declaration file imports. */
function importsOf(text: string): string[] {
  return ts.preProcessFile(text, true, true).importedFiles
    .map(({ fileName }) => fileName);
}

/** Which types of the platform a declaration file uses. */
function platformTypesOf(path: string, text: string): string[] {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.ESNext);
  const used = new Set<string>();
  const visit = (node: ts.Node): void => {
    const name = ts.isTypeReferenceNode(node)
      ? node.typeName
      : ts.isExpressionWithTypeArguments(node)
      ? node.expression
      : undefined;
    if (name) {
      let first: ts.Node = name;
      while (ts.isQualifiedName(first)) first = first.left;
      if (ts.isIdentifier(first)) used.add(first.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return PLATFORM_TYPES.filter((name) => used.has(name));
}

/** A declaration file as the package has it. */
function adapt(path: string, text: string): string {
  // TypeScript prints these as the sources have them; each is between quotes
  // at the end of an import or export, or in import().
  let adapted = text.replace(
    /(\bfrom |\bimport\(|^import )"(\.[^"]*)\.ts"/gm,
    '$1"$2.js"',
  );
  const types = platformTypesOf(path, adapted);
  // Generic where TypeScript's is: an array's buffer makes no difference here.
  adapted = adapted.replace(/\bFloat16Array<[\w]+>/g, "Float16Array");
  const header = types.length === 0
    ? ""
    : `import type { ${types.join(", ")} } from "${
      relative(path, PLATFORM_FILE.replace(".d.ts", ".js"))
    }";\n`;
  return header + adapted;
}

/**
 * Declares the types of the entries.
 *
 * @param sources The entries' sources, relative to the project's folder.
 * @returns The declaration files that they need, by path in the package.
 *
 * @throws {Error} If TypeScript cannot declare a type, or a declaration
 * depends on something outside of the package.
 */
export function declareTypes(
  sources: readonly string[],
): Map<string, string> {
  const compiler = new Compiler(decodeURIComponent(ROOT.pathname), sources);
  const files = new Map<string, string>();
  const waiting = [...sources];
  for (const source of waiting) {
    const path = declarationOf(source);
    if (files.has(path)) continue;
    const text = compiler.declare(source);
    files.set(path, adapt(path, text));
    for (const specifier of importsOf(text)) {
      if (!specifier.startsWith(".")) {
        throw new Error(
          `The public types depend on ${specifier}, by ${source}: a project need not have its types`,
        );
      }
      waiting.push(new URL(specifier, `file:///${source}`).pathname.slice(1));
    }
  }
  files.set(PLATFORM_FILE, PLATFORM_SOURCE);
  return files;
}

/** The declaration file of a source. */
function declarationOf(source: string): string {
  return source.replace(/\.ts$/, ".d.ts");
}
