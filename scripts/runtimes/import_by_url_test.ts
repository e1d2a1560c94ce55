// Imports mod.ts over HTTP as a stranger would: an empty cache, no
// configuration, no permission but --allow-import, and no npm registry.

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";

const root = new URL("../../", import.meta.url);

/** Serves the sources on loopback and tells which were asked for. */
function serveSources(): { server: Deno.HttpServer; requested: string[] } {
  const requested: string[] = [];
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const path = new URL(request.url).pathname.slice(1);
      requested.push(path);
      if (!/^(?:mod\.ts|src\/[\w/]+\.ts)$/.test(path)) {
        return new Response("Not found", { status: 404 });
      }
      try {
        const text = await Deno.readTextFile(new URL(path, root));
        return new Response(text, {
          headers: { "content-type": "application/typescript" },
        });
      } catch {
        return new Response("Not found", { status: 404 });
      }
    },
  );
  return { server, requested };
}

/** The README's example, from our server; WASM must start, not fall back. */
async function exampleScript(origin: string): Promise<string> {
  const readme = await Deno.readTextFile(new URL("README.md", root));
  const example = /```ts ignore by-url\n([\s\S]*?)```/.exec(readme)![1]!;
  const url = "https://example.com/evenkeel";
  assert(example.includes(url));
  return `import { setKernels } from "${origin}/mod.ts";
    setKernels("wasm");
    ${example.replaceAll(url, origin)}`;
}

Deno.test("mod.ts runs on WASM when it is imported by URL", async () => {
  const folder = await Deno.makeTempDir();
  const { server, requested } = serveSources();
  try {
    const { port } = server.addr as Deno.NetAddr;
    const main = `${folder}/main.ts`;
    await Deno.writeTextFile(
      main,
      await exampleScript(`http://127.0.0.1:${port}`),
    );
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-config",
        "--no-lock",
        "--no-prompt",
        `--allow-import=127.0.0.1:${port}`,
        main,
      ],
      cwd: folder,
      clearEnv: true,
      env: {
        DENO_DIR: `${folder}/cache`,
        HOME: folder,
        NO_COLOR: "1",
        // Port 9 (discard) refuses: what runs cannot have come from npm.
        NPM_CONFIG_REGISTRY: "http://127.0.0.1:9/",
      },
      signal: AbortSignal.timeout(60_000),
    }).output();
    const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    assertEquals(code, 0, decode(stderr));
    const printed = decode(stdout).match(/-?\d+\.\d+/g)?.map(Number);
    assertEquals(printed?.length, 2, decode(stdout));
    // The layer's formula on the example's numbers.
    assertAlmostEquals(printed![0]!, (3 - 1) / Math.sqrt(4.001) * 2, 1e-6);
    assertAlmostEquals(printed![1]!, (4 - 3) / Math.sqrt(1.001) + 1, 1e-6);
    assert(requested.includes("src/kernels/wasm_binary.ts"));
    // Nothing of npm was even asked for: Deno says what it downloads.
    assert(decode(stderr).includes("mod.ts"), decode(stderr));
    assert(!decode(stderr).includes("127.0.0.1:9/"), decode(stderr));
  } finally {
    await server.shutdown();
    await Deno.remove(folder, { recursive: true });
  }
});
