/**
 * Pairs layers with places in a graph by the names that converters give.
 *
 * tf2onnx has a layer's scope in its nodes' names: `net/block/bn/...` in
 * Keras 2, and in Keras 3, which builds the model once more for it, with a
 * further counter in every part: `net_1/block_1/bn_1/...`. Both are tried on
 * all layers together: next to a `bn` that is a `bn_1` now, the layer `bn_1`
 * is a `bn_1_2`, and looking for its own name alone would find the other one.
 * keras2onnx calls a node as the layer is called.
 *
 * @module
 */

import type { NormLayer } from "./layers.ts";
import type { Site } from "./sites.ts";

/** How a part of a name in the graph is that of a layer. */
type Spelling = "same" | "counted" | "any";

const SPELLINGS: readonly Spelling[] = ["same", "counted", "any"];

/** Parts of names within the one that a layer's operator has. */
const INNER =
  /^(batchnorm|convolution|conv_transpose|conv\dd_transpose|separable_conv\dd|Conv\dD|Cast)(_\d+)?$/;

/** Pairs that names tell. */
export type NamePairs = ReadonlyMap<NormLayer, Site>;

function isSpelled(part: string, name: string, spelling: Spelling): boolean {
  if (part === name) return spelling !== "counted";
  if (spelling === "same" || !part.startsWith(name)) return false;
  const counters = part.slice(name.length);
  return spelling === "counted"
    ? /^_\d+$/.test(counters)
    : /^(_\d+)+$/.test(counters);
}

/** What can be a layer's scope in a name: all of it, or all but the operator. */
function scopesIn(name: string): string[][] {
  const parts = name.replace(/:\d+$/, "").split("/");
  const scopes = [parts];
  if (parts.length > 1) scopes.push(parts.slice(0, -1));
  if (parts.length > 2 && INNER.test(parts.at(-2)!)) {
    scopes.push(parts.slice(0, -2));
  }
  return scopes;
}

/** A layer's path in the graph, where a second place has a counter. */
function pathOf(
  { path, place }: NormLayer,
  spelling: Spelling,
): readonly string[] | undefined {
  if (place === 0) return path;
  return spelling === "same"
    ? [...path.slice(0, -1), `${path.at(-1)}_${place}`]
    : undefined;
}

/** Whether one of the names has a path; `exact` for nothing but the model before it. */
function hasPath(
  names: readonly string[],
  path: readonly string[] | undefined,
  spelling: Spelling,
  exact: boolean,
): boolean {
  return path !== undefined && names.flatMap(scopesIn).some((scope) => {
    const before = scope.length - path.length;
    return before >= 0 && (before <= 1 || !exact) &&
      path.every((name, i) => isSpelled(scope[before + i]!, name, spelling));
  });
}

/** Whether the names of a site's nodes are a layer's. */
function isNamed(
  site: Site,
  layer: NormLayer,
  spelling: Spelling,
  exact: boolean,
): boolean {
  const path = pathOf(layer, spelling);
  const outputs = site.nodes.flatMap(({ outputs }) => outputs);
  if (site.kind !== "folded") {
    const names = site.nodes.map(({ name }) => name);
    return hasPath([...names, ...outputs], path, spelling, exact);
  }
  // What is in a kernel leaves its name at the output, or none.
  if (hasPath(outputs, path, spelling, exact)) return true;
  const { kernel } = layer;
  return !site.isFollowed && kernel !== undefined &&
    hasPath([site.folded.node.name], kernel.path, spelling, exact);
}

/** Whether a kernel's tensors are called as a layer's, which proves little: equal ones are merged. */
function hasNamedTensors(
  site: Site,
  { path, kernel }: NormLayer,
  spelling: Spelling,
): boolean {
  if (site.kind !== "folded" || site.isFollowed || !kernel) return false;
  const { weight, bias } = site.folded;
  const nameOf = (input: typeof weight | undefined): string[] =>
    input ? [input.constant.origin.name] : [];
  return hasPath(nameOf(bias), path, spelling, false) &&
    hasPath(nameOf(weight), kernel.path, spelling, false);
}

/** Pairs of which each layer has one site only, which no other one needs. */
function clearPairs(
  candidates: ReadonlyMap<NormLayer, readonly Site[]>,
  rules: readonly ((site: Site, layer: NormLayer) => boolean)[],
): Map<NormLayer, Site> {
  const pairs = new Map<NormLayer, Site>();
  for (const rule of rules) {
    for (let before = -1; before !== pairs.size;) {
      before = pairs.size;
      const taken = new Set(pairs.values());
      const only = new Map<NormLayer, Site>();
      for (const [layer, sites] of candidates) {
        if (pairs.has(layer)) continue;
        const fitting = sites.filter((site) =>
          !taken.has(site) && rule(site, layer)
        );
        if (fitting.length === 1) only.set(layer, fitting[0]!);
      }
      const wanted = [...only.values()];
      for (const [layer, site] of only) {
        const isWantedOnce = wanted.indexOf(site) === wanted.lastIndexOf(site);
        if (isWantedOnce) pairs.set(layer, site);
      }
    }
  }
  return pairs;
}

function isSame(a: NamePairs, b: NamePairs): boolean {
  return a.size === b.size &&
    [...a].every(([key, site]) => b.get(key) === site);
}

/** How the model's own name is spelled in a graph, where all sites have it. */
function spellingOfModel(
  sites: Iterable<Site>,
  modelName: string | undefined,
): Spelling | undefined {
  if (modelName === undefined) return undefined;
  const first = [...sites].map(({ nodes }) => nodes[0].name.split("/")[0]!);
  return (["same", "counted"] as const).find((spelling) =>
    first.every((part) => isSpelled(part, modelName, spelling))
  );
}

/** What names tell. */
export interface Named {
  /** By the names of nodes and outputs. */
  readonly pairs: NamePairs;
  /** By those of tensors, for layers that have no other. */
  readonly byTensors: NamePairs;
}

/**
 * Pairs layers with sites by names: in the spelling in which most layers find
 * one.
 *
 * @param candidates The sites that each layer can be.
 * @param modelName What the Keras model is called.
 */
export function pairByNames(
  candidates: ReadonlyMap<NormLayer, readonly Site[]>,
  modelName: string | undefined,
): Named {
  const results = SPELLINGS.map((spelling) => ({
    spelling,
    pairs: clearPairs(
      candidates,
      [true, false].map((exact) => (site: Site, layer: NormLayer) =>
        isNamed(site, layer, spelling, exact)
      ),
    ),
  }));
  const most = Math.max(...results.map(({ pairs }) => pairs.size));
  const best = results.filter(({ pairs }) => pairs.size === most);
  const isClear = best.every(({ pairs }) => isSame(pairs, best[0]!.pairs));
  const model = spellingOfModel(
    best.flatMap(({ pairs }) => [...pairs.values()]),
    modelName,
  );
  const chosen = isClear
    ? best[0]!
    : best.find(({ spelling }) => spelling === model);
  if (!chosen) return { pairs: new Map(), byTensors: new Map() };
  const taken = new Set(chosen.pairs.values());
  const left = new Map(
    [...candidates].filter(([layer]) => !chosen.pairs.has(layer))
      .map(([layer, sites]) => [layer, sites.filter((s) => !taken.has(s))]),
  );
  const byTensors = clearPairs(left, [
    (site, layer) => hasNamedTensors(site, layer, chosen.spelling),
  ]);
  return { pairs: chosen.pairs, byTensors };
}
