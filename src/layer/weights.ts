/**
 * The variables of a layer: their names, order, shapes and first values.
 *
 * @module
 */

import { ShapeError } from "../errors.ts";
import {
  castTensor,
  createData,
  elementCount,
  type ElementType,
  encodeInto,
  sameDims,
  type Tensor,
} from "../tensor.ts";
import type { Initializer } from "./initializers.ts";
import type { ResolvedOptions } from "./options.ts";

/** The names of a layer's variables, as in its Keras files. */
export type WeightName =
  | "gamma"
  | "beta"
  | "moving_mean"
  | "moving_variance"
  | "moving_stddev"
  | "renorm_mean"
  | "renorm_stddev";

/** What decides which variables a layer has. */
export interface WeightFlags {
  /** Whether there is a gamma. */
  readonly scale: boolean;
  /** Whether there is a beta. */
  readonly center: boolean;
  /** Whether there are the three variables of batch renormalization. */
  readonly renorm: boolean;
}

/** The names of a layer's variables in Keras' order (`get_weights`). */
export function weightNames(flags: WeightFlags): WeightName[] {
  const names: WeightName[] = [];
  if (flags.scale) names.push("gamma");
  if (flags.center) names.push("beta");
  names.push("moving_mean", "moving_variance");
  if (flags.renorm) names.push("moving_stddev", "renorm_mean", "renorm_stddev");
  return names;
}

/**
 * The shape of every variable of a layer.
 *
 * @param inputShape The input's shape; the extents of `axes` are known.
 * @param axes The resolved axes.
 * @param virtualBatch Whether the layer has ghost batches, which insert a
 * dimension at index 1.
 */
export function parameterShape(
  inputShape: readonly (number | null)[],
  axes: readonly number[],
  virtualBatch: boolean,
): number[] {
  if (axes.length === 1 && !virtualBatch) return [inputShape[axes[0]!]!];
  const shape = inputShape.map((extent, d) => axes.includes(d) ? extent! : 1);
  if (virtualBatch) shape.splice(1, 0, 1);
  return shape;
}

function initialize(
  initializer: Initializer,
  shape: readonly number[],
  type: ElementType,
): Tensor {
  const values = initializer.call(shape);
  const data = createData(type, elementCount(shape));
  encodeInto(type, data, values);
  return { type, dims: [...shape], data };
}

/** New variables with the values of the layer's initializers. */
export function initialWeights(
  options: ResolvedOptions,
  shape: readonly number[],
): Map<WeightName, Tensor> {
  const type = options.dtype.variable;
  // Keras initializes both deviations with the root of what the variance's
  // initializer gives, calling it anew.
  const stddev = (): Tensor => {
    const variance = initialize(
      options.movingVarianceInitializer,
      shape,
      "float64",
    );
    const values = (variance.data as Float64Array).map(Math.sqrt);
    return castTensor({ ...variance, data: values }, type);
  };
  const create: Record<WeightName, () => Tensor> = {
    gamma: () => initialize(options.gammaInitializer, shape, type),
    beta: () => initialize(options.betaInitializer, shape, type),
    moving_mean: () => initialize(options.movingMeanInitializer, shape, type),
    moving_variance: () =>
      initialize(options.movingVarianceInitializer, shape, type),
    moving_stddev: stddev,
    renorm_mean: () => initialize(options.movingMeanInitializer, shape, type),
    renorm_stddev: stddev,
  };
  return new Map(weightNames(options).map((name) => [name, create[name]()]));
}

/**
 * Checks that tensors can be a layer's variables.
 *
 * @param layer The layer's name for messages.
 * @param flags What decides which variables the layer has.
 * @param given The tensors in Keras' order.
 * @param shape The shape of every variable, or undefined for a layer that is
 * not built: then they must agree with each other.
 * @returns The names of the variables.
 *
 * @throws {ShapeError} If the count or a shape does not fit.
 */
export function checkWeights(
  layer: string,
  flags: WeightFlags,
  given: readonly Tensor[],
  shape: readonly number[] | undefined,
): WeightName[] {
  const names = weightNames(flags);
  if (given.length !== names.length) {
    throw new ShapeError(
      `Cannot set the weights of layer "${layer}": expected ${names.length} (${
        names.join(", ")
      }), got ${given.length}`,
    );
  }
  const expected = shape ?? given[0]!.dims;
  names.forEach((name, i) => {
    const { dims, data } = given[i]!;
    if (!sameDims(dims, expected) || data.length !== elementCount(dims)) {
      throw new ShapeError(
        `Cannot set ${name} of layer "${layer}": expected shape [${
          expected.join(", ")
        }], got [${dims.join(", ")}] with ${data.length} values`,
      );
    }
  });
  return names;
}

/**
 * Copies of the given tensors as a layer's variables.
 *
 * @param layer The layer's name for messages.
 * @param options The layer's options.
 * @param given The tensors in Keras' order.
 * @param shape As for {@linkcode checkWeights}.
 *
 * @throws {ShapeError} If the count or a shape does not fit.
 */
export function adoptWeights(
  layer: string,
  options: ResolvedOptions,
  given: readonly Tensor[],
  shape: readonly number[] | undefined,
): Map<WeightName, Tensor> {
  const names = checkWeights(layer, options, given, shape);
  const type = options.dtype.variable;
  return new Map(names.map((name, i) => {
    const source = given[i]!;
    const cast = castTensor(source, type);
    return [name, {
      type,
      dims: [...source.dims],
      data: cast === source ? source.data.slice() : cast.data,
    }];
  }));
}
