/**
 * What to know about layers in another format: what was assumed, and what the
 * format does not hold.
 *
 * @module
 */

import type { KerasFormat } from "../keras/contents/keras_format.ts";
import { formatAxis } from "../layer/axis.ts";
import type { NamedLayer } from "./model.ts";
import type { OutputFormat } from "./output_format.ts";
import { formatSetting } from "./settings.ts";

/** Formats of variables alone. */
const WITHOUT_SETTINGS: readonly OutputFormat[] = ["npz", "json", "weights.h5"];

/** Formats in which layers have names of one part. */
const WITHOUT_PATHS: readonly OutputFormat[] = ["keras", "weights.h5", "tfjs"];

/** The settings that a reader of variables alone must be told. */
function settingsOf(
  { layer, shape, certain }: NamedLayer,
  format: OutputFormat,
): string[] {
  const { axis, epsilon, momentum, dtype } = layer.options;
  const [only, ...others] = typeof axis === "number" ? [axis] : axis;
  const isLast = others.length === 0 &&
    (only === -1 || certain && only === shape.length - 1);
  return [
    ...(isLast ? [] : [`axis=${formatAxis(axis)}`]),
    ...(epsilon === 1e-3 ? [] : [`epsilon=${formatSetting(epsilon)}`]),
    ...(momentum === 0.99 ? [] : [`momentum=${formatSetting(momentum)}`]),
    ...(dtype.name === "float32" || format === "npz"
      ? []
      : [`dtype=${dtype.name}`]),
  ];
}

/** Names with the same text behind them, in one line each. */
function* grouped(
  layers: readonly NamedLayer[],
  textOf: (layer: NamedLayer) => string | undefined,
): Generator<string> {
  const groups = new Map<string, string[]>();
  for (const each of layers) {
    const text = textOf(each);
    if (text === undefined) continue;
    groups.set(text, [...groups.get(text) ?? [], each.name]);
  }
  for (const [text, names] of groups) yield `${names.join(", ")}: ${text}`;
}

/** What was assumed about layers: sentences without a full stop. */
export function sourceNotes(
  layers: readonly NamedLayer[],
  format: KerasFormat,
): string[] {
  return [
    ...grouped(
      layers,
      ({ found: { assumed } }) =>
        assumed.length === 0
          ? undefined
          : `the file does not tell ${
            assumed.join(", ")
          }: taken as Keras' default, or as its variables tell; give --config or --layers if that is wrong`,
    ),
    // A node in training is another function than the layer.
    ...grouped(
      layers,
      ({ found }) => format === "onnx" ? found.reason : undefined,
    ),
  ];
}

/** What a format does not hold of layers: sentences without a full stop. */
export function formatNotes(
  layers: readonly NamedLayer[],
  format: OutputFormat,
): string[] {
  const notes: string[] = [];
  if (WITHOUT_SETTINGS.includes(format)) {
    notes.push(
      ...grouped(layers, (each) => {
        const settings = settingsOf(each, format);
        return settings.length === 0
          ? undefined
          : `${format} has variables only, a reader must be told ${
            settings.join(", ")
          }`;
      }),
    );
  }
  if (format === "tfjs") {
    notes.push(
      ...grouped(
        layers,
        ({ layer }) =>
          layer.options.dtype.variable === "float64"
            ? "TensorFlow.js has float32 only, the variables are rounded"
            : undefined,
      ),
    );
  }
  if (
    WITHOUT_PATHS.includes(format) &&
    layers.some(({ name }) => name.includes("/"))
  ) {
    notes.push("the names of nested layers are written with _ for /");
  }
  return notes;
}
