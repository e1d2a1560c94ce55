/**
 * The paths of layers in a file that names them without the models that they
 * are in, as TensorFlow names a nested model's variables.
 *
 * @module
 */

import type { FileVariable } from "./contents.ts";
import { renamed, scopeOf } from "./flat_names.ts";
import type { ConfigLayer } from "./model_config.ts";

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
 * Gives variables their layers' whole paths, where a name is that of as many
 * layers as the file has of it: the first one's of `bn` and `bn#2` is the
 * configuration's first `bn`.
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
  return variables.map((variable) => {
    const scope = scopeOf(variable.name);
    const path = paths.get(scope);
    return path === undefined || path === scope
      ? variable
      : renamed(variable, path + variable.name.slice(scope.length));
  });
}
