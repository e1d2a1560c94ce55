/**
 * Names that people and other libraries give variables, as Keras' own.
 *
 * @module
 */

import type { FileVariable, NamedGroup } from "./contents.ts";

/** Variables of a BatchNormalization that can stand behind a layer's name and `_`. */
const SUFFIX =
  /^(.*[^/])_(gamma|beta|moving_mean|moving_variance|moving_stddev|renorm_mean|renorm_stddev)(:\d+)?$/;

/** Every name that Keras gives a BatchNormalization's variable. */
const OWN_NAME =
  /(^|\/)(gamma|beta|moving_mean|moving_variance|moving_stddev|renorm_mean|renorm_stddev)(_\d+)?(:\d+)?$/;

/**
 * A name with `/` between its parts: `layers.3.gamma` is `layers/3/gamma`,
 * `bn_gamma` is `bn/gamma`, and `bn/vars/0` is `bn/0`.
 */
export function canonicalName(name: string): string {
  const parts = name.includes("/") ? name : name.replaceAll(".", "/");
  const bare = parts.replace(/^\/+/, "").replace(/(^|\/)vars\/(\d+)$/, "$1$2");
  return OWN_NAME.test(bare) ? bare : bare.replace(SUFFIX, "$1/$2$3");
}

/** A variable under another name; it stays where it is. */
export function renamed(variable: FileVariable, name: string): FileVariable {
  return {
    name,
    location: variable.location,
    type: variable.type,
    dims: variable.dims,
    read: () => variable.read(),
  };
}

/** All parts of a name but the last. */
export function scopeOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf("/")));
}

/** PyTorch's names of what Keras calls otherwise. */
const TORCH_NAMES: Readonly<Record<string, string>> = {
  weight: "gamma",
  bias: "beta",
  running_mean: "moving_mean",
  running_var: "moving_variance",
};
const TORCH_COUNTER = "num_batches_tracked";

/**
 * A group with Keras' names, if it has those of PyTorch's BatchNorm.
 *
 * @returns The group; undefined for any other group.
 */
export function fromTorch(group: NamedGroup): NamedGroup | undefined {
  const lastOf = ({ name }: FileVariable) =>
    name.slice(name.lastIndexOf("/") + 1);
  const names = group.variables.map(lastOf);
  if (!names.includes("running_mean") || !names.includes("running_var")) {
    return undefined;
  }
  const variables = group.variables
    .filter((variable) => lastOf(variable) !== TORCH_COUNTER)
    .map((variable) => {
      const last = lastOf(variable);
      const own = Object.hasOwn(TORCH_NAMES, last) ? TORCH_NAMES[last]! : last;
      const scope = scopeOf(variable.name);
      return renamed(variable, scope ? `${scope}/${own}` : own);
    });
  return { ...group, variables };
}
