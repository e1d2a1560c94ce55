/**
 * What conversions between training and inference share.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import { type ElementType, isElementType } from "../tensor.ts";
import type { FoundNode } from "./find.ts";
import { elementTypeOf } from "./element_types.ts";
import { type Scope, type Use, valueOf } from "./scopes.ts";

/**
 * The BatchNormalizations of names.
 *
 * @throws {OptionError} If there is none of a name.
 */
export function findNamed(
  nodes: readonly FoundNode[],
  names: readonly string[],
  method: string,
): FoundNode[] {
  const byName = new Map(nodes.map((node) => [node.name, node]));
  return names.map((name) => {
    const found = byName.get(name);
    if (found) return found;
    throw new OptionError(
      `Cannot use "${name}" in ${method}: expected the name of a BatchNormalization, ${
        nodes.map((node) => `"${node.name}"`).join(", ") ||
        "of which there is none"
      }`,
    );
  });
}

/** Whether a use is an output that callers of the model see. */
export function isModelOutput({ kind, scope }: Use): boolean {
  return kind === "output" && scope.parent === undefined &&
    scope.body.kind === "graph";
}

/** What is told of an edit; nothing by default. */
export type Notice = (text: string) => void;

/**
 * Checks the option `notice`.
 *
 * @throws {OptionError} If it is no function.
 */
export function noticeOf(method: string, notice: unknown): Notice {
  if (notice === undefined) return () => {};
  if (typeof notice === "function") return notice as Notice;
  throw new OptionError(
    `Cannot use the option notice of ${method}: expected a function`,
  );
}

/** The element type that the model declares for a value. */
export function declaredType(
  scope: Scope,
  name: string,
): ElementType | undefined {
  const { body } = valueOf(scope, name)?.scope ?? scope;
  if (body.kind === "function") return undefined;
  const declared = body.inputs.find((input) => input.name === name) ??
    body.valueInfo.get(name);
  const type = declared?.elemType === undefined
    ? undefined
    : elementTypeOf(declared.elemType)?.name;
  return isElementType(type) ? type : undefined;
}
