/**
 * The compiled WASM module: from the embedded bytes, or the caller's own.
 *
 * @module
 */

import { OptionError, UnsupportedError } from "../errors.ts";
import type { ElementType } from "../tensor.ts";
import type { PieceOperation } from "./pieces.ts";
import type { BinaryOperation, UnaryOperation } from "./types.ts";

/**
 * `y = x * a + b` on a block of `outer * channels * inner` elements.
 *
 * Pointers are byte offsets into the memory, extents count elements; `a` and
 * `b` are `channels` parameters each. `y` may be `x`.
 */
export type AffineFunction = (
  x: number,
  y: number,
  a: number,
  b: number,
  outer: number,
  channels: number,
  inner: number,
) => void;

/** {@linkcode AffineFunction} whose results are bounded. */
export type ClampedFunction = (
  ...args: [...Parameters<AffineFunction>, low: number, high: number]
) => void;

/**
 * Folds gamma, beta, mean and variance (byte offsets) of `count` channels to
 * factors and summands, in float32; up to 3 values behind each are touched.
 */
export type FoldFunction = (
  gamma: number,
  beta: number,
  mean: number,
  variance: number,
  a: number,
  b: number,
  count: number,
  epsilon: number,
) => void;

/**
 * A {@linkcode PieceOperation} on a piece. Pointers are byte offsets: of the
 * slots' vectors, then of `x`, `dy` and the output, as far as the operation
 * has them. Then come the number of rows and, in elements, the length of rows,
 * or the width of columns and the stride of their rows.
 */
export type PieceFunction = (vectors: number, ...rest: number[]) => void;

/** `x = f(x)` on `count` float32 elements; `x` is a byte offset. */
export type UnaryFunction = (x: number, count: number) => void;

/**
 * `y = f(a, b)` on `count` float32 elements; `a`, `b` and `y` are byte offsets.
 * The step of an operand is -1, or 0 where eight equal elements stand for all.
 */
export type BinaryFunction = (
  a: number,
  aStep: number,
  b: number,
  bStep: number,
  y: number,
  count: number,
) => void;

/** Converts `count` elements from one byte offset to another. */
export type ConvertFunction = (from: number, to: number, count: number) => void;

/** A form of pieces: a slot per row, or per column. */
export type PieceForm = "Rows" | "Columns";

/** The functions of the module, by what `kernels/index.ts` calls them. */
export interface WasmExports {
  /** Inference, for each element type. */
  readonly affine: Readonly<Record<ElementType, AffineFunction>>;
  /** Inference's coefficients. */
  readonly fold: FoldFunction;
  /** Sessions' inference of float32; missing where `isFull` is false. */
  readonly affineClamped: ClampedFunction | undefined;
  /** Whether the module has everything, and not inference only. */
  readonly isFull: boolean;
  /** Training, for the types that it computes on. */
  piece(
    operation: PieceOperation,
    form: PieceForm,
    type: "float32" | "float64",
  ): PieceFunction;
  /** 16-bit elements to float32, and back. */
  convert(
    direction: "decode" | "encode",
    type: "float16" | "bfloat16",
  ): ConvertFunction;
  /** Operators from one float32 element. */
  unary(operation: UnaryOperation): UnaryFunction;
  /** Operators from two float32 elements. */
  binary(operation: BinaryOperation): BinaryFunction;
}

const SUFFIXES: Readonly<Record<ElementType, string>> = {
  float32: "Float32",
  float64: "Float64",
  float16: "Float16",
  bfloat16: "Bfloat16",
};

/** What of a module its users depend on. */
export interface ModuleForm {
  /** The file in `kernels/`. */
  readonly file: string;
  /**
   * Its bytes in hexadecimal; or the module itself, which a bundle for runtimes
   * that refuse bytes imports instead of them.
   */
  readonly embedded: string | WebAssembly.Module;
  /** The functions that it has to export. */
  readonly exports: readonly string[];
}

/** The exports that inference needs. */
export const INFERENCE_EXPORTS: readonly string[] = [
  ...Object.values(SUFFIXES).map((suffix) => `affine${suffix}`),
  "foldFloat32",
];

/** The export that sessions need beside those. */
export const CLAMPED_EXPORT = "affineClampedFloat32";

/**
 * The bytes of a hexadecimal text.
 *
 * The loop, which is not compiled yet when it is needed, takes 3 of the 15
 * milliseconds that a first result may take; the engine's own function 0.04.
 */
function decodeHex(hex: string): Uint8Array<ArrayBuffer> {
  const { fromHex } = Uint8Array as {
    readonly fromHex?: (hex: string) => Uint8Array<ArrayBuffer>;
  };
  if (fromHex) return fromHex.call(Uint8Array, hex);
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  }
  return bytes;
}

/**
 * Compiles the embedded module, synchronously.
 *
 * @throws {UnsupportedError} If the runtime has no WebAssembly, lacks SIMD,
 * or refuses to compile from bytes.
 */
export function compileEmbedded(
  { file, embedded }: ModuleForm,
): WebAssembly.Module {
  if (typeof WebAssembly === "undefined") {
    throw new UnsupportedError(
      `Cannot start the WASM kernels: this runtime has no WebAssembly. Use the "typed-array" kernels, which give the same results`,
    );
  }
  if (typeof embedded !== "string") return embedded;
  try {
    return new WebAssembly.Module(decodeHex(embedded));
  } catch (cause) {
    throw new UnsupportedError(
      `Cannot start the WASM kernels: this runtime does not compile them from bytes (${
        reasonOf(cause)
      }). Pass a compiled ${file} as the option "module", or use the "typed-array" kernels, which give the same results`,
      { cause },
    );
  }
}

/**
 * Checks that a caller's module is the one that `kernels/` compiles to.
 *
 * @throws {OptionError} If it is not a module, or its imports or exports are
 * others.
 */
export function checkModule(
  module: WebAssembly.Module,
  { file, exports }: ModuleForm,
): void {
  let exported: string[];
  let imported: string[];
  try {
    exported = WebAssembly.Module.exports(module).map(({ name }) => name);
    imported = WebAssembly.Module.imports(module)
      .map(({ module, name }) => `${module}.${name}`);
  } catch (cause) {
    throw new OptionError(
      `Cannot use the option "module": expected a WebAssembly.Module compiled from ${file}, got ${
        Object.prototype.toString.call(module)
      }`,
      { cause },
    );
  }
  if (
    exports.some((name) => !exported.includes(name)) ||
    imported.some((name) => name !== "env.memory")
  ) {
    throw new OptionError(
      `Cannot use the option "module": expected ${file} of this version, which exports ${
        exports.join(", ")
      } and imports env.memory; got one that exports ${
        exported.join(", ") || "nothing"
      } and imports ${imported.join(", ") || "nothing"}`,
    );
  }
}

/**
 * Starts the module on a memory.
 *
 * @throws {UnsupportedError} If the runtime refuses to.
 */
export function instantiate(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
): WasmExports {
  let exports: WebAssembly.Exports;
  try {
    exports = new WebAssembly.Instance(module, { env: { memory } }).exports;
  } catch (cause) {
    throw new UnsupportedError(
      `Cannot start the WASM kernels: this runtime does not start the module (${
        reasonOf(cause)
      }). Use the "typed-array" kernels, which give the same results`,
      { cause },
    );
  }
  // Kept by name, which is made of three parts: making it anew and looking it
  // up takes longer than a small tensor.
  const pieces = new Map<PieceOperation, PieceFunction[]>();
  const piecesOf = (operation: PieceOperation): PieceFunction[] => {
    let found = pieces.get(operation);
    if (!found) {
      found = ["RowsFloat32", "RowsFloat64", "ColumnsFloat32", "ColumnsFloat64"]
        .map((name) => exports[operation + name] as PieceFunction);
      pieces.set(operation, found);
    }
    return found;
  };
  const operators = new Map<string, unknown>();
  const float32 = (operation: UnaryOperation | BinaryOperation): unknown => {
    let found = operators.get(operation);
    if (!found) {
      found = exports[operation + SUFFIXES.float32];
      operators.set(operation, found);
    }
    return found;
  };
  const affine = (type: ElementType): AffineFunction =>
    exports[`affine${SUFFIXES[type]}`] as AffineFunction;
  return {
    affine: {
      float32: affine("float32"),
      float64: affine("float64"),
      float16: affine("float16"),
      bfloat16: affine("bfloat16"),
    },
    fold: exports.foldFloat32 as FoldFunction,
    affineClamped: exports[CLAMPED_EXPORT] as ClampedFunction | undefined,
    isFull: CLAMPED_EXPORT in exports,
    piece: (operation, form, type) =>
      piecesOf(operation)[
        (form === "Columns" ? 2 : 0) + (type === "float64" ? 1 : 0)
      ]!,
    convert: (direction, type) =>
      exports[direction + SUFFIXES[type]] as ConvertFunction,
    unary: (operation) => float32(operation) as UnaryFunction,
    binary: (operation) => float32(operation) as BinaryFunction,
  };
}

/** What a caught value says about itself. */
export function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
