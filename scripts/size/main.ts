/**
 * Bundles each entry as an application would, minified, and prints its size.
 *
 *     deno task size [--check]
 *
 * Writes `scripts/size/SIZES.md`. With `--check` nothing is written: the script
 * compares, and exits with 1 where a size differs from the table by more than
 * 1 % or is above its limit.
 *
 * @module
 */

import * as esbuild from "esbuild";
import { formatTable } from "../bench/report.ts";

const ROOT = new URL("../../", import.meta.url);
const TABLE = new URL("SIZES.md", import.meta.url);

/** How far sizes may be off: a release of the bundler moves a few bytes. */
const TOLERANCE = 0.01;

/** What is bundled, and what it may take. */
interface Bundle {
  readonly name: string;
  /** A module that imports what an application would. */
  readonly source: string;
  /** The most bytes after gzip, where the project promises one. */
  readonly limit?: number;
}

const BUNDLES: readonly Bundle[] = [
  {
    name: "inference.ts, all of it",
    source: `export * from "./inference.ts";`,
    limit: 12 * 1024,
  },
  {
    name: "threads.ts, beside mod.ts's BatchNormalization",
    source:
      `export { BatchNormalization, tensor } from "./mod.ts"; export * from "./threads.ts";`,
  },
  {
    name: "mod.ts, BatchNormalization and tensor",
    source: `export { BatchNormalization, tensor } from "./mod.ts";`,
  },
  {
    name: "mod.ts, loadKeras and buildOnnx",
    source: `export { buildOnnx, loadKeras } from "./mod.ts";`,
  },
  { name: "mod.ts, all of it", source: `export * from "./mod.ts";` },
];

/** The sizes of a bundle, in bytes. */
interface Sizes {
  readonly minified: number;
  readonly compressed: number;
}

async function measure({ source }: Bundle): Promise<Sizes> {
  const { outputFiles } = await esbuild.build({
    stdin: {
      contents: source,
      resolveDir: decodeURIComponent(ROOT.pathname),
      loader: "ts",
    },
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    target: "es2023",
    // Imported lazily, and only where a call needs them.
    external: ["npm:*", "node:*"],
    logLevel: "error",
  });
  const [file] = outputFiles;
  const stream = new Blob([file!.contents as Uint8Array<ArrayBuffer>]).stream()
    .pipeThrough(new CompressionStream("gzip"));
  const compressed = await new Response(stream).arrayBuffer();
  return {
    minified: file!.contents.length,
    compressed: compressed.byteLength,
  };
}

const kilobytes = (bytes: number): string => (bytes / 1024).toFixed(1);

function format(sizes: readonly Sizes[]): string {
  const table = formatTable(
    ["import", "minified, bytes", "gzip, bytes", "gzip, KB", "limit, KB"],
    BUNDLES.map(({ name, limit }, i) => [
      name,
      `${sizes[i]!.minified}`,
      `${sizes[i]!.compressed}`,
      kilobytes(sizes[i]!.compressed),
      limit === undefined ? "-" : kilobytes(limit),
    ]),
  );
  return `# Sizes

What an application ships, WASM included; external packages, which are loaded only when a call needs them,
are not. Written by \`deno task size\` (esbuild ${esbuild.version}), checked by \`deno task size --check\`.

${table}
`;
}

/** The sizes that a table has. */
function parse(text: string): Map<string, Sizes> {
  return new Map(
    [...text.matchAll(/^\| (.+?) +\| +(\d+) \| +(\d+) \|/gm)].map(
      ([, name, minified, compressed]) => [
        name!,
        { minified: Number(minified), compressed: Number(compressed) },
      ],
    ),
  );
}

/** What is wrong with sizes, in sentences. */
function complaints(
  sizes: readonly Sizes[],
  recorded: ReadonlyMap<string, Sizes>,
): string[] {
  return BUNDLES.flatMap(({ name, limit }, i) => {
    const { compressed } = sizes[i]!;
    const before = recorded.get(name)?.compressed;
    const found: string[] = [];
    if (limit !== undefined && compressed > limit) {
      found.push(`${name}: ${compressed} bytes, expected at most ${limit}`);
    }
    if (
      before === undefined ||
      Math.abs(compressed - before) > TOLERANCE * before
    ) {
      found.push(
        `${name}: ${compressed} bytes, but ${
          before ?? "nothing"
        } in scripts/size/SIZES.md: run \`deno task size\` and commit it`,
      );
    }
    return found;
  });
}

async function main(): Promise<number> {
  const unknown = Deno.args.filter((argument) => argument !== "--check");
  if (unknown.length > 0) {
    console.error(
      `Unknown argument ${unknown.join(" ")}: expected nothing or --check`,
    );
    return 2;
  }
  const check = Deno.args.includes("--check");
  const sizes: Sizes[] = [];
  try {
    for (const bundle of BUNDLES) sizes.push(await measure(bundle));
  } finally {
    await esbuild.stop();
  }
  const text = format(sizes);
  console.log(text);
  if (!check) {
    await Deno.writeTextFile(TABLE, text);
    return 0;
  }
  let recorded = new Map<string, Sizes>();
  try {
    recorded = parse(await Deno.readTextFile(TABLE));
  } catch (error) {
    // A table that is missing is one without entries.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const found = complaints(sizes, recorded);
  for (const complaint of found) console.error(complaint);
  return found.length > 0 ? 1 : 0;
}

if (import.meta.main) Deno.exit(await main());
