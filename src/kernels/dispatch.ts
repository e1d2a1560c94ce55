/**
 * Which kernels run: the table of implementations and the choice among them.
 *
 * @module
 */

import { OptionError, UnsupportedError } from "../errors.ts";
import { typedArrayKernels } from "./typed_array.ts";
import type { KernelName, Kernels } from "./types.ts";
import { createWasmKernels } from "./wasm.ts";
import { checkModule } from "./wasm_module.ts";

/** A choice of kernels: one implementation, or the best that starts. */
export type KernelChoice = "auto" | KernelName;

/** The options of {@linkcode setKernels}. */
export interface SetKernelsOptions {
  /**
   * The compiled `kernels/evenkeel.wasm`, for runtimes that refuse to compile
   * WASM from bytes (such as Cloudflare Workers, where it can be imported).
   */
  readonly module?: WebAssembly.Module | undefined;
}

/** An implementation and how it starts. */
export interface KernelEntry {
  /** Its name. */
  readonly name: KernelName;
  /**
   * Starts it.
   *
   * @throws {UnsupportedError} If this runtime cannot.
   */
  readonly start: (module?: WebAssembly.Module) => Kernels;
}

/** All implementations, best first. Tests and benches run over this table. */
export const KERNELS: readonly KernelEntry[] = [
  { name: "wasm", start: createWasmKernels },
  { name: "typed-array", start: () => typedArrayKernels },
];

/** The current choice, and what has been started for it. */
export class KernelDispatcher {
  readonly #entries: readonly KernelEntry[];
  #choice: KernelChoice = "auto";
  #module: WebAssembly.Module | undefined;
  /** Per name: the kernels, or the error that kept them from starting. */
  #started = new Map<KernelName, Kernels | Error>();
  /** What "auto" means, once it is known. */
  #best: Kernels | undefined;

  /**
   * Makes a dispatcher in the state of "auto", with nothing started.
   *
   * @param entries The implementations, best first.
   */
  constructor(entries: readonly KernelEntry[]) {
    this.#entries = entries;
  }

  /** See {@linkcode setKernels}. */
  set(choice: KernelChoice, options: SetKernelsOptions = {}): void {
    this.#checkChoice(choice);
    const { module } = options;
    if (module !== undefined) checkModule(module);
    // What runs already goes on running; what failed gets another chance.
    const started = new Map(
      [...this.#started].filter(([, kernels]) =>
        module === this.#module && !(kernels instanceof Error)
      ),
    );
    // The state changes only once the choice is known to work.
    if (choice !== "auto") this.#start(choice, started, module);
    this.#choice = choice;
    this.#module = module;
    this.#started = started;
    this.#best = undefined;
  }

  /** See {@linkcode resolveKernels}. */
  resolve(choice: KernelChoice = this.#choice): Kernels {
    if (choice === "auto") return this.#best ??= this.#findBest();
    this.#checkChoice(choice);
    return this.#start(choice, this.#started, this.#module);
  }

  #findBest(): Kernels {
    const errors: unknown[] = [];
    for (const { name } of this.#entries) {
      try {
        return this.#start(name, this.#started, this.#module);
      } catch (error) {
        // The next one in the table is the fallback.
        errors.push(error);
      }
    }
    throw new UnsupportedError("Cannot start any kernels", {
      cause: errors,
    });
  }

  #start(
    name: KernelName,
    started: Map<KernelName, Kernels | Error>,
    module: WebAssembly.Module | undefined,
  ): Kernels {
    let kernels = started.get(name);
    if (kernels === undefined) {
      try {
        const entry = this.#entries.find((entry) => entry.name === name)!;
        kernels = entry.start(module);
      } catch (error) {
        kernels = error instanceof Error
          ? error
          : new UnsupportedError(`Cannot start the ${name} kernels: ${error}`);
      }
      started.set(name, kernels);
    }
    if (kernels instanceof Error) throw kernels;
    return kernels;
  }

  #checkChoice(choice: unknown): asserts choice is KernelChoice {
    const names = ["auto", ...this.#entries.map(({ name }) => name)];
    if (!names.includes(choice as string)) {
      throw new OptionError(
        `Cannot use the kernels "${choice}": expected ${
          names.map((name) => `"${name}"`).join(", ")
        }`,
      );
    }
  }
}

const dispatcher = new KernelDispatcher(KERNELS);

/**
 * Chooses the kernels of all layers that do not choose their own.
 *
 * All kernels give the same bits; the choice is about speed and about what the
 * runtime allows. "auto", the state at the start, is WASM SIMD where it
 * starts and typed arrays elsewhere, found out at the first use. Each call
 * replaces the whole earlier choice, its `module` included.
 *
 * @param choice "auto", "typed-array", or "wasm", which fails here and now
 * where it cannot start.
 * @param options The compiled module, for runtimes that refuse WASM from bytes.
 *
 * @throws {OptionError} If the choice is unknown, or `module` is not a
 * `WebAssembly.Module` of `kernels/evenkeel.wasm`.
 * @throws {UnsupportedError} If "wasm" cannot start in this runtime. The
 * earlier choice then stays.
 *
 * @example Usage
 * ```ts
 * import { setKernels } from "@evenkeel/evenkeel";
 *
 * setKernels("typed-array"); // no WASM at all
 * setKernels("wasm"); // WASM, or an error that says why not
 * setKernels("auto"); // back to the default
 * ```
 */
export function setKernels(
  choice: KernelChoice,
  options?: SetKernelsOptions,
): void {
  dispatcher.set(choice, options);
}

/**
 * The kernels to run with, started if they were not yet.
 *
 * Cheap enough for every call; a start that failed is not tried again before
 * the next {@linkcode setKernels}.
 *
 * @param choice A layer's own choice; by default that of
 * {@linkcode setKernels}.
 *
 * @throws {OptionError} If the choice is unknown.
 * @throws {UnsupportedError} If the choice names kernels that cannot start.
 */
export function resolveKernels(choice?: KernelChoice): Kernels {
  return dispatcher.resolve(choice);
}
