/**
 * `evenkeel bundle`: a folder that serves models at the edge.
 *
 * @module
 */

import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ValueMetadata } from "../session/types.ts";
import { datatypeOf } from "../serve/json_tensors.ts";
import {
  bundleWorker,
  type LimitUse,
  type WorkerBundle,
  type WorkerFile,
} from "./bundle_files.ts";
import { readModels, type ServableModel } from "./bundle_models.ts";
import { type Platform, PLATFORMS } from "./bundle_platforms.ts";
import { type Arguments, type Command, EXIT, UsageError } from "./command.ts";
import { writeError } from "./files.ts";
import { checkNewFolder, writeFolder } from "./folders.ts";
import { readShapes } from "./shapes.ts";
import {
  NET_FOR_URLS,
  readSourceOptions,
  SOURCE_DETAILS,
  SOURCE_OPTIONS,
} from "./source.ts";
import { type Column, formatTable } from "./table.ts";
import type { Terminal } from "./terminal.ts";

function readPlatform(text: string | boolean | undefined): Platform {
  const names = Object.keys(PLATFORMS).join(", ");
  if (text === undefined) {
    throw new UsageError(
      `Expected --platform, one of ${names}; see evenkeel bundle --help`,
    );
  }
  if (typeof text === "string" && Object.hasOwn(PLATFORMS, text)) {
    return PLATFORMS[text]!;
  }
  throw new UsageError(`Cannot use --platform ${text}: expected ${names}`);
}

/** A file that is moved to its place, others around it staying. */
async function replaceFiles(
  folder: string,
  files: ReadonlyMap<string, Uint8Array>,
): Promise<void> {
  const staged = join(folder, `.${crypto.randomUUID().slice(0, 8)}.tmp`);
  try {
    await writeFolder(staged, files);
    for (const path of files.keys()) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await rename(join(staged, path), join(folder, path));
    }
  } catch (error) {
    throw writeError(folder, error as Error);
  } finally {
    await rm(staged, { recursive: true, force: true }).catch(() => {});
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    await readdir(path);
    return true;
  } catch {
    return false;
  }
}

async function writeBundle(
  folder: string,
  { files }: WorkerBundle,
  force: boolean,
): Promise<void> {
  const contents = new Map(files.map(({ path, content }) => [path, content]));
  if (force && await isFolder(folder)) await replaceFiles(folder, contents);
  else await writeFolder(folder, contents);
}

/** Such as 12.3 KB. */
function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const units = ["KB", "MB", "GB"];
  const power = Math.min(
    units.length,
    Math.floor(Math.log2(bytes) / Math.log2(1024)),
  );
  const value = bytes / 1024 ** power;
  return `${Number(value.toFixed(1))} ${units[power - 1]}`;
}

const FILE_COLUMNS: readonly Column<WorkerFile>[] = [
  { title: "file", cell: ({ path }) => path, shrink: true },
  {
    title: "bytes",
    cell: ({ content }) => `${content.length}`,
    align: "right",
  },
  { title: "gzip", cell: ({ gzip }) => `${gzip}`, align: "right" },
];

function share({ used, most }: LimitUse): string {
  const percent = 100 * used / most;
  return percent < 0.1 ? "below 0.1 %" : `${percent.toFixed(1)} %`;
}

const LIMIT_COLUMNS: readonly Column<LimitUse>[] = [
  { title: "platform", cell: ({ name }) => name },
  {
    title: "limit",
    cell: ({ most, counts }) =>
      formatBytes(most) + (counts === "gzip" ? " gzip" : ""),
    align: "right",
  },
  {
    title: "this worker",
    cell: ({ used }) => formatBytes(used),
    align: "right",
  },
  {
    title: "share",
    cell: share,
    align: "right",
    style: ({ used, most }) => used > most ? "bad" : undefined,
  },
];

/** Such as `x FP32 [?,3]`. */
function formatValue({ name, type, shape }: ValueMetadata): string {
  const datatype = type === undefined ? "" : ` ${datatypeOf(type)}`;
  const extents = shape?.map((extent) =>
    typeof extent === "number" ? extent : "?"
  );
  return `${name}${datatype}${extents ? ` [${extents}]` : ""}`;
}

const MODEL_COLUMNS: readonly Column<ServableModel>[] = [
  {
    title: "POST to",
    cell: ({ name }) => `/v2/models/${name}/infer`,
    shrink: true,
  },
  {
    title: "inputs",
    cell: ({ inputs }) => inputs.map(formatValue).join(", "),
    shrink: true,
  },
  {
    title: "outputs",
    cell: ({ outputs }) => outputs.map(formatValue).join(", "),
    shrink: true,
  },
];

function report(
  output: string,
  platform: Platform,
  models: readonly ServableModel[],
  { files, limits }: WorkerBundle,
): Record<string, unknown> {
  return {
    output,
    platform: platform.name,
    models: models.map(({ name, source, layerName, inputs, outputs }) => ({
      name,
      source,
      ...(layerName === undefined ? {} : { layer: layerName }),
      inputs,
      outputs,
    })),
    files: files.map(({ path, content, gzip }) => ({
      path,
      bytes: content.length,
      gzip,
    })),
    limits,
  };
}

async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const { output } = args.options;
  if (typeof output !== "string" || output === "") {
    throw new UsageError("Expected -o FOLDER; see evenkeel bundle --help");
  }
  const folder = output.replace(/(?<=.)[/\\]+$/, "");
  const force = args.options.force === true;
  const platform = readPlatform(args.options.platform);
  const options = {
    ...await readSourceOptions(args),
    only: args.lists.layer ?? [],
    shapes: readShapes(args.lists["input-shape"]),
  };
  // Before the work rather than after it.
  if (!force) await checkNewFolder(folder);
  const models = await readModels(args.positionals, options);
  terminal.progress("bundling");
  const bundle = await bundleWorker(models, platform);
  await writeBundle(folder, bundle, force);
  if (args.options.json) {
    terminal.out(
      JSON.stringify(report(folder, platform, models, bundle), undefined, 2),
    );
    return EXIT.ok;
  }
  terminal.out(
    [
      formatTable(models, MODEL_COLUMNS, terminal),
      formatTable(bundle.files, FILE_COLUMNS, terminal),
      formatTable(bundle.limits, LIMIT_COLUMNS, terminal),
      `Written to ${folder}. There: ${platform.commands.join(", or ")}`,
    ].join("\n\n"),
  );
  return EXIT.ok;
}

/** The `bundle` sub-command. */
export const bundle: Command = {
  name: "bundle",
  summary: "Writes a folder that serves models at the edge",
  positionals: ["MODEL..."],
  options: {
    output: {
      type: "string",
      short: "o",
      value: "FOLDER",
      help: "the folder to write, new or empty",
    },
    platform: {
      type: "string",
      value: "NAME",
      help: Object.keys(PLATFORMS).join(", "),
    },
    force: {
      type: "boolean",
      help: "overwrite files of a folder that is not empty",
    },
    layer: {
      type: "string",
      multiple: true,
      value: "NAME",
      help: "only this layer of Keras sources",
    },
    ...SOURCE_OPTIONS,
    "input-shape": {
      type: "string",
      multiple: true,
      value: "SHAPE",
      help: "extents, ? for any: ?,28,28,64, or LAYER=SHAPE",
    },
  },
  details:
    `MODEL is FILE, or NAME=FILE to choose the name in the URL. A FILE that ends in
.onnx is served whole, with all operators that createSession has. Of any other,
each BatchNormalization is a model.
${SOURCE_DETAILS}
The worker answers POST /v2/models/NAME/infer in JSON, as the Open Inference
Protocol v2 has it. The bundler, esbuild-wasm, comes from npm at the first use.
Where evenkeel itself runs by URL, its sources are read with --allow-net.`,
  permissions: `--allow-read --allow-write${NET_FOR_URLS}`,
  run,
};
