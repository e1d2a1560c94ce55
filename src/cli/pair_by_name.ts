/**
 * Which layer of one file is which of another, by their names.
 *
 * @module
 */

import type { KerasLayer } from "../keras/load/types.ts";
import { sameDims } from "../tensor.ts";
import { UsageError } from "./command.ts";

/** How two layers were found to be the same. */
export type PairedBy = "--map" | "name" | "name, _ for /" | "last part of name";

/** A layer that is replaced. */
export interface NamePair {
  readonly from: KerasLayer;
  readonly to: KerasLayer;
  readonly by: PairedBy;
}

/** Names as they are compared, the surer first. */
const RULES: readonly (readonly [PairedBy, (layer: KerasLayer) => string])[] = [
  ["name", ({ key }) => key],
  // Formats whose names have one part only.
  ["name, _ for /", ({ key }) => key.replaceAll("/", "_")],
  ["last part of name", ({ path }) => path.at(-1)!],
];

/**
 * Reads `--map FROM=TO`.
 *
 * @throws {UsageError} If one is not like that, or a layer is there twice.
 */
export function readPairs(texts: readonly string[] = []): Map<string, string> {
  const pairs = new Map<string, string>();
  for (const text of texts) {
    const at = text.indexOf("=");
    const from = text.slice(0, Math.max(0, at));
    const to = text.slice(at + 1);
    if (from === "" || to === "") {
      throw new UsageError(
        `Cannot use --map ${text}: expected LAYER=EXISTING, the names of two layers`,
      );
    }
    if (pairs.has(from) || [...pairs.values()].includes(to)) {
      throw new UsageError(
        `Cannot use --map ${text}: one of the layers is there twice`,
      );
    }
    pairs.set(from, to);
  }
  return pairs;
}

function quoted(layers: readonly KerasLayer[]): string {
  return layers.map(({ key }) => `"${key}"`).join(", ");
}

function byKey(layers: readonly KerasLayer[], key: string): KerasLayer {
  const layer = layers.find((each) => each.key === key);
  if (layer) return layer;
  throw new UsageError(
    `Cannot use "${key}" in --map: expected one of ${quoted(layers)}`,
  );
}

/** Whether two layers have variables of the same shapes. */
function isAlike(a: KerasLayer, b: KerasLayer): boolean {
  const dims = ({ weights }: KerasLayer) =>
    weights.find(({ role }) => role === "moving_mean")?.dims ?? [];
  return sameDims(dims(a), dims(b)) && a.weights.length === b.weights.length;
}

function unpaired(
  layer: KerasLayer,
  existing: readonly KerasLayer[],
  free: readonly KerasLayer[],
): UsageError {
  const alike = free.filter((each) => isAlike(layer, each));
  const last = ({ path }: KerasLayer) => path.at(-1);
  const called = free.filter((each) => last(each) === last(layer));
  return new UsageError(
    `Cannot tell which layer "${layer.key}" is to replace: ${
      called.length === 0
        ? `none is called so among ${quoted(existing)}`
        : `it could be ${quoted(called)}`
    }; say it with --map ${layer.key}=${
      alike[0]?.key ?? "NAME"
    }, or choose layers with --layer`,
  );
}

/**
 * Pairs all layers of a file with those of another: as `--map` says, by their
 * whole names, and by the last parts of these, where there is one layer of the
 * name on each side.
 *
 * @throws {UsageError} If a layer is left over, or `--map` names one that is
 * not there.
 */
export function pairByName(
  layers: readonly KerasLayer[],
  existing: readonly KerasLayer[],
  map: ReadonlyMap<string, string>,
): NamePair[] {
  const pairs = new Map<KerasLayer, NamePair>();
  for (const [from, to] of map) {
    const layer = byKey(layers, from);
    const place = byKey(existing, to);
    pairs.set(layer, { from: layer, to: place, by: "--map" });
  }
  const open = () => layers.filter((each) => !pairs.has(each));
  const free = () => {
    const taken = new Set([...pairs.values()].map(({ to }) => to));
    return existing.filter((each) => !taken.has(each));
  };
  for (const [by, nameOf] of RULES) {
    const [left, places] = [open(), free()];
    for (const from of left) {
      const isSame = (each: KerasLayer) => nameOf(each) === nameOf(from);
      const [to, ...others] = places.filter(isSame);
      if (to && others.length === 0 && left.filter(isSame).length === 1) {
        pairs.set(from, { from, to, by });
      }
    }
  }
  const [left] = open();
  if (left) throw unpaired(left, existing, free());
  return layers.map((each) => pairs.get(each)!);
}
