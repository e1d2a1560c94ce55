/**
 * RMSprop.
 *
 * @module
 */

import type { JsonObject } from "../layer/keras_object.ts";
import { KerasOptimizer, type UpdateContext } from "./keras_optimizer.ts";
import type { OptimizerOptions } from "./optimizer.ts";
import {
  epsilonArgument,
  finite,
  flag,
  momentumArgument,
} from "./optimizer_arguments.ts";

/** The options of {@linkcode RMSprop}. */
export interface RMSpropOptions extends OptimizerOptions {
  /** How much of the mean squared gradient is kept; 0.9 by default. */
  readonly rho?: number;
  /** The share of the last step that goes into the next; 0 by default. */
  readonly momentum?: number;
  /** Keeps a division by 0 away; 1e-7 by default. */
  readonly epsilon?: number | null;
  /** Whether to take the square of the mean off; false by default. */
  readonly centered?: boolean;
}

/** What one variable's update works with. */
interface Hyperparameters {
  readonly rho: number;
  readonly fresh: number;
  readonly momentum: number;
  readonly epsilon: number;
}

/**
 * RMSprop: Hinton's lecture 6e of "Neural Networks for Machine Learning",
 * 2012.
 *
 * With gradient g:
 *
 *     v = rho * v + (1 - rho) * g^2
 *     a = rho * a + (1 - rho) * g                // with centered, else 0
 *     m = momentum * m + learningRate * g / sqrt(v - a^2 + epsilon)
 *     w = w - m
 *
 * Up to TensorFlow 2.10 and without momentum, the divisor is
 * `sqrt(v - a^2) + epsilon`. Every operation is rounded to the type of the
 * variable, in the order of `rmsprop.py` and, up to 2.10 with momentum,
 * `training_ops.cc`.
 *
 * @example Usage
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { RMSprop, tensor } from "@evenkeel/evenkeel";
 *
 * const gamma = tensor([1], [1]);
 * const optimizer = new RMSprop({ learningRate: 0.1, rho: 0.75 });
 * optimizer.apply([{ name: "gamma", value: gamma, gradient: tensor([3], [1]) }]);
 * // v is a quarter of the squared gradient.
 * assertAlmostEquals(gamma.data[0]!, 1 - 0.1 * 3 / 1.5, 1e-6);
 * ```
 */
export class RMSprop extends KerasOptimizer {
  /** The name of the Keras class. */
  override readonly className: string = "RMSprop";
  readonly #rho: number;
  readonly #momentum: number;
  readonly #epsilon: number;
  readonly #centered: boolean;

  /**
   * Makes the optimizer.
   *
   * @param options The options; the learning rate is 0.001 by default.
   *
   * @throws {OptionError} If one of them has a value that Keras refuses.
   */
  constructor(options: RMSpropOptions = {}) {
    super("RMSprop", 0.001, options);
    this.#rho = finite("RMSprop", "rho", options.rho, 0.9);
    this.#momentum = momentumArgument("RMSprop", options.momentum);
    this.#epsilon = epsilonArgument("RMSprop", options.epsilon, this.legacy);
    this.#centered = flag("RMSprop", "centered", options.centered);
  }

  /** The names of what is kept for each variable. */
  protected override slotNames(): readonly string[] {
    const names = ["velocities"];
    if (this.#momentum > 0) names.push("momentums");
    if (this.#centered) names.push("average_gradients");
    return names;
  }

  /** Changes one variable. */
  protected override update(context: UpdateContext): void {
    const { value, gradient, round, learningRate } = context;
    const hyper: Hyperparameters = {
      rho: this.inType(round, this.#rho),
      fresh: this.complement(round, this.#rho),
      momentum: this.inType(round, this.#momentum),
      epsilon: round(this.#epsilon),
    };
    const variance = this.#averages(context, hyper);
    const momentums = this.#momentum > 0
      ? context.slot("momentums")
      : undefined;
    for (let i = 0; i < value.length; i++) {
      const along = round(learningRate * gradient[i]!);
      let step = this.#quotient(along, variance[i]!, hyper, round);
      if (momentums) {
        step = round(round(hyper.momentum * momentums[i]!) + step);
        momentums[i] = step;
      }
      value[i] = round(value[i]! - step);
    }
  }

  /** Moves the averages; what is under the root, without epsilon. */
  #averages(context: UpdateContext, hyper: Hyperparameters): Float64Array {
    const { gradient, round } = context;
    const { rho, fresh } = hyper;
    // TensorFlow's own operator, which Keras up to 2.10 calls for momentum.
    const byDifference = this.legacy && this.#momentum > 0;
    const move = (average: number, next: number): number =>
      byDifference
        ? round(average + round(round(next - average) * fresh))
        : round(round(rho * average) + round(fresh * next));
    const squares = context.slot("velocities");
    const means = this.#centered
      ? context.slot("average_gradients")
      : undefined;
    return squares.map((square, i) => {
      const g = gradient[i]!;
      squares[i] = move(square, round(g * g));
      if (!means) return squares[i]!;
      means[i] = move(means[i]!, g);
      return round(squares[i]! - round(means[i]! * means[i]!));
    });
  }

  #quotient(
    along: number,
    variance: number,
    { epsilon }: Hyperparameters,
    round: (value: number) => number,
  ): number {
    if (this.legacy && this.#momentum === 0) {
      return round(along / round(round(Math.sqrt(variance)) + epsilon));
    }
    const root = round(Math.sqrt(round(variance + epsilon)));
    // tf-keras multiplies by the reciprocal, the others divide.
    return this.kerasVersion === "2.12"
      ? round(along * round(1 / root))
      : round(along / root);
  }

  /** The arguments. */
  protected override ownConfig(): JsonObject {
    return {
      rho: this.inType(Number, this.#rho),
      momentum: this.inType(Number, this.#momentum),
      epsilon: this.#epsilon,
      centered: this.#centered,
    };
  }
}
