/**
 * Checks the package's type declarations in strict projects that are not
 * Deno's, with several releases of TypeScript and several sets of libraries.
 *
 * @module
 */

import { run } from "./processes.ts";
import type { Project } from "./project.ts";
import { type Tools, VERSIONS } from "./tools.ts";

/** A project that uses the main parts of the public surface. */
function consumer(name: string): string {
  return `import {
  BatchNormalization, type BatchNormalizationOptions, buildOnnx, createSession,
  EvenkeelError, type KerasModel, loadKeras, openOnnx, setKernels, SGD, type Tensor,
  tensor, TrainingState, trainStep,
} from "${name}";
import { FrozenBatchNormalization } from "${name}/inference";

const options: BatchNormalizationOptions = { axis: -1, epsilon: 1e-3 };
const layer = new BatchNormalization(options);
const x: Tensor = tensor([1, 2, 3, 4], [2, 2]);
const bits: Tensor = tensor(new Uint16Array(4), [2, 2], "float16");
const y: Float32Array | Float64Array | Uint16Array | object = layer.call(x).data;
trainStep(layer, x, { optimizer: new SGD({ learningRate: 1 }), gradient: (y) => y });
new TrainingState().add(x);
setKernels("auto", { onFallback: (reason) => { throw reason; } });

export async function main(bytes: Uint8Array): Promise<void> {
  const model: KerasModel = await loadKeras(bytes);
  await loadKeras(new Map([["model.json", bytes]]));
  for (const loaded of model.batchNormalizations.values()) {
    const onnx: Uint8Array = buildOnnx(loaded, { inputShape: [null, 2] });
    const updated = openOnnx(onnx).update(new Map([["bn", { mean: [1, 2] }]]));
    const session = await createSession(updated);
    const outputs = await session.run({ x });
    void outputs["y"]?.dims;
  }
  // @ts-expect-error: a path or bytes, not a number
  await loadKeras(1);
  // @ts-expect-error: no such option
  new BatchNormalization({ axes: 1 });
  const error: unknown = new EvenkeelError("EVENKEEL_SHAPE", "");
  if (error instanceof EvenkeelError) {
    const code: string = error.code;
    void code;
  }
  void [FrozenBatchNormalization, bits, y];
}
`;
}

/** What only projects with the libraries of browsers can say. */
const BROWSER_CONSUMER = (name: string): string =>
  `import { loadKeras, setKernels } from "${name}";
export async function choose(file: File, module: WebAssembly.Module): Promise<void> {
  setKernels("wasm", { module });
  await loadKeras(file);
  await loadKeras(new URL("https://example.com/model.keras"));
  // @ts-expect-error: a module or nothing
  setKernels("wasm", { module: null });
}
`;

/** The sets of libraries, by what they are called in the report. */
const LIBRARIES: Readonly<Record<string, readonly string[]>> = {
  "without dom": ["ES2022"],
  "with dom": ["ES2022", "DOM"],
  "newest": ["ESNext", "DOM"],
};

/** How modules are found. */
const MODULES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  bundler: { module: "ESNext", moduleResolution: "bundler" },
  nodenext: { module: "NodeNext", moduleResolution: "nodenext" },
};

/** What came of one check. */
export interface TypesOutcome {
  readonly name: string;
  /** TypeScript's complaints; none if all is well. */
  readonly complaints: string;
}

/** Checks all combinations. */
export async function checkTypes(
  { folder, name }: Project,
  tools: Tools,
): Promise<TypesOutcome[]> {
  await Deno.writeTextFile(`${folder}/consumer.ts`, consumer(name));
  await Deno.writeTextFile(
    `${folder}/browser_consumer.ts`,
    BROWSER_CONSUMER(name),
  );
  const outcomes: TypesOutcome[] = [];
  for (const version of VERSIONS.typescripts) {
    for (const [libraries, lib] of Object.entries(LIBRARIES)) {
      for (const [modules, resolution] of Object.entries(MODULES)) {
        const hasDom = lib.includes("DOM");
        const config = `${folder}/tsconfig.json`;
        await Deno.writeTextFile(
          config,
          JSON.stringify({
            compilerOptions: {
              ...resolution,
              lib,
              target: "ES2022",
              types: [],
              strict: true,
              exactOptionalPropertyTypes: true,
              noUncheckedIndexedAccess: true,
              noPropertyAccessFromIndexSignature: true,
              verbatimModuleSyntax: true,
              // The declarations themselves are checked too.
              skipLibCheck: false,
              noEmit: true,
            },
            files: ["consumer.ts", ...(hasDom ? ["browser_consumer.ts"] : [])],
          }),
        );
        let complaints = "";
        try {
          await run(tools.node24, [
            `${tools.folder}/node_modules/typescript-${version}/bin/tsc`,
            "-p",
            config,
          ]);
        } catch (error) {
          complaints = (error as Error).message;
        }
        outcomes.push({
          name: `TypeScript ${version}, ${libraries}, ${modules}`,
          complaints,
        });
      }
    }
  }
  return outcomes;
}
