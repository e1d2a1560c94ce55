/**
 * All layers of a file, each with what was found about it.
 *
 * @module
 */

import type { KerasConfig } from "../../layer/config.ts";
import type { Contents, Weights } from "../contents/contents.ts";
import type { Found } from "../contents/found.ts";
import { matchFlat } from "../match/flat.ts";
import { matchNamed } from "../match/named.ts";
import { matchObjects } from "../match/objects.ts";
import { judge } from "../match/recognize.ts";
import { type ConfigLayer, configLayers } from "../model/config.ts";
import { type Keyed, withKeys } from "./selection.ts";

/** Keras 1: only mode 0 normalizes with the moving statistics at inference. */
function reasonOfMode(config: KerasConfig | undefined): string | undefined {
  const mode = config?.mode;
  if (mode === 1) {
    return "mode 1 of Keras 1 normalizes each sample on its own";
  }
  return mode === 2
    ? "mode 2 of Keras 1 uses the batch's statistics at inference as well, not the moving ones"
    : undefined;
}

async function concluded(found: Found): Promise<Found> {
  const { verdict, location, entry, config } = found;
  if (verdict === "certain") {
    const reason = reasonOfMode(config);
    return reason ? { ...found, verdict: "possible", reason } : found;
  }
  if (verdict !== "other" || entry || location === undefined) return found;
  const { variables } = found;
  // Names that say what they are, such as a LayerNormalization's, are not
  // overruled by shapes.
  const isNamed = variables.some(({ name }) =>
    !/\d$/.test(name.replace(/:\d+$/, ""))
  );
  if (isNamed) return found;
  const group = location.slice(location.lastIndexOf("/") + 1);
  return { ...found, ...await judge(group, variables) };
}

function matched(
  weights: Weights,
  layers: readonly ConfigLayer[] | undefined,
): readonly Found[] | Promise<readonly Found[]> {
  switch (weights.kind) {
    case "named":
      return matchNamed(weights.groups, layers);
    case "objects":
    case "tracked":
      return matchObjects(weights.root, layers);
    case "flat":
      return matchFlat(weights, layers);
    case "layers":
      return weights.layers;
  }
}

/** All layers of a file, each with what was found about it. */
export async function findLayers(
  { weights }: Contents,
  config: KerasConfig | undefined,
): Promise<Keyed[]> {
  const layers = config && configLayers(config);
  const found: Found[] = [];
  for (const each of await matched(weights, layers)) {
    const result = weights.kind === "layers" ? each : await concluded(each);
    // Parts of layers that the configuration describes, such as an LSTM's
    // cell, are not listed.
    const isPart = layers?.length && !result.entry;
    if (!(isPart && result.verdict === "other")) found.push(result);
  }
  return withKeys(found);
}
