/**
 * Weight names of Keras' own HDF5 layout, taken apart: which variable of
 * which layer `outer/bn/gamma:0` is.
 *
 * @module
 */

import type { WeightFlags, WeightName } from "../../layer/weights.ts";
import type { FileVariable } from "../contents/contents.ts";

/**
 * Variables by the last part of their names.
 *
 * Keras 1 has `running_std`, which since Keras 1.1 is the variance: it was
 * filled from `tf.nn.moments` and kept its old name until Keras 2.
 */
const ROLES: Readonly<Record<string, WeightName>> = {
  gamma: "gamma",
  beta: "beta",
  moving_mean: "moving_mean",
  moving_variance: "moving_variance",
  moving_stddev: "moving_stddev",
  renorm_mean: "renorm_mean",
  renorm_stddev: "renorm_stddev",
  running_mean: "moving_mean",
  running_std: "moving_variance",
};

/** Keras 1's names: `bn_gamma`, in no scope. */
const KERAS_1_NAME = /^(.*)_(gamma|beta|running_mean|running_std)$/;

/** A weight's name, taken apart. */
interface ParsedName {
  /** All but the variable; the scope of the layer, or what stands for it. */
  readonly scope: string;
  readonly role: WeightName | undefined;
}

function parseName(name: string): ParsedName {
  // TensorFlow's output number, and the counter of a name that was taken.
  const bare = name.replace(/:\d+$/, "");
  const slash = bare.lastIndexOf("/");
  const last = bare.slice(slash + 1);
  const role = ROLES[last] ?? ROLES[last.replace(/_\d+$/, "")];
  const scope = slash < 0 ? "" : bare.slice(0, slash);
  if (role) return { scope, role };
  const [, layer, variable] = KERAS_1_NAME.exec(last) ?? [];
  return layer === undefined
    ? { scope, role }
    : { scope: scope ? `${scope}/${layer}` : layer, role: ROLES[variable!] };
}

/** The variables of one scope, which is one layer's, or a wrapper's. */
export interface Scope {
  /** The scope, such as `outer/bn`. */
  readonly name: string;
  /** Every variable in it. */
  readonly variables: readonly FileVariable[];
  /** Those that a BatchNormalization has. */
  readonly roles: ReadonlyMap<WeightName, FileVariable>;
}

/** Sorts variables by scope; scopes are in the order of their moving means, or else of first use. */
export function scopesOf(variables: readonly FileVariable[]): Scope[] {
  interface Growing {
    name: string;
    variables: FileVariable[];
    roles: Map<WeightName, FileVariable>;
  }
  const scopes = new Map<string, Growing>();
  for (const variable of variables) {
    const { scope, role } = parseName(variable.name);
    const entry: Growing = scopes.get(scope) ??
      { name: scope, variables: [], roles: new Map() };
    scopes.set(scope, entry);
    entry.variables.push(variable);
    if (role && !entry.roles.has(role)) entry.roles.set(role, variable);
  }
  // Frozen layers' gammas are listed behind those that learn; the moving
  // means never learn, so that they always have the layers' order.
  const order = (scope: Growing): number => {
    const mean = scope.roles.get("moving_mean");
    return variables.indexOf(mean ?? scope.variables[0]!);
  };
  return [...scopes.values()].sort((a, b) => order(a) - order(b));
}

/** Whether a scope has the two variables that nothing but a BatchNormalization has. */
export function hasStatistics({ roles }: Scope): boolean {
  return roles.has("moving_mean") && roles.has("moving_variance");
}

/** Which variables a scope has. */
export function flagsOf({ roles }: Pick<Scope, "roles">): WeightFlags {
  return {
    scale: roles.has("gamma"),
    center: roles.has("beta"),
    renorm: roles.has("moving_stddev"),
  };
}

/** Whether a scope is that of a name, perhaps within others. */
function endsWithName(scope: string, name: string): boolean {
  return scope === name || scope.endsWith(`/${name}`);
}

/** A counter that TensorFlow 1 put behind a scope that was taken. */
function withoutCounter(scope: string): string {
  return scope.replace(/_\d+$/, "");
}

/** The number of parts that a scope and a path have in common at their ends. */
function commonEnd(scope: string, path: readonly string[]): number {
  const a = scope.split("/").reverse();
  const b = path.join("/").split("/").reverse();
  const different = a.findIndex((part, i) => part !== b[i]);
  return different < 0 ? a.length : different;
}

/** What a scope can be to a layer. */
export type ScopeRule = "path" | "own" | "container" | "counted";

/**
 * The order in which {@linkcode scopeOfPath} tries the rules.
 *
 * @param isWrapped Whether the layer is another one's part, as in a
 * TimeDistributed: such a layer has its wrapper's scope, or one inside it, and
 * one of its own name is more likely another layer's.
 */
export function scopeRules(isWrapped: boolean): readonly ScopeRule[] {
  return isWrapped
    ? ["path", "container", "own", "counted"]
    : ["path", "own", "counted", "container"];
}

/** How well a scope fits a layer by one rule: more is better, undefined is not at all. */
function fitOf(
  scope: Scope,
  path: readonly string[],
  rule: ScopeRule,
  isWrapped: boolean,
): number | undefined {
  const name = path[path.length - 1]!;
  const parts = commonEnd(scope.name, path);
  switch (rule) {
    case "path": {
      const full = `/${path.join("/")}`;
      const isEnd = full.endsWith(`/${scope.name}`) ||
        `/${scope.name}`.endsWith(full);
      const least = name.split("/").length + (isWrapped ? 1 : 0);
      return isEnd && parts >= least ? parts : undefined;
    }
    case "own":
      return endsWithName(scope.name, name) ? parts : undefined;
    case "counted":
      return endsWithName(withoutCounter(scope.name), name) ? parts : undefined;
    case "container": {
      if (!hasStatistics(scope)) return undefined;
      const depth = path.findLastIndex((container, i) =>
        i < path.length - 1 && endsWithName(scope.name, container)
      );
      // The innermost container first.
      return depth < 0
        ? undefined
        : depth * 1e3 + commonEnd(scope.name, path.slice(0, depth + 1));
    }
  }
}

/**
 * The scope that a layer's path names, if it is clear which one.
 *
 * @param scopes Those that are not another layer's.
 * @param path The names down to the layer.
 * @param isWrapped Whether the layer is another one's part.
 * @param rules The rules to try: `path`, for a scope that is the end of the
 * path or has it at its end; `own`, for the layer's own name, within whatever;
 * `counted`, for its name with a counter; and `container`, for the containing
 * layers' names from the inside, since a wrapper such as TimeDistributed gives
 * its scope to what it wraps.
 */
export function scopeOfPath(
  scopes: readonly Scope[],
  path: readonly string[],
  isWrapped = false,
  rules: readonly ScopeRule[] = scopeRules(isWrapped),
): Scope | undefined {
  for (const rule of rules) {
    let best: { scope: Scope; fit: number } | undefined;
    for (const scope of scopes) {
      const fit = fitOf(scope, path, rule, isWrapped);
      if (fit === undefined) continue;
      const isBetter = !best || fit > best.fit ||
        fit === best.fit && scope.name.length < best.scope.name.length;
      if (isBetter) best = { scope, fit };
    }
    if (best) return best.scope;
  }
  return undefined;
}

/** Whether a layer can have a scope, by any rule; also for wrappers with a counter. */
export function canHaveScope(scope: Scope, path: readonly string[]): boolean {
  return path.some((name) =>
    endsWithName(scope.name, name) ||
    endsWithName(withoutCounter(scope.name), name)
  );
}
