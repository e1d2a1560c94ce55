/**
 * The HDF5 layout of `.weights.h5` and of the weights inside `.keras`: a tree
 * of groups that follows the attributes of the objects, each object's
 * variables numbered in a group `vars`.
 *
 * @module
 */

import { FormatError } from "../errors.ts";
import type { FileVariable, ObjectNode } from "./contents.ts";
import type { Hdf5Dataset, Hdf5Group } from "./hdf5.ts";

/** The group with an object's own variables. */
const VARIABLES = "vars";

/** No model is nested deeper; links could make a tree endless. */
const MAX_DEPTH = 64;

/** Puts `x_10` behind `x_9`, and a number behind what has none. */
function naturalOrder(a: string, b: string): number {
  return a.localeCompare(b, "en", { numeric: true });
}

function variablesOf(group: Hdf5Group): FileVariable[] {
  return group.keys().sort(naturalOrder).map((name) => {
    const dataset = group.get(name);
    if (dataset?.kind !== "dataset") {
      throw new FormatError(
        `Cannot read ${group.path}/${name}: expected a dataset, found ${
          dataset ? "a group" : "a link out of the file"
        }`,
      );
    }
    return variable(name, dataset);
  });
}

function variable(name: string, dataset: Hdf5Dataset): FileVariable {
  return {
    name,
    location: dataset.path.slice(1),
    get type() {
      return dataset.type;
    },
    get dims() {
      return dataset.dims;
    },
    read: () => dataset.read(),
  };
}

function readNode(group: Hdf5Group, key: string, depth: number): ObjectNode {
  if (depth > MAX_DEPTH) {
    throw new FormatError(
      `Cannot read the Keras file: ${group.path} is nested more than ${MAX_DEPTH} deep`,
    );
  }
  const children = new Map<string, ObjectNode>();
  let own: Hdf5Group | undefined;
  for (const name of group.keys().sort(naturalOrder)) {
    const member = group.get(name);
    if (member?.kind !== "group") continue;
    if (name === VARIABLES) own = member;
    else children.set(name, readNode(member, name, depth + 1));
  }
  let variables: FileVariable[] | undefined;
  return {
    key,
    location: group.path.slice(1),
    isObject: own !== undefined,
    name: own?.strings("name")?.[0],
    get variables() {
      return variables ??= own ? variablesOf(own) : [];
    },
    children,
  };
}

/** How deep the first variables are looked for. */
const DETECTION_DEPTH = 16;

/**
 * Whether a file has this layout: whether there is a group `vars` somewhere.
 * Releases before 3.6 leave out the groups of objects without variables, so
 * that the first one can be deep.
 */
export function isVariablesHdf5(root: Hdf5Group, depth = 0): boolean {
  if (depth > DETECTION_DEPTH) return false;
  return root.keys().some((name) => {
    const member = root.get(name);
    return member?.kind === "group" &&
      (name === VARIABLES || isVariablesHdf5(member, depth + 1));
  });
}

/** Reads the tree of a file of this layout. */
export function readVariablesHdf5(root: Hdf5Group): ObjectNode {
  return readNode(root, "", 0);
}
