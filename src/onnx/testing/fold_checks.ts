/**
 * Checks of a folded model against the one that it was made of.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { type Tensor, widen } from "../../tensor.ts";
import { foldNodes, type FoldResult } from "../fold/fold.ts";
import { openModel } from "../open.ts";
import { runReference } from "../reference.ts";
import { makeModel, type ModelSpec } from "./fold_models.ts";
import { randomTensor } from "./layers.ts";
import { magnitudeOf, magnitudesOf, toleranceOf } from "./magnitudes.ts";

/** Folds a file. */
export function fold(bytes: Uint8Array): FoldResult {
  return foldNodes(openModel(bytes, undefined));
}

/**
 * Asserts that onnxruntime-web gives the same for a model and its folded form,
 * as far as roundings allow; see {@linkcode toleranceOf}.
 */
export async function assertSame(
  model: Uint8Array,
  folded: Uint8Array,
  feeds: Readonly<Record<string, Tensor>>,
): Promise<void> {
  const expected = await runReference(model, feeds);
  const actual = await runReference(folded, feeds);
  const sums = await runReference(
    magnitudesOf(model),
    Object.fromEntries(
      Object.entries(feeds).map(([name, each]) => [name, magnitudeOf(each)]),
    ),
  );
  assertEquals(Object.keys(actual), Object.keys(expected));
  for (const [name, want] of Object.entries(expected)) {
    const got = actual[name]!;
    assertEquals([got.type, got.dims], [want.type, want.dims]);
    const tolerance = toleranceOf(model, want.type as "float32" | "float64");
    const [y, z, sum] = [widen(want), widen(got), widen(sums[name]!)];
    y.forEach((value, i) => {
      const bound = tolerance * sum[i]!;
      assert(
        Math.abs(value - z[i]!) <= bound,
        `${name}[${i}]: ${value} and ${z[i]} differ by more than ${bound}`,
      );
    });
    // Outputs that are all the same would show nothing.
    assert(new Set(y).size > 1 || y.length < 2);
  }
}

/** Folds a model, and asserts that it gives the same for random inputs. */
export async function assertFolds(
  spec: ModelSpec,
  next: () => number,
): Promise<FoldResult> {
  const model = makeModel(spec);
  const result = fold(model);
  const type =
    Object.values(spec.constants ?? {}).flatMap((value) =>
      "type" in value ? value.type : []
    )[0] ?? "float32";
  const feeds = Object.fromEntries(
    Object.entries(spec.inputs ?? {})
      .filter(([name]) => spec.constants?.[name] === undefined)
      .map(([name, shape]) => {
        const dims = shape.map((extent) =>
          typeof extent === "number" ? extent : 2
        );
        return [name, randomTensor(next, dims, { type })];
      }),
  );
  if (result.folded.length > 0) await assertSame(model, result.bytes, feeds);
  else assertEquals(result.bytes, model);
  // What is left cannot be folded either, and nothing else is touched.
  const again = fold(result.bytes);
  assertEquals(again.folded, []);
  assertEquals(again.bytes, result.bytes);
  assertEquals(
    again.kept.map(({ name }) => name),
    result.kept.map(({ name }) => name),
  );
  return result;
}
