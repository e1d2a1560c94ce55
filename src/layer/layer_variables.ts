/**
 * The variables of a layer, and access to them.
 *
 * @module
 */

import { OptionError, ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import { checkTensor } from "./input_spec.ts";
import type { ResolvedOptions } from "./options.ts";
import { adoptWeights, type WeightName, weightNames } from "./weights.ts";

/** What {@linkcode BatchNormalization} has of variables. */
export abstract class LayerVariables {
  /** Whether the layer learns; a frozen one always runs inference. */
  trainable: boolean;

  /** The layer's name. */
  readonly name: string;

  /** The checked options that the layer was made with. */
  readonly options: ResolvedOptions;

  /** The variables by name in Keras' order; undefined until there are any. */
  protected variables: Map<WeightName, Tensor> | undefined;

  /**
   * Makes a layer without variables.
   *
   * @param name The layer's name.
   * @param options The checked options.
   */
  constructor(name: string, options: ResolvedOptions) {
    this.name = name;
    this.options = options;
    this.trainable = options.trainable;
    // Not built yet, so that only their agreement with each other counts.
    if (options.weights) this.#adopt(options.weights, undefined);
  }

  /** The shape of every variable; undefined until the layer is built. */
  protected abstract parameterShape(): readonly number[] | undefined;

  /**
   * The layer's variables in Keras' order, as copies.
   *
   * @returns gamma (with `scale`), beta (with `center`), moving mean, moving
   * variance and, with `renorm`, moving stddev, renorm mean and renorm
   * stddev; empty for a layer that is neither built nor has weights.
   */
  getWeights(): Tensor[] {
    return this.weights.map(({ type, dims, data }) => ({
      type,
      dims: [...dims],
      data: data.slice(),
    }));
  }

  /**
   * Sets the layer's variables; a layer that is not built keeps them until
   * then.
   *
   * @param weights As many tensors as `getWeights` gives, in that order, each
   * of the variables' shape; converted to their type.
   *
   * @throws {ShapeError} If the count or a shape does not fit; then nothing
   * is set.
   */
  setWeights(weights: readonly Tensor[]): void {
    this.#adopt(weights, this.parameterShape());
  }

  #adopt(
    weights: readonly Tensor[],
    shape: readonly number[] | undefined,
  ): void {
    const names = weightNames(this.options);
    if (!Array.isArray(weights)) {
      throw new OptionError(
        `Cannot set the weights of layer "${this.name}": expected a list of ${names.length} tensors (${
          names.join(", ")
        })`,
      );
    }
    weights.forEach((weight, i) => {
      checkTensor(
        weight,
        `${names[i] ?? `weight ${i}`} of layer "${this.name}"`,
      );
    });
    this.variables = adoptWeights(this.name, this.options, weights, shape);
  }

  /** The factor of each channel, in the layer; undefined without `scale`. */
  get gamma(): Tensor | undefined {
    return this.variables?.get("gamma");
  }

  /** The summand of each channel, in the layer; undefined without `center`. */
  get beta(): Tensor | undefined {
    return this.variables?.get("beta");
  }

  /** The mean that inference uses, in the layer. */
  get movingMean(): Tensor {
    return this.#variable("moving_mean");
  }

  /** The variance that inference uses, in the layer. */
  get movingVariance(): Tensor {
    return this.#variable("moving_variance");
  }

  /** The averaged deviation of batch renormalization; else undefined. */
  get movingStddev(): Tensor | undefined {
    return this.variables?.get("moving_stddev");
  }

  /** The mean that renormalization corrects towards; else undefined. */
  get renormMean(): Tensor | undefined {
    return this.variables?.get("renorm_mean");
  }

  /** The deviation that renormalization corrects towards; else undefined. */
  get renormStddev(): Tensor | undefined {
    return this.variables?.get("renorm_stddev");
  }

  #variable(name: WeightName): Tensor {
    const weight = this.variables?.get(name);
    if (!weight) {
      throw new ShapeError(
        `Cannot read ${name} of layer "${this.name}": the layer has no weights yet, call build(inputShape) or setWeights first`,
      );
    }
    return weight;
  }

  /** All variables in Keras' order, in the layer. */
  get weights(): Tensor[] {
    return [...this.variables?.values() ?? []];
  }

  /** gamma and beta; none for a frozen layer. */
  get trainableWeights(): Tensor[] {
    if (!this.trainable) return [];
    return [this.gamma, this.beta].filter((weight) => weight !== undefined);
  }

  /** The moving statistics; for a frozen layer, all variables. */
  get nonTrainableWeights(): Tensor[] {
    const trainable = this.trainableWeights;
    return this.weights.filter((weight) => !trainable.includes(weight));
  }
}
