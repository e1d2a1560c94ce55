/**
 * What a graph tells of its inputs and outputs, by name.
 *
 * @module
 */

import type { GraphView, ValueView } from "../view.ts";

/** The inputs and outputs of a graph by name. */
interface Ports {
  readonly inputs: ReadonlyMap<string, ValueView>;
  readonly outputs: ReadonlyMap<string, ValueView>;
}

// Old formats list every constant as an input: to look each one up among all
// others would take the square of their number. Views never change.
const known = new WeakMap<GraphView, Ports>();

function byName(values: readonly ValueView[]): Map<string, ValueView> {
  return new Map(values.map((value) => [value.name, value]));
}

/** The inputs and outputs of a graph. */
export function portsOf(graph: GraphView): Ports {
  const ports = known.get(graph) ??
    { inputs: byName(graph.inputs), outputs: byName(graph.outputs) };
  known.set(graph, ports);
  return ports;
}
