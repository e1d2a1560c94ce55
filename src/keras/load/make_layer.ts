/**
 * Makes a BatchNormalization of what a file holds about it.
 *
 * @module
 */

import {
  EvenkeelError,
  FormatError,
  OptionError,
  UnsupportedError,
} from "../../errors.ts";
import { BatchNormalization } from "../../layer/batch_normalization.ts";
import type { KerasConfig } from "../../layer/config.ts";
import type { KerasVersion } from "../../layer/keras_version.ts";
import {
  type WeightFlags,
  type WeightName,
  weightNames,
} from "../../layer/weights.ts";
import type { Tensor } from "../../tensor.ts";
import type { FileVariable } from "../contents/contents.ts";
import type { Found } from "../contents/found.ts";
import { flagsOfCount, openAxes } from "../match/recognize.ts";
import { assignRoles, type KnownNames, readWeights } from "./layer_weights.ts";
import { withModernRenorm } from "./old_renorm.ts";
import type { LoadKerasOptions } from "./types.ts";

/** What is the same for all layers of a file. */
export interface MakeContext {
  /** The release to follow; undefined where neither file nor caller tell. */
  readonly kerasVersion: KerasVersion | undefined;
  /** The oldest release that writes such files, for layers that have no configuration. */
  readonly oldest: KerasVersion;
  readonly kernels: LoadKerasOptions["kernels"];
  readonly known: KnownNames;
}

/** A layer, and what was needed to make it. */
export interface MadeLayer {
  readonly layer: BatchNormalization;
  /** Its variables by role. */
  readonly weights: ReadonlyMap<WeightName, FileVariable>;
  /** Keys of the configuration that nobody gave. */
  readonly assumed: readonly string[];
}

/** What a layer's outputs depend on, beside its variables. */
const ASSUMABLE = ["axis", "epsilon", "momentum", "dtype"];

/** A flag of a configuration, as Keras reads it. */
function isOn(config: KerasConfig, key: string, fallback: boolean): boolean {
  const value = config[key];
  return value === undefined ? fallback : Boolean(value);
}

function flagsOf(config: KerasConfig, inferred?: WeightFlags): WeightFlags {
  return {
    scale: isOn(config, "scale", inferred?.scale ?? true),
    center: isOn(config, "center", inferred?.center ?? true),
    renorm: isOn(config, "renorm", inferred?.renorm ?? false),
  };
}

/** The configuration of a layer that has none, from its variables and the caller's. */
function inferredConfig(
  key: string,
  found: Found,
  given: KerasConfig,
): KerasConfig {
  // A group may hold other layers' variables too.
  const { dims, type } = found.roles?.get("moving_mean") ??
    found.variables[0] ?? { dims: [], type: "float32" };
  const telling = ["scale", "center", "renorm"].some((flag) => flag in given);
  const flags = found.flags ?? flagsOfCount(found.variables.length);
  if (!flags && !telling) {
    throw new OptionError(
      `Cannot load layer "${key}" from ${found.variables.length} variables: give { scale: false }, { center: false } or both in the option layers`,
    );
  }
  const open = openAxes(dims);
  if (open && !("virtual_batch_size" in given || "axis" in given)) {
    throw new OptionError(`Cannot load layer "${key}": ${open}`);
  }
  const kept = [...dims.keys()].filter((axis) => dims[axis] !== 1);
  return {
    name: found.name,
    // Variables of several axes have the input's rank, with 1 where it is reduced.
    axis: dims.length > 1 && kept.length > 0 ? kept : -1,
    ...flagsOf(given, flags),
    dtype: type,
    ...given,
  };
}

/** Only Keras 3 has variables of 16 bits. */
function oldestFor(
  [first]: readonly Tensor[],
  { oldest }: MakeContext,
): KerasVersion {
  return first?.type === "float16" || first?.type === "bfloat16" ? "3" : oldest;
}

function hasOneAxis(config: KerasConfig): boolean {
  const { axis } = config;
  return (!Array.isArray(axis) || axis.length === 1) &&
    config.virtual_batch_size == null;
}

/**
 * Loads one layer.
 *
 * @param key The layer's key, for messages.
 * @param found What the file holds about it.
 * @param given The configuration, or part of one, that the caller gave.
 * @param context What is the same for all layers.
 *
 * @throws {FormatError} If a variable is missing, one too many, of a wrong
 * type or shape, or the configuration is not one that Keras accepts.
 * @throws {OptionError} If the caller's configuration leaves something open.
 * @throws {UnsupportedError} If the layer is none that normalizes batches.
 */
export async function makeLayer(
  key: string,
  found: Found,
  given: KerasConfig | undefined,
  context: MakeContext,
): Promise<MadeLayer> {
  const config = found.config
    ? { ...found.config, ...given }
    : inferredConfig(key, found, given ?? {});
  const weights = assignRoles(
    key,
    withModernRenorm(found, config),
    weightNames(flagsOf(config)),
    context.known,
  );
  const tensors = await readWeights(key, weights, hasOneAxis(config));
  const kerasVersion = context.kerasVersion ??
    (found.config ? undefined : oldestFor(tensors, context));
  try {
    const layer = BatchNormalization.fromConfig(
      // A class of its own is read as what it was taken for.
      found.verdict === "certain" ? { ...found.entry, config } : config,
      {
        ...(kerasVersion ? { kerasVersion } : {}),
        ...(context.kernels ? { kernels: context.kernels } : {}),
        lenient: true,
      },
    );
    layer.setWeights(tensors);
    const assumed = found.config
      ? []
      : ASSUMABLE.filter((name) => !(given && name in given));
    return { layer, weights, assumed };
  } catch (cause) {
    if (
      !(cause instanceof EvenkeelError) || cause instanceof UnsupportedError
    ) {
      throw cause;
    }
    throw new FormatError(`Cannot load layer "${key}": ${cause.message}`, {
      cause,
    });
  }
}
