/**
 * Folds BatchNormalizations into the operators next to them.
 *
 * @module
 */

import { Edits } from "../edit.ts";
import { planFolds } from "./plan.ts";
import { writeFolds } from "./write.ts";
import type { OpenModel } from "../open.ts";
import { nodeName } from "../scopes.ts";

/** A BatchNormalization that was folded. */
export interface FoldedNode {
  /** Its name, as in {@linkcode OnnxModel.batchNormalizations}. */
  readonly name: string;
  /** The name of the node that took it in. */
  readonly into: string;
  /** That node's operator: Conv, ConvTranspose, Gemm or MatMul. */
  readonly operator: string;
  /** Where that node stands: before the BatchNormalization, or after it. */
  readonly direction: "before" | "after";
  /**
   * The names of the nodes between both, in the order of the data: those that
   * move elements, and Adds of a constant.
   */
  readonly through: readonly string[];
  /**
   * Constants of that node that others read too and that stay as they are:
   * it got copies, which make the file larger.
   */
  readonly copied: readonly string[];
}

/** A BatchNormalization that stays. */
export interface KeptNode {
  /** Its name, as in {@linkcode OnnxModel.batchNormalizations}. */
  readonly name: string;
  /** Why it stays. */
  readonly reason: string;
}

/** What `fold` gives. */
export interface FoldResult {
  /** The new file. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** What was folded. */
  readonly folded: readonly FoldedNode[];
  /** What stays. */
  readonly kept: readonly KeptNode[];
}

/**
 * Folds what can be folded; see `OnnxModel.fold`.
 *
 * @param open The model.
 * @returns The new file, and what became of each BatchNormalization.
 */
export function foldNodes(open: OpenModel): FoldResult {
  const plan = planFolds(open);
  const edits = new Edits(open.view.bytes);
  // Names that this writing takes are free for the next.
  const scopes = { ...open.scopes, names: open.scopes.names.copy() };
  const copied = writeFolds(edits, { ...open, scopes }, plan);
  const folded = open.nodes.flatMap(({ node, name }): FoldedNode[] => {
    const fold = plan.folds.get(node);
    if (!fold) return [];
    const { direction, path: { linear, through } } = fold;
    const { path } = linear.scope;
    return [{
      name,
      into: path + nodeName(linear.node),
      operator: linear.node.opType,
      direction: direction === "up" ? "before" : "after",
      through: through.map((each) => path + nodeName(each)),
      copied: copied.get(linear.node) ?? [],
    }];
  });
  return {
    bytes: edits.finish(),
    folded,
    kept: plan.kept.map(({ found: { name }, reason }) => ({ name, reason })),
  };
}
