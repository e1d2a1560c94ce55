/**
 * The options of `buildOnnx`, checked and completed.
 *
 * @module
 */

import { OptionError, ShapeError, UnsupportedError } from "../errors.ts";
import { unknownOption } from "../known_options.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import { trainingNames } from "./training_graph/variables.ts";
import {
  BFLOAT16_OPSET,
  DEFAULT_OPSET,
  irVersionOf,
  NEWEST_OPSET,
  OLDEST_OPSET,
  WHERE_OPSET,
} from "./versions.ts";

/**
 * How a layer is written: as BatchNormalization, or as Mul and Add; in
 * training, as the primitive operators of which BatchNormalization consists.
 */
export type OnnxForm = "op" | "affine";

/** How a training graph gets the layer's variables. */
export type OnnxState = "initializers" | "inputs";

/** The options of `buildOnnx`. */
export interface BuildOnnxOptions {
  /**
   * The shape of the input, batch included: numbers, null for extents that
   * may vary, or a name for such an extent. Null is named `N` for the batch
   * and `d1`, `d2`, ... by index for others; equal names are equal extents.
   */
  readonly inputShape: readonly (number | null | string)[];
  /** The version of ONNX' operators, 7 to 26; default 15. */
  readonly opset?: number;
  /**
   * `"op"` (default) for BatchNormalization, with Transpose or Reshape around
   * it unless the axis is 1; `"affine"` for Mul and Add with constants, which
   * fits any axis but no longer shows the four vectors. In training, `"op"`
   * is BatchNormalization where it says what the layer does and primitive
   * operators elsewhere, `"affine"` always primitive operators.
   */
  readonly form?: OnnxForm;
  /** Whether to write a step of training; default false. */
  readonly training?: boolean;
  /**
   * In training, whether the graph takes Keras' mask as an input `mask`, of
   * the input's type and of its shape without the last dimension; default
   * false.
   */
  readonly mask?: boolean;
  /**
   * In training, whether the layer's variables are constants of the graph
   * (`"initializers"`, the default) or inputs that every run is given
   * (`"inputs"`), under the same names.
   */
  readonly state?: OnnxState;
  /** The name of the graph's input; default `"x"`. */
  readonly inputName?: string;
  /** The name of the graph's output; default `"y"`. */
  readonly outputName?: string;
}

/** {@linkcode BuildOnnxOptions}, checked and complete. */
export interface Plan {
  readonly opset: number;
  readonly irVersion: number;
  readonly form: OnnxForm;
  readonly training: boolean;
  readonly mask: boolean;
  readonly state: OnnxState;
  readonly inputName: string;
  readonly outputName: string;
}

// A Record, so that the compiler notices an option that is missing here.
const KNOWN: Readonly<Record<keyof BuildOnnxOptions, true>> = {
  inputShape: true,
  opset: true,
  form: true,
  training: true,
  mask: true,
  state: true,
  inputName: true,
  outputName: true,
};

/** An error about an option, which names the layer. */
export function failOption(
  layer: BatchNormalization,
  what: string,
): OptionError {
  return new OptionError(
    `Cannot write layer "${layer.name}" as ONNX: ${what}`,
  );
}

/**
 * Checks that all options are known.
 *
 * @throws {OptionError} If one is not.
 */
export function checkNames(
  layer: BatchNormalization,
  options: object,
  known: Readonly<Record<string, true>>,
): void {
  const unknown = unknownOption(options, known);
  if (unknown) throw failOption(layer, unknown);
}

/**
 * Checks an opset against the layer's type.
 *
 * @returns The version of the file format.
 *
 * @throws {OptionError} If it is out of range.
 */
export function checkOpset(
  layer: BatchNormalization,
  opset: number,
): number {
  const irVersion = irVersionOf(opset);
  if (irVersion === undefined) {
    throw failOption(
      layer,
      `expected an opset from ${OLDEST_OPSET} to ${NEWEST_OPSET}, got ${typeof opset} ${
        String(opset)
      }`,
    );
  }
  const { compute } = layer.options.dtype;
  if (compute === "bfloat16" && opset < BFLOAT16_OPSET) {
    throw failOption(
      layer,
      `bfloat16 needs an opset from ${BFLOAT16_OPSET} to ${NEWEST_OPSET}, got ${opset}`,
    );
  }
  return irVersion;
}

/** Checks an option that is a boolean. */
export function checkFlag(
  layer: BatchNormalization,
  name: string,
  value: unknown,
): boolean {
  if (typeof value === "boolean") return value;
  throw failOption(layer, `expected ${name} to be a boolean, got ${value}`);
}

/** Checks where a training graph's variables come from. */
export function checkState(
  layer: BatchNormalization,
  state: unknown,
): OnnxState {
  if (state === "initializers" || state === "inputs") return state;
  throw failOption(
    layer,
    `expected state "initializers" or "inputs", got ${String(state)}`,
  );
}

/**
 * Checks that a mask which is asked for is one that the layer uses.
 *
 * @param layer The built layer.
 * @param rank The rank of its input.
 * @param opset The opset to write.
 *
 * @throws {OptionError} If the layer's release, or its path, ignores masks, or
 * the opset cannot say what it does with them.
 * @throws {UnsupportedError} If it has ghost batches too.
 */
export function checkMask(
  layer: BatchNormalization,
  rank: number,
  opset: number,
): void {
  const { kerasVersion, virtualBatchSize } = layer.options;
  const isKeras3 = kerasVersion === "3";
  if (rank < 2) {
    throw failOption(
      layer,
      `a mask needs an input of rank 2 or more, got rank ${rank}`,
    );
  }
  if (!isKeras3 && (kerasVersion !== "2.12" || layer.fused)) {
    throw failOption(
      layer,
      `the layer does not use a mask: only those of kerasVersion "3", and of "2.12" off the fused path, do`,
    );
  }
  if (virtualBatchSize !== null) {
    throw new UnsupportedError(
      `Cannot write layer "${layer.name}" as ONNX: virtualBatchSize and a mask do not go together`,
    );
  }
  if (isKeras3 && opset < WHERE_OPSET) {
    throw failOption(
      layer,
      `a mask as Keras 3 uses it needs opset ${WHERE_OPSET} or later, got ${opset}`,
    );
  }
}

/**
 * Checks and completes the options, all but the shape.
 *
 * @throws {OptionError} If one is unknown or has a value that it cannot have.
 */
export function checkOptions(
  layer: BatchNormalization,
  options: BuildOnnxOptions,
): Plan {
  const fail = (what: string): OptionError => failOption(layer, what);
  checkNames(layer, options, KNOWN);
  const {
    opset = DEFAULT_OPSET,
    form = "op",
    inputName = "x",
    outputName = "y",
  } = options;
  const training = checkFlag(layer, "training", options.training ?? false);
  const mask = checkFlag(layer, "mask", options.mask ?? false);
  const state = checkState(layer, options.state ?? "initializers");
  if (!training && (mask || options.state !== undefined)) {
    throw fail("mask and state belong to training graphs, pass training: true");
  }
  if (form !== "op" && form !== "affine") {
    throw fail(`expected form "op" or "affine", got ${String(form)}`);
  }
  const irVersion = checkOpset(layer, opset);
  checkValueNames(layer, { inputName, outputName });
  const taken = training
    ? trainingNames().find((name) => name === inputName || name === outputName)
    : undefined;
  if (taken !== undefined) {
    throw fail(
      `inputName and outputName cannot be "${taken}", which a training graph has already`,
    );
  }
  return {
    opset,
    irVersion,
    form,
    training,
    mask,
    state,
    inputName,
    outputName,
  };
}

/**
 * Checks the names of the graph's input and output.
 *
 * @throws {OptionError} If they cannot be used.
 */
function checkValueNames(
  layer: BatchNormalization,
  { inputName, outputName }: { inputName: string; outputName: string },
): void {
  const fail = (what: string): OptionError => failOption(layer, what);
  for (const [option, name] of Object.entries({ inputName, outputName })) {
    if (typeof name !== "string" || name === "") {
      throw fail(`${option} must be a text that is not empty`);
    }
    // The names of all other values start with the layer's and a slash or
    // colon; equal ones would tie the graph into a knot.
    if (
      name.startsWith(`${layer.name}/`) || name.startsWith(`${layer.name}:`)
    ) {
      throw fail(
        `${option} "${name}" must not start with the layer's name, as the names of the graph's own values do`,
      );
    }
  }
  if (inputName === outputName) {
    throw fail(
      `inputName and outputName must differ, got "${inputName}" twice`,
    );
  }
}

/**
 * The shape as the layer wants it: null for every dynamic extent.
 *
 * @throws {ShapeError} If it is not a shape.
 */
export function checkShape(
  layer: BatchNormalization,
  shape: BuildOnnxOptions["inputShape"],
): (number | null)[] {
  const isExtent = (extent: unknown): boolean =>
    extent === null || (typeof extent === "string" && extent !== "") ||
    (Number.isSafeInteger(extent) && (extent as number) >= 0);
  if (!Array.isArray(shape) || !shape.every(isExtent)) {
    throw new ShapeError(
      `Cannot write layer "${layer.name}" as ONNX: expected an inputShape of non-negative integers, null or names, got ${
        JSON.stringify(shape)
      }`,
    );
  }
  return shape.map((extent) => typeof extent === "string" ? null : extent);
}

/** A shape that a layer is built for. */
export interface GraphShape {
  /** The extents; null where dynamic. */
  readonly extents: readonly (number | null)[];
  /** The extents; a name where dynamic. */
  readonly shape: readonly (number | string)[];
}

/**
 * Checks a shape and builds the layer for it.
 *
 * @throws {ShapeError} If it is no shape, or not one that the layer can have.
 */
export function buildForShape(
  layer: BatchNormalization,
  inputShape: BuildOnnxOptions["inputShape"],
): GraphShape {
  const extents = checkShape(layer, inputShape);
  layer.build(extents);
  const empty = layer.axes!.find((axis) => extents[axis] === 0);
  if (empty !== undefined) {
    // A Reshape, which merges axes, takes 0 as "copy".
    throw new ShapeError(
      `Cannot write layer "${layer.name}" as ONNX: axis ${empty} has extent 0, so there is no channel`,
    );
  }
  return { extents, shape: nameExtents(inputShape) };
}

/** The shape with a name for every null that the caller has not taken. */
export function nameExtents(
  shape: BuildOnnxOptions["inputShape"],
): (number | string)[] {
  return shape.map((extent, d) => {
    if (extent !== null) return extent;
    let name = d === 0 ? "N" : `d${d}`;
    while (shape.includes(name)) name += "_";
    return name;
  });
}
