// Imports mod.ts over HTTP as a stranger would: an empty cache, no
// configuration, no permission but --allow-import, and no npm registry.

import { assert, assertEquals } from "@std/assert";

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

/** The script of the user; the WASM kernels must start, not fall back. */
const script = (origin: string) => `
  import { BatchNormalization, setKernels, tensor } from "${origin}/mod.ts";
  setKernels("wasm");
  const layer = new BatchNormalization({ epsilon: 0 });
  layer.setWeights([
    tensor([2, 1], [2]), tensor([0, 1], [2]),
    tensor([1, 3], [2]), tensor([4, 1], [2]),
  ]);
  console.log(JSON.stringify([...layer.call(tensor([3, 4], [1, 2])).data]));
`;

Deno.test("mod.ts runs on WASM when it is imported by URL", async () => {
  const folder = await Deno.makeTempDir();
  const { server, requested } = serveSources();
  try {
    const { port } = server.addr as Deno.NetAddr;
    const main = `${folder}/main.ts`;
    await Deno.writeTextFile(main, script(`http://127.0.0.1:${port}`));
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
    assertEquals({ code, stdout: decode(stdout) }, {
      code: 0,
      stdout: "[2,2]\n",
    }, decode(stderr));
    assert(requested.includes("src/kernels/wasm_binary.ts"));
  } finally {
    await server.shutdown();
    await Deno.remove(folder, { recursive: true });
  }
});
