/**
 * The files of a worker that serves models, made in memory.
 *
 * @module
 */

import { UnsupportedError } from "../errors.ts";
import { WASM_HEX } from "../kernels/wasm_binary.ts";
import { INFERENCE_HEX } from "../kernels/wasm_inference_binary.ts";
import type { LayerParts } from "../serve/layer_model.ts";
import {
  companionBytes,
  type Platform,
  type PlatformLimit,
} from "./bundle_platforms.ts";
import { bundleModules, type VirtualModule } from "./esbuild.ts";

/** A model to embed. */
export interface EmbeddedModel {
  /** Its name in the URL: letters, digits, `_`, `.` and `-`. */
  readonly name: string;
  /** The ONNX file. */
  readonly model: Uint8Array;
  /** The files of its external data, by location. */
  readonly externalData: ReadonlyMap<string, Uint8Array>;
  /** The same as a layer, if it is only that. */
  readonly layer?: LayerParts;
}

/** A file of a worker. */
export interface WorkerFile {
  /** Its path in the folder, with `/` between the parts. */
  readonly path: string;
  /** Its bytes. */
  readonly content: Uint8Array;
  /** How many they are after gzip. */
  readonly gzip: number;
}

/** A limit of the platform, and what of it the worker takes. */
export interface LimitUse extends PlatformLimit {
  /** The bytes that count. */
  readonly used: number;
}

/** A worker. */
export interface WorkerBundle {
  /** Its files, the worker first. */
  readonly files: readonly WorkerFile[];
  /** The platform's limits. */
  readonly limits: readonly LimitUse[];
}

/** What a worker is made of. */
interface Core {
  /** The source that the entry imports all from. */
  readonly module: string;
  /** Its WASM module. */
  readonly hex: string;
  /** The source that embeds that. */
  readonly embedded: string;
  /** Sources that embed what this core never starts. */
  readonly unused: readonly string[];
}

const FULL_SOURCE = "kernels/wasm_binary.ts";
const INFERENCE_SOURCE = "kernels/wasm_inference_binary.ts";

/** Where all that is served is a BatchNormalization. */
const LAYERS: Core = {
  module: "serve/edge_layers.ts",
  hex: INFERENCE_HEX,
  embedded: INFERENCE_SOURCE,
  unused: [],
};

const SESSIONS: Core = {
  module: "serve/edge_sessions.ts",
  hex: WASM_HEX,
  embedded: FULL_SOURCE,
  unused: [INFERENCE_SOURCE],
};

/** Where Evenkeel's sources are; the npm package has them beside its builds. */
const SOURCES = new URL(
  import.meta.url.endsWith("/src/cli/bundle_files.ts") ? "../" : "../src/",
  import.meta.url,
);

const sourceUrl = (path: string): string => new URL(path, SOURCES).href;

function wasmBytes({ hex }: Core): Uint8Array {
  return Uint8Array.from(
    hex.match(/../g)!,
    (digits) => parseInt(digits, 16),
  );
}

/** The module of a worker's entry, and those that it has its bytes from. */
function entryModules(
  models: readonly EmbeddedModel[],
  core: Core,
  { wasm, start }: Platform,
): Map<string, VirtualModule> {
  const modules = new Map<string, VirtualModule>();
  const imports: string[] = [];
  const bind = (contents: Uint8Array): string => {
    const name = `bytes${imports.length}`;
    modules.set(`evenkeel:${name}`, { loader: "binary", contents });
    imports.push(`import ${name} from "evenkeel:${name}";`);
    return name;
  };
  const asLayer = ({ name, layer }: EmbeddedModel): string =>
    `layerModel(${JSON.stringify(name)}, ${JSON.stringify(layer!.settings)}, ${
      bind(layer!.bytes)
    })`;
  const asSession = (
    { name, model, externalData }: EmbeddedModel,
  ): string => {
    const bytes = bind(model);
    const files = [...externalData].map(([location, contents]) =>
      `[${JSON.stringify(location)}, ${bind(contents)}]`
    );
    const map = files.length > 0 ? `, new Map([${files.join(", ")}])` : "";
    return `sessionModel(${JSON.stringify(name)}, ${bytes}${map})`;
  };
  const served = models.map(core === LAYERS ? asLayer : asSession);
  const names = [
    "edgeHandler",
    core === LAYERS ? "layerModel" : "sessionModel",
    ...(wasm ? ["setKernels"] : []),
  ];
  const contents = [
    `import { ${names.join(", ")} } from "${sourceUrl(core.module)}";`,
    ...(wasm ? [`import wasm from "${wasm.specifier}";`] : []),
    ...imports,
    `const handler = edgeHandler([${served.join(", ")}]);`,
    ...start,
  ].join("\n");
  return modules.set(ENTRY, { loader: "js", contents });
}

/** The specifier of a worker's entry. */
const ENTRY = "evenkeel:entry";

/** How many bytes gzip makes of some. */
async function gzipSize(bytes: Uint8Array): Promise<number> {
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream()
    .pipeThrough(new CompressionStream("gzip"));
  return (await new Response(stream).arrayBuffer()).byteLength;
}

/**
 * Makes the files of a worker; nothing is written.
 *
 * @param models The models, with different names.
 * @param platform Where it shall run.
 * @returns The files, the same for the same models.
 *
 * @throws {UnsupportedError} If it cannot be bundled, or is too large for every
 * plan of the platform.
 */
export async function bundleWorker(
  models: readonly EmbeddedModel[],
  platform: Platform,
): Promise<WorkerBundle> {
  const { wasm } = platform;
  const core = models.every(({ layer }) => layer) ? LAYERS : SESSIONS;
  const modules = entryModules(models, core, platform);
  // A module that is beside the worker could not be compiled from within it.
  for (const path of [...core.unused, ...(wasm ? [core.embedded] : [])]) {
    modules.set(sourceUrl(path), {
      loader: "js",
      contents: `export const WASM_HEX = "", INFERENCE_HEX = "";`,
    });
  }
  const worker = await bundleModules({
    modules,
    entry: ENTRY,
    external: wasm ? [wasm.specifier] : [],
    banner: `// Made by "evenkeel bundle" for ${platform.name}. Models: ${
      models.map(({ name }) => name).join(", ")
    }. Evenkeel is under the MIT License.`,
  });
  const contents: [string, Uint8Array][] = [
    [platform.worker, worker],
    ...(wasm ? [[wasm.file, wasmBytes(core)] as [string, Uint8Array]] : []),
    ...Object.entries(platform.companions).map((
      [path, companion],
    ): [string, Uint8Array] => [path, companionBytes(companion)]),
  ];
  const files: WorkerFile[] = [];
  for (const [path, content] of contents) {
    files.push({ path, content, gzip: await gzipSize(content) });
  }
  return { files, limits: limitsOf(platform, files) };
}

/** The sum of what counts, checked against the largest limit. */
function limitsOf(
  platform: Platform,
  files: readonly WorkerFile[],
): readonly LimitUse[] {
  const limits = platform.limits.map((limit) => ({
    ...limit,
    used: files.reduce(
      (sum, { content, gzip }) =>
        sum + (limit.counts === "gzip" ? gzip : content.length),
      0,
    ),
  }));
  if (limits.every(({ used, most }) => used > most)) {
    const { name, used, most, counts } = limits.at(-1)!;
    throw new UnsupportedError(
      `Cannot deploy these models: ${name} takes at most ${most} bytes${
        counts === "gzip" ? " after gzip" : ""
      }, the worker has ${used}; bundle fewer models, or for another platform`,
    );
  }
  return limits;
}
