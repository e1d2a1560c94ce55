/**
 * What an optimizer is.
 *
 * @module
 */

import type { ConstraintBehaviour } from "../layer/constraints.ts";
import type { JsonObject } from "../layer/keras_object.ts";
import type { KerasVersion } from "../layer/keras_version.ts";
import type { Tensor } from "../tensor.ts";

/** A variable in a step of an optimizer. */
export interface OptimizerVariable {
  /** What the optimizer knows it by from step to step, such as `"gamma"`. */
  readonly name: string;
  /** Its values, which the step changes in place. */
  readonly value: Tensor;
  /** The loss's gradient by it, of the same shape. */
  readonly gradient: Tensor;
  /** What projects it after the update; default none. */
  readonly constraint?: ConstraintBehaviour | null;
}

/** A tensor that an optimizer keeps for a variable, such as a momentum. */
export interface OptimizerSlot {
  /** The name of the variable. */
  readonly variable: string;
  /**
   * What it is: `"momentums"`, `"velocities"`, `"velocity_hats"` or
   * `"average_gradients"`, as Keras' newer optimizers call them.
   */
  readonly slot: string;
  /** Its values, in the variable's type and shape. */
  readonly value: Tensor;
}

/** What an optimizer has to remember between two steps, as plain data. */
export interface OptimizerState {
  /** How many steps it has made. */
  readonly iterations: number;
  /** What it keeps for the variables. */
  readonly slots: readonly OptimizerSlot[];
}

/** Changes variables by their gradients. */
export interface Optimizer {
  /** The name of the Keras class, such as `Adam`. */
  readonly className: string;
  /** The release whose arithmetic it follows. */
  readonly kerasVersion: KerasVersion;
  /** How many steps it has made. */
  readonly iterations: number;
  /** How far a step goes; may be changed between steps. */
  learningRate: number;
  /**
   * Makes one step on all variables, or on none where it fails.
   *
   * @param variables The variables; none make no step.
   */
  apply(variables: readonly OptimizerVariable[]): void;
  /** The arguments in the JSON that this Keras writes. */
  getConfig(): JsonObject;
  /** What it remembers, as copies. */
  getState(): OptimizerState;
  /** Goes on from what another one remembered, which is copied. */
  setState(state: OptimizerState): void;
}

/** The options that all optimizers have. */
export interface OptimizerOptions {
  /** How far a step goes; Keras holds it in float32. */
  readonly learningRate?: number;
  /** The largest norm of each variable's gradient; default null, for none. */
  readonly clipnorm?: number | null;
  /** The largest magnitude of a gradient's element; default null, for none. */
  readonly clipvalue?: number | null;
  /** The largest norm of all gradients together; default null, for none. */
  readonly globalClipnorm?: number | null;
  /**
   * Takes this share, times the learning rate, off every variable before the
   * update; default null, for none. From TensorFlow 2.11 on only.
   */
  readonly weightDecay?: number | null;
  /**
   * Divides the learning rate by `1 + decay * iterations`; default 0. Up to
   * TensorFlow 2.10 only.
   */
  readonly decay?: number;
  /** The optimizer's name; by default that which its Keras gives it. */
  readonly name?: string | null;
  /**
   * Which Keras to follow: `"2.4"` (default) and `"2.6"` are the optimizers up
   * to TensorFlow 2.10, `tf.keras.optimizers.legacy` later.
   */
  readonly kerasVersion?: KerasVersion;
}
