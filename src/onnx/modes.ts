/**
 * Models from training to inference and back.
 *
 * Before opset 7 the attribute `is_test` tells the mode of a
 * BatchNormalization, from 7 to 13 the number of its outputs, and since 14 the
 * attribute `training_mode`.
 *
 * @see https://onnx.ai/onnx/operators/onnx__BatchNormalization.html
 *
 * @module
 */

import { OptionError, UnsupportedError } from "../errors.ts";
import { tensor as makeTensor } from "../tensor.ts";
import {
  addOutputs,
  removeAttribute,
  removeOutputs,
  writeNumber,
} from "./attributes.ts";
import { tryConstant } from "./constants.ts";
import { Edits, encodeFields } from "./edit.ts";
import type { FoundNode } from "./find.ts";
import { DataType, writeNode, writeValueInfo } from "./model.ts";
import type { OpenModel } from "./open.ts";
import { raiseOpset, reasonNotToRaise } from "./raise_opset.ts";
import { freshName, nodeName, type Scopes, type Use } from "./scopes.ts";
import { type NodeUpdate, updateNodes, type VectorLike } from "./update.ts";
import { addConstant, rewireInput } from "./write_constants.ts";

/** What {@linkcode OnnxModel.toInference} needs to know. */
export interface ToInferenceOptions {
  /**
   * Statistics for nodes, by name: needed for those whose own are no
   * constants, since the training loop kept them; others take them too.
   */
  readonly statistics?: ReadonlyMap<
    string,
    { readonly mean: VectorLike; readonly variance: VectorLike }
  >;
  /** Is told what was done, and what was left alone and why. */
  readonly notice?: (text: string) => void;
}

/** What {@linkcode OnnxModel.toTraining} needs to know. */
export interface ToTrainingOptions {
  /** The names of the nodes that shall train; by default all that can. */
  readonly only?: readonly string[];
  /**
   * The least opset of the result. By default the model's own, or 15 for one
   * before 7, whose training mode runtimes do not know.
   */
  readonly opset?: number;
  /** Is told what was done, and what was left alone and why. */
  readonly notice?: (text: string) => void;
}

/** Since when the attribute `training_mode` tells, and there are three outputs. */
const TRAINING_MODE_OPSET = 14;
/** Until when the attribute `is_test` tells. */
const IS_TEST_OPSET = 7;
/** Since when the statistics are those of channels only. */
const SPATIAL_OPSET = 9;

const GRAPH_NODE = 1;
const FUNCTION_NODE = 7;
const GRAPH_OUTPUT = 12;

/** The inputs of the running statistics, which extra outputs 1 and 2 replace. */
const STATISTICS = [3, 4] as const;

function checkKeys(
  method: string,
  options: object,
  known: readonly string[],
): void {
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new OptionError(
        `Cannot use the option "${key}" of ${method}: expected ${
          known.join(", ")
        }`,
      );
    }
  }
}

function findNamed(
  nodes: readonly FoundNode[],
  name: string,
  method: string,
): FoundNode {
  const found = nodes.find((node) => node.name === name);
  if (found) return found;
  throw new OptionError(
    `Cannot use "${name}" in ${method}: expected the name of a BatchNormalization, ${
      nodes.map((node) => `"${node.name}"`).join(", ") ||
      "of which there is none"
    }`,
  );
}

/** An Identity node, so that those who read a statistic get the constant one. */
function identity(input: string, output: string): Uint8Array {
  return encodeFields((writer) =>
    writeNode(writer, {
      name: `${output}/Identity`,
      opType: "Identity",
      input: [input],
      output: [output],
      attribute: [],
    })
  );
}

/** Takes an output from the model. */
function dropGraphOutput(edits: Edits, { scope, position }: Use): void {
  if (scope.body.kind === "graph") {
    edits.remove(scope.body.outputs[position]!.place);
  }
}

/** Whether a use is an output that callers of the model see. */
function isModelOutput({ kind, scope }: Use): boolean {
  return kind === "output" && scope.parent === undefined &&
    scope.body.kind === "graph";
}

/** Takes the outputs behind the first, and gives those who read them the constants. */
function dropStatistics(
  edits: Edits,
  { name, scope, node }: FoundNode,
  notice: (text: string) => void,
): number {
  let dropped = 0;
  const number = scope.body.kind === "graph" ? GRAPH_NODE : FUNCTION_NODE;
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
    edits.insertBefore(
      node.place,
      encodeFields((writer) =>
        writer.bytes(number, identity(node.inputs[input]!, output))
      ),
    );
    notice(`"${name}": "${output}" is now "${node.inputs[input]}"`);
  });
  removeOutputs(edits, node, 1);
  return dropped;
}

/** Gives a node statistics where its own are no constants. */
function fillStatistics(
  edits: Edits,
  { view }: OpenModel,
  scopes: Scopes,
  found: FoundNode,
  statistics: { readonly mean: VectorLike; readonly variance: VectorLike },
): NodeUpdate {
  const { name, scope, node, parameters } = found;
  const update: { mean?: VectorLike; variance?: VectorLike } = {};
  (["mean", "variance"] as const).forEach((role, i) => {
    const value = statistics[role];
    const { gamma, beta } = parameters;
    const like = parameters[role].tensor ?? gamma.tensor ?? beta.tensor;
    if (parameters[role].tensor) {
      update[role] = value;
      return;
    }
    const data = "data" in value ? value : makeTensor(
      Float64Array.from(value),
      [value.length],
      like?.type ?? "float32",
    );
    if (like && data.data.length !== like.data.length) {
      throw new OptionError(
        `Cannot fill in ${role} of "${name}": expected ${like.data.length} values, got ${data.data.length}`,
      );
    }
    const constant = addConstant(edits, view, scopes, {
      scope,
      node,
      name: `${name}/${role}`,
      tensor: data,
    });
    rewireInput(edits, node, STATISTICS[i]!, constant);
  });
  return update;
}

/** Turns off a Dropout that runs in training mode; it would make inference random. */
function stopDropout(
  edits: Edits,
  open: OpenModel,
  notice: (text: string) => void,
): void {
  for (const scope of open.scopes.all) {
    for (const node of scope.body.nodes) {
      if (node.domain !== "" || node.opType !== "Dropout") continue;
      const name = scope.path + nodeName(node);
      if (scope.opset < IS_TEST_OPSET) {
        if (node.attributes.get("is_test")?.i === 1n) continue;
        writeNumber(edits, node, { name: "is_test", i: 1 });
      } else {
        const mode = node.inputs[2] ?? "";
        if (scope.opset < 12 || mode === "") continue;
        const read = tryConstant(scope, mode, open.external);
        if (!read.constant) {
          notice(
            `Dropout "${name}" keeps its training_mode, which is no constant: ${read.reason}`,
          );
          continue;
        }
        if (!read.tensor.data[0]) continue;
        const field = node.inputFields[2]!;
        edits.replace(node.place, field.start, field.to);
      }
      notice(`Dropout "${name}" no longer drops anything`);
    }
  }
}

/**
 * A model in which every BatchNormalization normalizes with its statistics.
 *
 * @throws {OptionError} If an option is not allowed.
 * @throws {UnsupportedError} If something reads a statistic of the batch, or
 * the model would be left without outputs.
 */
export function modelToInference(
  open: OpenModel,
  options: ToInferenceOptions = {},
): Edits {
  checkKeys("toInference", options, ["statistics", "notice"]);
  const { statistics = new Map(), notice = () => {} } = options;
  const edits = new Edits(open.view.bytes);
  const scopes = { ...open.scopes, names: new Set(open.scopes.names) };
  const updates = new Map<string, NodeUpdate>();
  for (const [name, values] of statistics) {
    const found = findNamed(open.nodes, name, "toInference");
    updates.set(name, fillStatistics(edits, open, scopes, found, values));
  }
  updateNodes(edits, open.view, scopes, open.nodes, updates);
  let dropped = 0;
  for (const found of open.nodes) {
    const { name, scope, node, trainingMode, parameters } = found;
    if (!trainingMode) continue;
    if (scope.opset >= TRAINING_MODE_OPSET) {
      writeNumber(edits, node, { name: "training_mode", i: 0 });
    } else if (scope.opset < IS_TEST_OPSET) {
      writeNumber(edits, node, { name: "is_test", i: 1 });
    }
    dropped += dropStatistics(edits, found, notice);
    notice(`"${name}" normalizes with its own statistics`);
    for (const role of ["mean", "variance"] as const) {
      const { reason } = parameters[role];
      if (reason !== undefined && !statistics.has(name)) {
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

/** Why a node cannot train; undefined if it can. */
function reasonNotToTrain({ scope, spatial }: FoundNode): string | undefined {
  if (scope.body.kind === "function") {
    return "it is in a function, whose outputs are those of its calls";
  }
  if (scope.parent) {
    return "it is in a subgraph, whose new statistics no one would see";
  }
  return spatial ? undefined : "it has spatial 0";
}

/** The nodes that shall train. */
function nodesToTrain(
  open: OpenModel,
  only: readonly string[] | undefined,
  notice: (text: string) => void,
): FoundNode[] {
  if (only) {
    return only.map((name) => {
      const found = findNamed(open.nodes, name, "toTraining");
      const reason = reasonNotToTrain(found);
      if (reason === undefined) return found;
      throw new UnsupportedError(`Cannot let "${name}" train: ${reason}`);
    });
  }
  return open.nodes.filter((found) => {
    const reason = reasonNotToTrain(found);
    if (reason !== undefined) {
      notice(`"${found.name}" does not train: ${reason}`);
    }
    return reason === undefined;
  });
}

/** Why a model's BatchNormalizations cannot follow a higher opset. */
function reasonOfNodes(
  { nodes }: OpenModel,
  train: ReadonlySet<FoundNode>,
  target: number,
): string | undefined {
  for (const found of nodes) {
    const { name, scope, spatial, trainingMode } = found;
    if (scope.body.kind === "function") continue;
    if (!spatial && target >= SPATIAL_OPSET) return `"${name}" has spatial 0`;
    const mode = scope.opset < TRAINING_MODE_OPSET && trainingMode;
    if (mode && !train.has(found)) return `"${name}" would stop to train`;
  }
  return undefined;
}

/** The opset of the result: raised if it should be and can be. */
function trainingOpset(
  open: OpenModel,
  train: ReadonlySet<FoundNode>,
  wanted: number | undefined,
  notice: (text: string) => void,
): number {
  const { opset } = open.scopes.main;
  const target = wanted ?? (opset < IS_TEST_OPSET ? 15 : opset);
  if (train.size === 0 || target <= opset) return opset;
  const reason = reasonOfNodes(open, train, target) ??
    reasonNotToRaise(open.scopes, target);
  if (reason === undefined) {
    notice(`the opset is raised from ${opset} to ${target}`);
    return target;
  }
  if (wanted !== undefined) {
    throw new UnsupportedError(
      `Cannot raise the opset from ${opset} to ${target}: ${reason}`,
    );
  }
  notice(`the opset stays ${opset}: ${reason}`);
  return opset;
}

/** The names of a node's outputs behind the first, those that it has among them. */
function trainingOutputs(
  scopes: Scopes,
  { name, node, scope }: FoundNode,
  opset: number,
): string[] {
  const extra = ["running_mean", "running_var"];
  // Before training_mode all five: runtimes take one output or five.
  if (opset < TRAINING_MODE_OPSET) extra.push("saved_mean", "saved_var");
  const surplus = node.outputs.slice(1 + extra.length).find((output) =>
    scope.values.get(output)?.uses.length
  );
  if (surplus !== undefined) {
    throw new UnsupportedError(
      `Cannot let "${name}" train in opset ${opset}: its output "${surplus}" is read, and there is none such since opset ${TRAINING_MODE_OPSET}`,
    );
  }
  return extra.map((what, i) =>
    node.outputs[i + 1] || freshName(scopes, `${name}/${what}`)
  );
}

/** Lets a node train, and the model give its new statistics. */
function startTraining(
  edits: Edits,
  { view }: OpenModel,
  scopes: Scopes,
  found: FoundNode,
  opset: number,
): void {
  const { name, node, scope, parameters } = found;
  if (opset >= TRAINING_MODE_OPSET) {
    writeNumber(edits, node, { name: "training_mode", i: 1 });
  } else if (opset < IS_TEST_OPSET) {
    writeNumber(edits, node, { name: "is_test", i: 0 });
  }
  const names = trainingOutputs(scopes, found, opset);
  removeOutputs(edits, node, 1);
  addOutputs(edits, node, names);
  const { mean, variance, gamma } = parameters;
  // Onnxruntime lets new statistics share memory with the old ones unless they
  // are outputs of the model (microsoft/onnxruntime#29790).
  names.slice(0, 2).forEach((output, i) => {
    if (scope.values.get(output)?.uses.some(isModelOutput)) return;
    const like = [mean, variance][i]!.tensor ?? gamma.tensor;
    edits.append(
      view.graph.place,
      encodeFields((writer) =>
        writer.message(GRAPH_OUTPUT, (inner) =>
          writeValueInfo(inner, {
            name: output,
            elemType: DataType[like?.type ?? "float32"],
            shape: like ? [...like.dims] : [`${name}/channels`],
          }))
      ),
    );
  });
}

/**
 * A model whose BatchNormalizations normalize with the batch's statistics, and
 * which gives their new running statistics as further outputs.
 *
 * @throws {OptionError} If an option is not allowed.
 * @throws {UnsupportedError} If a node that `only` names cannot train, or the
 * opset cannot be raised to `opset`.
 */
export function modelToTraining(
  open: OpenModel,
  options: ToTrainingOptions = {},
): Edits {
  checkKeys("toTraining", options, ["only", "opset", "notice"]);
  const { only, opset: wanted, notice = () => {} } = options;
  if (wanted !== undefined && !(Number.isInteger(wanted) && wanted > 0)) {
    throw new OptionError(
      `Cannot use opset ${wanted} in toTraining: expected a positive integer`,
    );
  }
  const edits = new Edits(open.view.bytes);
  const scopes = { ...open.scopes, names: new Set(open.scopes.names) };
  const train = new Set(nodesToTrain(open, only, notice));
  const old = open.scopes.main.opset;
  const opset = trainingOpset(open, train, wanted, notice);
  if (opset > old) raiseOpset(edits, open.view, opset);
  for (const found of open.nodes) {
    const { name, node, scope } = found;
    if (opset > old && scope.body.kind === "graph") {
      removeAttribute(edits, node, "consumed_inputs");
      if (opset >= IS_TEST_OPSET) removeAttribute(edits, node, "is_test");
      if (opset >= SPATIAL_OPSET) removeAttribute(edits, node, "spatial");
    }
    if (!train.has(found)) continue;
    startTraining(edits, open, scopes, found, opset);
    notice(`"${name}" normalizes with the batch's statistics`);
  }
  return edits;
}
