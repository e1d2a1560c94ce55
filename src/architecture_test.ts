// The house rules of the module graph, checked on the sources themselves:
// data flows one way, and an external package has one door.

import { assert, assertEquals } from "@std/assert";

/** Folders of `src/`, from the users' end to the core; see README. */
const LEVELS: readonly (readonly string[])[] = [
  ["cli"], // its commands serve and bundle
  ["serve"],
  ["training", "session"],
  ["keras"], // ONNX models are a source of weights too
  ["onnx"],
  ["layer"],
  ["kernels"],
  ["."], // tensor.ts, errors.ts, bytes.ts and other small ones
];
const CORE = [".", "kernels", "layer"];

/** Folders of `src/keras/`, from what users call to the bytes of files. */
const KERAS_LEVELS: readonly (readonly string[])[] = [
  ["."], // what mod.ts exports: load, write, replace, update
  ["update_onnx", "write"], // where layers go to
  ["load"], // makes layers of what a file of any format holds
  ["formats", "match"], // tells and opens formats; finds layers in what they hold
  ["hdf5", "numpy", "tensorflow", "tfjs"], // one format each, down to its bytes
  ["contents", "model", "tensor_bundle", "zip"], // what files hold, or are made of
  ["files"], // where bytes come from; JSON and element types
];

const root = new URL("../", import.meta.url);

interface Import {
  /** The importing file, relative to `src/`. */
  readonly file: string;
  readonly specifier: string;
  readonly typeOnly: boolean;
}

/** Every source file below a folder, without tests and their helpers. */
function* sources(folder: URL, prefix = ""): Generator<string> {
  for (const entry of Deno.readDirSync(folder)) {
    const path = prefix + entry.name;
    if (entry.isDirectory) {
      if (entry.name === "testing") continue;
      yield* sources(new URL(`${entry.name}/`, folder), `${path}/`);
    } else if (/\.ts$/.test(path) && !/_(test|bench)\.ts$/.test(path)) {
      yield path;
    }
  }
}

function importsOf(file: string): Import[] {
  const text = Deno.readTextFileSync(new URL(`src/${file}`, root))
    // Examples in comments import the public name.
    .replace(/\/\*[\s\S]*?\*\//g, "");
  const statement =
    /^(?:import|export)\s+(type\s+)?(?:[^"';]*?\sfrom\s+)?"([^"]+)"/gm;
  // Lazy imports take the specifier from a constant, so that Deno does not
  // fetch the package before it is needed.
  const lazy = /\bimport\(\s*"([^"]+)"|= "((?:npm|node):[^"]+)"/g;
  return [
    ...[...text.matchAll(statement)].map((match) => ({
      file,
      specifier: match[2]!,
      typeOnly: match[1] !== undefined,
    })),
    ...[...text.matchAll(lazy)].map((match) => ({
      file,
      specifier: match[1] ?? match[2]!,
      typeOnly: false,
    })),
  ];
}

/** Whether Deno fetches the package with the module graph. */
function isStatic(file: string, specifier: string): boolean {
  const text = Deno.readTextFileSync(new URL(`src/${file}`, root));
  return text.includes(`= await import("${specifier}")`) ||
    new RegExp(`^import (?!type)[^;]*"${specifier}"`, "m").test(text);
}

/** The folder in `src/`, or in another one, that a file below it is in. */
function folderOf(file: string, above = ""): string {
  const path = file.slice(above.length);
  return path.includes("/") ? path.slice(0, path.indexOf("/")) : ".";
}

/** What a file imports of ours, relative to `src/`. */
function targetOf({ file, specifier }: Import): string {
  return new URL(specifier, new URL(`src/${file}`, root)).href
    .slice(new URL("src/", root).href.length);
}

/**
 * Checks that folders import only from those of later levels, or themselves.
 *
 * @param above The folder that they are in, relative to `src/`: `keras/`.
 */
function checkOrder(
  levels: readonly (readonly string[])[],
  above = "",
): void {
  const levelOf = (folder: string) => {
    const level = levels.findIndex((folders) => folders.includes(folder));
    assert(level >= 0, `src/${above}${folder} has no place in the design`);
    return level;
  };
  for (const each of imports) {
    const { file, specifier } = each;
    const target = targetOf(each);
    const isInside = specifier.startsWith(".") && file.startsWith(above) &&
      target.startsWith(above);
    if (!isInside) continue;
    const from = folderOf(file, above);
    const to = folderOf(target, above);
    if (from === to) continue;
    assert(
      levelOf(from) < levelOf(to),
      `src/${file} imports ${specifier}: ${from} is not left of ${to}`,
    );
  }
}

const files = [...sources(new URL("src/", root))];
const imports = files.flatMap(importsOf);

Deno.test("the scan finds files and imports", () => {
  assert(files.includes("layer/batch_normalization.ts"));
  assert(
    imports.some(({ file, specifier }) =>
      file === "kernels/typed_array_inference.ts" &&
      specifier === "../tensor.ts"
    ),
  );
  assert(imports.some(({ specifier }) => specifier.startsWith("npm:")));
});

Deno.test("folders import only from the right", () => {
  checkOrder(LEVELS);
});

Deno.test("folders of src/keras import only from the right", () => {
  checkOrder(KERAS_LEVELS, "keras/");
  const there = new Set(
    files.filter((file) => file.startsWith("keras/"))
      .map((file) => folderOf(file, "keras/")),
  );
  assertEquals([...there].sort(), KERAS_LEVELS.flat().sort());
});

Deno.test("the core has no external import", () => {
  for (const { file, specifier } of imports) {
    if (!CORE.includes(folderOf(file))) continue;
    assert(specifier.startsWith("."), `src/${file} imports ${specifier}`);
  }
});

Deno.test("external packages are pinned and imported in one file", () => {
  const doors = new Map<string, Set<string>>();
  for (const { file, specifier, typeOnly } of imports) {
    // What the runtimes bring along is no package.
    if (specifier.startsWith(".") || specifier.startsWith("node:")) continue;
    // The import map does not reach those who import by URL.
    const name = /^npm:((?:@[^/]+\/)?[^@/]+)@\d+\.\d+\.\d+(?:\/|$)/
      .exec(specifier)?.[1];
    assert(name, `src/${file} imports "${specifier}", expected a pinned npm:`);
    if (typeOnly) continue;
    doors.set(name!, (doors.get(name!) ?? new Set()).add(file));
  }
  for (const [name, where] of doors) {
    assertEquals(where.size, 1, `${name} is imported in ${[...where]}`);
  }
});

Deno.test("packages are imported lazily", () => {
  for (const { file, specifier, typeOnly } of imports) {
    assert(
      typeOnly || !specifier.startsWith("npm:") || !isStatic(file, specifier),
      `src/${file} imports ${specifier} with the module graph`,
    );
  }
});

Deno.test("mod.ts re-exports and nothing else", () => {
  const text = Deno.readTextFileSync(new URL("mod.ts", root))
    .replace(/\/\*[\s\S]*?\*\//g, "");
  const rest = text.replace(
    /export\s+(?:type\s+)?(?:\*|\{[^}]*\})\s+from\s+"\.\/src\/[^"]+";/g,
    "",
  );
  assertEquals(rest.trim(), "");
});
