/**
 * The variables of HDF5 files that can only be read by waiting: what is told
 * of them at once, such as shapes, is read before.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type {
  FileVariable,
  ObjectNode,
  Weights,
} from "../contents/contents.ts";
import type { Hdf5File } from "./file.ts";

function* nodesOf(node: ObjectNode): Generator<ObjectNode> {
  yield node;
  for (const child of node.children.values()) yield* nodesOf(child);
}

/** Asks for something; that it is damaged is told when it is needed. */
function look(at: () => unknown): void {
  try {
    at();
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
  }
}

function lookAt(variables: readonly FileVariable[]): void {
  for (const variable of variables) {
    look(() => variable.type);
    look(() => variable.dims);
  }
}

/**
 * Reads what describes all variables, but not their values; nothing where it
 * is at hand.
 *
 * @param file The file.
 * @param weights Its variables.
 *
 * @throws {FormatError} If the file cannot be read.
 */
export async function describeVariables(
  file: Hdf5File,
  weights: Weights,
): Promise<void> {
  if (file.isAtHand) return;
  if (weights.kind === "named") {
    for (const { variables } of weights.groups) {
      await file.settled(() => lookAt(variables));
    }
  } else if (weights.kind === "objects") {
    for (const node of nodesOf(weights.root)) {
      await file.settled(() => look(() => lookAt(node.variables)));
    }
  }
}
