// The models of scripts/fixtures that are made for folding: what is folded is
// what their index says, and the outputs are those of native onnxruntime.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { UnsupportedError } from "../../errors.ts";
import {
  type ElementType,
  isElementType,
  type Tensor,
  widen,
} from "../../tensor.ts";
import { runReference } from "../reference.ts";
import { fold } from "../testing/fold_checks.ts";
import {
  magnitudeOf,
  magnitudesOf,
  toleranceOf,
} from "../testing/magnitudes.ts";

interface StoredTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: string;
}

interface Fixture {
  readonly name: string;
  readonly file: string;
  readonly fold?: readonly {
    readonly node: string;
    readonly foldable: boolean;
    readonly into?: string;
    readonly direction?: string;
  }[];
  readonly run: {
    readonly inputs: Readonly<Record<string, StoredTensor>>;
    readonly outputs: Readonly<Record<string, StoredTensor>>;
  } | null;
}

const FOLDER = new URL("../../../testdata/onnx/models/", import.meta.url);

const fixtures = (JSON.parse(
  Deno.readTextFileSync(new URL("../models.json", FOLDER)),
) as Fixture[]).filter(({ fold }) => fold);

function load({ dtype, shape, data }: StoredTensor): Tensor | undefined {
  if (!isElementType(dtype)) return undefined;
  const { buffer } = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const arrays: Record<ElementType, (b: ArrayBuffer) => Tensor["data"]> = {
    float32: (b) => new Float32Array(b),
    float64: (b) => new Float64Array(b),
    float16: (b) => new Uint16Array(b),
    bfloat16: (b) => new Uint16Array(b),
  };
  return { type: dtype, dims: shape, data: arrays[dtype](buffer) };
}

function loadAll(
  stored: Readonly<Record<string, StoredTensor>>,
): Record<string, Tensor> | undefined {
  const tensors = Object.entries(stored).map(([name, each]) =>
    [name, load(each)] as const
  );
  return tensors.every(([, tensor]) => tensor)
    ? Object.fromEntries(tensors) as Record<string, Tensor>
    : undefined;
}

Deno.test("fold fixtures: there are some of each kind", () => {
  const all = fixtures.flatMap(({ fold }) => fold!);
  for (const direction of ["before", "after", undefined]) {
    assert(all.some((each) => each.direction === direction));
  }
});

/** Has a bool input, which our tensors do not have; see fold_graphs_test.ts. */
const NOT_FED = "fold_conv_in_branch";
/** Of a type in which onnxruntime-web has no Conv; see fold_constants_test.ts. */
const NO_CONV = "fold_conv_float64";

for (const { name, file, fold: expected, run } of fixtures) {
  Deno.test(`fold fixtures: ${name}`, async () => {
    const model = Deno.readFileSync(new URL(file, FOLDER));
    const { bytes, folded, kept } = fold(model);
    const last = (path: string) => path.slice(path.lastIndexOf("/") + 1);
    assertEquals(
      new Set([
        ...folded.map(({ name, into, direction }) =>
          `${last(name)} into ${last(into)}, ${direction}`
        ),
        ...kept.map(({ name }) => `${last(name)} stays`),
      ]),
      new Set(
        expected!.map(({ node, foldable, into, direction }) =>
          foldable ? `${node} into ${into}, ${direction}` : `${node} stays`
        ),
      ),
    );
    if (folded.length === 0) {
      assertEquals(bytes, model);
      return;
    }
    const feeds = loadAll(run!.inputs);
    if (!feeds) {
      assertEquals(name, NOT_FED);
      return;
    }
    if (name === NO_CONV) {
      await assertRejects(() => runReference(bytes, feeds), UnsupportedError);
      return;
    }
    const outputs = await runReference(bytes, feeds);
    const sums = await runReference(
      magnitudesOf(model),
      Object.fromEntries(
        Object.entries(feeds).map(([key, each]) => [key, magnitudeOf(each)]),
      ),
    );
    const wanted = loadAll(run!.outputs)!;
    assertEquals(Object.keys(outputs), Object.keys(wanted));
    for (const [key, want] of Object.entries(wanted)) {
      const tolerance = toleranceOf(model, want.type as "float16" | "float32");
      const [y, z, sum] = [want, outputs[key]!, sums[key]!].map(widen);
      y!.forEach((value, i) =>
        assert(Math.abs(value - z![i]!) <= tolerance * sum![i]!, key)
      );
    }
  });
}
