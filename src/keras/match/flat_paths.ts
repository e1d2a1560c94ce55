/**
 * The paths of layers in a file that names them without the models that they
 * are in, as TensorFlow names a nested model's variables.
 *
 * @module
 */

import type { FileVariable } from "../contents/contents.ts";
import { renamed, scopeOf } from "../contents/flat_names.ts";
import type { ConfigLayer } from "../model/config.ts";

/** Behind a name that was there already, as in a key of `loadKeras`. */
const COUNTER = /#\d+$/;

function* withChildren(
  layers: readonly ConfigLayer[],
): Generator<ConfigLayer> {
  for (const layer of layers) {
    yield layer;
    yield* withChildren(layer.children);
  }
}

/** Things by what a function says; each list in the order in which they come. */
function groupBy<T>(
  things: Iterable<T>,
  keyOf: (thing: T) => string,
): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const thing of things) {
    const key = keyOf(thing);
    const group = groups.get(key);
    if (group) group.push(thing);
    else groups.set(key, [thing]);
  }
  return groups;
}

/**
 * The top-level layer whose name is in a scope: the one that begins first, as
 * a model's name can stand in front; the longest of those.
 */
export function ownerOf(
  scope: string,
  layers: readonly ConfigLayer[],
): ConfigLayer | undefined {
  let best: { layer: ConfigLayer; at: number } | undefined;
  for (const layer of layers) {
    const at = `/${scope}/`.indexOf(`/${layer.name}/`);
    if (at < 0) continue;
    const isBetter = !best || at < best.at ||
      at === best.at && layer.name.length > best.layer.name.length;
    if (isBetter) best = { layer, at };
  }
  return best?.layer;
}

/** What is behind the last slash of a name. */
function lastPart(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}

/** The layers that a scope alone fits, and that fit that scope alone. */
function onlyFits(
  scopes: readonly string[],
  layers: readonly ConfigLayer[],
  fits: (scope: string, layer: ConfigLayer) => boolean,
): Map<string, ConfigLayer> {
  const found = new Map<string, ConfigLayer>();
  // Whatever fits has the last part in common.
  const layersByLast = groupBy(layers, ({ name }) => lastPart(name));
  for (const [last, alike] of groupBy(scopes, lastPart)) {
    const candidates = layersByLast.get(last) ?? [];
    for (const scope of alike) {
      const layer = candidates.find((each) => fits(scope, each));
      const isOnly = layer &&
        candidates.every((each) => each === layer || !fits(scope, each)) &&
        alike.every((each) => each === scope || !fits(each, layer));
      if (isOnly) found.set(scope, layer);
    }
  }
  return found;
}

/** How a scope without a top-level layer's name can be a nested layer's. */
const NESTED: readonly ((scope: string, layer: ConfigLayer) => boolean)[] = [
  // The path without the outer models.
  (scope, { path }) => `/${path.join("/")}`.endsWith(`/${scope}`),
  // The layer's name behind something else, such as the model's.
  (scope, { name }) => `/${scope}`.endsWith(`/${name}`),
];

/**
 * Gives variables their layers' whole paths, where a name is that of as many
 * layers as the file has of it: the first one's of `bn` and `bn#2` is the
 * configuration's first `bn`. A scope in which no top-level layer's name is
 * gets the path of the nested layer whose name it has at its end, if there is
 * one such layer and one such scope.
 *
 * @param variables Variables by names such as `bn/gamma`.
 * @param layers The configuration's layers.
 */
export function withPaths(
  variables: readonly FileVariable[],
  layers: readonly ConfigLayer[],
): FileVariable[] {
  const scopes = groupBy(
    new Set(variables.map(({ name }) => scopeOf(name))),
    (scope) => scope.replace(COUNTER, ""),
  );
  const named = groupBy(withChildren(layers), ({ name }) => name);
  const paths = new Map<string, string>();
  for (const [name, own] of scopes) {
    const candidates = named.get(name);
    if (candidates?.length !== own.length) continue;
    own.forEach((scope, i) => paths.set(scope, candidates[i]!.path.join("/")));
  }
  const taken = new Set(paths.values());
  for (const fits of NESTED) {
    const open = [...scopes.values()].flat().filter((scope) =>
      scope !== "" && !paths.has(scope) && !ownerOf(scope, layers)
    );
    const nested = [...withChildren(layers)].filter(({ path }) =>
      path.length > 1 && !taken.has(path.join("/"))
    );
    for (const [scope, { path }] of onlyFits(open, nested, fits)) {
      paths.set(scope, path.join("/"));
      taken.add(path.join("/"));
    }
  }
  return variables.map((variable) => {
    const scope = scopeOf(variable.name);
    const path = paths.get(scope);
    return path === undefined || path === scope
      ? variable
      : renamed(variable, path + variable.name.slice(scope.length));
  });
}
