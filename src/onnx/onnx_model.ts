/**
 * `openOnnx`: a model's BatchNormalizations, and the edits of them.
 *
 * @module
 */

import { checkKnown } from "../known_options.ts";
import type { Tensor } from "../tensor.ts";
import { Edits } from "./edit.ts";
import { elementTypeOf, type OnnxType } from "./element_types.ts";
import { externalDataOf, type ExternalDataSource } from "./external_data.ts";
import { type FoundNode, type Role, ROLES } from "./find.ts";
import { foldNodes, type FoldResult } from "./fold/fold.ts";
import { modelToInference, type ToInferenceOptions } from "./to_inference.ts";
import { modelToTraining, type ToTrainingOptions } from "./to_training.ts";
import { externalLocations, type OpenModel, openModel } from "./open.ts";
import { type NodeUpdates, updateNodes } from "./update.ts";

/** How {@linkcode openOnnx} reads. */
export interface OpenOnnxOptions {
  /**
   * The files that hold elements outside of the model, by the location that
   * the model gives; or a function that reads a part of one.
   */
  readonly externalData?: ExternalDataSource;
}

/** An input that a model must be fed. */
export interface OnnxInput {
  /** Its name. */
  readonly name: string;
  /** The element type; undefined if it is not a number of 8 to 64 bits. */
  readonly type: OnnxType | undefined;
  /**
   * The extents: numbers, names of those that vary, or null; undefined if not
   * even the rank is told.
   */
  readonly shape: readonly (number | string | null)[] | undefined;
}

/** One BatchNormalization of a model. */
export interface OnnxBatchNormalization {
  /**
   * The node's name, or its first output's if it has none; nodes of subgraphs
   * and functions behind their path, as in `loop/body/bn`.
   */
  readonly name: string;
  /** The version of the operators that the node follows. */
  readonly opset: number;
  /** The number of channels; undefined if no vector is known. */
  readonly channels: number | undefined;
  /**
   * Added to the variance. NaN in a function whose calls differ in it; so is
   * `momentum`.
   */
  readonly epsilon: number;
  /** The weight of the old statistics in training. */
  readonly momentum: number;
  /**
   * Whether the node normalizes with the batch's own statistics; undefined in a
   * function whose calls differ in it.
   */
  readonly trainingMode: boolean | undefined;
  /** `scale`, \\[channels\\]; undefined if `source` says why it is not known. */
  readonly gamma: Tensor | undefined;
  /** `B`. */
  readonly beta: Tensor | undefined;
  /** `input_mean`. */
  readonly mean: Tensor | undefined;
  /** `input_var`. */
  readonly variance: Tensor | undefined;
  /** Where each vector stands in the model, or why it is not known. */
  readonly source: Readonly<Record<Role, string>>;
}

function describe(found: FoundNode): OnnxBatchNormalization {
  const { name, scope, epsilon, momentum, trainingMode, parameters } = found;
  const { gamma, beta, mean, variance } = parameters;
  const known = ROLES.map((role) => parameters[role].tensor).find(Boolean);
  const wordsOf = (role: Role): string => {
    const { constant, reason } = parameters[role];
    return constant ? constant.words : reason;
  };
  return {
    name,
    opset: scope.opset,
    // With `spatial` 0 there are vectors for each place of a sample; the
    // channels are outermost.
    channels: known?.dims[0],
    epsilon,
    momentum,
    trainingMode,
    gamma: gamma.tensor,
    beta: beta.tensor,
    mean: mean.tensor,
    variance: variance.tensor,
    source: {
      gamma: wordsOf("gamma"),
      beta: wordsOf("beta"),
      mean: wordsOf("mean"),
      variance: wordsOf("variance"),
    },
  };
}

/**
 * An ONNX model with its BatchNormalizations.
 *
 * Every method gives a new file and leaves this one as it is. In that file,
 * every byte that the change does not touch is the same: fields that Evenkeel
 * does not know, their order, and how they were written.
 */
export class OnnxModel {
  readonly #open: OpenModel;
  /** The model's BatchNormalizations, those of subgraphs and functions too. */
  readonly batchNormalizations: readonly OnnxBatchNormalization[];

  /** Made by {@linkcode openOnnx}. */
  constructor(open: OpenModel) {
    this.#open = open;
    this.batchNormalizations = open.nodes.map(describe);
  }

  /** The version of ONNX' own operators in the main graph. */
  get opset(): number {
    return this.#open.scopes.main.opset;
  }

  /** The inputs of the model, without those that have a value in the file. */
  get inputs(): readonly OnnxInput[] {
    const { inputs, initializers } = this.#open.view.graph;
    return inputs.filter(({ name }) => !initializers.has(name)).map((
      { name, elemType, shape },
    ) => ({
      name,
      type: elemType === undefined ? undefined : elementTypeOf(elemType)?.name,
      shape,
    }));
  }

  /**
   * The files that hold elements of the model's constants, as the model names
   * them: a copy of the model needs them beside it.
   */
  get externalLocations(): readonly string[] {
    return externalLocations(this.#open.scopes);
  }

  /**
   * Gives BatchNormalizations new parameters.
   *
   * A constant that other nodes read too is not changed for them: the node
   * gets one of its own. Vectors keep their element type; elements that were
   * in another file come into the model.
   *
   * @param updates What changes, by the node's name; vectors have as many
   * values as the old ones.
   * @returns The new file.
   *
   * @throws {OptionError} If a name or key is unknown, or a value is not
   * finite, a variance or epsilon negative, or momentum not from 0 to 1.
   * @throws {ShapeError} If a vector has another length than the one it
   * replaces.
   * @throws {UnsupportedError} If a parameter is no constant of the model.
   *
   * @example New statistics
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { BatchNormalization, buildOnnx, openOnnx } from "@evenkeel/evenkeel";
   *
   * const layer = new BatchNormalization({ name: "bn" });
   * const model = openOnnx(buildOnnx(layer, { inputShape: [null, 2] }));
   * const updated = model.update(new Map([["bn", { mean: [1, 2] }]]));
   * const [bn] = openOnnx(updated).batchNormalizations;
   * assertEquals([...bn!.mean!.data], [1, 2]);
   * ```
   */
  update(updates: NodeUpdates): Uint8Array<ArrayBuffer> {
    return this.#edit(updates).finish();
  }

  /**
   * As {@linkcode OnnxModel.update}, without copying what stays: for files too
   * large to have twice in memory.
   *
   * @param updates What changes, by the node's name.
   * @returns The new file in pieces, views of the old one among them.
   *
   * @throws {OptionError} If a name, key or value is not allowed.
   * @throws {ShapeError} If a vector has another length than the old one.
   * @throws {UnsupportedError} If a parameter is no constant of the model.
   */
  updatePieces(updates: NodeUpdates): Uint8Array[] {
    return this.#edit(updates).pieces();
  }

  /**
   * The model with every BatchNormalization in inference: normalizing with its
   * own statistics.
   *
   * The other outputs of these nodes are dropped; who reads a new running
   * statistic gets the constant one. A Dropout in training mode is turned off.
   *
   * @param options Statistics for nodes that have none, and who is told what
   * was done.
   * @returns The new file.
   *
   * @throws {OptionError} If an option or a value is not allowed.
   * @throws {UnsupportedError} If a node reads a statistic of the batch, such
   * as `saved_mean`, or the model would have no output left.
   *
   * @example And back
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { BatchNormalization, buildOnnx, openOnnx } from "@evenkeel/evenkeel";
   *
   * const model = buildOnnx(new BatchNormalization(), { inputShape: [null, 2] });
   * const training = openOnnx(model).toTraining();
   * const inference = openOnnx(training).toInference();
   * assertEquals(openOnnx(training).batchNormalizations[0]!.trainingMode, true);
   * assertEquals(openOnnx(inference).batchNormalizations[0]!.trainingMode, false);
   * ```
   */
  toInference(options: ToInferenceOptions = {}): Uint8Array<ArrayBuffer> {
    return modelToInference(this.#open, options).finish();
  }

  /**
   * The model with its BatchNormalizations in training: normalizing with the
   * batch's statistics, and giving the new running statistics as outputs of
   * the model, after those that it has.
   *
   * Up to opset 13 the node has five outputs then, since 14 three and
   * `training_mode`. A model before opset 7 is raised to 15 where its other
   * operators are the same there. Nodes in subgraphs and functions, and those
   * with `spatial` 0, stay as they are.
   *
   * @param options Which nodes, which opset, and who is told what was done.
   * @returns The new file.
   *
   * @throws {OptionError} If an option is not allowed.
   * @throws {UnsupportedError} If a node of the option `only` cannot train, or
   * the opset cannot be raised as asked.
   *
   * @example New running statistics
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { BatchNormalization, buildOnnx, openOnnx } from "@evenkeel/evenkeel";
   *
   * const layer = new BatchNormalization({ name: "bn" });
   * const model = openOnnx(buildOnnx(layer, { inputShape: [null, 2] }));
   * const notices: string[] = [];
   * model.toTraining({ notice: (text) => notices.push(text) });
   * assertEquals(notices, ['"bn" normalizes with the batch\'s statistics']);
   * ```
   */
  toTraining(options: ToTrainingOptions = {}): Uint8Array<ArrayBuffer> {
    return modelToTraining(this.#open, options).finish();
  }

  /**
   * The model with every BatchNormalization folded into a neighbour that can
   * take it: a Conv, ConvTranspose, Gemm or MatMul with constant weights
   * before it, or else a Conv without padding, Gemm or MatMul after it;
   * through nodes that only move elements, and through Adds of a constant
   * before it.
   *
   * New weights are computed in float64 and rounded once to the old ones'
   * type; of weights that others read too, the node gets a copy. Constants
   * that nothing reads any more go. Initializers that a caller may feed (graph
   * inputs, since version 4 of the format) do not take part, nor do tensors
   * that quantization annotations name, nor models with training information.
   * At most 1000 nodes stand between. The names of the model's outputs stay.
   *
   * Each output stays within the rounding error of its own sum: to first
   * order `4 n u` times the sum of its terms' magnitudes, with n roundings per
   * term and u = 2^-24 for float32.
   *
   * @returns The new file, and for each BatchNormalization where it went or
   * why it stays.
   *
   * @example Usage
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { BatchNormalization, buildOnnx, openOnnx } from "@evenkeel/evenkeel";
   *
   * const layer = new BatchNormalization({ name: "bn" });
   * const { folded, kept } = openOnnx(buildOnnx(layer, { inputShape: [null, 3] })).fold();
   * assertEquals(folded, []);
   * assertEquals(kept[0]!.name, "bn"); // kept[0].reason says why
   * ```
   */
  fold(): FoldResult {
    return foldNodes(this.#open);
  }

  #edit(updates: NodeUpdates): Edits {
    const { view, scopes, nodes } = this.#open;
    const edits = new Edits(view.bytes);
    // What is taken by this edit is free for the next.
    const names = scopes.names.copy();
    updateNodes(edits, view, { ...scopes, names }, nodes, updates);
    return edits;
  }
}

/** The options by name; a Record, so that the compiler notices a missing one. */
const KNOWN: Readonly<Record<keyof OpenOnnxOptions, true>> = {
  externalData: true,
};

/**
 * Opens an ONNX model, to see and edit its BatchNormalizations.
 *
 * Reads opsets 1 and later; parameters from initializers (also those that are
 * graph inputs), Constant nodes, through Identity and Cast, raw, typed or in
 * other files, in all four float types; in subgraphs and functions too.
 *
 * @param bytes The file; it must not change while the model is used.
 * @param options Where elements in other files come from.
 * @returns The model.
 *
 * @throws {FormatError} If it is no ONNX model, truncated or damaged.
 * @throws {OptionError} If an option is unknown or of a wrong type.
 *
 * @example What a model holds
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { BatchNormalization, buildOnnx, openOnnx } from "@evenkeel/evenkeel";
 *
 * const layer = new BatchNormalization({ name: "bn" });
 * const model = openOnnx(buildOnnx(layer, { inputShape: [null, 3] }));
 * const [bn] = model.batchNormalizations;
 * assertEquals(bn!.name, "bn");
 * assertEquals(bn!.channels, 3);
 * assertEquals(bn!.source.mean, 'initializer "bn/input_mean"');
 * ```
 */
export function openOnnx(
  bytes: Uint8Array,
  options: OpenOnnxOptions = {},
): OnnxModel {
  checkKnown("openOnnx", options, KNOWN);
  return new OnnxModel(openModel(bytes, externalDataOf(options.externalData)));
}
