/**
 * The choice among kernel implementations, and what has been started of them.
 *
 * @module
 */

import { OptionError, UnsupportedError } from "../errors.ts";
import { unknownOption } from "../known_options.ts";
import type {
  InferenceKernels,
  KernelName,
  Kernels,
  KernelSource,
} from "./types.ts";
import { checkModule, type ModuleForm } from "./wasm_module.ts";

/**
 * A choice of kernels: one implementation, the best that starts, or those of a
 * pool of threads.
 */
export type KernelChoice = "auto" | KernelName | KernelSource;

/** Whether a choice brings its own kernels, of this version's interface. */
function isKernelSource(choice: unknown): choice is KernelSource {
  return typeof choice === "object" && choice !== null &&
    typeof (choice as { kernels?: Partial<Kernels> }).kernels?.moments ===
      "function";
}

/** The options of {@linkcode setKernels}. */
export interface SetKernelsOptions {
  /**
   * The compiled `kernels/evenkeel.wasm`, for runtimes that refuse to compile
   * WASM from bytes (such as Cloudflare Workers, where it can be imported).
   */
  readonly module?: WebAssembly.Module | undefined;
  /**
   * Is told why the WASM kernels do not start, when "auto" falls back to
   * typed arrays: once, by the first call that needs kernels, which then goes
   * on. The next {@linkcode setKernels} tries again. By default nobody is told.
   */
  readonly onFallback?: ((reason: Error) => void) | undefined;
}

// A Record, so that the compiler notices an option that is missing here.
const KNOWN: Readonly<Record<keyof SetKernelsOptions, true>> = {
  module: true,
  onFallback: true,
};

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
  #onFallback: ((reason: Error) => void) | undefined;
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
    checkKernelChoice(choice, this.#entries);
    checkOptions(options);
    const { module, onFallback } = options;
    if (module !== undefined) checkModule(module, this.#form);
    // What runs already goes on running; what failed gets another chance.
    const started = new Map(
      [...this.#started].filter(([, kernels]) =>
        module === this.#module && !(kernels instanceof Error)
      ),
    );
    // The state changes only once the choice is known to work.
    if (typeof choice === "string" && choice !== "auto") {
      this.#start(choice, started, module);
    }
    this.#choice = choice;
    this.#module = module;
    this.#onFallback = onFallback;
    this.#started = started;
    this.#best = undefined;
  }

  /** See {@linkcode resolveKernels}. */
  resolve(choice: KernelChoice = this.#choice): K {
    if (choice === "auto") return this.#best ?? this.#findBest();
    if (isKernelSource(choice)) return ownKernels<K>(choice);
    // What has been started was checked then.
    if (!this.#started.has(choice)) checkKernelChoice(choice, this.#entries);
    return this.#start(choice, this.#started, this.#module);
  }

  #findBest(): K {
    const errors: Error[] = [];
    for (const { name } of this.#entries) {
      let kernels: K;
      try {
        kernels = this.#start(name, this.#started, this.#module);
      } catch (error) {
        // The next one in the table is the fallback.
        errors.push(error as Error); // `#start` throws nothing else
        continue;
      }
      // Before it is told, so that what the hook calls finds it too.
      this.#best = kernels;
      if (errors.length > 0) this.#onFallback?.(errors[0]!);
      // The hook may have chosen anew.
      return this.#best ?? this.resolve();
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
}

/**
 * Checks a choice of kernels.
 *
 * @param choice What came.
 * @param entries The implementations.
 *
 * @throws {OptionError} If it is none.
 */
export function checkKernelChoice(
  choice: unknown,
  entries: readonly { readonly name: KernelName }[],
): asserts choice is KernelChoice {
  if (isKernelSource(choice)) return;
  const names = ["auto", ...entries.map(({ name }) => name)];
  if (!names.includes(choice as string)) {
    throw new OptionError(
      `Cannot use kernels "${choice}": expected ${
        names.map((name) => `"${name}"`).join(", ")
      }, or a pool of startThreads()`,
    );
  }
}

/** A pool has kernels for everything, which are kernels for less too. */
function ownKernels<K extends InferenceKernels>({ kernels }: KernelSource): K {
  return kernels as K;
}

function checkOptions(options: SetKernelsOptions): void {
  const unknown = unknownOption(options, KNOWN);
  if (unknown !== undefined) {
    throw new OptionError(`Cannot set the kernels: ${unknown}`);
  }
  const { onFallback } = options;
  if (onFallback !== undefined && typeof onFallback !== "function") {
    throw new OptionError(
      `Cannot use the option "onFallback": expected a function, got ${typeof onFallback}`,
    );
  }
}
