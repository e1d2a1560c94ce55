import { assert, assertEquals, assertRejects } from "@std/assert";
import * as fc from "fast-check";
import { FormatError } from "../../errors.ts";
import { MissingFileError, readAll } from "./source_file.ts";
import { BLOCK_BYTES, openUrl } from "./url_file.ts";

/** Bytes of which every part differs from every other. */
function content(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (i * 2654435761) >>> 13);
}

type Handler = (request: Request) => Response | Promise<Response>;

interface Served {
  readonly url: URL;
  /** The ranges that were asked for, in order; empty for a whole file. */
  readonly asked: string[];
}

/** Serves one file for the time of a test, on this machine only. */
async function serving(
  handler: Handler,
  test: (served: Served) => Promise<void>,
): Promise<void> {
  const asked: string[] = [];
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => {
      asked.push(request.headers.get("range") ?? "");
      return handler(request);
    },
  );
  const url = new URL(`http://127.0.0.1:${server.addr.port}/file?v=1`);
  await test({ url, asked });
}

interface RangeOptions {
  readonly etag?: string;
  /** Changes an answer before it is sent. */
  readonly lie?: (bytes: Uint8Array<ArrayBuffer>, headers: Headers) => {
    bytes?: Uint8Array<ArrayBuffer>;
    status?: number;
  };
}

/** A server that answers ranges as RFC 9110 has it. */
function ranged(
  file: () => Uint8Array<ArrayBuffer>,
  { etag, lie }: RangeOptions = {},
): Handler {
  return (request) => {
    const bytes = file();
    const headers = new Headers(etag ? { etag } : {});
    const match = /^bytes=(\d+)-(\d+)$/.exec(
      request.headers.get("range") ?? "",
    );
    const condition = request.headers.get("if-range");
    if (!match || condition !== null && condition !== etag) {
      return new Response(bytes, { headers });
    }
    const first = Number(match[1]);
    if (first >= bytes.length) {
      headers.set("content-range", `bytes */${bytes.length}`);
      return new Response(null, { status: 416, headers });
    }
    const last = Math.min(Number(match[2]), bytes.length - 1);
    headers.set("content-range", `bytes ${first}-${last}/${bytes.length}`);
    const part = bytes.slice(first, last + 1);
    const changed = lie?.(part, headers);
    return new Response(changed?.bytes ?? part, {
      status: changed?.status ?? 206,
      headers,
    });
  };
}

Deno.test("a small read of a large file asks for one block", async () => {
  const bytes = content(40 * BLOCK_BYTES + 17);
  await serving(ranged(() => bytes), async ({ url, asked }) => {
    const file = await openUrl(url);
    assertEquals(file.size, bytes.length);
    assertEquals(file.name, url.href);
    for (const [offset, length] of [[0, 8], [100, 5000], [65535, 1]] as const) {
      assertEquals(
        await file.read(offset, length),
        bytes.subarray(offset, offset + length),
      );
    }
    assertEquals(asked, ["bytes=0-65535"]);
    // Two blocks, one request; the second time none.
    for (let i = 0; i < 2; i++) {
      assertEquals(
        await file.read(5 * BLOCK_BYTES - 3, 6),
        bytes.subarray(5 * BLOCK_BYTES - 3, 5 * BLOCK_BYTES + 3),
      );
    }
    assertEquals(asked.slice(1), ["bytes=262144-393215"]);
    // The end, shorter than a block.
    assertEquals(
      await file.read(bytes.length - 17, 17),
      bytes.subarray(bytes.length - 17),
    );
    assertEquals(asked.slice(2), ["bytes=2621440-2621456"]);
  });
});

Deno.test("reading all asks for what is not there yet", async () => {
  const bytes = content(20 * BLOCK_BYTES + 1);
  await serving(ranged(() => bytes), async ({ url, asked }) => {
    const file = await openUrl(url);
    await file.read(10 * BLOCK_BYTES, 1);
    assertEquals(await readAll(file), bytes);
    assertEquals(asked, [
      "bytes=0-65535",
      "bytes=655360-720895",
      "bytes=65536-655359",
      "bytes=720896-1310720",
    ]);
  });
});

Deno.test("any parts are those of the file, and each block is asked for once", async () => {
  const bytes = content(12 * BLOCK_BYTES + 777);
  await serving(ranged(() => bytes, { etag: '"1"' }), async (served) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.tuple(
            fc.nat({ max: bytes.length }),
            fc.nat({ max: 3 * BLOCK_BYTES }),
          ),
          { maxLength: 12 },
        ),
        async (parts) => {
          served.asked.length = 0;
          const file = await openUrl(served.url);
          for (const [offset, wanted] of parts) {
            const length = Math.min(wanted, bytes.length - offset);
            assertEquals(
              await file.read(offset, length),
              bytes.subarray(offset, offset + length),
            );
          }
          const blocks = served.asked.flatMap((range) => {
            const [first, last] = range.slice(6).split("-").map(Number);
            const count = Math.ceil((last! + 1 - first!) / BLOCK_BYTES);
            return Array.from(
              { length: count },
              (_, i) => first! / BLOCK_BYTES + i,
            );
          });
          assertEquals(new Set(blocks).size, blocks.length);
        },
      ),
      { numRuns: 30, seed: 5 },
    );
  });
});

Deno.test("a server that does not know ranges sends the file once", async () => {
  const bytes = content(3 * BLOCK_BYTES);
  await serving(() => new Response(bytes), async ({ url, asked }) => {
    const file = await openUrl(url);
    assertEquals(file.size, bytes.length);
    assertEquals(await file.read(70000, 10), bytes.subarray(70000, 70010));
    assertEquals(asked.length, 1);
  });
});

Deno.test("answers that make no sense as the first part are asked for again, whole", async () => {
  const bytes = content(2 * BLOCK_BYTES);
  for (
    const [header, value] of [
      ["content-range", "bytes 0-65535/*"],
      ["content-range", "bytes 1-65535/131072"],
      ["content-range", "bytes 0-99/131072"],
      ["content-range", "bytes 0-65535/100"],
      ["content-range", "none"],
      ["content-encoding", "x-other"],
    ] as const
  ) {
    const lie = (_: Uint8Array, headers: Headers) => {
      headers.set(header, value);
      return {};
    };
    await serving(ranged(() => bytes, { lie }), async ({ url, asked }) => {
      const file = await openUrl(url);
      assertEquals(await readAll(file), bytes);
      assertEquals(asked, ["bytes=0-65535", ""]);
    });
  }
});

Deno.test("empty files, and files shorter than a block", async () => {
  for (const length of [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES]) {
    const bytes = content(length);
    for (const handler of [ranged(() => bytes), () => new Response(bytes)]) {
      await serving(handler, async ({ url }) => {
        const file = await openUrl(url);
        assertEquals(file.size, length);
        assertEquals(await readAll(file), bytes);
      });
    }
  }
});

Deno.test("a part that the file does not have is refused without a request", async () => {
  const bytes = content(2 * BLOCK_BYTES);
  await serving(ranged(() => bytes), async ({ url, asked }) => {
    const file = await openUrl(url);
    for (
      const [offset, length] of [[0, 131073], [131072, 1], [-1, 2], [0, NaN]]
    ) {
      await assertRejects(
        () => file.read(offset!, length!),
        FormatError,
        "it has 131072 bytes",
      );
    }
    assertEquals(asked.length, 1);
  });
});

Deno.test("a server that sends something else later is refused", async () => {
  const bytes = content(4 * BLOCK_BYTES);
  let count = 0;
  const onSecond = (
    change: (headers: Headers) => {
      bytes?: Uint8Array<ArrayBuffer>;
      status?: number;
    },
  ): RangeOptions => ({
    etag: '"1"',
    lie: (_, headers) => count++ === 0 ? {} : change(headers),
  });
  for (
    const [options, message] of [
      [
        onSecond(() => ({ bytes: content(9) })),
        "sent 9 bytes instead of 65536",
      ],
      [
        onSecond(() => ({ bytes: content(70000) })),
        "the server sent more than 65536 bytes",
      ],
      [
        onSecond((headers) => {
          headers.set("content-range", "bytes 0-65535/262144");
          return {};
        }),
        "sent other bytes than the asked 131072 to 196607",
      ],
      [
        onSecond((headers) => {
          headers.set("etag", '"2"');
          return {};
        }),
        "the file changed while it was read",
      ],
      [
        onSecond((headers) => {
          headers.set("content-range", "bytes 131072-196607/262145");
          return {};
        }),
        "the file changed while it was read",
      ],
      [onSecond(() => ({ status: 200 })), "the file changed while it was read"],
      [onSecond(() => ({ status: 503 })), "the server answered 503"],
    ] as const
  ) {
    count = 0;
    await serving(ranged(() => bytes, options), async ({ url }) => {
      const file = await openUrl(url);
      await assertRejects(
        () => file.read(2 * BLOCK_BYTES, 1),
        FormatError,
        message,
      );
    });
  }
});

Deno.test("a file that is replaced between two reads is refused", async () => {
  let bytes = content(4 * BLOCK_BYTES);
  const handler: Handler = (request) =>
    ranged(() => bytes, { etag: `"${bytes[0]}"` })(request);
  await serving(handler, async ({ url }) => {
    const file = await openUrl(url);
    bytes = bytes.map((byte) => byte ^ 1);
    await assertRejects(
      () => file.read(2 * BLOCK_BYTES, 1),
      FormatError,
      "the file changed while it was read",
    );
  });
});

Deno.test("a file that does not end is refused", async () => {
  let cancelled = false;
  const endless: Handler = () =>
    new Response(
      new ReadableStream({
        pull: (controller) => controller.enqueue(content(1000)),
        cancel: () => {
          cancelled = true;
        },
      }),
    );
  await serving(endless, async ({ url }) => {
    await assertRejects(
      () => openUrl(url, { maxDownload: 10_000 }),
      FormatError,
      "the server sends no parts of it, and more than 10000 bytes",
    );
  });
  assert(cancelled);
});

Deno.test("a length that cannot be is refused when it is read", async () => {
  const lie = (_: Uint8Array, headers: Headers) => {
    headers.set("content-range", `bytes 0-65535/${2 ** 52}`);
    return {};
  };
  const bytes = content(BLOCK_BYTES);
  await serving(ranged(() => bytes, { lie }), async ({ url }) => {
    const file = await openUrl(url);
    await assertRejects(
      () => readAll(file),
      FormatError,
      "there is no memory for them",
    );
  });
});

Deno.test("a first part that is shorter than it says is refused", async () => {
  const bytes = content(2 * BLOCK_BYTES);
  const lie = () => ({ bytes: content(100) });
  await serving(ranged(() => bytes, { lie }), async ({ url }) => {
    await assertRejects(
      () => openUrl(url),
      FormatError,
      "the server sent 100 bytes instead of 65536",
    );
  });
});

Deno.test("a server that cannot be reached is named, with the cause", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const url = new URL(`http://127.0.0.1:${listener.addr.port}/file`);
  listener.close();
  const error = await assertRejects(
    () => openUrl(url),
    FormatError,
    `Cannot fetch ${url}: `,
  );
  assert(error.cause instanceof Error);
});

Deno.test("redirects are followed", async () => {
  const bytes = content(3 * BLOCK_BYTES);
  const handler: Handler = (request) => {
    const url = new URL(request.url);
    return url.pathname === "/file"
      ? Response.redirect(new URL("/moved", url))
      : ranged(() => bytes)(request);
  };
  await serving(handler, async ({ url }) => {
    const file = await openUrl(url);
    assertEquals(file.name, url.href);
    assertEquals(await readAll(file), bytes);
  });
});

Deno.test("a missing file is told from other failures", async () => {
  for (
    const [status, isMissing] of [
      [404, true],
      [410, true],
      [403, false],
      [500, false],
    ] as const
  ) {
    await serving(() => new Response("no", { status }), async ({ url }) => {
      const error = await assertRejects(
        () => openUrl(url),
        FormatError,
        `Cannot fetch ${url}: the server answered ${status}`,
      );
      assertEquals(error instanceof MissingFileError, isMissing);
    });
  }
});

Deno.test("an abort ends requests with the caller's reason", async () => {
  const bytes = content(4 * BLOCK_BYTES);
  const reason = new Error("enough");
  await serving(ranged(() => bytes), async ({ url }) => {
    const controller = new AbortController();
    const { signal } = controller;
    const file = await openUrl(url, { signal });
    controller.abort(reason);
    const [late, next] = await Promise.allSettled([
      file.read(0, 1),
      openUrl(url, { signal }),
    ]);
    assertEquals(late, { status: "rejected", reason });
    assertEquals(next, { status: "rejected", reason });
  });
});
