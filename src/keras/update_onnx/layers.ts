/**
 * The BatchNormalization layers of a Keras file, as they are looked for in a
 * graph.
 *
 * @module
 */

import type { BatchNormalization } from "../../layer/batch_normalization.ts";
import { inferenceStatistics } from "../../layer/inference.ts";
import { longExtents } from "../../onnx/linear_form_input.ts";
import type { OpenedKeras } from "../load/opened_keras.ts";
import {
  callsBefore,
  isLinear,
  type LayerCall,
  layerCalls,
  onlyCallBefore,
  usersOf,
} from "../model/layer_calls.ts";
import { kernelChannels, type KernelLayer, kernelLayer } from "./kernels.ts";

/** A BatchNormalization layer in one place of its model. */
export interface NormLayer {
  readonly key: string;
  readonly path: readonly string[];
  readonly layer: BatchNormalization;
  readonly channels: number;
  /** Which of the places of a layer that is used several times. */
  readonly place: number;
  /** The layer with a kernel right before it, and nothing else behind that. */
  readonly kernel: KernelLayer | undefined;
  /** Undefined where the file has no configuration that tells. */
  readonly call: LayerCall | undefined;
}

/** The layers of a file, and which come before which. */
export interface NormLayers {
  readonly layers: readonly NormLayer[];
  /** The model's name, where the file has it. */
  readonly modelName: string | undefined;
  /** Whether one comes before another; undefined if that is not known. */
  isBefore(a: NormLayer, b: NormLayer): boolean | undefined;
}

/** What a layer does to each channel: `y = scale * x + shift`, in float64. */
export interface Affine {
  readonly scale: Float64Array;
  readonly shift: Float64Array;
  /** The sum of the magnitudes that a shift is made of: its rounding is relative to that. */
  readonly magnitude: Float64Array;
}

/**
 * What a layer does in inference.
 *
 * @throws {OptionError} If a variance with epsilon is negative.
 */
export function affineOf(layer: BatchNormalization): Affine {
  const { gamma, beta, mean, variance, epsilon } = inferenceStatistics(
    layer,
    true,
  );
  const scale = Float64Array.from(
    variance,
    (value, c) => (gamma?.[c] ?? 1) / Math.sqrt(value + epsilon),
  );
  const part = (c: number): number => mean[c]! * scale[c]!;
  return {
    scale,
    shift: scale.map((_, c) => (beta?.[c] ?? 0) - part(c)),
    magnitude: scale.map((_, c) =>
      Math.abs(beta?.[c] ?? 0) + Math.abs(part(c))
    ),
  };
}

/** Keras raises small epsilons where it runs its fused kernel, of rank 4. */
function build(
  layer: BatchNormalization,
  shape: readonly (number | null)[] | undefined,
  channels: number,
): void {
  const { axis } = layer.options;
  const only = Array.isArray(axis) && axis.length === 1 ? axis[0] : axis;
  // Keras 2 writes axes from the front: 3 is the last of four.
  const known = shape ??
    (only === 3 ? [null, null, null, channels] : undefined);
  if (!known) return;
  try {
    layer.build(known);
  } catch {
    // Built, or a shape of another layer's making: the weights decide.
  }
}

function nameOfModel(config: unknown): string | undefined {
  const { config: inner } = (config ?? {}) as { config?: { name?: unknown } };
  return typeof inner?.name === "string" ? inner.name : undefined;
}

/** The layers of a file, in its order; one for each place of a layer. */
export function normLayers(keras: OpenedKeras): NormLayers {
  const { model } = keras;
  const calls = model.config ? layerCalls(model.config) : undefined;
  const users = usersOf(calls ?? []);
  const layers: NormLayer[] = [];
  for (const { key, path, inputShape } of model.layers) {
    const layer = model.batchNormalizations.get(key);
    if (!layer) continue;
    const channels = layer.movingMean.data.length;
    build(layer, inputShape, channels);
    const own = calls?.filter((call) => call.path.join("/") === key) ?? [];
    const places = own.length > 0 ? own : [undefined];
    places.forEach((call, place) => {
      const before = call && onlyCallBefore(call, users);
      // An activation stands between the two.
      const kernel = before && isLinear(before.config)
        ? kernelLayer(before, keras.variablesOf(before.path))
        : undefined;
      layers.push({
        key,
        path,
        layer,
        channels,
        place,
        kernel: kernel && kernelChannels(kernel) === channels &&
            longExtents(layer.movingMean.dims).length <= 1
          ? kernel
          : undefined,
        call,
      });
    });
  }
  const before = new Map<LayerCall, Set<LayerCall>>();
  // Keras' own HDF5 files list the layers as the model runs them.
  const isListed = model.format === "h5-weights";
  const order = new Map(layers.map((each, i) => [each, i]));
  return {
    layers,
    modelName: nameOfModel(model.config),
    isBefore(a, b) {
      if (a.call && b.call) {
        const known = before.get(b.call) ?? callsBefore(b.call);
        before.set(b.call, known);
        return known.has(a.call);
      }
      // Later in the list is never before; earlier need not be.
      return isListed && order.get(a)! > order.get(b)! ? false : undefined;
    },
  };
}

/** How a constant's elements are a layer's channels: the channel of each. */
export type ChannelOrder = readonly number[];

/** The orders of axes that converters make of Keras': as they are, channels first, channels last. */
function axisOrders(rank: number): number[][] {
  const axes = [...Array(rank).keys()];
  if (rank < 3) return [axes];
  return [
    axes,
    [0, rank - 1, ...axes.slice(1, -1)],
    [0, ...axes.slice(2), 1],
  ];
}

function channelsInOrder(
  dims: readonly number[],
  order: readonly number[],
): number[] {
  const strides = dims.map((_, axis) =>
    dims.slice(axis + 1).reduce((product, extent) => product * extent, 1)
  );
  let channels = [0];
  for (const axis of order) {
    channels = channels.flatMap((base) =>
      Array.from(
        { length: dims[axis]! },
        (_, i) => base + i * strides[axis]!,
      )
    );
  }
  return channels;
}

/**
 * How the elements of a constant can be a layer's channels; of several axes,
 * there may be more ways than one.
 */
export function channelOrders(
  { layer: { movingMean }, channels }: NormLayer,
  dims: readonly number[],
): ChannelOrder[] {
  const own = movingMean.dims;
  const long = longExtents(own);
  if (long.length <= 1) {
    const is = longExtents(dims).join() === long.join();
    return is ? [[...Array(channels).keys()]] : [];
  }
  const orders = axisOrders(own.length).filter((order) => {
    const there = order.map((axis) => own[axis]!);
    return dims.length === own.length
      ? there.join() === dims.join()
      : longExtents(there).join() === longExtents(dims).join();
  }).map((order) => channelsInOrder(own, order));
  return orders.filter((order, i) =>
    orders.findIndex((other) => other.join() === order.join()) === i
  );
}
