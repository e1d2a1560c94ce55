/**
 * `evenkeel convert --into`: new variables in an existing file.
 *
 * @module
 */

import { extname } from "node:path";
import { FormatError, ShapeError, UnsupportedError } from "../errors.ts";
import { rawType } from "../keras/files/raw_tensor.ts";
import type { KerasModel } from "../keras/load/types.ts";
import { replaceWeights } from "../keras/replace_weights.ts";
import { REPLACERS } from "../keras/write/replacers.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import { type Arguments, UsageError } from "./command.ts";
import { writeWhole } from "./files.ts";
import { checkNewFolder, folderOf, writeFolder } from "./folders.ts";
import { type NamedLayer, openModel } from "./model.ts";
import {
  hasSeveralFiles,
  type ModelFiles,
  readModelFiles,
} from "./model_files.ts";
import { type NamePair, pairByName, readPairs } from "./pair_by_name.ts";
import { formatSetting } from "./settings.ts";
import { readSourceOptions } from "./source.ts";

/** What was replaced. */
export interface Replaced {
  readonly pairs: readonly NamePair[];
  /** Layers of the existing file that have their old weights. */
  readonly kept: readonly string[];
  /** The file that is written, or the folder. */
  readonly output: string;
  /** How many bytes all its files have. */
  readonly bytes: number;
  /** What to know: sentences without a full stop. */
  readonly notes: readonly string[];
}

/** What is replaced where. */
export interface ReplaceTask {
  /** The source of the layers. */
  readonly file: string;
  readonly layers: readonly NamedLayer[];
  /** The existing file. */
  readonly existing: string;
  readonly output: string;
}

/** Options that make no sense for a file which keeps all but its weights. */
export const NOT_INTO: readonly string[] = ["format", "opset", "form"];

/** Options that make sense for such a file only. */
export const ONLY_INTO: readonly string[] = ["into-config", "into-layers"];

function checkReplaceable(
  { file, existing, output }: ReplaceTask,
  { format }: KerasModel,
): void {
  if (format === "onnx") {
    throw new UsageError(
      `Cannot use --into ${existing}: it is an ONNX model, whose layers evenkeel update writes: evenkeel update ${existing} --from ${file} -o ${output}`,
    );
  }
  if (!Object.hasOwn(REPLACERS, format)) {
    throw new UnsupportedError(
      `Cannot use --into ${existing}: weights of the format ${format} are read only; those of ${
        Object.keys(REPLACERS).join(", ")
      } can be replaced`,
    );
  }
  const ending = extname(existing).toLowerCase();
  if (!hasSeveralFiles(format) && extname(output).toLowerCase() !== ending) {
    throw new UsageError(
      `Cannot write to ${output}: --into keeps the format of ${existing}, expected a name that ends in ${
        ending || "nothing"
      }`,
    );
  }
}

/** What does not come along with the variables. */
function notesOf(
  pairs: readonly NamePair[],
  layers: ReadonlyMap<string, BatchNormalization>,
  existing: ReadonlyMap<string, BatchNormalization>,
): string[] {
  const notes: string[] = [];
  for (const { from, to } of pairs) {
    const [a, b] = [layers.get(from.key)!, existing.get(to.key)!];
    for (const key of ["epsilon", "momentum"] as const) {
      if (from.assumed.includes(key) || to.assumed.includes(key)) continue;
      const [is, was] = [a.options[key], b.options[key]].map(formatSetting);
      if (is === was) continue;
      notes.push(
        `${to.key}: its ${key} stays ${was}, that of the new layer is ${is}`,
      );
    }
    const type = to.weights.find(({ role }) => role !== undefined)?.type ?? "";
    const isRounded = a.weights.some((weight) =>
      weight.type !== type &&
      weight.data.BYTES_PER_ELEMENT >= (rawType(type)?.bytes ?? 0)
    );
    if (isRounded) {
      notes.push(`${to.key}: its new weights are rounded to ${type}`);
    }
  }
  return notes;
}

async function replaced(
  { main, files }: ModelFiles,
  isFolder: boolean,
  layers: ReadonlyMap<string, BatchNormalization>,
  options: Parameters<typeof replaceWeights>[2],
): Promise<Map<string, Uint8Array>> {
  return isFolder ? await replaceWeights(files, layers, options) : new Map([[
    main,
    await replaceWeights(files.get(main)!, layers, options),
  ]]);
}

/** Lets an error say which file it is about. */
async function named<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    for (const Kind of [FormatError, ShapeError, UnsupportedError]) {
      if (!(error instanceof Kind) || error.message.includes(path)) continue;
      throw new Kind(`${path}: ${error.message}`, { cause: error });
    }
    throw error;
  }
}

/**
 * Replaces the weights of an existing file's layers by those of a source, and
 * writes the result.
 *
 * @throws {EvenkeelError} If that cannot be done; then nothing is written.
 */
export async function convertInto(
  task: ReplaceTask,
  args: Arguments,
): Promise<Replaced> {
  const { existing, output } = task;
  if (/^[a-z][a-z\d+.-]+:\/\//i.test(existing)) {
    throw new UsageError(
      `Cannot use --into ${existing}: expected a path, download it first`,
    );
  }
  const map = readPairs(args.lists.map);
  const options = await readSourceOptions(args, "into-");
  const there = await openModel(existing, options);
  checkReplaceable(task, there.model);
  const isFolder = hasSeveralFiles(there.model.format);
  const pairs = pairByName(
    task.layers.map(({ found }) => found),
    there.layers.map(({ found }) => found),
    map,
  );
  const layers = new Map(task.layers.map(({ name, layer }) => [name, layer]));
  const taken = new Set(pairs.map(({ to }) => to.key));
  const before = await readModelFiles(existing, there.model.format);
  const files = await named(
    existing,
    replaced(
      before,
      isFolder,
      new Map(pairs.map(({ from, to }) => [to.key, layers.get(from.key)!])),
      options,
    ),
  );
  const target = isFolder ? folderOf(output, before.main) : output;
  if (isFolder) {
    await checkNewFolder(target);
    await writeFolder(target, files);
  } else {
    await writeWhole(target, files.get(before.main)!);
  }
  return {
    pairs,
    kept: there.layers.map(({ name }) => name)
      .filter((name) => !taken.has(name)),
    output: target,
    bytes: [...files.values()].reduce((sum, { length }) => sum + length, 0),
    notes: notesOf(pairs, layers, there.model.batchNormalizations),
  };
}
