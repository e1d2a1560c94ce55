/**
 * Layers as JSON: `{"bn": {"gamma": [1, 2], ...}}`, which Python's json reads,
 * with its NaN and Infinity.
 *
 * @module
 */

import { elementCount, type Tensor, widen } from "../../tensor.ts";
import type { WritableLayer } from "./writable.ts";

/** A number as Python's json writes it. */
function numberText(value: number): string {
  if (Number.isFinite(value)) return Object.is(value, -0) ? "-0.0" : `${value}`;
  return Number.isNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
}

function listText(
  values: ArrayLike<number>,
  dims: readonly number[],
  start: number,
): string {
  const [extent, ...inner] = dims;
  if (extent === undefined) return numberText(values[start]!);
  const step = elementCount(inner);
  const items = Array.from(
    { length: extent },
    (_, i) => listText(values, inner, start + i * step),
  );
  return `[${items.join(", ")}]`;
}

function tensorText(tensor: Tensor): string {
  return listText(widen(tensor), tensor.dims, 0);
}

/** The text of all variables, by layer and name, as UTF-8. */
export function writeJson(layers: readonly WritableLayer[]): Uint8Array {
  const texts = layers.map(({ key, weights }) => {
    const variables = [...weights].map(([name, tensor]) =>
      `    ${JSON.stringify(name)}: ${tensorText(tensor)}`
    );
    return `  ${JSON.stringify(key)}: {\n${variables.join(",\n")}\n  }`;
  });
  return new TextEncoder().encode(`{\n${texts.join(",\n")}\n}\n`);
}
