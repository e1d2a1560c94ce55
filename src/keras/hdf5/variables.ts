/**
 * The HDF5 layout of `.weights.h5` and of the weights inside `.keras`: a tree
 * of groups that follows the attributes of the objects, each object's
 * variables numbered in a group `vars`.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { FileVariable, ObjectNode } from "../contents/contents.ts";
import type { Hdf5Dataset, Hdf5Group } from "./file.ts";

/** The group with an object's own variables. */
const VARIABLES = "vars";

/** No model is nested deeper; links could make a tree endless. */
const MAX_DEPTH = 64;

/**
 * How many members of groups are looked at, which links can make endless:
 * more than a model has, and no more than fit into the file.
 */
const MAX_MEMBERS = 100_000;
const MEMBERS_OF_ANY_FILE = 1000;
const LEAST_BYTES_OF_MEMBER = 16;

interface Budget {
  left: number;
}

function budgetFor(fileBytes: number): Budget {
  const fitting = Math.floor(fileBytes / LEAST_BYTES_OF_MEMBER);
  return { left: Math.min(MAX_MEMBERS, MEMBERS_OF_ANY_FILE + fitting) };
}

/** The names of a group's members, paid for. */
function keysWithin(group: Hdf5Group, budget: Budget): string[] {
  const keys = group.keys();
  // One for the group itself, so that empty ones are not free.
  budget.left -= 1 + keys.length;
  if (budget.left < 0) {
    throw new FormatError(
      `Cannot read the HDF5 file: ${
        abridged(group.path)
      } has more groups than a model can have, or links that form a loop`,
    );
  }
  return keys;
}

/** A path without its end, where that is long. */
function abridged(path: string): string {
  return path.length > 60 ? `${path.slice(0, 60)}...` : path;
}

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
    read: () => dataset.load(),
  };
}

function readNode(
  group: Hdf5Group,
  key: string,
  depth: number,
  budget: Budget,
): ObjectNode {
  if (depth > MAX_DEPTH) {
    throw new FormatError(
      `Cannot read the Keras file: ${group.path} is nested more than ${MAX_DEPTH} deep`,
    );
  }
  const children = new Map<string, ObjectNode>();
  let own: Hdf5Group | undefined;
  for (const name of keysWithin(group, budget).sort(naturalOrder)) {
    const member = group.get(name);
    if (member?.kind !== "group") continue;
    if (name === VARIABLES) own = member;
    else children.set(name, readNode(member, name, depth + 1, budget));
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
 *
 * @throws {FormatError} If the groups have no end.
 */
export function isVariablesHdf5(root: Hdf5Group, fileBytes: number): boolean {
  return hasVariables(root, 0, budgetFor(fileBytes));
}

function hasVariables(
  group: Hdf5Group,
  depth: number,
  budget: Budget,
): boolean {
  if (depth > DETECTION_DEPTH) return false;
  return keysWithin(group, budget).some((name) => {
    const member = group.get(name);
    return member?.kind === "group" &&
      (name === VARIABLES || hasVariables(member, depth + 1, budget));
  });
}

/**
 * Reads the tree of a file of this layout.
 *
 * @throws {FormatError} If the groups are nested too deep or have no end.
 */
export function readVariablesHdf5(
  root: Hdf5Group,
  fileBytes: number,
): ObjectNode {
  return readNode(root, "", 0, budgetFor(fileBytes));
}
