/**
 * The choice among kernel implementations, and what has been started of them.
 *
 * @module
 */

import { OptionError, UnsupportedError } from "../errors.ts";
import type { InferenceKernels, KernelName, Kernels } from "./types.ts";
import { checkModule, type ModuleForm } from "./wasm_module.ts";

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
export interface KernelEntry<K extends InferenceKernels = Kernels> {
  /** Its name. */
  readonly name: KernelName;
  /**
   * Starts it.
   *
   * @throws {UnsupportedError} If this runtime cannot.
   */
  readonly start: (module?: WebAssembly.Module) => K;
}

/** The current choice, and what has been started for it. */
export class KernelDispatcher<K extends InferenceKernels> {
  readonly #entries: readonly KernelEntry<K>[];
  #choice: KernelChoice = "auto";
  #module: WebAssembly.Module | undefined;
  /** Per name: the kernels, or the error that kept them from starting. */
  #started = new Map<KernelName, K | Error>();
  readonly #form: ModuleForm;
  /** What "auto" means, once it is known. */
  #best: K | undefined;

  /**
   * Makes a dispatcher in the state of "auto", with nothing started.
   *
   * @param entries The implementations, best first.
   * @param form What a caller's module has to be.
   */
  constructor(entries: readonly KernelEntry<K>[], form: ModuleForm) {
    this.#entries = entries;
    this.#form = form;
  }

  /** See {@linkcode setKernels}. */
  set(choice: KernelChoice, options: SetKernelsOptions = {}): void {
    this.#checkChoice(choice);
    const { module } = options;
    if (module !== undefined) checkModule(module, this.#form);
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
  resolve(choice: KernelChoice = this.#choice): K {
    if (choice === "auto") return this.#best ??= this.#findBest();
    // What has been started was checked then.
    if (!this.#started.has(choice)) this.#checkChoice(choice);
    return this.#start(choice, this.#started, this.#module);
  }

  #findBest(): K {
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
    started: Map<KernelName, K | Error>,
    module: WebAssembly.Module | undefined,
  ): K {
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
