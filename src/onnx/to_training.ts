/**
 * Models from inference to training.
 *
 * @see https://onnx.ai/onnx/operators/onnx__BatchNormalization.html
 *
 * @module
 */

import { OptionError, UnsupportedError } from "../errors.ts";
import { checkKnown } from "../known_options.ts";
import {
  addOutputs,
  removeAttribute,
  removeOutputs,
  writeNumber,
} from "./attributes.ts";
import { Edits, encodeFields } from "./edit.ts";
import type { FoundNode } from "./find.ts";
import {
  declaredType,
  findNamed,
  isModelOutput,
  type Notice,
  noticeOf,
} from "./mode_changes.ts";
import { DataType, writeValueInfo } from "./model.ts";
import type { OpenModel } from "./open.ts";
import { raiseOpset, reasonNotToRaise } from "./raise_opset.ts";
import { GraphField, ValueField } from "./schema_fields.ts";
import type { Scopes } from "./scopes.ts";
import {
  DEFAULT_OPSET,
  IS_TEST_REMOVAL_OPSET,
  SPATIAL_REMOVAL_OPSET,
  TRAINING_MODE_OPSET,
} from "./versions.ts";

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

// A Record, so that the compiler notices an option that is missing here.
const KNOWN: Readonly<Record<keyof ToTrainingOptions, true>> = {
  only: true,
  opset: true,
  notice: true,
};

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
  notice: Notice,
): FoundNode[] {
  if (only) {
    return findNamed(open.nodes, only, "toTraining").map((found) => {
      const reason = reasonNotToTrain(found);
      if (reason === undefined) return found;
      throw new UnsupportedError(
        `Cannot let "${found.name}" train: ${reason}`,
      );
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
    if (!spatial && target >= SPATIAL_REMOVAL_OPSET) {
      return `"${name}" has spatial 0`;
    }
    const mode = scope.opset < TRAINING_MODE_OPSET && trainingMode !== false;
    if (mode && !train.has(found)) return `"${name}" would stop to train`;
  }
  return undefined;
}

/** The opset of the result: raised if it should be and can be. */
function trainingOpset(
  open: OpenModel,
  train: ReadonlySet<FoundNode>,
  wanted: number | undefined,
  notice: Notice,
): number {
  const { opset } = open.scopes.main;
  const least = train.size > 0 && opset < IS_TEST_REMOVAL_OPSET
    ? DEFAULT_OPSET
    : opset;
  const target = wanted ?? least;
  if (target <= opset) return opset;
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
    node.outputs[i + 1] || scopes.names.take(`${name}/${what}`)
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
  } else if (opset < IS_TEST_REMOVAL_OPSET) {
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
    const like = [mean, variance][i]!.tensor;
    const type = like?.type ?? declaredType(scope, node.inputs[3 + i] ?? "");
    const shape = (like ?? mean.tensor ?? variance.tensor ?? gamma.tensor)
      ?.dims ?? [`${name}/channels`];
    edits.append(
      view.graph.place,
      encodeFields((writer) =>
        writer.message(GraphField.output, (inner) => {
          if (type) {
            writeValueInfo(inner, {
              name: output,
              elemType: DataType[type],
              shape,
            });
          } else {
            // Runtimes infer it; it may differ from the one of scale.
            inner.string(ValueField.name, output);
          }
        })
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
  checkKnown("toTraining", options, KNOWN);
  const { only, opset: wanted } = options;
  const notice = noticeOf("toTraining", options.notice);
  if (only !== undefined && !Array.isArray(only)) {
    throw new OptionError(
      "Cannot use the option only of toTraining: expected a list of names",
    );
  }
  if (wanted !== undefined && !(Number.isInteger(wanted) && wanted > 0)) {
    throw new OptionError(
      `Cannot use opset ${wanted} in toTraining: expected a positive integer`,
    );
  }
  const edits = new Edits(open.view.bytes);
  const scopes = { ...open.scopes, names: open.scopes.names.copy() };
  const train = new Set(nodesToTrain(open, only, notice));
  const old = open.scopes.main.opset;
  const opset = trainingOpset(open, train, wanted, notice);
  if (opset > old) raiseOpset(edits, open.view, opset);
  for (const found of open.nodes) {
    const { name, node, scope } = found;
    if (opset > old && scope.body.kind === "graph") {
      removeAttribute(edits, node, "consumed_inputs");
      if (opset >= IS_TEST_REMOVAL_OPSET) {
        removeAttribute(edits, node, "is_test");
      }
      if (opset >= SPATIAL_REMOVAL_OPSET) {
        removeAttribute(edits, node, "spatial");
      }
    }
    if (!train.has(found)) continue;
    startTraining(edits, open, scopes, found, opset);
    notice(`"${name}" normalizes with the batch's statistics`);
  }
  return edits;
}
