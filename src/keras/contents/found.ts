/**
 * What was found about one layer before it is loaded.
 *
 * @module
 */

import type { KerasConfig } from "../../layer/config.ts";
import type { WeightFlags, WeightName } from "../../layer/weights.ts";
import type { FileVariable } from "./contents.ts";

/**
 * How sure it is that a layer is a BatchNormalization:
 *
 * - `"certain"`: its configuration says so; it must load.
 * - `"recognized"`: its variables say so, for the reason that is recorded.
 * - `"possible"`: it may be one, or another one than it seems; not loaded
 *   unless the caller names it.
 * - `"other"`: it is none.
 */
export type Verdict = "certain" | "recognized" | "possible" | "other";

/** A layer, or in a file without a configuration a group of variables. */
export interface Found {
  readonly name: string;
  readonly path: readonly string[];
  readonly className: string | undefined;
  /** What `get_config` gave. */
  readonly config: KerasConfig | undefined;
  /** The whole serialized layer, `{ class_name, config, ... }`. */
  readonly entry: KerasConfig | undefined;
  /** Where its variables are, or should be. */
  readonly location: string | undefined;
  /** Its variables in the file's order. */
  readonly variables: readonly FileVariable[];
  /** The variables by role, where the file names them. */
  readonly roles: ReadonlyMap<WeightName, FileVariable> | undefined;
  readonly verdict: Verdict;
  readonly reason: string | undefined;
  /** Which variables there are, for one that has no configuration. */
  readonly flags: WeightFlags | undefined;
}

/** What all layers have in common that are not looked at any further. */
export const NOTHING_FOUND = {
  className: undefined,
  config: undefined,
  entry: undefined,
  location: undefined,
  variables: [],
  roles: undefined,
  verdict: "other",
  reason: undefined,
  flags: undefined,
} as const satisfies Partial<Found>;
