/**
 * Finds the layers in a file of named weights: by the configuration's names
 * where there is one, otherwise by the names of the variables alone.
 *
 * @module
 */

import type { FileVariable, NamedGroup } from "../contents/contents.ts";
import { type Found, NOTHING_FOUND } from "../contents/found.ts";
import {
  type ConfigLayer,
  isBatchNormalization,
  resemblesBatchNormalization,
} from "../model/config.ts";
import { openAxes } from "./recognize.ts";
import {
  canHaveScope,
  flagsOf,
  hasStatistics,
  type Scope,
  scopeOfPath,
  scopeRules,
  scopesOf,
} from "./weight_scopes.ts";

const BY_NAMES = "its variables are named as a BatchNormalization's are";

/** A layer and all layers inside it, containers first. */
function* withChildren(layer: ConfigLayer): Generator<ConfigLayer> {
  yield layer;
  for (const child of layer.children) yield* withChildren(child);
}

/** The layers' names from the top-level layer's on, as far as a scope tells. */
function pathOfScope(group: NamedGroup, { name: scope }: Scope): string[] {
  const { name } = group;
  if (name === "") return scope.split("/").filter((part) => part !== "");
  if (scope === "" || scope === name || scope.endsWith(`/${name}`)) {
    return [name];
  }
  const at = `/${scope}/`.lastIndexOf(`/${name}/`);
  // In front of the layer's name is the model's; without it, the scope is
  // that of the layers in a nested model.
  const inside = at < 0 ? scope : scope.slice(at + name.length + 1);
  return [name, ...inside.split("/").filter((part) => part !== "")];
}

/** Where a scope is: in its group, or by itself in a group that is the whole model's. */
function locationOf(group: NamedGroup, scope: Scope): string {
  return group.location === "" ? scope.name : group.location;
}

function recognized(group: NamedGroup, scope: Scope): Found {
  const path = pathOfScope(group, scope);
  const open = openAxes(scope.roles.get("moving_mean")?.dims ?? []);
  return {
    ...NOTHING_FOUND,
    name: path[path.length - 1] ?? "",
    path,
    location: locationOf(group, scope),
    variables: scope.variables,
    roles: scope.roles,
    verdict: open ? "possible" : "recognized",
    reason: open ? `${BY_NAMES}, but ${open}` : BY_NAMES,
    flags: flagsOf(scope),
  };
}

/** What a file without a configuration says about a top-level layer. */
function foundInGroup(group: NamedGroup): Found[] {
  const scopes = scopesOf(group.variables);
  if (scopes.length === 0) {
    const { name, location } = group;
    if (name === "") return [];
    return [{ ...NOTHING_FOUND, name, path: [name], location }];
  }
  return scopes.map((scope) => {
    const found = recognized(group, scope);
    return hasStatistics(scope) ? found : {
      ...found,
      roles: undefined,
      verdict: "other",
      reason: undefined,
      flags: undefined,
    };
  });
}

/** What is behind the last slash of a name. */
function lastPart(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}

/** Whether a layer is another layer's part, and not a member of a model. */
function isPart({ path, inList }: ConfigLayer): boolean {
  return path.length > 1 && !inList;
}

/** Shares out the scopes of one group among the layers that it belongs to, and all inside them. */
class GroupMatcher {
  readonly #group: NamedGroup;
  readonly #free: Set<Scope>;
  /** The scopes by the last parts of their names, with and without a counter. */
  readonly #byLastPart = new Map<string, Scope[]>();
  readonly #layers: readonly ConfigLayer[];
  readonly #taken = new Map<ConfigLayer, Scope>();

  constructor(group: NamedGroup, layers: readonly ConfigLayer[]) {
    this.#group = group;
    this.#layers = layers.flatMap((layer) => [...withChildren(layer)]);
    const scopes = scopesOf(group.variables);
    this.#free = new Set(scopes);
    for (const scope of scopes) {
      const last = lastPart(scope.name);
      for (const part of new Set([last, last.replace(/_\d+$/, "")])) {
        const there = this.#byLastPart.get(part) ?? [];
        there.push(scope);
        this.#byLastPart.set(part, there);
      }
    }
    const wanted = this.#layers.filter((each) =>
      isBatchNormalization(each) || resemblesBatchNormalization(each)
    );
    const ordered = scopes.filter(hasStatistics);
    const isExact = this.#takeByNames(wanted);
    // A name with a counter, or a wrapper's, can be that of several layers,
    // but the moving means are in the layers' order.
    // TensorFlow.js' converter lists a whole model's layers by their names.
    const hasOrder = group.name !== "";
    const fitsOrder = hasOrder && wanted.length === ordered.length &&
      wanted.every(({ path }, i) => canHaveScope(ordered[i]!, path));
    if (!isExact && fitsOrder) {
      for (const scope of this.#taken.values()) this.#free.add(scope);
      this.#taken.clear();
      wanted.forEach((each, i) => this.#take(each, ordered[i]));
      return;
    }
    const left = wanted.filter((each) => !this.#taken.has(each));
    const unnamed = [...this.#free].filter(hasStatistics);
    // Names that fit nothing, such as a Theano backend's.
    const isClear = left.length === 1 || hasOrder && left.length > 0;
    if (isClear && left.length === unnamed.length) {
      left.forEach((each, i) => this.#take(each, unnamed[i]));
    }
  }

  /**
   * Gives layers the scopes that their names tell: one rule after the other
   * for all of them, so that none is given what is more clearly another's.
   *
   * @returns Whether all scopes have the layers' paths.
   */
  #takeByNames(wanted: readonly ConfigLayer[]): boolean {
    const names = new Set(this.#layers.map(({ name }) => name));
    const isNamed = ({ name }: Scope): boolean =>
      names.has(name) || names.has(lastPart(name));
    const rounds = scopeRules(false).length;
    for (let round = 0; round < rounds; round++) {
      for (const each of wanted) {
        if (this.#taken.has(each)) continue;
        const rule = scopeRules(isPart(each))[round]!;
        // Only a container's scope has another last part than the layer.
        const alike = rule === "container"
          ? [...this.#free]
          : (this.#byLastPart.get(lastPart(each.name)) ?? [])
            .filter((scope) => this.#free.has(scope));
        const offered = rule === "counted"
          ? alike.filter((scope) => !isNamed(scope))
          : alike;
        this.#take(each, scopeOfPath(offered, each.path, isPart(each), [rule]));
      }
      if (round === 0 && this.#taken.size === wanted.length) return true;
    }
    return false;
  }

  #take(layer: ConfigLayer, scope: Scope | undefined): void {
    if (!scope) return;
    this.#taken.set(layer, scope);
    this.#free.delete(scope);
  }

  *found(): Generator<Found> {
    const leftover = [...this.#free].filter(hasStatistics)
      .map((scope) => recognized(this.#group, scope));
    for (const layer of this.#layers) {
      const own = leftover.findIndex(({ path }) =>
        path.join("/") === layer.path.join("/")
      );
      yield this.#foundFor(
        layer,
        own < 0 ? undefined : leftover.splice(own, 1)[0],
      );
    }
    // Layers inside custom ones, which no configuration describes.
    yield* leftover;
  }

  #foundFor(layer: ConfigLayer, leftover: Found | undefined): Found {
    const { name, path, className, config, entry } = layer;
    const common = { ...NOTHING_FOUND, name, path, className, config, entry };
    const scope = this.#taken.get(layer);
    // A group of the whole model says nothing about a layer that is not in it.
    const location = scope
      ? locationOf(this.#group, scope)
      : this.#group.location || undefined;
    if (isBatchNormalization(layer)) {
      return {
        ...common,
        location,
        variables: scope?.variables ?? this.#onlyOwn(layer),
        // Without a name that is known, the order decides.
        roles: scope?.roles.size ? scope.roles : undefined,
        verdict: "certain",
      };
    }
    if (scope) {
      return {
        ...common,
        location,
        variables: scope.variables,
        roles: scope.roles,
        verdict: "possible",
        reason:
          `the class ${className} is not Keras' own, but has a BatchNormalization's configuration and variables`,
        flags: flagsOf(scope),
      };
    }
    // A custom layer whose variables are those of a layer inside it.
    return leftover
      ? { ...leftover, ...{ name, path, className } }
      : { ...common, location };
  }

  /** Unnamed variables of a group that is this layer's alone. */
  #onlyOwn(layer: ConfigLayer): readonly FileVariable[] {
    const [only, ...others] = this.#layers;
    return only === layer && others.length === 0 ? this.#group.variables : [];
  }
}

/** Layers that the file has no group for; they have no weights. */
function withoutGroup(layer: ConfigLayer): Found[] {
  return [...withChildren(layer)].map((each) => {
    const { name, path, className, config, entry } = each;
    return {
      ...NOTHING_FOUND,
      name,
      path,
      className,
      config,
      entry,
      verdict: isBatchNormalization(each) ? "certain" : "other",
    };
  });
}

/**
 * The layers of a file of named weights, in the model's order.
 *
 * @param groups The groups of weights, one per top-level layer, or a single
 * one without a name for the whole model.
 * @param layers The configuration's layers, where there is one.
 */
export function matchNamed(
  groups: readonly NamedGroup[],
  layers: readonly ConfigLayer[] | undefined,
): Found[] {
  if (!layers?.length) return groups.flatMap(foundInGroup);
  const [only] = groups;
  if (only?.name === "") return [...new GroupMatcher(only, layers).found()];
  const byName = new Map(groups.map((group) => [group.name, group]));
  return layers.flatMap((layer) => {
    const group = byName.get(layer.name);
    return group
      ? [...new GroupMatcher(group, [layer]).found()]
      : withoutGroup(layer);
  });
}
