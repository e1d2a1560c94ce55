/**
 * Keras 3's weights in shards: `x.weights.json`, which says in which of the
 * HDF5 files beside it the variables of each object are.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { isObject } from "../../layer/keras_object.ts";
import type { Tensor } from "../../tensor.ts";
import type { Contents, FileVariable } from "../contents/contents.ts";
import { GrowingNode } from "../contents/object_tree.ts";
import { type JsonObject, parseJsonObject } from "../files/json.ts";
import { relativeParts, type SourceFile } from "../files/source_file.ts";
import { type Hdf5File, type Hdf5Group, openHdf5 } from "../hdf5/file.ts";
import { readText } from "../tfjs/model.ts";
import type { OpenBeside } from "../tfjs/shard_list.ts";

/** The group with an object's own variables, at the end of its path. */
const VARIABLES = /(^|\/)vars$/;

/** More than a model has; links in HDF5 make few bytes to any number. */
const MAX_VARIABLES = 200_000;

/** What HDF5 files of this layout number the variables with. */
const NUMBER = /^\d+$/;

/**
 * The HDF5 files, of which one at a time is open: there can be any number, and
 * what is behind a URL is kept as long.
 */
class Shards {
  readonly #open: OpenBeside;
  #current: { readonly name: string; readonly file: Hdf5File } | undefined;
  /** What goes on; each opening waits for the one before. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(open: OpenBeside) {
    this.#open = open;
  }

  /** Calls something with a shard, while no other one is open. */
  use<T>(name: string, call: (file: Hdf5File) => Promise<T>): Promise<T> {
    const result = this.#queue.then(async () => call(await this.#file(name)));
    this.#queue = result.catch(() => {});
    return result;
  }

  async #file(name: string): Promise<Hdf5File> {
    if (this.#current?.name !== name) {
      this.close();
      const source = await this.#open(name);
      if (!source) {
        throw new FormatError(
          `Cannot read the weights: expected the file ${name} beside the index, found none of that name`,
        );
      }
      const file = await openHdf5(source);
      this.#current = { name, file };
    }
    return this.#current!.file;
  }

  close(): void {
    this.#current?.file.close();
    this.#current = undefined;
  }
}

/** Which objects each file has variables of, by file. */
function readIndex(index: JsonObject): Map<string, ReadonlySet<string>> {
  const { weight_map: map } = index;
  if (!isObject(map)) {
    throw new FormatError(
      "Cannot read the weights' index: expected weight_map to be an object",
    );
  }
  const files = new Map<string, Set<string>>();
  for (const [path, value] of Object.entries(map)) {
    const names: unknown[] = Array.isArray(value) ? value : [value];
    if (!VARIABLES.test(path)) {
      throw new FormatError(
        `Cannot read the weights' index: expected paths that end with /vars, found ${
          JSON.stringify(path.slice(0, 80))
        }`,
      );
    }
    for (const name of names) {
      if (typeof name !== "string") {
        throw new FormatError(
          `Cannot read the weights' index: expected the file name of ${path}, or a list of them`,
        );
      }
      relativeParts(name);
      const paths = files.get(name) ?? new Set();
      files.set(name, paths.add(path));
    }
  }
  return files;
}

function groupAt(root: Hdf5Group, path: string, shard: string): Hdf5Group {
  const group = root.get(path);
  if (group?.kind === "group") return group;
  throw new FormatError(
    `Cannot read ${path}: expected a group of variables in ${shard}, found ${
      group ? "a dataset" : "nothing"
    }`,
  );
}

/** Where a variable is: in which file, and at which path. */
const LOCATION = "#";

/** The file and the path in it of a variable's location. */
export function splitLocation(location: string): [file: string, path: string] {
  const at = location.indexOf(LOCATION);
  return [location.slice(0, at), location.slice(at + 1)];
}

/** The variables of a group of one shard, described; their values are read later. */
function describe(
  group: Hdf5Group,
  shard: string,
  shards: Shards,
): FileVariable[] {
  return group.keys().filter((key) => NUMBER.test(key)).map((key) => {
    const dataset = group.get(key);
    if (dataset?.kind !== "dataset") {
      throw new FormatError(
        `Cannot read ${group.path}/${key} in ${shard}: expected a dataset`,
      );
    }
    const { path, type, dims } = dataset;
    return {
      name: key,
      location: shard + LOCATION + path.slice(1),
      type,
      dims: [...dims],
      read: () =>
        shards.use(shard, async (file): Promise<Tensor> => {
          const found = await file.settled(() => file.root.get(path));
          if (found?.kind === "dataset") return await found.load();
          throw new FormatError(`Cannot read ${path}: ${shard} has changed`);
        }),
    };
  });
}

function addVariables(node: GrowingNode, added: readonly FileVariable[]): void {
  const there = new Map(node.variables.map((each) => [each.name, each]));
  for (const variable of added) {
    const twice = there.get(variable.name);
    if (twice) {
      throw new FormatError(
        `Cannot read the weights: ${twice.location} and ${variable.location} are the same variable`,
      );
    }
    node.variables.push(variable);
  }
  node.variables.sort((a, b) => Number(a.name) - Number(b.name));
}

async function readTree(
  index: JsonObject,
  shards: Shards,
): Promise<GrowingNode> {
  const root = new GrowingNode();
  let left = MAX_VARIABLES;
  for (const [shard, paths] of readIndex(index)) {
    await shards.use(shard, async (file) => {
      for (const path of paths) {
        const { name, variables } = await file.settled(() => {
          const group = groupAt(file.root, path, shard);
          return {
            name: group.strings("name")?.[0],
            variables: describe(group, shard, shards),
          };
        });
        const node = root.at(path.replace(VARIABLES, ""));
        node.isObject = true;
        node.name ??= name;
        left -= 1 + variables.length;
        if (left < 0) {
          throw new FormatError(
            `Cannot read the weights: expected at most ${MAX_VARIABLES} objects and variables, found more`,
          );
        }
        addVariables(node, variables);
      }
    });
  }
  return root;
}

/** Whether JSON is such an index. */
export function isShardIndex(json: JsonObject): boolean {
  return isObject(json.weight_map) && isObject(json.metadata);
}

/**
 * Opens weights in shards. All shards are looked at, one after the other,
 * since only they hold the layers' names; in memory is one at a time.
 *
 * @param json The index, `x.weights.json`.
 * @param open Opens a file beside it.
 * @returns What is in it; must be closed.
 *
 * @throws {FormatError} If the index or a shard is damaged or missing.
 */
export async function openShardedWeights(
  json: SourceFile,
  open: OpenBeside,
): Promise<Contents> {
  const index = parseJsonObject(await readText(json), json.name);
  const shards = new Shards(open);
  try {
    const root = await readTree(index, shards);
    return {
      format: "weights.json",
      kerasVersion: undefined,
      config: undefined,
      weights: { kind: "objects", root },
      close: () => shards.close(),
    };
  } catch (error) {
    shards.close();
    throw error;
  }
}
