/**
 * Small files of Keras' own HDF5 layout, for tests that change one thing.
 *
 * @module
 */

import {
  buildHdf5,
  type BuiltDataset,
  type BuiltGroup,
  vector,
} from "./hdf5_builder.ts";

/** The weights of a layer by the ends of their names. */
export type LayerWeights = Readonly<Record<string, BuiltDataset>>;

/** Four weights of two channels. */
export const FOUR: LayerWeights = {
  "gamma:0": vector(2, 1),
  "beta:0": vector(0, 1),
  "moving_mean:0": vector(1, 3),
  "moving_variance:0": vector(4, 1),
};

/** The group of a top-level layer, with weights `<scope>/<end>`. */
export function layerGroup(
  weights: LayerWeights,
  scope = "bn",
  names: readonly string[] = Object.keys(weights),
): BuiltGroup {
  return {
    attributes: { weight_names: names.map((end) => `${scope}/${end}`) },
    members: Object.fromEntries(
      Object.entries(weights).map(([end, data]) => [`${scope}/${end}`, data]),
    ),
  };
}

/** A serialized layer. */
export function serialized(
  className: string,
  name: string,
  config: object = {},
): Record<string, unknown> {
  return {
    class_name: className,
    config: { name, trainable: true, ...config },
  };
}

/** A whole model, with these layers and groups of weights. */
export function wholeModel(
  layers: readonly object[],
  groups: Readonly<Record<string, BuiltGroup>>,
  keras_version = "2.4.0",
): Promise<Uint8Array<ArrayBuffer>> {
  const model = { class_name: "Functional", config: { name: "m", layers } };
  return buildHdf5({
    attributes: { keras_version, model_config: JSON.stringify(model) },
    members: {
      model_weights: {
        attributes: { layer_names: Object.keys(groups) },
        members: groups,
      },
    },
  });
}

/** A model of one layer "bn". */
export function oneLayer(
  group: BuiltGroup,
  config: object = {},
): Promise<Uint8Array<ArrayBuffer>> {
  return wholeModel([serialized("BatchNormalization", "bn", config)], {
    bn: group,
  });
}
