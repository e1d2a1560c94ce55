/**
 * Layers as Keras' `.weights.h5`: the variables of a model of these layers.
 *
 * @module
 */

import type { Tensor } from "../../tensor.ts";
import { buildHdf5, type NewGroup } from "../hdf5/write.ts";
import {
  type ModelLayer,
  modelLayers,
  type WriteModelOptions,
} from "./model.ts";
import type { WritableLayer } from "./writable.ts";

/** What an object's group is called in files of this layout. */
const VARIABLES = "vars";

function group(
  members: Iterable<readonly [string, NewGroup | Tensor]>,
): NewGroup {
  return { members: new Map(members) };
}

/** A layer's variables by number, with its name as Keras 3.6 and later write it. */
function layerGroup({ name, written: { weights } }: ModelLayer): NewGroup {
  const numbered = [...weights.values()]
    .map((tensor, i) => [String(i), tensor] as const);
  return group([[VARIABLES, { ...group(numbered), attributes: { name } }]]);
}

/** The bytes of the variables of a model. */
export async function modelWeights(
  layers: readonly ModelLayer[],
): Promise<Uint8Array> {
  return await buildHdf5(
    group([
      ["layers", group(layers.map((each) => [each.group, layerGroup(each)]))],
      [VARIABLES, group([])],
    ]),
  );
}

/**
 * The bytes of a `.weights.h5` file. `model.load_weights` of Keras 3 and of
 * tf-keras takes it for a model with these layers in this order, such as the
 * one in the `.keras` file that is written of them. Other models' layers get
 * theirs with `replaceWeights`.
 *
 * float16 and bfloat16 are written as float32, which Keras converts back.
 */
export async function writeWeightsH5(
  layers: readonly WritableLayer[],
  options: WriteModelOptions = {},
): Promise<Uint8Array> {
  return await modelWeights(modelLayers(layers, options));
}
