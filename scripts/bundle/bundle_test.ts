// The npm package, as files: what the smoke suite of scripts/runtimes/ runs on
// real runtimes is checked here for what it must have and must not.

import {
  assert,
  assertEquals,
  assertNotEquals,
  assertRejects,
  assertThrows,
} from "@std/assert";
import * as sources from "../../mod.ts";
import { buildPackage, type PackageFiles, writePackage } from "./build.ts";
import { entriesOf, readManifest, ROOT } from "./entries.ts";
import { loaderSource, packageIn, rewriteImports } from "./packages.ts";
import { CONDITIONS, entriesFor, PLATFORMS } from "./platforms.ts";

type Evenkeel = typeof sources;

let building: Promise<PackageFiles> | undefined;

/** The package, built once for all tests. */
function built(): Promise<PackageFiles> {
  return building ??= buildPackage();
}

function text(files: PackageFiles, path: string): string {
  const content = files.get(path);
  assert(content, `the package has ${path}`);
  return new TextDecoder().decode(content);
}

/** The scripts of a platform, by path. */
function scriptsOf(files: PackageFiles, platform: string): [string, string][] {
  const paths = [...files.keys()].filter((path) =>
    path.startsWith(`${platform}/`) && path.endsWith(".js")
  );
  assert(paths.length > 0);
  return paths.map((path) => [path, text(files, path)]);
}

/** The names that an entry exports, by its last statement. */
function exportedBy(script: string): string[] {
  const [, names] = /export\{([^{}]*)\};?\s*$/.exec(script)!;
  return names!.split(",").map((name) => name.split(" as ").at(-1)!.trim())
    .sort();
}

const manifest = await readManifest();
const entries = entriesOf(manifest);

Deno.test("the package's entries are those of deno.json", async () => {
  const files = await built();
  const json = JSON.parse(text(files, "package.json"));
  const names = Object.keys(json.exports)
    // Files that are given as they are, for which Deno has URLs.
    .filter((name) => !/\.(?:wasm|json)$/.test(name));
  assertEquals(names, Object.keys(manifest.exports));
  assertEquals(json.name, manifest.name);
  assertEquals(json.version, manifest.version);
  assertEquals(json.license, manifest.license);
});

Deno.test("every condition of every entry leads to a file", async () => {
  const files = await built();
  const { exports, bin, main, types } = JSON.parse(text(files, "package.json"));
  const order = ["types", ...CONDITIONS.map(([condition]) => condition)];
  for (const [name, target] of Object.entries<string | object>(exports)) {
    if (typeof target === "string") {
      assert(files.has(target.slice(2)), target);
      continue;
    }
    const conditions = Object.entries(target) as [string, string][];
    for (const [, path] of conditions) assert(files.has(path.slice(2)), path);
    // The first that applies wins, so their order matters.
    const found = conditions.map(([condition]) => condition);
    assertEquals(found, order.filter((name) => found.includes(name)));
    if (name !== "./cli") assertEquals(found, order);
  }
  for (const path of [bin.evenkeel, main, types]) {
    assert(files.has(path.slice(2)), path);
  }
});

Deno.test("each build of an entry exports what its source does", async () => {
  const files = await built();
  for (const { source, name } of entries) {
    const module = await import(new URL(source, ROOT).href);
    for (const platform of PLATFORMS) {
      if (!entriesFor(platform, entries).some((e) => e.name === name)) continue;
      assertEquals(
        exportedBy(text(files, `${platform.name}/${name}.js`)),
        Object.keys(module).sort(),
        `${platform.name} ${name}`,
      );
    }
  }
});

Deno.test("nothing is evaluated, and nothing depends on where it lies", async () => {
  const files = await built();
  for (const platform of PLATFORMS) {
    for (const [path, script] of scriptsOf(files, platform.name)) {
      assert(!/\beval\(|new Function\b/.test(script), path);
      assert(!/import\(?["'`]?npm:|from ?"npm:/.test(script), path);
      // The command looks for files of the package; workerd has no URLs.
      if (path === "node/cli.js") continue;
      assert(!script.includes("import.meta"), path);
    }
  }
});

Deno.test("where there are no files, nothing of Node is imported", async () => {
  const files = await built();
  for (const { name, hasNode } of PLATFORMS) {
    const all = scriptsOf(files, name).map(([, script]) => script).join("\n");
    assertEquals(/(?:from|import\()\s?"node:/.test(all), hasNode, name);
  }
});

Deno.test("WASM is embedded, or imported as a module", async () => {
  const files = await built();
  // The first bytes of every module, in hexadecimal.
  const embedded = /"0061736d01000000/;
  for (const { name, wasm } of PLATFORMS) {
    const all = scriptsOf(files, name).map(([, script]) => script).join("\n");
    const isEmbedded = wasm === "embedded";
    assertEquals(embedded.test(all), isEmbedded, name);
    const imports = [...all.matchAll(/from ?"\.\.\/(\w+\.wasm)([^"]*)"/g)];
    assertEquals(imports.length > 0, !isEmbedded, name);
    for (const [, file, suffix] of imports) {
      assertEquals(suffix, isEmbedded ? "" : wasm.suffix);
      assertEquals(
        files.get(file!),
        await Deno.readFile(new URL(`kernels/${file}`, ROOT)),
      );
    }
  }
});

Deno.test("other packages are imported when they are needed, not bundled", async () => {
  const files = await built();
  const json = JSON.parse(text(files, "package.json"));
  assertEquals(Object.keys(json.dependencies), ["fflate"]);
  assertEquals(Object.keys(json.optionalDependencies), ["h5wasm"]);
  // Who does not need them does not install them.
  const peers = Object.keys(json.peerDependencies);
  assert(peers.includes("onnxruntime-web"));
  assertEquals(
    json.peerDependenciesMeta,
    Object.fromEntries(peers.map((name) => [name, { optional: true }])),
  );
  for (const { name } of PLATFORMS) {
    const scripts = scriptsOf(files, name);
    const all = scripts.map(([, script]) => script).join("\n");
    const lazy = [...all.matchAll(/import\("([^"./][^"]*)"\)/g)]
      .map(([, specifier]) => specifier!)
      .filter((specifier) => !specifier.startsWith("node:"));
    const atEdge = name === "worker" || name === "edge";
    assertEquals(
      [...new Set(lazy)].sort(),
      atEdge ? ["fflate"] : ["fflate", "h5wasm"],
      name,
    );
    const bare = /(?:^|;|\n)import[^;("]*"(?!node:)[^."/][^"]*"/;
    for (const [path, script] of scripts) assert(!bare.test(script), path);
  }
});

/** Runs with the package written to a folder, which is removed afterwards. */
async function withPackage(
  run: (folder: URL) => Promise<void>,
): Promise<void> {
  const path = await Deno.makeTempDir();
  try {
    const folder = new URL(`file://${path}/package/`);
    await writePackage(await built(), folder);
    await run(folder);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

// A bundler may rename what collides or mentions itself; these names are read.
Deno.test("errors and optimizers go by their classes' names", () =>
  withPackage(async (folder) => {
    const read = Object.entries(sources).filter(([, value]) =>
      typeof value === "function" &&
      (value.prototype instanceof Error ||
        value.prototype instanceof sources.KerasOptimizer)
    ).map(([name]) => name);
    for (const name of ["ShapeError", "Adam", "SGD"]) {
      assert(read.includes(name), name);
    }
    for (const platform of PLATFORMS) {
      if (platform.wasm !== "embedded") continue;
      const { name } = platform;
      const built = await import(new URL(`${name}/mod.js`, folder).href);
      for (const exported of read) {
        assertEquals(built[exported].name, exported, name);
      }
      assertEquals(new built.ShapeError("").name, "ShapeError");
    }
  }));

Deno.test("without files, a path is refused with what to do", () =>
  withPackage(async (folder) => {
    const { externalFiles, loadKeras, UnsupportedError }: Evenkeel =
      await import(new URL("browser/mod.js", folder).href);
    for (
      const use of [
        () => loadKeras("model.keras"),
        () => loadKeras(new URL("file:///model.keras")),
        () => externalFiles("folder"),
      ]
    ) {
      await assertRejects(use, UnsupportedError, "Pass the bytes");
    }
  }));

Deno.test("two copies in one process do not disturb each other", () =>
  withPackage(async (folder) => {
    const load = (name: string): Promise<Evenkeel> =>
      import(new URL(`${name}/mod.js`, folder).href);
    const first = await load("node");
    const second = await load("browser");
    assertNotEquals(first.BatchNormalization, second.BatchNormalization);
    const results = [first, second].map((copy) => {
      const layer = new copy.BatchNormalization({ kernels: "auto" });
      const x = copy.tensor([1, 2, 3, 4], [2, 2]);
      return { copy, call: () => [...layer.call(x).data] };
    });
    const expected = results[0]!.call();
    assertEquals(results[1]!.call(), expected);
    second.setKernels("typed-array");
    using own = first.allocate([4]);
    using other = second.allocate([4]);
    assert(own.data.buffer.byteLength > own.data.byteLength);
    assertEquals(other.data.buffer.byteLength, other.data.byteLength);
    assertEquals(results.map(({ call }) => call()), [expected, expected]);
  }));

Deno.test("the entries of a build share their classes", () =>
  withPackage(async (folder) => {
    const { ShapeError } = await import(new URL("node/mod.js", folder).href);
    const inference = await import(new URL("node/inference.js", folder).href);
    assertThrows(() => inference.tensor([1], [2]), ShapeError);
  }));

Deno.test("declarations depend on nothing outside of the package", async () => {
  const files = await built();
  const declared = [...files.keys()].filter((path) => path.endsWith(".d.ts"));
  assert(declared.includes("types/mod.d.ts"));
  for (const path of declared) {
    const code = text(files, path).replace(/\/\*[\s\S]*?\*\//g, "");
    for (const [, specifier] of code.matchAll(/(?:from |import\()"([^"]+)"/g)) {
      const target = new URL(specifier!, `file:///${path}`).pathname.slice(1);
      assert(specifier!.startsWith("."), `${path}: ${specifier}`);
      assert(files.has(target.replace(/\.js$/, ".d.ts")), target);
    }
  }
});

Deno.test("a package that nobody decided about fails the build", () => {
  const pinned = `const PACKAGE = "npm:fflate@0.8.3";`;
  assertEquals(packageIn("a.ts", "const A = 1;"), undefined);
  assertEquals(packageIn("a.ts", pinned), {
    name: "fflate",
    version: "0.8.3",
    specifier: "fflate",
  });
  assertThrows(
    () => packageIn("a.ts", `const PACKAGE = "npm:left-pad@1.0.0";`),
    Error,
    "a.ts loads left-pad",
  );
  assertThrows(
    () => packageIn("a.ts", `const PACKAGE = "npm:fflate@^0.8.3";`),
    Error,
    "one pinned package",
  );
  assertThrows(
    () => packageIn("a.ts", `${pinned}\n${pinned}`),
    Error,
    "one pinned package",
  );
  assertThrows(
    () => packageIn("a.ts", "await import(PACKAGE)"),
    Error,
    "no npm: specifier",
  );
});

Deno.test("a package that is not there is refused with what to install", async () => {
  const external = { name: "fflate", version: "0.8.3", specifier: "./none.js" };
  const errors = new URL("src/errors.ts", ROOT).href;
  for (
    const [platform, remedy] of [
      ["node", "npm install fflate@0.8.3"],
      ["browser", "import map"],
      ["worker", "for the bundler"],
    ] as const
  ) {
    const file = await Deno.makeTempFile({ suffix: ".js" });
    try {
      await Deno.writeTextFile(file, loaderSource(external, platform, errors));
      const { importPackage } = await import(`file://${file}`);
      await assertRejects(importPackage, sources.UnsupportedError, remedy);
    } finally {
      await Deno.remove(file);
    }
  }
  assertEquals(
    rewriteImports(
      `const PACKAGE = "npm:a@1.0.0/b";\nload(import(PACKAGE));`,
      { name: "a", version: "1.0.0", specifier: "a/b" },
      "loader",
    ),
    `import { importPackage } from "loader";
const PACKAGE = "a/b";
load(importPackage());`,
  );
});
