/**
 * Removes constants that have lost their last reader.
 *
 * @module
 */

import type { Constant } from "../constants.ts";
import type { Edits } from "../edit.ts";
import { portsOf } from "./told.ts";
import { infoOf } from "./unlink.ts";
import type { OpenModel } from "../open.ts";
import type { Value } from "../scopes.ts";
import { CONSTANT_IR_VERSION } from "../versions.ts";
import type { NodeView } from "../view.ts";

/** Inputs of nodes that no longer take what they took. */
export class Released {
  readonly #inputs = new Map<NodeView, Set<number>>();
  readonly #nodes = new Set<NodeView>();
  readonly #annotated: ReadonlySet<Value>;

  /**
   * Begins with nothing released.
   *
   * @param annotated The values that annotations name, which is a use, too.
   */
  constructor(annotated: ReadonlySet<Value>) {
    this.#annotated = annotated;
  }

  /** One input of a node. */
  addInput(node: NodeView, position: number): void {
    const positions = this.#inputs.get(node) ?? new Set();
    this.#inputs.set(node, positions.add(position));
  }

  /** All inputs of a node that is gone. */
  addNode(node: NodeView): void {
    this.#nodes.add(node);
  }

  /** Whether nothing reads a value any more. */
  isUnused(value: Value): boolean {
    return !this.#annotated.has(value) &&
      value.uses.every((use) =>
        use.kind === "node" && (
          this.#nodes.has(use.node) ||
          this.#inputs.get(use.node)?.has(use.position)
        )
      );
  }
}

/**
 * Removes a value's definition from the file.
 *
 * @returns Whether it is gone: a function's input stays, its calls pass it.
 */
function removeValue(
  edits: Edits,
  { view }: OpenModel,
  value: Value,
  released: Released,
): boolean {
  const { origin, scope: { body }, isInput, name } = value;
  if (origin.kind === "initializer") {
    if (isInput) {
      // A caller may feed it; before version 4 it only had to be listed.
      if (view.irVersion >= CONSTANT_IR_VERSION || body.kind !== "graph") {
        return false;
      }
      const input = portsOf(body).inputs.get(name);
      if (input) edits.remove(input.place);
    }
    edits.remove(origin.tensor.place);
  } else if (origin.kind === "node") {
    // Constant, Identity and Cast have one output.
    edits.remove(origin.node.place);
    released.addNode(origin.node);
  } else {
    return false;
  }
  const info = infoOf(value);
  if (info) edits.remove(info.place);
  return true;
}

/**
 * Removes constants that are not read any more, with the Identity and Cast
 * nodes that passed them on.
 *
 * @param edits Takes the changes.
 * @param open The model.
 * @param constants Those that lost a reader.
 * @param released What they lost.
 * @returns The values that are gone.
 */
export function removeUnused(
  edits: Edits,
  open: OpenModel,
  constants: readonly Constant[],
  released: Released,
): Set<Value> {
  const gone = new Set<Value>();
  // Until nothing changes: chains may share a part.
  for (let before = -1; gone.size > before;) {
    before = gone.size;
    for (const { origin, chain } of constants) {
      for (const value of [...chain].reverse().concat(origin)) {
        if (gone.has(value)) continue;
        if (!released.isUnused(value)) break;
        if (!removeValue(edits, open, value, released)) break;
        gone.add(value);
      }
    }
  }
  return gone;
}
