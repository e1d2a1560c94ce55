/**
 * A layer's variables, read from the file and checked.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { WeightName } from "../../layer/weights.ts";
import { didYouMean } from "../../near_matches.ts";
import type { Tensor } from "../../tensor.ts";
import type { FileVariable } from "../contents/contents.ts";
import type { Found } from "../contents/found.ts";
import { rawType } from "../files/raw_tensor.ts";

/** Names in the file, for the messages of what is missing; gathered when needed. */
export type KnownNames = () => Iterable<string>;

function list(names: readonly string[]): string {
  return names.join(", ") || "none";
}

function describe({ name, type, dims }: FileVariable): string {
  return `${name} (${type} [${dims.join(", ")}])`;
}

/**
 * The variables of a layer by role, in Keras' order.
 *
 * @param key The layer's key, for messages.
 * @param found Where they are.
 * @param expected The roles that the layer's configuration asks for.
 * @param known The names in the file.
 *
 * @throws {FormatError} If there is one too few or too many.
 */
export function assignRoles(
  key: string,
  { roles, variables, location }: Found,
  expected: readonly WeightName[],
  known: KnownNames,
): Map<WeightName, FileVariable> {
  if (variables.length === 0) {
    throw new FormatError(
      `Cannot load layer "${key}": expected ${
        list(expected)
      }, found no variables${
        location === undefined ? " for it in the file" : ` in ${location}`
      } (was the model saved before it was built?)${didYouMean(key, known())}`,
    );
  }
  if (!roles) {
    if (variables.length !== expected.length) {
      throw new FormatError(
        `Cannot load layer "${key}": expected ${expected.length} variables (${
          list(expected)
        }), found ${variables.length} in ${location}: ${
          variables.map(describe).join(", ")
        }`,
      );
    }
    return new Map(expected.map((role, i) => [role, variables[i]!]));
  }
  const missing = expected.find((role) => !roles.has(role));
  if (missing !== undefined) {
    const scope = variables[0]!.name.replace(/[^/]*$/, "");
    throw new FormatError(
      `Cannot load ${missing} of layer "${key}": expected ${
        list(expected)
      }, found ${variables.map(({ name }) => name).join(", ")}${
        didYouMean(scope + missing, known())
      }`,
    );
  }
  const surplus = [...roles.keys()].find((role) => !expected.includes(role));
  if (surplus !== undefined) {
    throw new FormatError(
      `Cannot load layer "${key}": its configuration asks for ${
        list(expected)
      }, but the file has ${roles.get(surplus)!.name} as well`,
    );
  }
  return new Map(expected.map((role) => [role, roles.get(role)!]));
}

/**
 * Reads a layer's variables.
 *
 * @param key The layer's key, for messages.
 * @param assigned The variables by role.
 * @param isVector Whether each must be a vector, as for a single axis.
 *
 * @throws {FormatError} If one is not of a float type, cannot be read, or is
 * of another shape than the others.
 */
export async function readWeights(
  key: string,
  assigned: ReadonlyMap<WeightName, FileVariable>,
  isVector: boolean,
): Promise<Tensor[]> {
  const fail = (role: WeightName, expected: string, found: string): never => {
    throw new FormatError(
      `Cannot load ${role} of layer "${key}": expected ${expected}, found ${found} at ${
        assigned.get(role)!.location
      }`,
    );
  };
  const tensors: Tensor[] = [];
  let shape: readonly number[] | undefined;
  for (const [role, variable] of assigned) {
    const { type, dims } = variable;
    if (!rawType(type)) fail(role, "float elements", type);
    if (isVector && dims.length !== 1) {
      fail(
        role,
        "a vector, for its one axis",
        `the shape [${dims.join(", ")}]`,
      );
    }
    shape ??= dims;
    if (dims.join() !== shape.join()) {
      fail(
        role,
        `the shape [${shape.join(", ")}] of the variables before it`,
        `[${dims.join(", ")}]`,
      );
    }
    tensors.push(await readVariable(key, role, variable));
  }
  return tensors;
}

async function readVariable(
  key: string,
  role: WeightName,
  variable: FileVariable,
): Promise<Tensor> {
  try {
    return await variable.read();
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    throw new FormatError(
      `Cannot load ${role} of layer "${key}": ${cause.message}`,
      { cause },
    );
  }
}
