/**
 * Models from training to inference.
 *
 * @see https://onnx.ai/onnx/operators/onnx__BatchNormalization.html
 *
 * @module
 */

import { OptionError, UnsupportedError } from "../errors.ts";
import { checkKnown } from "../known_options.ts";
import type { Tensor } from "../tensor.ts";
import { removeOutputs, writeNumber } from "./attributes.ts";
import { Edits } from "./edit.ts";
import type { FoundNode, Role } from "./find.ts";
import {
  declaredType,
  findNamed,
  isModelOutput,
  type Notice,
  noticeOf,
} from "./mode_changes.ts";
import type { NodeProto } from "./model.ts";
import { insertNodeBefore, rewireInput } from "./node_edits.ts";
import { type OpenModel, openModel } from "./open.ts";
import { nodeName, type Scopes, type Use } from "./scopes.ts";
import { stopDropout } from "./stop_dropout.ts";
import {
  entriesOf,
  type NodeUpdate,
  statisticFor,
  updateNodes,
  type VectorLike,
} from "./update.ts";
import { IS_TEST_REMOVAL_OPSET, TRAINING_MODE_OPSET } from "./versions.ts";
import { addConstant } from "./write_constants.ts";

/** The statistics of a node. */
export interface NodeStatistics {
  /** One value per channel. */
  readonly mean: VectorLike;
  /** One value per channel, not negative. */
  readonly variance: VectorLike;
}

/** What {@linkcode OnnxModel.toInference} needs to know. */
export interface ToInferenceOptions {
  /**
   * Statistics for nodes, by name: needed for those whose own are no
   * constants, since the training loop kept them; others take them too.
   */
  readonly statistics?:
    | ReadonlyMap<string, NodeStatistics>
    | Readonly<Record<string, NodeStatistics>>;
  /** Is told what was done, and what was left alone and why. */
  readonly notice?: (text: string) => void;
}

// A Record, so that the compiler notices an option that is missing here.
const KNOWN: Readonly<Record<keyof ToInferenceOptions, true>> = {
  statistics: true,
  notice: true,
};
const STATISTIC_KEYS: Readonly<Record<keyof NodeStatistics, true>> = {
  mean: true,
  variance: true,
};

/** The inputs of the running statistics, which extra outputs 1 and 2 replace. */
const STATISTICS = [3, 4] as const;

/** An Identity node, so that those who read a statistic get the constant one. */
function identity(input: string, output: string): NodeProto {
  return {
    name: `${output}/Identity`,
    opType: "Identity",
    input: [input],
    output: [output],
    attribute: [],
  };
}

/** Takes an output from the model. */
function dropGraphOutput(edits: Edits, { scope, position }: Use): void {
  if (scope.body.kind === "graph") {
    edits.remove(scope.body.outputs[position]!.place);
  }
}

/** Takes the outputs behind the first, and gives those who read them the constants. */
function dropStatistics(
  edits: Edits,
  { name, scope, node }: FoundNode,
  notice: Notice,
): number {
  let dropped = 0;
  node.outputs.slice(1).forEach((output, i) => {
    if (output === "") return;
    const value = scope.values.get(output)!;
    const readers = value.uses.filter((use) => !isModelOutput(use));
    for (const use of value.uses.filter(isModelOutput)) {
      dropGraphOutput(edits, use);
      dropped++;
      notice(`"${name}": the model's output "${output}" is dropped`);
    }
    if (scope.body.kind === "graph") {
      const info = scope.body.valueInfo.get(output);
      if (info && readers.length === 0) edits.remove(info.place);
    }
    const [reader] = readers;
    if (!reader) return;
    const input = STATISTICS[i];
    if (input === undefined) {
      throw new UnsupportedError(
        `Cannot convert "${name}" to inference: its output "${output}", a statistic of the batch, is read by ${
          reader.kind === "node"
            ? `the ${reader.node.opType} node "${nodeName(reader.node)}"`
            : "the graph around it"
        }, and inference has none`,
      );
    }
    const constant = node.inputs[input]!;
    insertNodeBefore(edits, scope, node, identity(constant, output));
    notice(`"${name}": "${output}" is now "${constant}"`);
  });
  removeOutputs(edits, node, 1);
  return dropped;
}

/** The type and the extents that a statistic must have, which is no constant. */
function statisticLike(
  { scope, node, parameters }: FoundNode,
  role: Role,
  input: number,
  value: VectorLike,
): Pick<Tensor, "type" | "dims"> {
  const { gamma, beta, mean, variance } = parameters;
  const known = (role === "mean" ? variance : mean).tensor ?? gamma.tensor ??
    beta.tensor;
  const count = "data" in value ? value.data.length : value.length;
  return {
    type: declaredType(scope, node.inputs[input] ?? "") ?? known?.type ??
      "float32",
    dims: known?.dims ?? [count],
  };
}

/** Gives a node statistics; those that are constants are left to `update`. */
function fillStatistics(
  edits: Edits,
  { view }: OpenModel,
  scopes: Scopes,
  found: FoundNode,
  statistics: NodeStatistics,
): NodeUpdate {
  const { name, scope, node, parameters } = found;
  checkKnown(`toInference for "${name}"`, statistics, STATISTIC_KEYS);
  const update: { mean?: VectorLike; variance?: VectorLike } = {};
  (["mean", "variance"] as const).forEach((role, i) => {
    const value = statistics[role];
    const what = `${role} of "${name}"`;
    if (typeof value !== "object" || value === null) {
      throw new OptionError(
        `Cannot update ${what}: expected a tensor or numbers, got ${value}`,
      );
    }
    if (parameters[role].tensor) {
      update[role] = value;
      return;
    }
    const input = STATISTICS[i]!;
    const like = statisticLike(found, role, input, value);
    const tensor = statisticFor(what, role, value, like);
    const wanted = `${name}/${role}`;
    const constant = addConstant(edits, view, scopes, {
      scope,
      node,
      name: wanted,
      tensor,
    });
    rewireInput(edits, node, input, constant);
  });
  return update;
}

/** The model with the statistics that the caller gives, and without inputs that only fed those. */
function filled(
  open: OpenModel,
  statistics: readonly (readonly [string, NodeStatistics])[],
  notice: Notice,
): OpenModel {
  const edits = new Edits(open.view.bytes);
  const scopes = { ...open.scopes, names: open.scopes.names.copy() };
  const nodes = findNamed(
    open.nodes,
    statistics.map(([name]) => name),
    "toInference",
  );
  const updates = new Map(
    statistics.map(([name, values], i) => [
      name,
      fillStatistics(edits, open, scopes, nodes[i]!, values),
    ]),
  );
  updateNodes(edits, open.view, scopes, open.nodes, updates);
  const result = openModel(edits.finish(), open.external);
  const unused = new Edits(result.view.bytes);
  for (const { name, place } of result.view.graph.inputs) {
    const was = open.scopes.main.values.get(name);
    const is = result.scopes.main.values.get(name);
    if (!was?.uses.length || is?.uses.length !== 0) continue;
    if (is.origin.kind !== "input") continue;
    unused.remove(place);
    notice(`the model's input "${name}" is dropped, nothing reads it any more`);
  }
  return unused.isEmpty ? result : openModel(unused.finish(), open.external);
}

/**
 * A model in which every BatchNormalization normalizes with its statistics.
 *
 * @throws {OptionError} If an option is not allowed.
 * @throws {ShapeError} If a statistic has another length than it must have.
 * @throws {UnsupportedError} If something reads a statistic of the batch, or
 * the model would be left without outputs.
 */
export function modelToInference(
  original: OpenModel,
  options: ToInferenceOptions = {},
): Edits {
  checkKnown("toInference", options, KNOWN);
  const notice = noticeOf("toInference", options.notice);
  const statistics = entriesOf(options.statistics ?? {});
  const open = statistics.length > 0
    ? filled(original, statistics, notice)
    : original;
  const edits = new Edits(open.view.bytes);
  let dropped = 0;
  for (const found of open.nodes) {
    const { name, scope, node, trainingMode, parameters } = found;
    // One that its calls decide gets a mode of its own.
    if (trainingMode === false) continue;
    if (scope.opset >= TRAINING_MODE_OPSET) {
      writeNumber(edits, node, { name: "training_mode", i: 0 });
    } else if (scope.opset < IS_TEST_REMOVAL_OPSET) {
      writeNumber(edits, node, { name: "is_test", i: 1 });
    }
    dropped += dropStatistics(edits, found, notice);
    notice(`"${name}" normalizes with its own statistics`);
    for (const role of ["mean", "variance"] as const) {
      const { reason } = parameters[role];
      if (reason !== undefined) {
        notice(`"${name}": ${role} is still no constant: ${reason}`);
      }
    }
  }
  if (dropped > 0 && dropped === open.view.graph.outputs.length) {
    throw new UnsupportedError(
      "Cannot convert the model to inference: all its outputs are statistics of batches",
    );
  }
  stopDropout(edits, open, notice);
  return edits;
}
