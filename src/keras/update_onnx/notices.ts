/**
 * What an update leaves as it is although the Keras file may have it
 * otherwise.
 *
 * @module
 */

import type { ExternalData } from "../../onnx/external_data.ts";
import { countOf, readFloatInput } from "../../onnx/linear_form_input.ts";
import { castTensor, type Tensor, widen } from "../../tensor.ts";
import type { FileVariable } from "../contents/contents.ts";
import { rawType } from "../files/raw_tensor.ts";
import type { OpenedKeras } from "../load/opened_keras.ts";
import { layerCalls } from "../model/layer_calls.ts";
import {
  fitsKernel,
  type KernelLayer,
  kernelLayer,
  readKernel,
} from "./kernels.ts";
import type { FoundPairs } from "./pair_layers.ts";
import type { FoldedSite } from "./sites.ts";

/**
 * Larger tensors are not compared: it takes several copies in float64, and a
 * model that was trained on shows in the smaller ones as well.
 */
const MOST_COMPARED = 2 ** 20;

function isComparable({ dims }: FileVariable): boolean {
  return countOf(dims) <= MOST_COMPARED;
}

function list(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(", ");
}

function equals(a: Tensor, b: Tensor): boolean {
  const [left, right] = [widen(a), widen(b)];
  return left.length === right.length &&
    left.every((value, i) => Object.is(value, right[i]) || value === right[i]);
}

/** Whether an operator has a layer's kernel. */
async function hasKernel(
  layer: KernelLayer,
  { folded }: FoldedSite,
  external: ExternalData | undefined,
): Promise<boolean> {
  const { dims, type } = folded.weight;
  const data = (await readKernel(layer, folded)).kernel;
  const kernel = castTensor({ type: "float64", dims, data }, type);
  return equals(kernel, readFloatInput(folded.weight, external));
}

/**
 * Layers whose kernel the graph does not have, but others of the shape.
 * Kernels that a BatchNormalization is folded into are not looked at.
 */
async function otherKernels(
  { pairs, sites }: FoundPairs,
  keras: OpenedKeras,
  written: ReadonlySet<string>,
  external: ExternalData | undefined,
): Promise<string[]> {
  const taken = new Set(pairs.map(({ site }) => site));
  const free = sites.filter((site): site is FoldedSite =>
    site.kind === "folded" && !taken.has(site)
  );
  const { config } = keras.model;
  const calls = config ? layerCalls(config) ?? [] : [];
  const byKey = new Map(calls.map((call) => [call.path.join("/"), call]));
  const others: string[] = [];
  for (const [key, call] of byKey) {
    const layer = kernelLayer(call, keras.variablesOf(call.path));
    if (!layer || written.has(key) || !isComparable(layer.kernel)) continue;
    const fitting = free.filter(({ folded }) => fitsKernel(layer, folded));
    let isThere = fitting.length === 0;
    for (const site of fitting) {
      isThere ||= await hasKernel(layer, site, external);
    }
    if (!isThere) others.push(key);
  }
  return others;
}

async function isSame(
  variables: readonly FileVariable[],
  old: readonly FileVariable[],
): Promise<boolean> {
  if (variables.length !== old.length) return false;
  for (const [i, variable] of variables.entries()) {
    const other = old[i]!;
    if (variable.dims.join() !== other.dims.join()) return false;
    if (!rawType(variable.type) || !rawType(other.type)) continue;
    if (!isComparable(variable)) continue;
    if (!equals(await variable.read(), await other.read())) return false;
  }
  return true;
}

/** Layers other than the written ones that have changed since the old file. */
async function changedSince(
  keras: OpenedKeras,
  was: OpenedKeras,
  written: ReadonlySet<string>,
): Promise<string[]> {
  const changed: string[] = [];
  const known = new Set(was.model.layers.map(({ key }) => key));
  for (const { key, path } of keras.model.layers) {
    if (written.has(key) || !known.has(key)) continue;
    const same = await isSame(keras.variablesOf(path), was.variablesOf(path));
    if (!same) changed.push(key);
  }
  return changed;
}

/**
 * What a caller should know of a pairing before the model is used.
 *
 * @param found The pairing.
 * @param keras The Keras file.
 * @param was The old one, if there is one.
 * @param external Where elements in other files come from.
 * @returns Sentences without a full stop.
 */
export async function noticesOf(
  found: FoundPairs,
  keras: OpenedKeras,
  was: OpenedKeras | undefined,
  external: ExternalData | undefined,
): Promise<string[]> {
  const folded = found.pairs.filter(({ site }) => site.kind === "folded");
  const written = new Set([
    ...keras.model.batchNormalizations.keys(),
    ...folded.map(({ layer }) => layer.kernel!.path.join("/")),
  ]);
  const others = new Set(await otherKernels(found, keras, written, external));
  if (was) {
    for (const key of await changedSince(keras, was, written)) others.add(key);
  }
  const notices: string[] = [];
  if (others.size > 0) {
    notices.push(
      `The model has other weights than the Keras file in ${
        list([...others])
      }: only BatchNormalizations and the kernels that they are folded into are written; convert the model again if those layers were trained too`,
    );
  }
  const unchecked = folded.filter(({ by }) => by !== "values")
    .map(({ layer }) => layer.key);
  if (unchecked.length > 0 && !was) {
    notices.push(
      `Of ${
        list(unchecked)
      }, folded into a kernel, only the shapes were checked: give the old Keras file to check the values`,
    );
  }
  if (found.kept.length > 0) {
    notices.push(
      `The Keras file has no layer for the BatchNormalization ${
        list(found.kept.map(({ name }) => name))
      }: left as it is`,
    );
  }
  return notices;
}
