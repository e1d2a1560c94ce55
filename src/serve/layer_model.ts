/**
 * A BatchNormalization alone as a model that is served: a quarter of the code
 * that a session takes.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import {
  FrozenBatchNormalization,
  type FrozenWeights,
} from "../layer/frozen.ts";
import { checkFeed } from "../session/feeds.ts";
import type { SessionOutput } from "../session/types.ts";
import { type Tensor, tensor } from "../tensor.ts";
import type { ServedModel } from "./served_model.ts";

/** The name of the only input, and that of the only output, as in ONNX. */
export const LAYER_INPUT = "x";
export const LAYER_OUTPUT = "y";

/** A layer without its weights; JSON. */
export interface LayerSettings {
  /** What it computes in, and what its weights are. */
  readonly type: "float32" | "float64";
  /** The extents of its input; null for any. */
  readonly shape: readonly (number | null)[];
  /** The axes of the channels. */
  readonly axis: readonly number[];
  /** What is added to the variance. */
  readonly epsilon: number;
  /** The weights in the order in which their bytes follow each other. */
  readonly weights: readonly (keyof FrozenWeights)[];
}

/** A layer as it is embedded. */
export interface LayerParts {
  /** All but the weights. */
  readonly settings: LayerSettings;
  /** The elements of all weights, little-endian. */
  readonly bytes: Uint8Array;
}

/** The weights as tensors again. */
function readWeights(
  { type, weights }: LayerSettings,
  bytes: Uint8Array,
): FrozenWeights {
  const Data = type === "float32" ? Float32Array : Float64Array;
  // A copy begins where elements may begin. All platforms are little-endian.
  const all = new Data(bytes.slice().buffer);
  const channels = all.length / weights.length;
  return Object.fromEntries(
    weights.map((name, i): [string, Tensor] => [
      name,
      tensor(
        all.subarray(i * channels, (i + 1) * channels),
        [channels],
        type,
      ),
    ]),
  ) as unknown as FrozenWeights;
}

/**
 * A layer as a model with the input `x` and the output `y`; its weights are
 * folded at the first request.
 *
 * @param name Its name in the URL.
 * @param settings All but the weights.
 * @param bytes The elements of all weights, little-endian.
 */
export function layerModel(
  name: string,
  settings: LayerSettings,
  bytes: Uint8Array,
): ServedModel {
  const { type, shape, axis, epsilon } = settings;
  const layer = new FrozenBatchNormalization(readWeights(settings, bytes), {
    axis: [...axis],
    epsilon,
    name,
  });
  const port = { id: 0, name: LAYER_INPUT, type, shape };
  const checkNames = (
    what: string,
    names: readonly string[],
    known: string,
  ): void => {
    const unknown = names.find((each) => each !== known);
    if (unknown === undefined) return;
    throw new OptionError(
      `Cannot run layer "${name}": it has no ${what} "${unknown}", expected ${known}`,
    );
  };
  return {
    name,
    // deno-lint-ignore require-await -- errors shall reject, as a session's do
    async run(feeds, outputs = []) {
      checkNames("output", outputs, LAYER_OUTPUT);
      checkNames("input", Object.keys(feeds), LAYER_INPUT);
      const x = feeds[LAYER_INPUT];
      if (!x) {
        throw new OptionError(
          `Cannot run layer "${name}": the input "${LAYER_INPUT}" is missing`,
        );
      }
      checkFeed(port, x);
      return { [LAYER_OUTPUT]: layer.call(x as Tensor) as SessionOutput };
    },
  };
}
