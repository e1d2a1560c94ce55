/**
 * What `loadKeras` takes and gives.
 *
 * @module
 */

import type { BatchNormalization } from "../../layer/batch_normalization.ts";
import type { KerasConfig } from "../../layer/config.ts";
import type { KerasVersion } from "../../layer/keras_version.ts";
import type { BatchNormalizationOptions } from "../../layer/options.ts";
import type { WeightName } from "../../layer/weights.ts";
import type { KerasFormat } from "../contents/keras_format.ts";

/** One variable in a file. */
export interface KerasWeight {
  /** Which of the layer's variables it is; undefined for other layers' ones. */
  readonly role?: WeightName;
  /** Where it is in the file. */
  readonly location: string;
  /** The element type, in numpy's words. */
  readonly type: string;
  /** The extents. */
  readonly dims: readonly number[];
}

/**
 * One layer that a file describes or, in a file without a configuration, one
 * group of variables.
 */
export interface KerasLayer {
  /** Its name; in a file without any, what the file calls the group. */
  readonly name: string;
  /**
   * The names from the outermost model's layer down to this one; the model's
   * own name is not part of it.
   */
  readonly path: readonly string[];
  /**
   * What it is called in `batchNormalizations` and in the options: the path
   * joined with `/`. A second layer of the same path gets `#2` and so on.
   */
  readonly key: string;
  /** Its class, where the file tells. */
  readonly className?: string;
  /** Its configuration, in Keras' JSON, where there is one. */
  readonly config?: KerasConfig;
  /**
   * The shape of its input with the batch, null for extents that vary or are
   * not known, where the file tells: in `.keras` files, for a model's first
   * layer, and where the configuration of the layers before it makes the rank
   * certain.
   */
  readonly inputShape?: readonly (number | null)[];
  /** Where its variables are in the file. */
  readonly location?: string;
  /** Its variables, as far as they could be told from other layers' ones. */
  readonly weights: readonly KerasWeight[];
  /** Whether it was loaded as a BatchNormalization. */
  readonly loaded: boolean;
  /**
   * Keys of the configuration that the file does not hold and that have
   * Keras' default, or what the shapes tell; empty for a layer with a
   * configuration.
   */
  readonly assumed: readonly string[];
  /**
   * Why it was taken for a BatchNormalization, or might be one and was not
   * loaded; undefined where the class leaves no doubt.
   */
  readonly reason?: string;
}

/** What a file holds. */
export interface KerasModel {
  /** The format, as its content tells. */
  readonly format: KerasFormat;
  /** The release that wrote it, such as `"2.4.0"`, where the file tells. */
  readonly kerasVersion?: string;
  /** The model's configuration, `{ class_name, config }`, where there is one. */
  readonly config?: KerasConfig;
  /** All layers, containers before what they contain, in the model's order. */
  readonly layers: readonly KerasLayer[];
  /** The BatchNormalization layers by their {@linkcode KerasLayer.key}. */
  readonly batchNormalizations: Map<string, BatchNormalization>;
}

/** How {@linkcode loadKeras} reads. */
export interface LoadKerasOptions {
  /**
   * The model's configuration, for a file that holds weights only: what
   * `model.to_json()` gives, or a `.keras` file's `config.json`.
   */
  readonly config?: string | KerasConfig;
  /**
   * Which groups of variables are BatchNormalization layers, by key, name or
   * location, where the file does not tell; with a configuration (or part of
   * one) for each, or as a list for Keras' defaults.
   */
  readonly layers?: readonly string[] | Readonly<Record<string, KerasConfig>>;
  /**
   * The only BatchNormalization layers to load, by key, name or location;
   * of others, no weight is read. By default all.
   */
  readonly only?: readonly string[];
  /**
   * Which release the layers follow; by default the one that wrote the file,
   * and without that what the layers' configurations tell.
   */
  readonly kerasVersion?: KerasVersion;
  /** Ends the reading of a URL; `loadKeras` then fails with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Which kernels the layers run on. */
  readonly kernels?: NonNullable<BatchNormalizationOptions["kernels"]>;
}
