/**
 * A model as its edits need it.
 *
 * @module
 */

import type { ExternalData } from "./external_data.ts";
import { findNodes, type FoundNode } from "./find.ts";
import { findScopes, type Scope, type Scopes } from "./scopes.ts";
import type { TensorView } from "./tensor_view.ts";
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

/** The tensors of a graph or function: initializers, and those in attributes. */
function* tensorsOf({ body }: Scope): Generator<TensorView> {
  if (body.kind === "graph") yield* body.initializers.values();
  for (const { attributes } of body.nodes) {
    for (const { t } of attributes.values()) if (t) yield t;
  }
}

/** The files that a model's tensors are in, each once. */
export function externalLocations({ all }: Scopes): string[] {
  const locations = all.flatMap((scope) =>
    [...tensorsOf(scope)].flatMap(({ external }) =>
      external?.get("location") ?? []
    )
  );
  return [...new Set(locations)];
}
