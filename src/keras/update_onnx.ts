/**
 * `updateFromKeras`: a model that was trained on in Keras, written into the
 * ONNX model that was made of it before.
 *
 * @module
 */

import { joinBytes } from "../bytes.ts";
import { FormatError, OptionError } from "../errors.ts";
import { Edits } from "../onnx/edit.ts";
import { externalDataOf } from "../onnx/external_data.ts";
import { type OpenModel, openModel } from "../onnx/open.ts";
import type { KerasSource } from "./files/source.ts";
import { type OpenedKeras, withKeras } from "./load/opened_keras.ts";
import { LayerWriter } from "./update_onnx/layer_writer.ts";
import { normLayers } from "./update_onnx/layers.ts";
import { noticesOf } from "./update_onnx/notices.ts";
import { checkPairOptions, type PairOptions } from "./update_onnx/options.ts";
import {
  type FoundPairs,
  type PairEvidence,
  pairLayers,
} from "./update_onnx/pair_layers.ts";
import { nodeNames, type PairForm } from "./update_onnx/sites.ts";

/** A Keras layer, and where it is in the ONNX model. */
export interface KerasPair {
  /** The layer's key, as in `loadKeras`. */
  readonly layer: string;
  /** Its channels. */
  readonly channels: number;
  /** What the converter made of it. */
  readonly form: PairForm;
  /** Only folded: the Keras layer whose kernel it is folded into. */
  readonly into?: string;
  /** The nodes that have its numbers. */
  readonly nodes: readonly string[];
  /** How it was found. */
  readonly by: PairEvidence;
}

/** A Keras layer that was not found, or not without doubt. */
export interface UnpairedLayer {
  /** The layer's key. */
  readonly layer: string;
  /** Its channels. */
  readonly channels: number;
  /** Why. */
  readonly reason: string;
  /** The nodes that it could be. */
  readonly candidates: readonly string[];
}

/** Where the layers of a Keras file are in an ONNX model. */
export interface KerasPairing {
  /** The layers that were found. */
  readonly pairs: readonly KerasPair[];
  /** Those that were not. */
  readonly unpaired: readonly UnpairedLayer[];
  /** Layers that the option `map` leaves out. */
  readonly leftOut: readonly string[];
  /** BatchNormalization nodes that are no layer's. */
  readonly kept: readonly string[];
  /** What to know before the model is used: sentences without a full stop. */
  readonly notices: readonly string[];
}

/** What {@linkcode updateFromKeras} gives. */
export interface UpdatedFromKeras extends KerasPairing {
  /**
   * The new file in pieces, views of the old one among them: for files too
   * large to have twice in memory.
   */
  readonly pieces: readonly Uint8Array[];
  /** The new file in one piece, made when it is asked for. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

function describe(
  { pairs, missed, leftOut, kept }: FoundPairs,
  notices: readonly string[],
): KerasPairing {
  return {
    pairs: pairs.map(({ layer, site, by }) => ({
      layer: layer.key,
      channels: layer.channels,
      form: site.form,
      ...(site.kind === "folded" ? { into: layer.kernel!.path.join("/") } : {}),
      nodes: nodeNames(site),
      by,
    })),
    unpaired: missed.map(({ layer, reason, candidates }) => ({
      layer: layer.key,
      channels: layer.channels,
      reason,
      candidates: candidates.map(({ name }) => name),
    })),
    leftOut,
    kept: kept.map(({ name }) => name),
    notices,
  };
}

/** The model, decoded once the options are known to be right. */
function opened(model: Uint8Array, options: PairOptions): OpenModel {
  checkPairOptions(options);
  return openModel(model, externalDataOf(options.externalData));
}

/** Pairs, and does something with it while the Keras files are open. */
async function withPairing<T>(
  open: OpenModel,
  keras: KerasSource,
  options: PairOptions,
  use: (pairing: KerasPairing, found: FoundPairs) => T | Promise<T>,
): Promise<T> {
  const map = checkPairOptions(options);
  const { was: wasSource, load = {} } = options;
  const pair = async (
    current: OpenedKeras,
    was: OpenedKeras | undefined,
  ): Promise<T> => {
    const layers = normLayers(current);
    if (layers.layers.length === 0) {
      throw new FormatError(
        "Cannot update the ONNX model: the Keras file has no BatchNormalization layer",
      );
    }
    const found = await pairLayers(open, layers, was && normLayers(was), map);
    const notices = await noticesOf(found, current, was, open.external);
    return await use(describe(found, notices), found);
  };
  return await withKeras(
    keras,
    load,
    (current) =>
      wasSource === undefined
        ? pair(current, undefined)
        : withKeras(wasSource, load, (was) => pair(current, was)),
  );
}

/**
 * Finds the BatchNormalization layers of a Keras file in an ONNX model that
 * was made of it, whatever the converter has made of them: BatchNormalization
 * (with a mean of 0 and a variance of 1 in keras2onnx), Mul and Add, Mul
 * alone, or the kernel of the layer before.
 *
 * The strongest evidence counts: what the option `map` says; the values that
 * the old Keras file gives; the names of nodes, of all layers together; the
 * order of the layers, if there is one way only. Channels and shapes fit in
 * any case. What is open, or contradicts itself, is in `unpaired`.
 *
 * @param model The ONNX file.
 * @param keras The Keras file: what `loadKeras` takes.
 * @param options The old Keras file, what is known, and how to read.
 * @returns Where each layer is, and how it was found.
 *
 * @throws {FormatError} If a file cannot be read, the Keras file has no such
 * layers, or the old one is another model's.
 * @throws {OptionError} If an option is unknown, of a wrong type, or names
 * what is not there or does not fit.
 *
 * @example What a converter has made of a model
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { pairKeras } from "@evenkeel/evenkeel";
 *
 * const folder = "testdata/onnx/converted";
 * const model = await Deno.readFile(`${folder}/tfk_mlp_17_old.onnx`);
 * const { pairs } = await pairKeras(model, `${folder}/tfk_mlp_new.keras`);
 * assertEquals(pairs.map(({ layer, form, by }) => [layer, form, by]), [
 *   ["batch_normalization", "Mul and Add", "name"],
 *   ["batch_normalization_1", "Mul and Add", "name"],
 * ]);
 * ```
 */
export async function pairKeras(
  model: Uint8Array,
  keras: KerasSource,
  options: PairOptions = {},
): Promise<KerasPairing> {
  return await pairOpened(opened(model, options), keras, options);
}

/**
 * {@linkcode pairKeras} for a model that is decoded already, with its external
 * data.
 */
export async function pairOpened(
  model: OpenModel,
  keras: KerasSource,
  options: Omit<PairOptions, "externalData">,
): Promise<KerasPairing> {
  return await withPairing(model, keras, options, (pairing) => pairing);
}

/** The error of a pairing that leaves something open. */
function unpairedError(unpaired: readonly UnpairedLayer[]): OptionError {
  const [{ layer, candidates }] = unpaired as [UnpairedLayer];
  return new OptionError(
    `Cannot update the ONNX model: ${
      unpaired.map(({ layer, reason }) =>
        `layer "${layer}" is not found, ${reason}`
      )
        .join("; ")
    }. Give the old Keras file that the model was made of, or say in the option map which node it is, such as { ${
      JSON.stringify(layer)
    }: ${JSON.stringify(candidates[0] ?? null)} } (null leaves it out)`,
  );
}

/**
 * Writes the BatchNormalization layers of a Keras file into the ONNX model
 * that was made of it before it was trained on, as {@linkcode pairKeras}
 * finds them there.
 *
 * A BatchNormalization gets the layer's four vectors, its momentum and the
 * epsilon that it really uses; one of mean 0 and variance 1 too, so that it
 * has statistics again. Mul and Add get the factor and the summand, an Add is
 * put in where there was none; a kernel is that of the Keras file with the
 * layer folded in again, as is its bias. All is computed in float64 and
 * rounded once. A constant that others read too is split. Everything else
 * stays, byte for byte: kernels that nothing is folded into are not written,
 * and a notice says if they have changed.
 *
 * @param model The ONNX file.
 * @param keras The Keras file: what `loadKeras` takes.
 * @param options The old Keras file, what is known, and how to read.
 * @returns The new file, and the pairing.
 *
 * @throws {OptionError} If a layer is not found, or not without doubt; or as
 * `pairKeras`.
 * @throws {FormatError} If a file cannot be read, the Keras file has no such
 * layers, or the old one is another model's.
 * @throws {UnsupportedError} If a value is not finite in the graph's type.
 *
 * @example After more training
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { loadKeras, openOnnx, updateFromKeras } from "@evenkeel/evenkeel";
 *
 * const folder = "testdata/onnx/converted";
 * const model = await Deno.readFile(`${folder}/tfk_conv_13_old.onnx`);
 * const trained = `${folder}/tfk_conv_bn.keras`;
 * const { bytes } = await updateFromKeras(model, trained, {
 *   was: `${folder}/tfk_conv_old.keras`,
 * });
 * const [node] = openOnnx(bytes).batchNormalizations;
 * const layer = (await loadKeras(trained)).batchNormalizations.get("bn_first");
 * assert(node && layer);
 * assertEquals(node?.mean?.data, layer?.movingMean.data);
 * ```
 */
export async function updateFromKeras(
  model: Uint8Array,
  keras: KerasSource,
  options: PairOptions = {},
): Promise<UpdatedFromKeras> {
  const open = opened(model, options);
  return await updateOpened(open, keras, options, ({ unpaired }) => {
    if (unpaired.length > 0) throw unpairedError(unpaired);
  });
}

/**
 * {@linkcode updateFromKeras} for a model that is decoded already, with its
 * external data, and for who wants to see the pairing first.
 *
 * @param model The ONNX file.
 * @param keras The Keras file.
 * @param options As there.
 * @param see Is given the pairing; must throw if layers are unpaired, and may
 * throw for other reasons.
 * @returns The new file, and the pairing.
 */
export async function updateOpened(
  model: OpenModel,
  keras: KerasSource,
  options: Omit<PairOptions, "externalData">,
  see: (pairing: KerasPairing) => void,
): Promise<UpdatedFromKeras> {
  return await withPairing(
    model,
    keras,
    options,
    async (pairing, found) => {
      see(pairing);
      const edits = new Edits(model.view.bytes);
      const writer = new LayerWriter(edits, model);
      for (const pair of found.pairs) await writer.add(pair);
      writer.write();
      const pieces = edits.pieces();
      return {
        ...pairing,
        pieces,
        get bytes() {
          return joinBytes(pieces);
        },
      };
    },
  );
}
