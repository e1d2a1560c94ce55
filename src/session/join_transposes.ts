/**
 * BatchNormalization between two Transposes that undo each other.
 *
 * ONNX has its channels at dimension 1, so that a channels-last layer is
 * Transpose, BatchNormalization, Transpose. Our kernels take channels anywhere:
 * the same elements get the same factors without moving twice.
 *
 * @module
 */

import type { LoadedNode } from "./load_operator.ts";
import { loadBatchNormalization } from "./ops/batch_normalization.ts";
import type { ProgramNode } from "./program.ts";

/**
 * Operators that compute each element from one, whatever the order is; the
 * bounds of Clip are numbers.
 */
const ELEMENTWISE: ReadonlySet<string> = new Set([
  "Abs",
  "Cast",
  "Ceil",
  "Clip",
  "Exp",
  "Floor",
  "Identity",
  "LeakyRelu",
  "Log",
  "Neg",
  "Reciprocal",
  "Relu",
  "Round",
  "Sigmoid",
  "Sign",
  "Sqrt",
  "Tanh",
]);

function permOf({ call, operatorNode }: LoadedNode): number[] | undefined {
  return call.domain === "" && call.opType === "Transpose"
    ? operatorNode.attributes.ints("perm")
    : undefined;
}

function undoes(first: readonly number[], second: readonly number[]): boolean {
  return first.length === second.length &&
    new Set(first).size === first.length &&
    second.every((d, i) => first[d] === i);
}

/**
 * Joins what can be joined.
 *
 * @param nodes The nodes in their order.
 * @param kept The values that are outputs of the graph.
 */
export function joinTransposes(
  nodes: readonly LoadedNode[],
  kept: ReadonlySet<number>,
): ProgramNode[] {
  const users = new Map<number, number[]>();
  nodes.forEach(({ inputs }, i) => {
    for (const id of inputs) {
      const known = users.get(id);
      if (known) known.push(i);
      else users.set(id, [i]);
    }
  });
  /** The only node that takes a node's only output. */
  const next = (node: LoadedNode): number | undefined => {
    const [output] = node.outputs;
    const [user, ...others] = users.get(output!) ?? [];
    const isOnly = user !== undefined && others.length === 0 &&
      !kept.has(output!) && node.outputs.length === 1 &&
      nodes[user]!.inputs[0] === output;
    return isOnly ? user : undefined;
  };
  const replaced = new Map<number, ProgramNode | undefined>();
  nodes.forEach((node, start) => {
    const perm = permOf(node);
    // Channels come from an axis, the batch is not among them.
    if (!perm || perm.length < 2) return;
    const chain: number[] = [];
    let at = next(node);
    while (at !== undefined) {
      const { opType, domain } = nodes[at]!.call;
      const passes = domain === "" &&
        (opType === "BatchNormalization" || ELEMENTWISE.has(opType));
      if (!passes) break;
      chain.push(at);
      at = next(nodes[at]!);
    }
    if (at === undefined) return;
    const last = nodes[at]!;
    const back = permOf(last);
    if (!back || !undoes(perm, back)) return;
    const spatial = chain.every((i) => {
      const { call, operatorNode } = nodes[i]!;
      return call.opType !== "BatchNormalization" || operatorNode.opset >= 9 ||
        operatorNode.attributes.flag("spatial", true);
    });
    const isJoined = chain.some((i) =>
      nodes[i]!.call.opType === "BatchNormalization"
    );
    if (!spatial || !isJoined) return;
    // The first takes what the first Transpose takes, the last gives what the
    // second gives.
    replaced.set(start, undefined);
    replaced.set(at, undefined);
    chain.forEach((i, k) => {
      const each = nodes[i]!;
      const isNormalization = each.call.opType === "BatchNormalization";
      replaced.set(i, {
        label: each.label,
        inputs: k === 0
          ? [node.inputs[0]!, ...each.inputs.slice(1)]
          : each.inputs,
        outputs: k === chain.length - 1 ? [last.outputs[0]!] : each.outputs,
        specialize: isNormalization
          ? loadBatchNormalization(
            each.operatorNode,
            perm[1]!,
            perm.length,
          )
          : each.specialize,
      });
    });
  });
  return nodes.flatMap((node, i) =>
    replaced.has(i) ? replaced.get(i) ?? [] : node
  );
}
