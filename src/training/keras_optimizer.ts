/**
 * What all of Keras' optimizers share: clipping, weight decay, slots, and the
 * order of a step.
 *
 * @module
 */

import { OptionError, ShapeError } from "../errors.ts";
import type { ConstraintBehaviour } from "../layer/constraints.ts";
import { checkTensor } from "../layer/input_spec.ts";
import type { JsonObject } from "../layer/keras_object.ts";
import {
  checkKerasVersion,
  type KerasVersion,
} from "../layer/keras_version.ts";
import {
  castTensor,
  encodeInto,
  sameDims,
  type Tensor,
  tensorLike,
  toFloats,
  widen,
} from "../tensor.ts";
import { clipGradients, type ClippingBounds } from "./clipping.ts";
import type {
  Optimizer,
  OptimizerOptions,
  OptimizerSlot,
  OptimizerState,
  OptimizerVariable,
} from "./optimizer.ts";
import { finite, orNull } from "./optimizer_arguments.ts";
import { baseConfig } from "./optimizer_config.ts";
import { ROUND, type Round } from "./rounding.ts";

/** One variable in the middle of a step: everything in float64, rounded. */
export interface UpdateContext {
  /** The values, to be changed. */
  readonly value: Float64Array;
  /** The clipped gradient. */
  readonly gradient: Float64Array;
  /** A slot's values, to be changed. */
  readonly slot: (name: string) => Float64Array;
  /** Rounds to the variable's type. */
  readonly round: Round;
  /** The learning rate in the variable's type. */
  readonly learningRate: number;
  /** The number of this step, from 1. */
  readonly step: number;
}

/**
 * What Keras' optimizers share. A step clips the gradients, takes the weight
 * decay off, updates, and applies the constraints, in this order.
 */
export abstract class KerasOptimizer implements Optimizer {
  /** The name of the Keras class. */
  abstract readonly className: string;
  /** The release whose arithmetic it follows. */
  readonly kerasVersion: KerasVersion;
  /** The share that is taken off in every step, times the learning rate. */
  readonly weightDecay: number | null;
  /** Whether these are the optimizers up to TensorFlow 2.10. */
  protected readonly legacy: boolean;

  readonly #bounds: ClippingBounds;
  readonly #decay: number;
  readonly #name: string | null;
  #learningRate: number;
  #iterations = 0;
  #slots: ReadonlyMap<string, ReadonlyMap<string, Tensor>> = new Map();

  /**
   * Checks what all optimizers share.
   *
   * @param owner The class for messages.
   * @param learningRate The default of the class.
   * @param options The options.
   *
   * @throws {OptionError} If one of them has a value that Keras refuses, or
   * that this release does not have.
   */
  constructor(owner: string, learningRate: number, options: OptimizerOptions) {
    const { kerasVersion = "2.4", name = null } = options;
    checkKerasVersion(kerasVersion, `make ${owner} with`);
    this.kerasVersion = kerasVersion;
    this.legacy = kerasVersion === "2.4" || kerasVersion === "2.6";
    this.#learningRate = Math.fround(
      finite(owner, "learningRate", options.learningRate, learningRate),
    );
    this.weightDecay = orNull(owner, "weightDecay", options.weightDecay);
    this.#decay = orNull(owner, "decay", options.decay) ?? 0;
    this.#bounds = {
      clipnorm: orNull(owner, "clipnorm", options.clipnorm),
      clipvalue: orNull(owner, "clipvalue", options.clipvalue),
      globalClipnorm: orNull(owner, "globalClipnorm", options.globalClipnorm),
    };
    this.#name = name;
    this.#checkRelease(owner);
  }

  /** What a release does not have, or does not allow together. */
  #checkRelease(owner: string): void {
    const { clipnorm, clipvalue, globalClipnorm } = this.#bounds;
    if (this.legacy && this.weightDecay !== null) {
      throw new OptionError(
        `Cannot make ${owner} with weightDecay and kerasVersion "${this.kerasVersion}": the optimizers up to TensorFlow 2.10 do not have it, use "2.12" or "3"`,
      );
    }
    if (!this.legacy && this.#decay !== 0) {
      throw new OptionError(
        `Cannot make ${owner} with decay and kerasVersion "${this.kerasVersion}": the optimizers from TensorFlow 2.11 on do not have it, use "2.4" or change learningRate between steps`,
      );
    }
    const given = [clipnorm, globalClipnorm];
    if (this.kerasVersion === "3") given.push(clipvalue);
    if (given.filter((bound) => bound !== null).length > 1) {
      throw new OptionError(
        `Cannot make ${owner} with several of clipnorm, ${
          this.kerasVersion === "3" ? "clipvalue, " : ""
        }globalClipnorm: expected one of them only`,
      );
    }
  }

  /** How far a step goes; rounded to float32, in which Keras holds it. */
  get learningRate(): number {
    return this.#learningRate;
  }

  /**
   * Changes how far the next steps go.
   *
   * @throws {OptionError} If it is no finite number.
   */
  set learningRate(value: number) {
    this.#learningRate = Math.fround(
      finite(this.className, "learningRate", value, 0),
    );
  }

  /** How many steps it has made. */
  get iterations(): number {
    return this.#iterations;
  }

  /**
   * Makes one step.
   *
   * @param variables The variables and their gradients; none make no step.
   *
   * @throws {ShapeError} If a gradient or a slot does not fit its variable, or
   * a constraint cannot be used on it; then nothing is changed.
   * @throws {OptionError} If two variables have one name, or a tensor is
   * malformed; then nothing is changed.
   */
  apply(variables: readonly OptimizerVariable[]): void {
    if (variables.length === 0) return;
    const contexts = variables.map((variable) => this.#begin(variable));
    if (new Set(variables.map(({ name }) => name)).size < variables.length) {
      throw new OptionError(
        `Cannot make a step of ${this.className}: two variables have the same name, among ${
          variables.map(({ name }) => `"${name}"`).join(", ")
        }`,
      );
    }
    clipGradients(contexts, this.#bounds, this.legacy);
    for (const context of contexts) {
      this.#decayWeights(context);
      this.update(context);
    }
    const results = variables.map(({ value, constraint }, i) =>
      constrained(value, contexts[i]!.value, constraint)
    );
    // From here on nothing fails.
    const slots = new Map(this.#slots);
    variables.forEach(({ name, value }, i) => {
      const kept = [...contexts[i]!.slots].map(([slot, values]) =>
        [slot, tensorLike(value, values)] as const
      );
      slots.set(name, new Map(kept));
      encodeInto(value.type, value.data, results[i]!);
    });
    this.#slots = slots;
    this.#iterations++;
  }

  /** The names of what is kept for each variable. */
  protected abstract slotNames(): readonly string[];

  /** Changes the values and the slots of one variable. */
  protected abstract update(context: UpdateContext): void;

  /** The arguments of the class, in Keras' order. */
  protected abstract ownConfig(): JsonObject;

  /**
   * A hyperparameter in the type of a variable; up to TensorFlow 2.10 it
   * passes through a float32.
   */
  protected inType(round: Round, value: number): number {
    return round(this.legacy ? Math.fround(value) : value);
  }

  /**
   * 1 less a hyperparameter, in the type of a variable: from TensorFlow 2.11 on
   * Python computes it, in float64.
   */
  protected complement(round: Round, value: number): number {
    return round(1 - (this.legacy ? this.inType(round, value) : value));
  }

  #begin(
    { name, value, gradient }: OptimizerVariable,
  ): UpdateContext & { readonly slots: Map<string, Float64Array> } {
    checkTensor(value, `the variable "${name}"`);
    checkTensor(gradient, `the gradient of "${name}"`);
    sameShape(`the gradient of "${name}"`, value.dims, gradient.dims);
    const slots = new Map<string, Float64Array>();
    const known = this.#slots.get(name);
    for (const slot of this.slotNames()) {
      const kept = known?.get(slot);
      if (kept) sameShape(`${slot} of "${name}"`, value.dims, kept.dims);
      const values = new Float64Array(value.data.length);
      slots.set(slot, kept ? toFloats(kept, values) : values);
    }
    const round = ROUND[value.type];
    return {
      value: widen(value),
      gradient: widen(castTensor(gradient, value.type)),
      slots,
      slot: (slot) => slots.get(slot)!,
      round,
      learningRate: this.#rateIn(round),
      step: this.#iterations + 1,
    };
  }

  #rateIn(round: Round): number {
    const rate = round(this.#learningRate);
    if (this.#decay === 0) return rate;
    const decay = round(Math.fround(this.#decay));
    return round(rate / round(1 + round(decay * this.#iterations)));
  }

  #decayWeights({ value, round, learningRate }: UpdateContext): void {
    if (this.weightDecay === null) return;
    const share = round(Math.fround(this.weightDecay));
    for (let i = 0; i < value.length; i++) {
      const w = value[i]!;
      value[i] = round(w - round(round(w * share) * learningRate));
    }
  }

  /**
   * The arguments in the JSON that this Keras writes.
   *
   * @returns The configuration; `resolveOptimizer` makes the same optimizer of
   * it, without its state.
   */
  getConfig(): JsonObject {
    return baseConfig({
      className: this.className,
      kerasVersion: this.kerasVersion,
      name: this.#name,
      learningRate: this.#learningRate,
      decay: this.#decay,
      weightDecay: this.weightDecay,
      bounds: this.#bounds,
      own: this.ownConfig(),
    });
  }

  /**
   * What the optimizer remembers between steps.
   *
   * @returns Plain data that later steps do not change.
   */
  getState(): OptimizerState {
    const slots: OptimizerSlot[] = [];
    for (const [variable, kept] of this.#slots) {
      for (const [slot, value] of kept) {
        slots.push({ variable, slot, value: copyOf(value) });
      }
    }
    return { iterations: this.#iterations, slots };
  }

  /**
   * Goes on from what an optimizer of the same kind remembered.
   *
   * @param state What `getState` gave.
   *
   * @throws {OptionError} If it is not the state of such an optimizer; then
   * nothing is changed.
   */
  setState({ iterations, slots }: OptimizerState): void {
    if (!Number.isSafeInteger(iterations) || iterations < 0) {
      throw new OptionError(
        `Cannot set the state of ${this.className}: expected iterations to be a non-negative integer, got ${iterations}`,
      );
    }
    const names = this.slotNames();
    const found = new Map<string, Map<string, Tensor>>();
    for (const { variable, slot, value } of slots) {
      checkTensor(value, `${slot} of "${variable}"`);
      const kept = found.get(variable) ?? new Map<string, Tensor>();
      if (!names.includes(slot) || kept.has(slot)) {
        throw new OptionError(
          `Cannot set the state of ${this.className}: "${slot}" of "${variable}" ${
            kept.has(slot) ? "comes twice" : "is unknown"
          }, expected ${names.join(", ") || "no slots"}`,
        );
      }
      found.set(variable, kept.set(slot, copyOf(value)));
    }
    this.#slots = found;
    this.#iterations = iterations;
  }
}

function copyOf({ type, dims, data }: Tensor): Tensor {
  return { type, dims: [...dims], data: data.slice() };
}

function constrained(
  { type, dims }: Tensor,
  values: Float64Array,
  constraint: ConstraintBehaviour | null | undefined,
): ArrayLike<number> {
  if (!constraint) return values;
  const weights = type === "float64" ? values : Float32Array.from(values);
  constraint.apply(weights, dims);
  return weights;
}

function sameShape(
  what: string,
  expected: readonly number[],
  actual: readonly number[],
): void {
  if (
    sameDims(expected, actual)
  ) return;
  throw new ShapeError(
    `Cannot use ${what}: expected the variable's shape [${
      expected.join(", ")
    }], got [${actual.join(", ")}]`,
  );
}
