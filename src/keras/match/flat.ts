/**
 * Finds the layers among variables that were saved without Keras: by names
 * such as `bn/gamma`, or by their places in what `get_weights()` gave.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { weightNames } from "../../layer/weights.ts";
import type {
  FileVariable,
  FlatVariables,
  NamedGroup,
} from "../contents/contents.ts";
import {
  canonicalName,
  fromTorch,
  renamed,
  scopeOf,
} from "../contents/flat_names.ts";
import { type Found, NOTHING_FOUND } from "../contents/found.ts";
import type { ConfigLayer } from "../model/config.ts";
import { layersInOrder } from "../model/weight_counts.ts";
import { ownerOf, withPaths } from "./flat_paths.ts";
import { matchNamed } from "./named.ts";
import { flagsOfCount, isWithoutNegativeVariance } from "./recognize.ts";

/** The most variables that a BatchNormalization has. */
const MOST = 7;
/** How many it has with Keras' defaults. */
const USUAL = 4;

/** What `np.savez` calls arrays without a name, and other lists' numbers. */
const NUMBER = /^(?:arr_)?(\d+)$/;

const TORCH_REASON =
  "its variables are named as PyTorch's BatchNorm names them, which normalizes axis 1 with an epsilon of 1e-5 and keeps the Bessel-corrected variance: name it in the option layers with { axis: 1, epsilon: 1e-5 }";

/** The variables of a list in its order; undefined, if they have names. */
function inOrder(
  variables: readonly FileVariable[],
): FileVariable[] | undefined {
  const numbered: { variable: FileVariable; at: number }[] = [];
  for (const variable of variables) {
    const digits = NUMBER.exec(variable.name)?.[1];
    if (digits === undefined) return undefined;
    numbered.push({ variable, at: Number(digits) });
  }
  return numbered.sort((a, b) => a.at - b.at).map(({ variable }) => variable);
}

/** Groups variables; the groups are in the order of their first variables. */
function grouped(
  variables: readonly FileVariable[],
  nameOf: (variable: FileVariable) => string,
): NamedGroup[] {
  const groups = new Map<string, FileVariable[]>();
  for (const variable of variables) {
    const name = nameOf(variable);
    const group = groups.get(name) ?? [];
    group.push(variable);
    groups.set(name, group);
  }
  return [...groups].map(([name, group]) => ({
    name,
    location: name,
    variables: group,
  }));
}

/** The number that a name is, within its scope. */
function numberOf({ name }: FileVariable): number {
  return Number(/(?:^|\/)(\d+)$/.exec(name)?.[1] ?? NaN);
}

/** Variables scope by scope, those of numbers in their order: 9 before 10. */
function orderedInScopes(variables: readonly FileVariable[]): FileVariable[] {
  return grouped(variables, ({ name }) => scopeOf(name)).flatMap((scope) => {
    const isList = scope.variables.every((each) => numberOf(each) >= 0);
    return isList
      ? [...scope.variables].sort((a, b) => numberOf(a) - numberOf(b))
      : scope.variables;
  });
}

function matchNames(
  { name, variables }: FlatVariables,
  layers: readonly ConfigLayer[] | undefined,
): Found[] {
  const named = orderedInScopes(
    variables.map((each) => renamed(each, canonicalName(each.name))),
  );
  if (layers?.length) {
    const groups = grouped(withPaths(named, layers), (variable) => {
      const scope = scopeOf(variable.name);
      return ownerOf(scope, layers)?.name ?? scope;
    });
    return matchNamed(groups.map((group) => fromTorch(group) ?? group), layers);
  }
  return grouped(named, (variable) => scopeOf(variable.name) || name)
    .map(foundInScope);
}

/** What the variables of one scope are, where nothing else is known. */
function foundInScope(group: NamedGroup): Found {
  const torch = fromTorch(group);
  const [found] = matchNamed([torch ?? group], undefined);
  const path = group.name.split("/");
  return {
    ...found!,
    path,
    name: path.at(-1)!,
    ...(torch ? { verdict: "possible", reason: TORCH_REASON } : {}),
  };
}

/** The list as a configuration has it: every BatchNormalization's part of it. */
function matchPlaces(
  variables: readonly FileVariable[],
  layers: readonly ConfigLayer[],
): Found[] {
  const places = layersInOrder(layers);
  const total = places.reduce((sum, { count }) => sum + count, 0);
  if (total !== variables.length) {
    throw new FormatError(
      `Cannot find the layers in a list of ${variables.length} arrays: the configuration's layers have ${total}`,
    );
  }
  const named: FileVariable[] = [];
  let at = 0;
  for (const { layer, count, flags } of places) {
    const own = variables.slice(at, at += count);
    if (!flags) continue;
    const scope = layer.path.join("/");
    const names = weightNames(flags);
    named.push(...own.map((each, i) => renamed(each, `${scope}/${names[i]}`)));
  }
  const groups = grouped(
    named,
    (variable) =>
      layers.find((layer) => variable.name.startsWith(`${layer.name}/`))!.name,
  );
  return matchNamed(groups, layers);
}

function isVectorLike(
  variable: FileVariable,
  other: FileVariable | undefined,
): boolean {
  return variable.dims.length === 1 &&
    other?.dims.join() === variable.dims.join();
}

/** Runs of vectors of one length in a list; whatever else is a run of its own. */
function runsOf(variables: readonly FileVariable[]): FileVariable[][] {
  const runs: FileVariable[][] = [];
  for (const variable of variables) {
    const run = runs.at(-1);
    if (run && isVectorLike(variable, run[0])) run.push(variable);
    else runs.push([variable]);
  }
  return runs;
}

/** What is possible among the vectors of a run: every four that can be a layer's. */
async function possibleIn(run: readonly FileVariable[]): Promise<Found[]> {
  const [first] = run;
  const { name, location } = first!;
  const found: Found[] = [];
  for (let at = 0; at + USUAL <= run.length; at++) {
    const variables = run.slice(at, at + USUAL);
    const flags = flagsOfCount(USUAL)!;
    if (!await isWithoutNegativeVariance(variables, flags)) continue;
    const { name, location } = variables[0]!;
    found.push({
      ...NOTHING_FOUND,
      name,
      path: [name],
      location,
      variables,
      verdict: "possible",
      reason: `${
        variables.map((each) => each.name).join(", ")
      } are ${USUAL} of ${
        run.length === USUAL ? "" : `${run.length} `
      }arrays of shape [${
        variables[0]!.dims.join(", ")
      }] in a row, without a negative value where the variance would be; other layers' arrays stand beside them, so that this can be chance: name it in the option layers, or give the option config`,
      flags,
    });
  }
  return found.length > 0
    ? found
    : [{ ...NOTHING_FOUND, name, path: [name], location, variables: run }];
}

/** The list of one layer, or of a whole model of which nothing is known. */
async function matchList(
  { name }: FlatVariables,
  variables: readonly FileVariable[],
): Promise<Found[]> {
  const shapes = new Set(variables.map(({ dims }) => dims.join()));
  if (shapes.size === 1 && variables.length <= MOST) {
    const only = { ...NOTHING_FOUND, name, path: [name], variables };
    return [{ ...only, location: name }];
  }
  const found: Found[] = [];
  for (const run of runsOf(variables)) found.push(...await possibleIn(run));
  return found;
}

/**
 * The layers among variables that were saved without Keras.
 *
 * Names decide where there are any. A list is that of one layer if all its
 * arrays have one shape and there are at most seven; otherwise it is a whole
 * model's, where a configuration tells each layer's place, and without one
 * nothing is more than possible.
 *
 * @param flat The variables.
 * @param layers The configuration's layers, where there is one.
 *
 * @throws {FormatError} If a configuration does not fit a list.
 */
export async function matchFlat(
  flat: FlatVariables,
  layers: readonly ConfigLayer[] | undefined,
): Promise<Found[]> {
  const list = inOrder(flat.variables);
  if (!list) return matchNames(flat, layers);
  return layers?.length
    ? matchPlaces(list, layers)
    : await matchList(flat, list);
}
