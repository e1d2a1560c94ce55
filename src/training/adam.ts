/**
 * Adam and AdamW.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import type { JsonObject } from "../layer/keras_object.ts";
import { KerasOptimizer, type UpdateContext } from "./keras_optimizer.ts";
import type { OptimizerOptions } from "./optimizer.ts";
import { epsilonArgument, finite, flag } from "./optimizer_arguments.ts";

/** The options of {@linkcode Adam} and {@linkcode AdamW}. */
export interface AdamOptions extends OptimizerOptions {
  /** How much of the mean gradient is kept in a step; 0.9 by default. */
  readonly beta1?: number;
  /** How much of the mean squared gradient is kept; 0.999 by default. */
  readonly beta2?: number;
  /** Added to the root of the mean squared gradient; 1e-7 by default. */
  readonly epsilon?: number | null;
  /** Whether to divide by the largest mean so far; false by default. */
  readonly amsgrad?: boolean;
}

/**
 * Adam: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2014.
 *
 * In step t, with gradient g:
 *
 *     m = m + (g - m) * (1 - beta1)
 *     v = v + (g^2 - v) * (1 - beta2)
 *     w = w - m * a / (sqrt(v) + epsilon)
 *     a = learningRate * sqrt(1 - beta2^t) / (1 - beta1^t)
 *
 * with the largest v so far in the place of v where `amsgrad` is true (Reddi
 * and others, "On the Convergence of Adam and Beyond", 2018); every operation
 * rounded to the type of the variable, in the order of `training_ops.cc` of
 * TensorFlow 2.4 and `adam.py` later.
 *
 * @example Usage
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { Adam, tensor } from "@evenkeel/evenkeel";
 *
 * const gamma = tensor([1, 1], [2]);
 * const optimizer = new Adam({ learningRate: 0.1 });
 * optimizer.apply([{ name: "gamma", value: gamma, gradient: tensor([5, -0.01], [2]) }]);
 * // The first step goes as far as the learning rate, whatever the gradient.
 * assertAlmostEquals(gamma.data[0]!, 0.9, 1e-4);
 * assertAlmostEquals(gamma.data[1]!, 1.1, 1e-4);
 * ```
 */
export class Adam extends KerasOptimizer {
  /** The name of the Keras class. */
  override readonly className: string = "Adam";
  readonly #beta1: number;
  readonly #beta2: number;
  readonly #epsilon: number;
  readonly #amsgrad: boolean;

  /**
   * Makes the optimizer.
   *
   * @param options The options; the learning rate is 0.001 by default.
   *
   * @throws {OptionError} If one of them has a value that Keras refuses.
   */
  constructor(options: AdamOptions = {}) {
    const owner = new.target.name;
    super(owner, 0.001, options);
    this.#beta1 = finite(owner, "beta1", options.beta1, 0.9);
    this.#beta2 = finite(owner, "beta2", options.beta2, 0.999);
    this.#epsilon = epsilonArgument(owner, options.epsilon, this.legacy);
    this.#amsgrad = flag(owner, "amsgrad", options.amsgrad);
  }

  /** The names of what is kept for each variable. */
  protected override slotNames(): readonly string[] {
    const names = ["momentums", "velocities"];
    return this.#amsgrad ? [...names, "velocity_hats"] : names;
  }

  /** Changes one variable. */
  protected override update(context: UpdateContext): void {
    const { value, gradient, round, learningRate, step } = context;
    // The betas of the powers are float32 in Keras, whatever the variable is.
    const power = (beta: number): number =>
      round(Math.pow(round(Math.fround(beta)), round(step)));
    const root = round(Math.sqrt(round(1 - power(this.#beta2))));
    const rate = round(
      round(learningRate * root) / round(1 - power(this.#beta1)),
    );
    const fresh1 = this.complement(round, this.#beta1);
    const fresh2 = this.complement(round, this.#beta2);
    const epsilon = round(this.#epsilon);
    const mean = context.slot("momentums");
    const square = context.slot("velocities");
    const largest = this.#amsgrad ? context.slot("velocity_hats") : undefined;
    for (let i = 0; i < value.length; i++) {
      const g = gradient[i]!;
      const m = mean[i]!;
      mean[i] = round(m + round(round(g - m) * fresh1));
      let v = square[i]!;
      v = round(v + round(round(round(g * g) - v) * fresh2));
      square[i] = v;
      if (largest) v = largest[i] = Math.max(largest[i]!, v);
      const divisor = round(round(Math.sqrt(v)) + epsilon);
      value[i] = round(
        value[i]! - round(round(mean[i]! * rate) / divisor),
      );
    }
  }

  /** The arguments. */
  protected override ownConfig(): JsonObject {
    return {
      beta_1: this.inType(Number, this.#beta1),
      beta_2: this.inType(Number, this.#beta2),
      epsilon: this.#epsilon,
      amsgrad: this.#amsgrad,
    };
  }
}

/**
 * Adam with decoupled weight decay: Loshchilov and Hutter, "Decoupled Weight
 * Decay Regularization", 2017. Keras has it from TensorFlow 2.11 on.
 *
 * Before the update of {@linkcode Adam}, `w = w - w * weightDecay *
 * learningRate`.
 *
 * @example Usage
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { AdamW, tensor } from "@evenkeel/evenkeel";
 *
 * const gamma = tensor([2], [1]);
 * const optimizer = new AdamW({ learningRate: 0.1, weightDecay: 0.5, kerasVersion: "3" });
 * optimizer.apply([{ name: "gamma", value: gamma, gradient: tensor([0], [1]) }]);
 * assertAlmostEquals(gamma.data[0]!, 2 - 2 * 0.5 * 0.1, 1e-6);
 * ```
 */
export class AdamW extends Adam {
  /** The name of the Keras class. */
  override readonly className: string = "AdamW";

  /**
   * Makes the optimizer.
   *
   * @param options The options, `kerasVersion` of `"2.12"` or `"3"` among
   * them; the weight decay is 0.004 by default.
   *
   * @throws {OptionError} If one of them has a value that Keras refuses, or
   * the release does not have this optimizer.
   */
  constructor(options: AdamOptions = {}) {
    const { weightDecay = 0.004 } = options;
    if (weightDecay === null) {
      throw new OptionError(
        "Cannot make AdamW without weightDecay: expected a number, use Adam for none",
      );
    }
    super({ ...options, weightDecay });
  }
}
