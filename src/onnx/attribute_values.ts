/**
 * What an attribute of a node is, also where it stands in a function and is an
 * attribute of the calls.
 *
 * @module
 */

import type { Scope } from "./scopes.ts";
import type { AttributeView, NodeView } from "./view.ts";

/** Functions that call functions multiply; no model has so many calls. */
const MOST_CALLS = 10_000;

/** A function and one of its attributes. */
type Asked = ReadonlyMap<Scope, Set<string>>;

/**
 * Every value that an attribute has, by the calls of the function it is in.
 *
 * @param scope Where the node stands.
 * @param node The node.
 * @param name The attribute.
 * @returns The attributes with a value; undefined among them where there is
 * none, and the operator's default holds.
 */
export function* attributeValues(
  scope: Scope,
  node: NodeView,
  name: string,
  asked: Asked = new Map(),
): Generator<AttributeView | undefined> {
  const attribute = node.attributes.get(name);
  const reference = attribute?.refAttrName;
  if (attribute === undefined || reference === undefined) {
    yield attribute;
    return;
  }
  // A function may call itself in a damaged file.
  const names = asked.get(scope) ?? new Set<string>();
  if (names.has(reference)) return;
  const inner = new Map([...asked, [scope, new Set([...names, reference])]]);
  for (const call of scope.calls) {
    for (
      const value of attributeValues(call.scope, call.node, reference, inner)
    ) {
      const { body } = scope;
      yield value ??
        (body.kind === "function" ? body.defaults.get(reference) : undefined);
    }
  }
}

/**
 * The one value that an attribute has in all calls.
 *
 * @param read Reads it of an attribute, or gives the operator's default.
 * @returns The value; undefined if the calls differ, or nothing calls.
 */
export function attributeValue<T>(
  scope: Scope,
  node: NodeView,
  name: string,
  read: (attribute: AttributeView | undefined) => T,
): T | undefined {
  let found: T | undefined;
  let count = 0;
  for (const attribute of attributeValues(scope, node, name)) {
    const value = read(attribute);
    if (found !== undefined && found !== value) return undefined;
    if (++count > MOST_CALLS) return undefined;
    found = value;
  }
  return found;
}
