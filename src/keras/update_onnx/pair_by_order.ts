/**
 * Pairs layers with places in a graph by what comes before what.
 *
 * @module
 */

import type { NormLayer, NormLayers } from "./layers.ts";
import type { Reach, Site } from "./sites.ts";

/** Backtracking gives up here: so many ways are no clear one. */
const MAX_STEPS = 20_000;

/** Pairs, and the layers that have several sites left. */
export interface Ordered {
  readonly pairs: ReadonlyMap<NormLayer, Site>;
  readonly open: ReadonlyMap<NormLayer, readonly Site[]>;
}

/** Whether two pairs can both be true: what comes first in Keras does so in the graph. */
export function areInOrder(
  layers: NormLayers,
  reach: Reach,
  [a, siteA]: readonly [NormLayer, Site],
  [b, siteB]: readonly [NormLayer, Site],
): boolean {
  const isLike = (one: boolean | undefined, other: boolean | undefined) =>
    one === undefined || other === undefined || one === other;
  return siteA !== siteB &&
    isLike(layers.isBefore(a, b), reach.isBefore(siteA, siteB)) &&
    isLike(layers.isBefore(b, a), reach.isBefore(siteB, siteA));
}

/** Whether what comes first in Keras comes last in the graph. */
export function areReversed(
  layers: NormLayers,
  reach: Reach,
  [a, siteA]: readonly [NormLayer, Site],
  [b, siteB]: readonly [NormLayer, Site],
): boolean {
  const isFirst = (one: NormLayer, other: NormLayer) =>
    layers.isBefore(one, other) === true;
  return isFirst(a, b) && reach.isBefore(siteB, siteA) === true ||
    isFirst(b, a) && reach.isBefore(siteA, siteB) === true;
}

class Search {
  readonly #layers: NormLayers;
  readonly #reach: Reach;
  readonly #fixed: readonly (readonly [NormLayer, Site])[];
  readonly #sites: ReadonlyMap<Site, number>;
  #steps = 0;

  constructor(
    layers: NormLayers,
    reach: Reach,
    fixed: ReadonlyMap<NormLayer, Site>,
    sites: readonly Site[],
  ) {
    this.#layers = layers;
    this.#reach = reach;
    this.#fixed = [...fixed];
    this.#sites = new Map(sites.map((site, i) => [site, i]));
  }

  #fits(
    a: NormLayer,
    siteA: Site,
    b: NormLayer,
    siteB: Site,
  ): boolean {
    // Two places of one layer are the same to it: let them be in order.
    if (a.layer === b.layer) {
      const rises = this.#sites.get(siteA)! < this.#sites.get(siteB)!;
      if (siteA === siteB || rises !== a.place < b.place) return false;
    }
    return areInOrder(this.#layers, this.#reach, [a, siteA], [b, siteB]);
  }

  /** The sites that fit the pairs that are known. */
  start(
    candidates: ReadonlyMap<NormLayer, readonly Site[]>,
  ): Map<NormLayer, Site[]> {
    return new Map(
      [...candidates].map(([layer, sites]) => [
        layer,
        sites.filter((site) =>
          this.#fixed.every(([other, taken]) =>
            this.#fits(layer, site, other, taken)
          )
        ),
      ]),
    );
  }

  /**
   * Leaves out sites with fewer others before or behind them than the layer
   * has: what comes before a layer needs sites before its own.
   */
  rank(domains: Map<NormLayer, Site[]>): void {
    const layers = [...domains.keys()];
    const sites = [...new Set([...domains.values()].flat())];
    const count = <T>(all: readonly T[], is: (one: T) => boolean): number =>
      all.reduce((sum, each) => sum + Number(is(each)), 0);
    // A site of which it is not known may be on either side.
    const room = new Map(sites.map((site) => [site, {
      before: count(sites, (o) => this.#reach.isBefore(o, site) ?? true),
      behind: count(sites, (o) => this.#reach.isBefore(site, o) ?? true),
    }]));
    for (const [layer, own] of domains) {
      const before = count(
        layers,
        (other) => this.#layers.isBefore(other, layer) ?? false,
      );
      const behind = count(
        layers,
        (other) => this.#layers.isBefore(layer, other) ?? false,
      );
      domains.set(
        layer,
        own.filter((site) =>
          room.get(site)!.before >= before && room.get(site)!.behind >= behind
        ),
      );
    }
  }

  /**
   * Leaves out sites for which another layer would have none, until nothing
   * changes.
   */
  narrow(domains: Map<NormLayer, Site[]>): void {
    for (let changed = true; changed;) {
      changed = false;
      for (const [layer, sites] of domains) {
        const left = sites.filter((site) =>
          [...domains].every(([other, others]) =>
            other === layer ||
            others.some((each) => this.#fits(layer, site, other, each))
          )
        );
        if (left.length < sites.length) {
          domains.set(layer, left);
          changed = true;
        }
      }
    }
  }

  /**
   * All ways to give each layer a site, up to two; undefined if there are too
   * many to try.
   */
  solutions(
    domains: ReadonlyMap<NormLayer, readonly Site[]>,
    isWanted: (solution: ReadonlyMap<NormLayer, Site>) => boolean,
  ): Map<NormLayer, Site>[] | undefined {
    // The fewest choices first.
    const open = [...domains].sort((a, b) => a[1].length - b[1].length);
    const found: Map<NormLayer, Site>[] = [];
    const chosen = new Map<NormLayer, Site>();
    const descend = (depth: number): boolean => {
      if (depth === open.length) {
        if (isWanted(chosen)) found.push(new Map(chosen));
        return found.length < 2;
      }
      const [layer, sites] = open[depth]!;
      for (const site of sites) {
        if (++this.#steps > MAX_STEPS) return false;
        const fits = [...chosen].every(([other, taken]) =>
          this.#fits(layer, site, other, taken)
        );
        if (!fits) continue;
        chosen.set(layer, site);
        const goOn = descend(depth + 1);
        chosen.delete(layer);
        if (!goOn) return false;
      }
      return true;
    };
    descend(0);
    return this.#steps > MAX_STEPS ? undefined : found;
  }
}

/** The pairs of layers with one site left, and the others. */
function settled(domains: ReadonlyMap<NormLayer, readonly Site[]>): Ordered {
  const entries = [...domains];
  return {
    pairs: new Map(
      entries.filter(([, sites]) => sites.length === 1)
        .map(([layer, [site]]) => [layer, site!]),
    ),
    open: new Map(entries.filter(([, sites]) => sites.length !== 1)),
  };
}

/**
 * Pairs layers with sites: those that fit, in an order that both graphs have.
 * BatchNormalization nodes are all some layer's, as long as there are enough
 * layers.
 *
 * @param layers The Keras model.
 * @param reach The graph.
 * @param fixed The pairs that are known.
 * @param candidates The sites that each other layer can be.
 * @returns The pairs of which there is no other way; and the layers that have
 * several sites or none.
 */
export function pairByOrder(
  layers: NormLayers,
  reach: Reach,
  fixed: ReadonlyMap<NormLayer, Site>,
  candidates: ReadonlyMap<NormLayer, readonly Site[]>,
): Ordered {
  const sites = [
    ...new Set([...fixed.values(), ...[...candidates.values()].flat()]),
  ];
  const search = new Search(layers, reach, fixed, sites);
  const domains = search.start(candidates);
  if ([...domains.values()].some(({ length }) => length === 0)) {
    return settled(domains);
  }
  const all = new Map(domains);
  search.rank(domains);
  search.narrow(domains);
  if ([...domains.values()].some(({ length }) => length === 0)) {
    // They contradict each other: what each could be, by itself.
    return { pairs: new Map(), open: all };
  }
  const narrowed = settled(domains);
  if (narrowed.open.size === 0) return narrowed;
  const ops = new Set(
    [...domains.values()].flat().filter(({ kind }) => kind === "op"),
  );
  const coversOps = (solution: ReadonlyMap<NormLayer, Site>): boolean => {
    const taken = new Set(solution.values());
    return ops.size > solution.size || [...ops].every((op) => taken.has(op));
  };
  const [only, second] = search.solutions(domains, coversOps) ?? [];
  return only && !second ? { pairs: only, open: new Map() } : narrowed;
}
