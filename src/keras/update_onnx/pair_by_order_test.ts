import { assertEquals } from "@std/assert";
import fc from "fast-check";
import type { NormLayer, NormLayers } from "./layers.ts";
import { pairByOrder } from "./pair_by_order.ts";
import type { Reach, Site } from "./sites.ts";

/** Layers and sites of a graph: its edges, and where each layer is. */
interface Example {
  readonly layers: NormLayers;
  readonly reach: Reach;
  readonly all: readonly NormLayer[];
  readonly sites: readonly Site[];
}

/** Pairs of nodes with a path from one to the other. */
function closure(count: number, edges: readonly (readonly [number, number])[]) {
  const before = Array.from({ length: count }, () => new Set<number>());
  for (let node = 0; node < count; node++) {
    for (const [from, to] of edges) {
      if (to !== node) continue;
      before[node]!.add(from);
      for (const each of before[from]!) before[node]!.add(each);
    }
  }
  return (a: number, b: number): boolean => before[b]!.has(a);
}

/** Layers 0 to n - 1, of which layer i is at site i; edges lead upwards. */
function example(
  count: number,
  edges: readonly (readonly [number, number])[],
): Example {
  const isBefore = closure(count, [...edges].sort((a, b) => a[1] - b[1]));
  const all = Array.from({ length: count }, (_, i) => ({
    key: `layer${i}`,
    place: 0,
    layer: { i },
  } as unknown as NormLayer));
  const sites = Array.from({ length: count }, (_, i) => ({
    kind: "op",
    name: `node${i}`,
  } as unknown as Site));
  const at =
    <T>(list: readonly T[], is: (a: number, b: number) => boolean) =>
    (a: T, b: T) => is(list.indexOf(a), list.indexOf(b));
  return {
    layers: {
      layers: all,
      modelName: undefined,
      isBefore: at(all, isBefore),
    },
    reach: { isBefore: at(sites, isBefore) } as unknown as Reach,
    all,
    sites,
  };
}

function pairsOf({ layers, reach, all, sites }: Example, given = sites) {
  return pairByOrder(
    layers,
    reach,
    new Map(),
    new Map(all.map((layer) => [layer, given])),
  );
}

Deno.test("a chain has one order", () => {
  // As many layers of one width as no real model has.
  const count = 200;
  const chain = Array.from(
    { length: count - 1 },
    (_, i) => [i, i + 1] as const,
  );
  const made = example(count, chain);
  const { pairs, open } = pairsOf(made, [...made.sites].reverse());
  assertEquals(open.size, 0);
  assertEquals(
    made.all.map((layer) => pairs.get(layer)!.name),
    made.sites.map(({ name }) => name),
  );
});

Deno.test("branches alike are left open, and what is around them is not", () => {
  const made = example(5, [[0, 1], [0, 2], [1, 3], [2, 3], [3, 4]]);
  const { pairs, open } = pairsOf(made);
  assertEquals(
    [...pairs].map(([{ key }, { name }]) => [key, name]),
    [["layer0", "node0"], ["layer3", "node3"], ["layer4", "node4"]],
  );
  assertEquals(
    [...open].map(([{ key }, sites]) => [key, sites.map(({ name }) => name)]),
    [["layer1", ["node1", "node2"]], ["layer2", ["node1", "node2"]]],
  );
});

Deno.test("a pair is given only if no other arrangement has another one", () => {
  const graph = fc.integer({ min: 2, max: 6 }).chain((count) =>
    fc.tuple(
      fc.constant(count),
      fc.array(
        fc.tuple(fc.nat(count - 1), fc.nat(count - 1))
          .filter(([a, b]) => a !== b)
          .map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const),
      ),
    )
  );
  fc.assert(fc.property(graph, ([count, edges]) => {
    const made = example(count, edges);
    const { pairs } = pairsOf(made);
    const isBefore = closure(count, [...edges].sort((a, b) => a[1] - b[1]));
    // All arrangements that have the same order as the layers.
    const fitting: number[][] = [];
    const extend = (chosen: number[]): void => {
      const at = chosen.length;
      if (at === count) return void fitting.push(chosen);
      for (let site = 0; site < count; site++) {
        const fits = !chosen.includes(site) &&
          chosen.every((other, layer) =>
            isBefore(layer, at) === isBefore(other, site) &&
            isBefore(at, layer) === isBefore(site, other)
          );
        if (fits) extend([...chosen, site]);
      }
    };
    extend([]);
    made.all.forEach((layer, i) => {
      const places = new Set(fitting.map((each) => each[i]!));
      const site = pairs.get(layer);
      if (site) assertEquals([...places], [made.sites.indexOf(site)]);
      // And all of them, where all are clear.
      if (fitting.length === 1) assertEquals(site, made.sites[i]);
    });
  }));
});

Deno.test("a list tells what is not before", () => {
  const { all, sites, reach } = example(3, [[0, 1], [1, 2]]);
  const layers: NormLayers = {
    layers: all,
    modelName: undefined,
    isBefore: (a, b) => all.indexOf(a) > all.indexOf(b) ? false : undefined,
  };
  const { pairs } = pairByOrder(
    layers,
    reach,
    new Map(),
    new Map(all.map((layer) => [layer, sites])),
  );
  assertEquals(all.map((layer) => pairs.get(layer)), [...sites]);
});
