/**
 * The platforms that a worker can be bundled for, and all that differs: the
 * files, the entry, the configuration and the limits.
 *
 * @module
 */

/** A file that a platform wants beside the worker: JSON, or a text. */
type Companion = string | Readonly<Record<string, unknown>>;

/** A limit of a platform. */
export interface PlatformLimit {
  /** What it is a limit of, and for whom. */
  readonly name: string;
  /** Whether the files count as they are, or after gzip. */
  readonly counts: "bytes" | "gzip";
  /** The most bytes. */
  readonly most: number;
}

/** A platform. */
export interface Platform {
  /** The name for `--platform`. */
  readonly name: string;
  /** Where the worker goes in the folder. */
  readonly worker: string;
  /**
   * Where the WASM module goes and how the worker imports it; without it, the
   * worker has it embedded and compiles it from bytes.
   */
  readonly wasm?: { readonly file: string; readonly specifier: string };
  /** The statements after `const handler = …` and the import of `wasm`. */
  readonly start: readonly string[];
  /** The other files. */
  readonly companions: Readonly<Record<string, Companion>>;
  /** What it takes at most, tightest first. */
  readonly limits: readonly PlatformLimit[];
  /** How the folder is tried and deployed, from inside it. */
  readonly commands: readonly string[];
}

const KB = 1024;
const MB = 1024 * KB;
const GB = 1024 * MB;

/** The newest that the tests have tried with workerd; see scripts/runtimes. */
export const COMPATIBILITY_DATE = "2026-11-01";

/** Where all requests go. */
const ROUTE = "/v2/";

/** The platforms by name. Their limits are as published in November 2026. */
export const PLATFORMS: Readonly<Record<string, Platform>> = {
  deno: {
    name: "deno",
    worker: "main.js",
    start: ["Deno.serve(handler);"],
    companions: {
      "deno.json": {
        tasks: { serve: "deno run --allow-net main.js" },
        deploy: { runtime: { type: "dynamic", entrypoint: "main.js" } },
      },
    },
    limits: [{ name: "Deno Deploy", counts: "bytes", most: GB }],
    commands: ["deno task serve", "deno deploy"],
  },
  cloudflare: {
    name: "cloudflare",
    worker: "worker.js",
    wasm: { file: "evenkeel.wasm", specifier: "./evenkeel.wasm" },
    start: [
      `setKernels("wasm", { module: wasm });`,
      "export default { fetch: handler };",
    ],
    companions: {
      "wrangler.json": {
        name: "evenkeel",
        main: "worker.js",
        compatibility_date: COMPATIBILITY_DATE,
        // It is bundled already.
        no_bundle: true,
        rules: [{ type: "CompiledWasm", globs: ["**/*.wasm"] }],
      },
    },
    limits: [
      { name: "Cloudflare Workers", counts: "bytes", most: 64 * MB },
    ],
    commands: ["npx wrangler dev", "npx wrangler deploy"],
  },
  netlify: {
    name: "netlify",
    worker: "netlify/edge-functions/evenkeel.js",
    start: ["export default handler;"],
    companions: {
      "netlify.toml": `[build]
  publish = "public"

[[edge_functions]]
  function = "evenkeel"
  path = "${ROUTE}*"
`,
      // A site must have something to publish.
      "public/robots.txt": `User-agent: *
Disallow: /
`,
    },
    limits: [
      { name: "Netlify Edge Functions", counts: "gzip", most: 20 * MB },
    ],
    commands: ["npx netlify dev", "npx netlify deploy --prod"],
  },
  vercel: {
    name: "vercel",
    worker: "api/evenkeel.js",
    // Vercel's bundler makes a WebAssembly.Module of such an import.
    wasm: { file: "api/evenkeel.wasm", specifier: "./evenkeel.wasm?module" },
    start: [
      `setKernels("auto", { module: wasm });`,
      `export const config = { runtime: "edge" };`,
      "export default handler;",
    ],
    companions: {
      // A rewritten request keeps its URL.
      "vercel.json": {
        rewrites: [
          { source: `${ROUTE}:path*`, destination: "/api/evenkeel" },
        ],
      },
      // Without it, Vercel takes .js files for CommonJS.
      "package.json": { private: true, type: "module" },
    },
    limits: [
      { name: "Vercel Edge, Hobby", counts: "gzip", most: MB },
      { name: "Vercel Edge, Pro", counts: "gzip", most: 2 * MB },
      { name: "Vercel Edge, Enterprise", counts: "gzip", most: 4 * MB },
    ],
    commands: ["npx vercel dev", "npx vercel deploy --prod"],
  },
};

/** The bytes of a companion. */
export function companionBytes(companion: Companion): Uint8Array {
  return new TextEncoder().encode(
    typeof companion === "string"
      ? companion
      : `${JSON.stringify(companion, undefined, 2)}\n`,
  );
}
