import { assert, assertEquals, assertThrows } from "@std/assert";
import { OptionError } from "../errors.ts";
import { layoutOf } from "./layout.ts";
import { opcodesOf, SIMD_PREFIX } from "./testing/wasm_opcodes.ts";
import { createWasmKernels, FULL_FORM } from "./wasm.ts";
import { WASM_HEX } from "./wasm_binary.ts";
import { createWasmInference, INFERENCE_FORM } from "./wasm_inference.ts";
import { compileEmbedded } from "./wasm_module.ts";

function embeddedBytes(
  hex: string | WebAssembly.Module = WASM_HEX,
): Uint8Array<ArrayBuffer> {
  if (typeof hex !== "string") throw new Error("Expected hexadecimal text");
  const bytes = hex.match(/../g)!.map((byte) => Number(`0x${byte}`));
  return Uint8Array.from(bytes);
}

const FORMS = [FULL_FORM, INFERENCE_FORM];

Deno.test("the embedded bytes are those of the files in kernels/", async () => {
  for (const { file, embedded } of FORMS) {
    const url = new URL(`../../${file}`, import.meta.url);
    assertEquals(embeddedBytes(embedded), await Deno.readFile(url), file);
  }
});

Deno.test("the module imports its memory and exports functions only", () => {
  for (const form of FORMS) {
    const module = compileEmbedded(form);
    assertEquals(WebAssembly.Module.imports(module), [
      { module: "env", name: "memory", kind: "memory" },
    ]);
    const exported = WebAssembly.Module.exports(module);
    assertEquals(
      exported.map(({ name }) => name).toSorted(),
      form.exports.toSorted(),
    );
    for (const { name, kind } of exported) assertEquals(kind, "function", name);
  }
});

Deno.test("the module uses SIMD, but never relaxed SIMD", () => {
  for (const { embedded } of FORMS) {
    const simd = [...opcodesOf(embeddedBytes(embedded))]
      .filter((opcode) => opcode >= SIMD_PREFIX * 0x10000)
      .map((opcode) => opcode - SIMD_PREFIX * 0x10000);
    assert(simd.includes(0xe6), "f32x4.mul is missing");
    // Relaxed instructions, fused multiply-add among them, start at 0x100.
    assertEquals(simd.filter((code) => code >= 0x100), []);
  }
});

Deno.test("the memory stays small and fixed, whatever the tensor", () => {
  const kernels = createWasmKernels();
  const before = kernels.memoryBytes;
  assert(before < 256 * 1024, `${before} bytes`);
  const x = new Float32Array(16 * 1024 * 1024).fill(2);
  const layout = layoutOf([64, 64, 4096], [1]);
  const a = new Float32Array(64).fill(3);
  const b = new Float32Array(64).fill(1);
  kernels.affine("float32", layout, x, x, a, b);
  assert(x.every((value) => value === 7));
  const c = new Float64Array(64).fill(7);
  const sum = new Float64Array(64);
  kernels.gradientSums("float32", layout, x, x, c, sum, new Float64Array(64));
  kernels.inputGradient("float32", layout, x, x, x, c, c, c, c);
  assert(x.every((value) => value === 0));
  assertEquals(kernels.memoryBytes, before);
});

Deno.test("a caller's module is used", () => {
  const module = new WebAssembly.Module(embeddedBytes());
  const kernels = createWasmKernels(module);
  const x = new Float32Array([1, 2, 3]);
  const one = new Float32Array(3).fill(1);
  kernels.affine("float32", layoutOf([3], [0]), x, x, one, one);
  assertEquals(x, new Float32Array([2, 3, 4]));
});

Deno.test("a module that is not ours is refused, with what was expected", () => {
  // The smallest module: magic and version.
  const empty = new WebAssembly.Module(
    new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]),
  );
  assertThrows(
    () => createWasmKernels(empty),
    OptionError,
    "expected kernels/evenkeel.wasm of this version, which exports affineFloat32",
  );
  for (const other of [embeddedBytes(), {}, null]) {
    assertThrows(
      () => createWasmKernels(other as unknown as WebAssembly.Module),
      OptionError,
      "expected a WebAssembly.Module",
    );
  }
});

Deno.test("inference takes its own module, and the one with everything does too", () => {
  const module = compileEmbedded(INFERENCE_FORM);
  const full = compileEmbedded(FULL_FORM);
  for (const given of [undefined, module, full]) {
    const kernels = createWasmInference(given);
    const x = new Float32Array([1, 2, 3]);
    const one = new Float32Array(3).fill(1);
    kernels.affine("float32", layoutOf([3], [0]), x, x, one, one);
    assertEquals(x, new Float32Array([2, 3, 4]));
  }
  assertThrows(
    () => createWasmKernels(module),
    OptionError,
    "expected kernels/evenkeel.wasm of this version",
  );
});
