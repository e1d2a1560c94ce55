/**
 * New parameters for the BatchNormalizations of a model.
 *
 * @module
 */

import { OptionError, ShapeError, UnsupportedError } from "../errors.ts";
import {
  castTensor,
  type Tensor,
  tensor as makeTensor,
  toFloats,
} from "../tensor.ts";
import { writeNumber } from "./attributes.ts";
import type { Edits } from "./edit.ts";
import { type FoundNode, type Role, ROLES } from "./find.ts";
import type { Scopes } from "./scopes.ts";
import type { ModelView } from "./view.ts";
import {
  type ConstantWrite,
  hasBits,
  writeConstants,
} from "./write_constants.ts";

/** A vector: a tensor, or numbers. */
export type VectorLike = Tensor | ArrayLike<number>;

/** What {@linkcode OnnxModel.update} changes of a node; the rest stays. */
export interface NodeUpdate {
  /** `scale`: one value per channel. */
  readonly gamma?: VectorLike;
  /** `B`. */
  readonly beta?: VectorLike;
  /** `input_mean`. */
  readonly mean?: VectorLike;
  /** `input_var`, not negative. */
  readonly variance?: VectorLike;
  /** Added to the variance; at least 0, written as float32. */
  readonly epsilon?: number;
  /** The weight of the old statistics in training, 0 to 1, written as float32. */
  readonly momentum?: number;
}

/** {@linkcode NodeUpdate} by the node's name. */
export type NodeUpdates =
  | ReadonlyMap<string, NodeUpdate>
  | Readonly<Record<string, NodeUpdate>>;

const NUMBERS = ["epsilon", "momentum"] as const;

function isTensor(value: VectorLike): value is Tensor {
  return "type" in value && "dims" in value && "data" in value;
}

/** Numbers with the extents and the element type of the vector they replace. */
function vectorFor(
  what: string,
  value: VectorLike,
  { type, dims }: Pick<Tensor, "type" | "dims">,
): Tensor {
  const count = dims.reduce((product, extent) => product * extent, 1);
  const isList = typeof value === "object" && value !== null &&
    (isTensor(value) || typeof value.length === "number");
  if (!isList) {
    throw new OptionError(
      `Cannot update ${what}: expected a tensor or ${count} numbers, got ${value}`,
    );
  }
  const given = isTensor(value) ? value.data.length : value.length;
  if (given !== count) {
    throw new ShapeError(
      `Cannot update ${what}: expected ${count} values, got ${given}`,
    );
  }
  if (!isTensor(value)) {
    const other = Array.from(value).find((each) => typeof each !== "number");
    if (other !== undefined) {
      throw new OptionError(
        `Cannot update ${what}: expected numbers, got ${typeof other}`,
      );
    }
  }
  const wide = isTensor(value)
    ? castTensor({ ...value, dims: [count] }, "float64")
    : makeTensor(Float64Array.from(value), [count]);
  const { data } = castTensor({ ...wide, dims }, type);
  return { type, dims: [...dims], data };
}

/** The first element that is no finite number, or negative where it must not be. */
function badElement(vector: Tensor, nonNegative: boolean): number | undefined {
  const floats = toFloats(vector, new Float64Array(vector.data.length));
  return floats.find((value) =>
    !Number.isFinite(value) || (nonNegative && value < 0)
  );
}

function checkNumber(
  name: string,
  key: typeof NUMBERS[number],
  value: number,
): void {
  const most = key === "momentum" ? 1 : Infinity;
  if (
    typeof value !== "number" || Math.fround(value) === Infinity ||
    !(value >= 0 && value <= most && value < Infinity)
  ) {
    throw new OptionError(
      `Cannot update ${key} of "${name}": expected a number from 0${
        key === "momentum" ? " to 1" : ""
      }, got ${value}`,
    );
  }
}

function checkUpdate(name: string, update: NodeUpdate): void {
  if (typeof update !== "object" || update === null) {
    throw new OptionError(
      `Cannot update "${name}": expected an object with ${
        [...ROLES, ...NUMBERS].join(", ")
      }`,
    );
  }
  for (const key of Object.keys(update)) {
    if (![...ROLES, ...NUMBERS].includes(key as Role)) {
      throw new OptionError(
        `Cannot update ${key} of "${name}": expected one of ${
          [...ROLES, ...NUMBERS].join(", ")
        }`,
      );
    }
  }
}

/**
 * New elements for a vector, checked.
 *
 * @throws {OptionError} If they are no finite numbers, or negative where they
 * must not be.
 * @throws {ShapeError} If there are more or fewer than the vector has.
 */
export function statisticFor(
  what: string,
  role: Role,
  value: VectorLike,
  like: Pick<Tensor, "type" | "dims">,
): Tensor {
  const tensor = vectorFor(what, value, like);
  const bad = badElement(tensor, role === "variance");
  if (bad === undefined) return tensor;
  throw new OptionError(
    `Cannot update ${what}: expected finite${
      role === "variance" ? ", not negative" : ""
    } numbers in ${tensor.type}, got ${bad}`,
  );
}

function writeOf(
  { name, scope, node, parameters }: FoundNode,
  role: Role,
  value: VectorLike,
): ConstantWrite | undefined {
  const what = `${role} of "${name}"`;
  const { tensor: old, constant, reason } = parameters[role];
  if (!old) {
    throw new UnsupportedError(
      `Cannot update ${what}: it is no constant of the model, ${reason}`,
    );
  }
  const tensor = statisticFor(what, role, value, old);
  if (hasBits(tensor, old)) return undefined;
  return {
    scope,
    node,
    position: ROLES.indexOf(role) + 1,
    constant,
    tensor,
    name: `${name}/${role}`,
  };
}

/** What changes as pairs; a Map or an object. */
export function entriesOf<T>(
  updates: ReadonlyMap<string, T> | Readonly<Record<string, T>>,
): [string, T][] {
  if (updates instanceof Map) return [...updates];
  if (typeof updates !== "object" || updates === null) {
    throw new OptionError(
      "Cannot update the model: expected a Map from nodes' names to what changes",
    );
  }
  return Object.entries(updates);
}

/**
 * Writes new parameters.
 *
 * @param edits Takes the changes.
 * @param model The model.
 * @param scopes Its values.
 * @param nodes Its BatchNormalizations.
 * @param updates What changes, by name.
 *
 * @throws {OptionError} If a name or key is unknown, or a value not allowed.
 * @throws {ShapeError} If a vector has another length than the one it replaces.
 * @throws {UnsupportedError} If a parameter is no constant.
 */
export function updateNodes(
  edits: Edits,
  model: ModelView,
  scopes: Scopes,
  nodes: readonly FoundNode[],
  updates: NodeUpdates,
): void {
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const writes: ConstantWrite[] = [];
  for (const [name, update] of entriesOf(updates)) {
    const found = byName.get(name);
    if (!found) {
      throw new OptionError(
        `Cannot update "${name}": the model has no BatchNormalization of that name, expected ${
          [...byName.keys()].map((each) => `"${each}"`).join(", ") ||
          "none, it has none"
        }`,
      );
    }
    checkUpdate(name, update);
    for (const role of ROLES) {
      const value = update[role];
      if (value === undefined) continue;
      const write = writeOf(found, role, value);
      if (write) writes.push(write);
    }
    for (const key of NUMBERS) {
      const value = update[key];
      if (value === undefined) continue;
      checkNumber(name, key, value);
      if (Math.fround(value) !== found[key]) {
        writeNumber(edits, found.node, { name: key, f: value });
      }
    }
  }
  writeConstants(edits, model, scopes, writes);
}
