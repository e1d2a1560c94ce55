/**
 * The `model.weights.npz` that Keras can put into a `.keras` archive instead
 * of HDF5: one member per object, a pickled dict of its variables.
 *
 * Keras 2 pickles NumPy arrays. Keras 3 pickles its own `Variable` objects
 * around TensorFlow's, which hold the array among much else; the pickles of
 * its other backends are not read.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { Tensor } from "../../tensor.ts";
import type { FileVariable, ObjectNode } from "../contents/contents.ts";
import type { ZipArchive } from "../zip/zip.ts";
import {
  descrName,
  parseNpy,
  type StoredArray,
  tensorOfStored,
} from "./npy.ts";
import {
  PickleCall,
  PickleGlobal,
  type PickleValue,
  readPickle,
} from "./pickle.ts";

/** The member with the model's own variables. */
const ROOT = "__root__";

const KERAS_VARIABLE = "keras.src.backend.Variable";

/** Every name in what real Keras writes. */
const ALLOWED: ReadonlySet<string> = new Set([
  "numpy._core.multiarray._reconstruct",
  "numpy.core.multiarray._reconstruct",
  "numpy.ndarray",
  "numpy.dtype",
  "ml_dtypes.bfloat16",
  KERAS_VARIABLE,
  "functools.partial",
  "tensorflow.python.ops.resource_variable_ops.ResourceVariable",
  "tensorflow.python.framework.dtypes.as_dtype",
]);

function isCallOf(value: unknown, name: string): value is PickleCall {
  return value instanceof PickleCall && value.callee instanceof PickleGlobal &&
    value.callee.name.endsWith(name);
}

/** The element type of a pickled `numpy.dtype`: `dtype("f4")` with `(3, "<", ...)`. */
function descrOf(dtype: PickleValue | undefined): string | undefined {
  if (!isCallOf(dtype, "numpy.dtype")) return undefined;
  const [kind] = dtype.args;
  const order = Array.isArray(dtype.state) ? dtype.state[1] : undefined;
  const name = kind instanceof PickleGlobal && kind.name.endsWith("bfloat16")
    ? "V2"
    : kind;
  return typeof name === "string" && typeof order === "string"
    ? order + name
    : undefined;
}

/** A pickled array: `_reconstruct(...)` with (version, shape, dtype, Fortran, bytes). */
function storedArray(value: PickleCall, what: string): StoredArray {
  const [, dims, dtype, fortranOrder, data] = Array.isArray(value.state)
    ? value.state
    : [];
  const descr = descrOf(dtype);
  if (
    descr === undefined || !Array.isArray(dims) ||
    !dims.every((extent) => typeof extent === "number") ||
    !(data instanceof Uint8Array)
  ) {
    throw new FormatError(
      `Cannot read ${what}: expected a pickled array of numbers`,
    );
  }
  return { descr, dims, fortranOrder: fortranOrder === true, data };
}

/** A variable's array is two deep; a pickle can have one in itself. */
const MAX_VARIABLE_DEPTH = 8;

/** The array in a variable: `_value` is `partial(ResourceVariable, initial_value=...)()`. */
function arrayOf(
  value: PickleValue,
  what: string,
  depth = 0,
): StoredArray {
  if (depth > MAX_VARIABLE_DEPTH) {
    throw new FormatError(
      `Cannot read ${what}: its variables are nested more than ${MAX_VARIABLE_DEPTH} deep`,
    );
  }
  if (isCallOf(value, "multiarray._reconstruct")) {
    return storedArray(value, what);
  }
  if (isCallOf(value, KERAS_VARIABLE) && value.state instanceof Map) {
    const inner = value.state.get("_value");
    const partial = inner instanceof PickleCall ? inner.callee : undefined;
    const keywords = partial instanceof PickleCall &&
        Array.isArray(partial.state)
      ? partial.state[2]
      : undefined;
    const initial = keywords instanceof Map
      ? keywords.get("initial_value")
      : undefined;
    if (initial !== undefined) return arrayOf(initial, what, depth + 1);
  }
  throw new FormatError(
    `Cannot read ${what}: expected a pickled NumPy array or Keras variable`,
  );
}

class PickledVariable implements FileVariable {
  readonly name: string;
  readonly location: string;
  readonly type: string;
  readonly dims: readonly number[];
  readonly #array: StoredArray;

  constructor(name: string, location: string, array: StoredArray) {
    this.name = name;
    this.location = location;
    this.type = descrName(array.descr);
    this.dims = array.dims;
    this.#array = array;
  }

  read(): Tensor {
    return tensorOfStored(this.#array, this.location);
  }
}

/** The variables of one member. */
function readMember(archive: ZipArchive, member: string): FileVariable[] {
  const array = parseNpy(archive.read(member), member);
  const content = readPickle(array.data, ALLOWED, member);
  // A 0-d object array: its pickle is the array itself, with its one element
  // in a list.
  const elements = isCallOf(content, "multiarray._reconstruct") &&
      Array.isArray(content.state)
    ? content.state[4]
    : undefined;
  const [variables] = Array.isArray(elements) ? elements : [];
  if (!(variables instanceof Map)) {
    throw new FormatError(
      `Cannot read ${member}: expected a pickled dict of variables`,
    );
  }
  return [...variables].map(([name, value]) => {
    if (typeof name !== "string" && typeof name !== "number") {
      throw new FormatError(
        `Cannot read ${member}: expected variables by name or number`,
      );
    }
    const location = `${member.replace(/\.npy$/, "")}/${name}`;
    return new PickledVariable(
      String(name),
      location,
      arrayOf(value, location),
    );
  });
}

class NpzNode implements ObjectNode {
  readonly key: string;
  readonly location: string;
  readonly name = undefined;
  readonly children = new Map<string, NpzNode>();
  readonly #archive: ZipArchive;
  readonly #member: string;
  #variables: readonly FileVariable[] | undefined;

  constructor(archive: ZipArchive, location: string) {
    this.#archive = archive;
    this.location = location;
    this.key = location.slice(location.lastIndexOf("/") + 1);
    this.#member = `${location || ROOT}.npy`;
  }

  get isObject(): boolean {
    return this.#archive.names.includes(this.#member);
  }

  get variables(): readonly FileVariable[] {
    return this.#variables ??= this.isObject
      ? readMember(this.#archive, this.#member)
      : [];
  }

  child(key: string): NpzNode {
    let node = this.children.get(key);
    if (!node) {
      const prefix = this.location ? `${this.location}/` : "";
      node = new NpzNode(this.#archive, prefix + key);
      this.children.set(key, node);
    }
    return node;
  }
}

/** No model is nested deeper. */
const MAX_PARTS = 64;

/**
 * The tree of objects that the names of the members describe.
 *
 * @throws {FormatError} If a name has too many parts.
 */
export function readNpz(archive: ZipArchive): ObjectNode {
  const root = new NpzNode(archive, "");
  for (const name of archive.names) {
    const path = name.replace(/\.npy$/, "");
    if (path === ROOT) continue;
    const parts = path.split("/", MAX_PARTS + 1);
    if (parts.length > MAX_PARTS) {
      throw new FormatError(
        `Cannot read the member ${
          name.slice(0, 60)
        }...: it is nested more than ${MAX_PARTS} deep`,
      );
    }
    parts.reduce((node, key) => node.child(key), root);
  }
  return root;
}
