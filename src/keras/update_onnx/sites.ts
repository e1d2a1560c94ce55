/**
 * The places of an ONNX model where a BatchNormalization can be.
 *
 * @module
 */

import type { FoundNode } from "../../onnx/find.ts";
import { ROLES } from "../../onnx/find.ts";
import {
  findFoldedForms,
  type FoldedForm,
  nodeBefore,
  nodesBehind,
} from "../../onnx/folded_form.ts";
import { findLinearForms, type LinearForm } from "../../onnx/linear_form.ts";
import { longExtents } from "../../onnx/linear_form_input.ts";
import type { OpenModel } from "../../onnx/open.ts";
import { nodeName, type Scope, valueOf } from "../../onnx/scopes.ts";
import type { NodeView } from "../../onnx/view.ts";
import { widen } from "../../tensor.ts";

/** What a layer can be in a graph. */
export type PairForm =
  | "BatchNormalization"
  | "BatchNormalization of mean 0, variance 1"
  | "Mul and Add"
  | "Mul"
  | "folded";

interface Common {
  /** What it is called: the name of its first node, which no other site has. */
  readonly name: string;
  readonly scope: Scope;
  readonly form: PairForm;
  /** Its nodes, in the order in which they run. */
  readonly nodes: readonly [NodeView, ...NodeView[]];
}

/** A place in a graph. */
export type Site =
  & Common
  & (
    | { readonly kind: "op"; readonly op: FoundNode }
    | { readonly kind: "linear"; readonly linear: LinearForm }
    | {
      readonly kind: "folded";
      readonly folded: FoldedForm;
      /** Whether a BatchNormalization stands behind it, so that none is in it. */
      readonly isFollowed: boolean;
    }
  );

/** A site that is a kernel's operator. */
export type FoldedSite = Extract<Site, { kind: "folded" }>;

/** Whether a node scales all of its input by what was before: keras2onnx' form. */
function isUnit({ parameters: { mean, variance } }: FoundNode): boolean {
  return mean.tensor !== undefined && variance.tensor !== undefined &&
    widen(mean.tensor).every((value) => value === 0) &&
    widen(variance.tensor).every((value) => value === 1);
}

function linearNodes({ factor, summand }: LinearForm): Common["nodes"] {
  return summand ? [factor.node, summand.node] : [factor.node];
}

function foldedNodes({ node, operator, bias }: FoldedForm): Common["nodes"] {
  return operator === "MatMul" && bias ? [node, bias.node] : [node];
}

/** Finds all sites, in the file's order. */
export function findSites(open: OpenModel): Site[] {
  const linears = findLinearForms(open);
  const factors = new Map(linears.map((each) => [each.factor.node, each]));
  const isNormBehind = ({ scope, node, channels }: FoldedForm): boolean => {
    for (const behind of nodesBehind(scope, node)) {
      const { opType, domain } = behind;
      if (opType === "BatchNormalization" && domain === "") return true;
      const linear = factors.get(behind);
      if (linear && longExtents(linear.factor.dims).includes(channels)) {
        return true;
      }
    }
    return false;
  };
  const unnamed: Site[] = [
    ...open.nodes.map((op): Site => ({
      kind: "op",
      op,
      name: op.name,
      scope: op.scope,
      form: isUnit(op)
        ? "BatchNormalization of mean 0, variance 1"
        : "BatchNormalization",
      nodes: [op.node],
    })),
    ...linears.map((linear): Site => ({
      kind: "linear",
      linear,
      name: linear.scope.path + nodeName(linear.factor.node),
      scope: linear.scope,
      form: linear.summand ? "Mul and Add" : "Mul",
      nodes: linearNodes(linear),
    })),
    ...findFoldedForms(open).map((folded): Site => ({
      kind: "folded",
      folded,
      name: folded.scope.path + nodeName(folded.node),
      scope: folded.scope,
      form: "folded",
      nodes: foldedNodes(folded),
      isFollowed: isNormBehind(folded),
    })),
  ];
  const places = new Map<NodeView, number>();
  for (const { body } of open.scopes.all) {
    for (const node of body.nodes) places.set(node, places.size);
  }
  unnamed.sort((a, b) => places.get(a.nodes[0])! - places.get(b.nodes[0])!);
  const taken = new Set<string>();
  return unnamed.map((site) => {
    let { name } = site;
    for (let i = 2; taken.has(name); i++) name = `${site.name}#${i}`;
    taken.add(name);
    return { ...site, name };
  });
}

/** Names by which a caller can mean a site: its nodes' and their outputs'. */
export function namesOf({ name, nodes, scope }: Site): string[] {
  return [
    name,
    ...nodes.flatMap((node) =>
      [node.name, ...node.outputs].filter(Boolean)
        .map((each) => scope.path + each)
    ),
  ];
}

/** The names of a site's nodes, for people. */
export function nodeNames({ nodes, scope }: Site): string[] {
  return nodes.map((node) => scope.path + nodeName(node));
}

/** Why the constants of a BatchNormalization node cannot be written; undefined if they can. */
export function unwritableReason(
  { parameters }: FoundNode,
): string | undefined {
  for (const role of ROLES) {
    const { tensor, reason } = parameters[role];
    if (!tensor) return `its ${role} is no constant: ${reason}`;
  }
  return undefined;
}

/** The operator with a kernel whose output a site gets, as it is or rearranged. */
export function kernelSiteBefore(
  { scope, nodes }: Site,
  sites: ReadonlyMap<NodeView, FoldedSite>,
):
  | { readonly node: NodeView; readonly site: FoldedSite | undefined }
  | undefined {
  const node = nodeBefore(scope, nodes[0]);
  return node && { node, site: sites.get(node) };
}

/** Which nodes depend on which, within the main graph. */
export class Reach {
  readonly #main: Scope;
  readonly #behind = new Map<NodeView, Set<NodeView>>();

  /** The first node of each site: of what is behind one, only these are kept. */
  readonly #starts: ReadonlySet<NodeView>;

  constructor(open: OpenModel, sites: readonly Site[]) {
    this.#main = open.scopes.main;
    this.#starts = new Set(sites.map(({ nodes }) => nodes[0]));
  }

  #startsBehind(start: NodeView): Set<NodeView> {
    const known = this.#behind.get(start);
    if (known) return known;
    const behind = new Set<NodeView>();
    const open = [start];
    for (let at = open.pop(); at; at = open.pop()) {
      for (const output of at.outputs) {
        const uses = output === "" ? [] : valueOf(this.#main, output)?.uses;
        for (const use of uses ?? []) {
          if (use.kind !== "node" || behind.has(use.node)) continue;
          behind.add(use.node);
          open.push(use.node);
        }
      }
    }
    const starts = new Set(
      [...behind].filter((node) => this.#starts.has(node)),
    );
    this.#behind.set(start, starts);
    return starts;
  }

  /** Whether one site comes before another; undefined if that is not known. */
  isBefore(a: Site, b: Site): boolean | undefined {
    if (a.scope !== this.#main || b.scope !== this.#main) return undefined;
    return this.#startsBehind(a.nodes.at(-1)!).has(b.nodes[0]);
  }
}
