import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { OptionError, UnsupportedError } from "../errors.ts";
import { allocate } from "./allocate.ts";
import {
  type KernelChoice,
  KERNELS,
  resolveKernels,
  setKernels,
} from "./dispatch.ts";
import { KernelDispatcher, type KernelEntry } from "./dispatcher.ts";
import { typedArrayKernels } from "./typed_array.ts";
import { createWasmKernels, FULL_FORM } from "./wasm.ts";
import { compileEmbedded } from "./wasm_module.ts";

/** Runs with another `WebAssembly`, which is put back afterwards. */
function withWebAssembly(value: unknown, run: () => void): void {
  const original = Object.getOwnPropertyDescriptor(globalThis, "WebAssembly")!;
  Object.defineProperty(globalThis, "WebAssembly", {
    value,
    configurable: true,
    writable: true,
  });
  try {
    run();
  } finally {
    Object.defineProperty(globalThis, "WebAssembly", original);
  }
}

// Taken here, because tests replace the global object.
const native = WebAssembly;

/** What workerd has: WebAssembly that takes modules, but no bytes. */
const REFUSING_WEB_ASSEMBLY = {
  Instance: native.Instance,
  Memory: native.Memory,
  Module: class {
    static readonly exports = native.Module.exports;
    static readonly imports = native.Module.imports;

    constructor() {
      throw new native.CompileError(
        "Wasm code generation disallowed by embedder",
      );
    }
  },
};

/** A table whose WASM entry counts its starts and may fail. */
function countingTable(
  works: () => boolean,
): { table: KernelEntry[]; starts: () => number } {
  let starts = 0;
  const table: KernelEntry[] = [
    {
      name: "wasm",
      start: (module) => {
        starts++;
        if (!works()) throw new UnsupportedError("no WASM today");
        return createWasmKernels(module);
      },
    },
    { name: "typed-array", start: () => typedArrayKernels },
  ];
  return { table, starts: () => starts };
}

Deno.test("auto is WASM here, and one instance for all calls", () => {
  assertEquals(resolveKernels().name, "wasm");
  assertStrictEquals(resolveKernels(), resolveKernels("auto"));
  assertStrictEquals(resolveKernels(), resolveKernels("wasm"));
  assertStrictEquals(resolveKernels("typed-array"), typedArrayKernels);
});

Deno.test("setKernels() chooses, and a layer's own choice wins", () => {
  try {
    setKernels("typed-array");
    assertEquals(resolveKernels().name, "typed-array");
    assertEquals(resolveKernels("wasm").name, "wasm");
    setKernels("wasm");
    assertEquals(resolveKernels().name, "wasm");
  } finally {
    setKernels("auto");
  }
});

Deno.test("setKernels() refuses unknown choices and modules", () => {
  for (const choice of ["simd", "", undefined]) {
    assertThrows(
      () => setKernels(choice as KernelChoice),
      OptionError,
      'expected "auto", "wasm", "typed-array"',
    );
    if (choice !== undefined) {
      assertThrows(() => resolveKernels(choice as KernelChoice), OptionError);
    }
  }
  const module = new Uint8Array() as unknown as WebAssembly.Module;
  assertThrows(
    () => setKernels("auto", { module }),
    OptionError,
    'option "module"',
  );
  assertEquals(resolveKernels().name, "wasm");
});

Deno.test("nothing starts before the first use, and then once", () => {
  const { table, starts } = countingTable(() => true);
  const dispatcher = new KernelDispatcher(table, FULL_FORM);
  assertEquals(starts(), 0);
  dispatcher.resolve();
  dispatcher.resolve("wasm");
  dispatcher.set("wasm");
  dispatcher.resolve();
  assertEquals(starts(), 1);
});

Deno.test("a module starts kernels of its own", () => {
  const { table, starts } = countingTable(() => true);
  const dispatcher = new KernelDispatcher(table, FULL_FORM);
  const embedded = dispatcher.resolve();
  const module = compileEmbedded(FULL_FORM);
  dispatcher.set("auto", { module });
  const own = dispatcher.resolve();
  assertEquals(own === embedded, false);
  dispatcher.set("wasm", { module });
  assertStrictEquals(dispatcher.resolve(), own);
  dispatcher.set("auto");
  assertEquals(dispatcher.resolve() === own, false);
  assertEquals(starts(), 3);
});

Deno.test("a failed start is remembered until setKernels() tries again", () => {
  let works = false;
  const { table, starts } = countingTable(() => works);
  const dispatcher = new KernelDispatcher(table, FULL_FORM);
  assertEquals(dispatcher.resolve().name, "typed-array");
  assertThrows(() => dispatcher.resolve("wasm"), UnsupportedError, "today");
  assertEquals(starts(), 1);
  works = true;
  assertEquals(dispatcher.resolve().name, "typed-array");
  dispatcher.set("auto");
  assertEquals(dispatcher.resolve().name, "wasm");
  assertEquals(starts(), 2);
});

Deno.test("a failed setKernels() changes nothing", () => {
  const { table } = countingTable(() => false);
  const dispatcher = new KernelDispatcher(table, FULL_FORM);
  dispatcher.set("typed-array");
  assertThrows(() => dispatcher.set("wasm"), UnsupportedError, "today");
  assertStrictEquals(dispatcher.resolve(), typedArrayKernels);
});

for (
  const [what, value, reason] of [
    ["no WebAssembly", undefined, "this runtime has no WebAssembly"],
    ["a WebAssembly that refuses bytes", REFUSING_WEB_ASSEMBLY, "disallowed"],
  ] as const
) {
  Deno.test(`with ${what}, auto falls back and wasm says why`, () => {
    withWebAssembly(value, () => {
      const dispatcher = new KernelDispatcher(KERNELS, FULL_FORM);
      assertEquals(dispatcher.resolve().name, "typed-array");
      const error = assertThrows(
        () => dispatcher.set("wasm"),
        UnsupportedError,
        reason,
      );
      assertEquals(error.message.includes('"typed-array" kernels'), true);
      assertEquals(
        error.cause instanceof native.CompileError,
        value !== undefined,
      );
    });
  });
}

Deno.test("without WebAssembly, a module is refused with its reason", () => {
  const module = compileEmbedded(FULL_FORM);
  withWebAssembly(undefined, () => {
    assertThrows(
      () => new KernelDispatcher(KERNELS, FULL_FORM).set("auto", { module }),
      OptionError,
      'option "module"',
    );
  });
});

Deno.test("a module starts where bytes are refused", () => {
  const module = compileEmbedded(FULL_FORM);
  withWebAssembly(REFUSING_WEB_ASSEMBLY, () => {
    const dispatcher = new KernelDispatcher(KERNELS, FULL_FORM);
    assertEquals(dispatcher.resolve().name, "typed-array");
    dispatcher.set("auto", { module });
    assertEquals(dispatcher.resolve().name, "wasm");
  });
});

Deno.test("allocate() gives an ordinary array to typed-array kernels", () => {
  try {
    setKernels("typed-array");
    const x = allocate([2, 3]);
    assertEquals(x.data, new Float32Array(6));
    assertEquals(x.data.buffer.byteLength, 24);
    x[Symbol.dispose]();
    x[Symbol.dispose]();
    assertThrows(() => x.data, OptionError, "disposed");
  } finally {
    setKernels("auto");
  }
});

Deno.test("onFallback is told once why WASM does not start", () => {
  let works = false;
  const { table, starts } = countingTable(() => works);
  const dispatcher = new KernelDispatcher(table, FULL_FORM);
  const told: Error[] = [];
  const onFallback = (reason: Error) => void told.push(reason);
  dispatcher.set("auto", { onFallback });
  assertEquals(told, []); // nothing starts before it is needed
  assertEquals(dispatcher.resolve().name, "typed-array");
  assertEquals(dispatcher.resolve("auto").name, "typed-array");
  assertEquals(told.length, 1);
  assertEquals(told[0] instanceof UnsupportedError, true);
  assertEquals(told[0]!.message, "no WASM today");
  dispatcher.set("auto", { onFallback });
  dispatcher.resolve();
  assertEquals([told.length, starts()], [2, 2]);
  works = true;
  dispatcher.set("auto", { onFallback });
  assertEquals(dispatcher.resolve().name, "wasm");
  assertEquals([told.length, starts()], [2, 3]);
});

Deno.test("onFallback is not told of what was chosen", () => {
  const { table } = countingTable(() => false);
  const dispatcher = new KernelDispatcher(table, FULL_FORM);
  const onFallback = () => {
    throw new Error("not a fallback");
  };
  dispatcher.set("typed-array", { onFallback });
  assertEquals(dispatcher.resolve().name, "typed-array");
  assertThrows(() => dispatcher.set("wasm", { onFallback }), UnsupportedError);
});

Deno.test("an onFallback that throws or chooses leaves kernels that run", () => {
  const { table } = countingTable(() => false);
  const dispatcher = new KernelDispatcher(table, FULL_FORM);
  const onFallback = () => {
    throw new Error("from the hook");
  };
  dispatcher.set("auto", { onFallback });
  assertThrows(() => dispatcher.resolve(), Error, "from the hook");
  assertEquals(dispatcher.resolve().name, "typed-array");
  dispatcher.set("auto", { onFallback: () => dispatcher.set("typed-array") });
  assertEquals(dispatcher.resolve().name, "typed-array");
});

Deno.test("setKernels() refuses unknown options", () => {
  assertThrows(
    () => setKernels("auto", { modul: 1 } as Record<string, unknown>),
    OptionError,
    'unknown option "modul", expected module, onFallback',
  );
  assertThrows(
    () => setKernels("auto", { onFallback: 1 } as Record<string, unknown>),
    OptionError,
    "expected a function, got number",
  );
});

Deno.test("an embedded module starts as it is, where bytes are refused", () => {
  const embedded = compileEmbedded(FULL_FORM);
  withWebAssembly(REFUSING_WEB_ASSEMBLY, () => {
    assertStrictEquals(
      compileEmbedded({ ...FULL_FORM, embedded }),
      embedded,
    );
    assertThrows(
      () => compileEmbedded(FULL_FORM),
      UnsupportedError,
      "disallowed",
    );
  });
});
