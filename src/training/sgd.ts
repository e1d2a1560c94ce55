/**
 * Gradient descent.
 *
 * @module
 */

import type { JsonObject } from "../layer/keras_object.ts";
import { KerasOptimizer, type UpdateContext } from "./keras_optimizer.ts";
import type { OptimizerOptions } from "./optimizer.ts";
import { flag, momentumArgument } from "./optimizer_arguments.ts";

/** The options of {@linkcode SGD}. */
export interface SGDOptions extends OptimizerOptions {
  /** The share of the last step that goes into the next; 0 by default. */
  readonly momentum?: number;
  /** Whether to look ahead along the momentum; false by default. */
  readonly nesterov?: boolean;
}

/**
 * Stochastic gradient descent, with momentum.
 *
 * With gradient g and velocity m, from 0:
 *
 *     m = momentum * m - learningRate * g
 *     w = w + m                                  // or, with nesterov,
 *     w = w + momentum * m - learningRate * g
 *
 * every operation rounded to the type of the variable, in the order of
 * `gradient_descent.py` of TensorFlow 2.4 and `sgd.py` later.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { SGD, tensor } from "@evenkeel/evenkeel";
 *
 * const gamma = tensor([1, 2], [2]);
 * const optimizer = new SGD({ learningRate: 0.5 });
 * optimizer.apply([{ name: "gamma", value: gamma, gradient: tensor([2, -2], [2]) }]);
 * assertEquals([...gamma.data], [0, 3]);
 * ```
 */
export class SGD extends KerasOptimizer {
  /** The name of the Keras class. */
  override readonly className: string = "SGD";
  readonly #momentum: number;
  readonly #nesterov: boolean;

  /**
   * Makes the optimizer.
   *
   * @param options The options; the learning rate is 0.01 by default.
   *
   * @throws {OptionError} If one of them has a value that Keras refuses.
   */
  constructor(options: SGDOptions = {}) {
    super("SGD", 0.01, options);
    this.#momentum = momentumArgument("SGD", options.momentum);
    this.#nesterov = flag("SGD", "nesterov", options.nesterov);
  }

  /** tf-keras keeps a velocity also where there is no momentum. */
  protected override slotNames(): readonly string[] {
    return this.#momentum > 0 || this.kerasVersion === "2.12"
      ? ["momentums"]
      : [];
  }

  /** Changes one variable. */
  protected override update(context: UpdateContext): void {
    const { value, gradient, round, learningRate } = context;
    if (this.slotNames().length === 0) {
      for (let i = 0; i < value.length; i++) {
        value[i] = round(value[i]! - round(gradient[i]! * learningRate));
      }
      return;
    }
    // A float32 in Keras also where the variable is float64.
    const momentum = round(Math.fround(this.#momentum));
    const velocity = context.slot("momentums");
    for (let i = 0; i < value.length; i++) {
      const along = round(gradient[i]! * learningRate);
      const moved = round(round(velocity[i]! * momentum) - along);
      velocity[i] = moved;
      const step = this.#nesterov
        ? round(round(moved * momentum) - along)
        : moved;
      value[i] = round(value[i]! + step);
    }
  }

  /** The arguments. */
  protected override ownConfig(): JsonObject {
    return {
      momentum: this.inType(Number, this.#momentum),
      nesterov: this.#nesterov,
    };
  }
}
