/**
 * A model as its edits need it.
 *
 * @module
 */

import type { ExternalData } from "./external_data.ts";
import { findNodes, type FoundNode } from "./find.ts";
import { findScopes, type Scopes } from "./scopes.ts";
import { type ModelView, viewModel } from "./view.ts";

/** A model, decoded as far as its edits need. */
export interface OpenModel {
  readonly view: ModelView;
  readonly scopes: Scopes;
  readonly nodes: readonly FoundNode[];
  readonly external: ExternalData | undefined;
}

/**
 * Decodes a model and finds its BatchNormalizations.
 *
 * @throws {FormatError} If it is no ONNX model, truncated or damaged.
 */
export function openModel(
  bytes: Uint8Array,
  external: ExternalData | undefined,
): OpenModel {
  const view = viewModel(bytes);
  const scopes = findScopes(view);
  return { view, scopes, nodes: findNodes(scopes, external), external };
}
