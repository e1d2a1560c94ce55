/**
 * Keras' own HDF5 layout, from Keras 1 to 3: one group per top-level layer,
 * with the names of its weights in an attribute.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { didYouMean } from "../../near_matches.ts";
import type { Tensor } from "../../tensor.ts";
import type {
  Contents,
  FileVariable,
  NamedGroup,
} from "../contents/contents.ts";
import { parseJsonObject } from "../files/json.ts";
import type { Hdf5Dataset, Hdf5File, Hdf5Group } from "./file.ts";

/** Weights of the model itself, a group since TF 2.7 that is in no list. */
const TOP_LEVEL = "top_level_model_weights";

/**
 * The strings of an attribute that Keras splits into `name0`, `name1`, ...
 * when it is longer than HDF5 allows.
 */
function chunkedStrings(group: Hdf5Group, name: string): string[] | undefined {
  const whole = group.strings(name);
  if (whole) return whole;
  const all: string[] = [];
  for (let i = 0;; i++) {
    const chunk = group.strings(`${name}${i}`);
    if (!chunk) return i === 0 ? undefined : all;
    all.push(...chunk);
  }
}

/** A weight that a list names, but that is not looked at before it is needed. */
class ListedVariable implements FileVariable {
  readonly name: string;
  readonly location: string;
  readonly #group: Hdf5Group;
  #dataset: Hdf5Dataset | undefined;

  constructor(group: Hdf5Group, name: string) {
    this.#group = group;
    this.name = name;
    this.location = `${group.path.slice(1)}/${name}`;
  }

  #open(): Hdf5Dataset {
    if (this.#dataset) return this.#dataset;
    const found = this.#group.get(this.name);
    if (found?.kind !== "dataset") {
      throw new FormatError(
        `Cannot read "${this.name}": expected a dataset at ${this.location}, found ${
          found ? "a group" : "nothing"
        }${didYouMean(this.name, datasetNames(this.#group))}`,
      );
    }
    return this.#dataset = found;
  }

  get type(): string {
    return this.#open().type;
  }

  get dims(): readonly number[] {
    return this.#open().dims;
  }

  async read(): Promise<Tensor> {
    return await this.#open().load();
  }
}

/** Deeper than any layer's name has slashes; ends what links could make endless. */
const MAX_DEPTH = 8;

/** As many members are looked at for near matches; links multiply them. */
const MAX_MEMBERS = 1000;

/** The paths of the datasets in a group, relative to it. */
function* datasetNames(
  group: Hdf5Group,
  prefix = "",
  depth = 0,
  budget = { left: MAX_MEMBERS },
): Generator<string> {
  if (depth > MAX_DEPTH) return;
  for (const key of group.keys()) {
    if (budget.left-- <= 0) return;
    const member = group.get(key);
    if (member?.kind === "dataset") yield prefix + key;
    else if (member) {
      yield* datasetNames(member, `${prefix}${key}/`, depth + 1, budget);
    }
  }
}

function readGroup(parent: Hdf5Group, name: string): NamedGroup {
  const group = parent.get(name);
  if (group?.kind !== "group") {
    throw new FormatError(
      `Cannot read the weights of layer "${name}": expected a group in ${parent.path}, found ${
        group ? "a dataset" : "nothing"
      }${didYouMean(name, parent.keys())}`,
    );
  }
  const names = chunkedStrings(group, "weight_names");
  if (!names) {
    throw new FormatError(
      `Cannot read the weights of layer "${name}": ${group.path} has no attribute weight_names`,
    );
  }
  return {
    name,
    location: group.path.slice(1),
    variables: names.map((weight) => new ListedVariable(group, weight)),
  };
}

function readGroups(parent: Hdf5Group, names: readonly string[]): NamedGroup[] {
  return names.filter((name) => name !== TOP_LEVEL)
    .map((name) => readGroup(parent, name));
}

/** Whether a file has this layout, by what its root holds. */
export function isLegacyHdf5(root: Hdf5Group): boolean {
  return root.strings("model_config") !== undefined ||
    root.get("model_weights")?.kind === "group" ||
    chunkedStrings(root, "layer_names") !== undefined;
}

/**
 * Reads a file of this layout, whole model or weights only.
 *
 * @throws {FormatError} If its configuration or a list of names is missing or
 * damaged.
 */
export function readLegacyHdf5(file: Hdf5File): Contents {
  const { root } = file;
  const weights = root.get("model_weights");
  const group = weights?.kind === "group" ? weights : root;
  const whole = group !== root || root.strings("model_config") !== undefined;
  const json = root.strings("model_config")?.[0];
  const names = chunkedStrings(group, "layer_names");
  if (!names) {
    throw new FormatError(
      `Cannot read the Keras file: ${group.path} has no attribute layer_names`,
    );
  }
  // First, since it asks for more of the file, which may have to be waited for.
  const groups = readGroups(group, names);
  return {
    format: whole ? "h5" : "h5-weights",
    kerasVersion: (root.strings("keras_version") ??
      group.strings("keras_version"))?.[0],
    config: json === undefined
      ? undefined
      : parseJsonObject(json, "the attribute model_config"),
    weights: { kind: "named", groups },
    close: () => file.close(),
  };
}
