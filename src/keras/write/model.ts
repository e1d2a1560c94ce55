/**
 * The Keras model that layers are written as: each layer with an input of its
 * own, and its output as one of the model's.
 *
 * Keras 3 and Keras 2 (tf-keras) write different configurations; what is
 * written here is what both read: `Model` instead of either's class, types by
 * name, a single axis as a number, and Keras 2's input layers and connections.
 *
 * @module
 */

import { OptionError, ShapeError, UnsupportedError } from "../../errors.ts";
import { BatchNormalization } from "../../layer/batch_normalization.ts";
import type { KerasConfig } from "../../layer/config.ts";
import type { JsonValue, Serializable } from "../../layer/keras_object.ts";
import { sameDims } from "../../tensor.ts";
import { type InputShape, leastShape } from "../model/least_shape.ts";
import type { WritableLayer } from "./writable.ts";

/** One layer of the model. */
export interface ModelLayer {
  /** Its name, which has no `/`. */
  readonly name: string;
  /** What its group in a file of variables is called. */
  readonly group: string;
  readonly written: WritableLayer;
  readonly inputShape: InputShape;
}

/** A name that Keras 3 takes. */
function plainName(key: string): string {
  return key.replaceAll("/", "_");
}

/** Names that are all different. */
function namesOf(layers: readonly WritableLayer[]): string[] {
  const taken = new Set<string>();
  return layers.map(({ key }) => {
    const plain = plainName(key);
    let name = plain;
    for (let i = 1; taken.has(name); i++) name = `${plain}_${i}`;
    taken.add(name);
    return name;
  });
}

/** What a model of layers has that the layers do not tell. */
export interface WriteModelOptions {
  /**
   * The shapes of the layers' inputs, with the batch and null for extents that
   * vary; for others, the least that the axis and the variables ask for.
   */
  readonly inputShapes?: ReadonlyMap<string, InputShape> | undefined;
}

/** A layer that is built as another one, for inputs of some shape. */
function builtAlike(
  { key, layer }: WritableLayer,
  inputShape: InputShape,
): BatchNormalization {
  const { axis, epsilon, kerasVersion, fused, virtualBatchSize } =
    layer.options;
  const same = new BatchNormalization({
    name: plainName(key),
    axis,
    epsilon,
    kerasVersion,
    // Keras 3 has neither.
    ...(kerasVersion === "3" || fused === null ? {} : { fused }),
    ...(virtualBatchSize === null ? {} : { virtualBatchSize }),
  });
  same.build(inputShape);
  return same;
}

/** A given shape, if the layer can be built for it. */
function checkedShape(written: WritableLayer, given: InputShape): InputShape {
  const { key, weights } = written;
  const same = builtAlike(written, given);
  const { dims } = weights.get("moving_mean")!;
  if (sameDims(same.movingMean.dims, dims)) return given;
  throw new ShapeError(
    `Cannot write layer "${key}" for inputs of shape [${
      given.map((extent) => extent ?? "null").join(", ")
    }]: its variables would have the shape [${
      same.movingMean.dims.join(", ")
    }], but have [${dims.join(", ")}]`,
  );
}

/**
 * The layers of the model, in their order.
 *
 * @throws {OptionError} If a shape is given for a layer that is not there.
 * @throws {ShapeError} If a given shape does not fit its layer.
 */
export function modelLayers(
  layers: readonly WritableLayer[],
  { inputShapes }: WriteModelOptions = {},
): ModelLayer[] {
  const names = namesOf(layers);
  const unknown = [...inputShapes?.keys() ?? []]
    .find((key) => !layers.some((each) => each.key === key));
  if (unknown !== undefined) {
    throw new OptionError(
      `Cannot use the option inputShapes: there is no layer "${unknown}"`,
    );
  }
  return layers.map((written, i) => {
    const given = inputShapes?.get(written.key);
    return {
      name: names[i]!,
      group: i === 0 ? "batch_normalization" : `batch_normalization_${i}`,
      written,
      inputShape: given
        ? checkedShape(written, given)
        : leastShape(written.layer).shape,
    };
  });
}

/**
 * The release whose rules all layers follow, as far as a model can have only
 * those of Keras 2 or those of Keras 3.
 *
 * @throws {OptionError} If some follow one and some the other.
 */
export function releaseOf(layers: readonly WritableLayer[]): "2" | "3" {
  const [first, ...others] = layers;
  const release = ({ layer }: WritableLayer): "2" | "3" =>
    layer.options.kerasVersion === "3" ? "3" : "2";
  const other = others.find((each) => release(each) !== release(first!));
  if (other) {
    throw new OptionError(
      `Cannot write the layers into one model: "${first!.key}" follows Keras ${
        release(first!)
      } and "${other.key}" Keras ${
        release(other)
      }, which train differently; write them into a file each`,
    );
  }
  return release(first!);
}

/** The epsilon that the layer really uses for inputs of its rank. */
function epsilonOf({ written, inputShape }: ModelLayer): number {
  const { layer } = written;
  return layer.axes
    ? layer.effectiveEpsilon
    : builtAlike(written, inputShape).effectiveEpsilon;
}

/** A single axis as a number; several, and one with ghost batches, from the end. */
function axisOf({ written: { layer }, inputShape }: ModelLayer): JsonValue {
  const { axis, virtualBatchSize } = layer.options;
  const axes = typeof axis === "number" ? [axis] : axis;
  const [only] = axes;
  if (axes.length === 1 && virtualBatchSize === null) return only!;
  // Keras 2 shifts those from the start by the ghost batches' dimension.
  return axes.map((each) => each < 0 ? each : each - inputShape.length);
}

/** How the parts of a configuration are spelled. */
export interface Dialect {
  /**
   * An initializer, regularizer or constraint.
   *
   * @param value The object.
   * @param key Which one of the configuration it is.
   * @param layer The layer's key, for messages.
   */
  object(value: Serializable | null, key: string, layer: string): JsonValue;
  /** The name of a layer's type policy. */
  dtype(policy: string): JsonValue;
}

/** What both Keras releases read. */
const BOTH: Dialect = {
  object: (value) => value === null ? null : value.toConfig("3"),
  dtype: (policy) => policy,
};

/**
 * The configuration of a layer, as its constructor takes it.
 *
 * @param model The layer.
 * @param dialect Its spelling.
 */
export function layerConfig(
  model: ModelLayer,
  dialect: Dialect = BOTH,
): KerasConfig {
  const { name, written: { key: layerKey, layer } } = model;
  const { options } = layer;
  const objects: Record<string, Serializable | null> = {
    beta_initializer: options.betaInitializer,
    gamma_initializer: options.gammaInitializer,
    moving_mean_initializer: options.movingMeanInitializer,
    moving_variance_initializer: options.movingVarianceInitializer,
    beta_regularizer: options.betaRegularizer,
    gamma_regularizer: options.gammaRegularizer,
    beta_constraint: options.betaConstraint,
    gamma_constraint: options.gammaConstraint,
  };
  return {
    name,
    trainable: layer.trainable,
    dtype: dialect.dtype(options.dtype.name),
    axis: axisOf(model),
    momentum: options.momentum,
    epsilon: epsilonOf(model),
    center: options.center,
    scale: options.scale,
    ...Object.fromEntries(
      Object.entries(objects).map((
        [key, value],
      ) => [key, dialect.object(value, key, layerKey)]),
    ),
    ...(options.synchronized ? { synchronized: true } : {}),
    ...(options.renorm
      ? {
        renorm: true,
        renorm_clipping: { ...options.renormClipping },
        renorm_momentum: options.renormMomentum,
      }
      : {}),
    ...(options.virtualBatchSize === null
      ? {}
      : { virtual_batch_size: options.virtualBatchSize }),
  };
}

/** The name of a layer's input. */
function inputName({ name }: ModelLayer, taken: ReadonlySet<string>): string {
  let input = `${name}_input`;
  while (taken.has(input)) input += "_";
  return input;
}

/** What a serialized model has, by the release that reads it. */
export interface ModelConfigOptions {
  /** The module of the layers; undefined for a form without modules. */
  readonly module: string | undefined;
  readonly dialect?: Dialect;
}

/**
 * The configuration of the model, `{ name, layers, ... }`.
 *
 * @throws {UnsupportedError} If a layer has what no configuration can hold.
 */
export function modelConfig(
  layers: readonly ModelLayer[],
  { module, dialect = BOTH }: ModelConfigOptions,
): KerasConfig {
  const taken = new Set(layers.map(({ name }) => name));
  const entry = (className: string, config: KerasConfig, from: unknown[]) => ({
    ...(module === undefined ? {} : { module }),
    class_name: className,
    config,
    ...(module === undefined ? {} : { registered_name: null }),
    name: config.name,
    inbound_nodes: from,
  });
  const entries = layers.flatMap((each) => {
    const { layer } = each.written;
    if (layer.options.adjustment) {
      throw new UnsupportedError(
        `Cannot write layer "${each.written.key}": its adjustment is a function`,
      );
    }
    const input = inputName(each, taken);
    const inputs = entry("InputLayer", {
      batch_input_shape: [...each.inputShape],
      dtype: dialect.dtype(layer.options.dtype.compute),
      sparse: false,
      name: input,
    }, []);
    const norm = entry("BatchNormalization", layerConfig(each, dialect), [
      [[input, 0, 0, {}]],
    ]);
    return [inputs, {
      ...norm,
      ...(module === undefined
        ? {}
        : { build_config: { input_shape: [...each.inputShape] } }),
    }];
  });
  return {
    name: "batch_normalizations",
    trainable: true,
    layers: entries,
    input_layers: layers.map((each) => [inputName(each, taken), 0, 0]),
    output_layers: layers.map(({ name }) => [name, 0, 0]),
  };
}
