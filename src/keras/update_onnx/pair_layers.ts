/**
 * Finds where the layers of a Keras file are in a graph.
 *
 * @module
 */

import { FormatError, OptionError } from "../../errors.ts";
import { didYouMean } from "../../near_matches.ts";
import type { OpenModel } from "../../onnx/open.ts";
import type { NodeView } from "../../onnx/view.ts";
import { fitsKernel } from "./kernels.ts";
import type { ChannelOrder, NormLayer, NormLayers } from "./layers.ts";
import type { PairMap } from "./options.ts";
import { pairByNames } from "./pair_by_names.ts";
import { areReversed, pairByOrder } from "./pair_by_order.ts";
import {
  findSites,
  type FoldedSite,
  kernelSiteBefore,
  namesOf,
  Reach,
  type Site,
} from "./sites.ts";
import { heldWays, waysInto } from "./values.ts";

/**
 * How a layer was found: where the caller said; by the values that the old
 * Keras file gives; by the names of nodes; by those of the kernel's tensors;
 * or as the only way to have the layers in their order.
 */
export type PairEvidence =
  | "map"
  | "values"
  | "name"
  | "tensor name"
  | "order";

/** A layer and where it is. */
export interface FoundPair {
  readonly layer: NormLayer;
  readonly site: Site;
  readonly way: ChannelOrder;
  readonly by: PairEvidence;
}

/** A layer that was not found. */
export interface MissedLayer {
  readonly layer: NormLayer;
  readonly reason: string;
  readonly candidates: readonly Site[];
}

/** What was found. */
export interface FoundPairs {
  readonly pairs: readonly FoundPair[];
  readonly missed: readonly MissedLayer[];
  readonly leftOut: readonly string[];
  /** BatchNormalization nodes that are no layer's. */
  readonly kept: readonly Site[];
  readonly sites: readonly Site[];
}

type Ways = ReadonlyMap<Site, readonly ChannelOrder[]>;

function list(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(", ") || "none";
}

/** The state of a search. */
class Pairing {
  readonly #open: OpenModel;
  readonly #layers: NormLayers;
  readonly #was: ReadonlyMap<NormLayer, NormLayer> | undefined;
  readonly #sites: readonly Site[];
  readonly #reach: Reach;
  readonly #kernels: ReadonlyMap<NodeView, FoldedSite>;
  readonly #ways = new Map<NormLayer, Ways>();
  readonly #pairs = new Map<NormLayer, FoundPair>();
  readonly #missed = new Map<NormLayer, MissedLayer>();
  readonly #leftOut = new Set<string>();

  constructor(
    open: OpenModel,
    layers: NormLayers,
    was: ReadonlyMap<NormLayer, NormLayer> | undefined,
  ) {
    this.#open = open;
    this.#layers = layers;
    this.#was = was;
    this.#sites = findSites(open);
    this.#reach = new Reach(open, this.#sites);
    this.#kernels = new Map(
      this.#sites.flatMap((site) =>
        site.kind === "folded" ? [[site.folded.node, site]] : []
      ),
    );
    for (const layer of layers.layers) {
      const ways = this.#sites.map((site) =>
        [site, waysInto(layer, site)] as const
      );
      this.#ways.set(layer, new Map(ways.filter(([, way]) => way.length > 0)));
    }
  }

  #isOpen(layer: NormLayer): boolean {
    return !this.#pairs.has(layer) && !this.#missed.has(layer) &&
      !this.#leftOut.has(layer.key);
  }

  /** Layers that are still looked for, with the sites that are still free. */
  #candidates(): Map<NormLayer, Site[]> {
    const taken = new Set([...this.#pairs.values()].map(({ site }) => site));
    return new Map(
      this.#layers.layers.filter((layer) => this.#isOpen(layer)).map((
        layer,
      ) => [
        layer,
        [...this.#ways.get(layer)!.keys()].filter((site) => !taken.has(site)),
      ]),
    );
  }

  #miss(layer: NormLayer, reason: string, candidates: readonly Site[]): void {
    this.#missed.set(layer, { layer, reason, candidates });
  }

  #pair(layer: NormLayer, site: Site, by: PairEvidence): void {
    const [way, ...others] = this.#ways.get(layer)!.get(site)!;
    if (others.length > 0) {
      this.#miss(
        layer,
        `the constants of "${site.name}" can have its axes in several orders: give the old Keras file, whose values tell`,
        [site],
      );
      return;
    }
    this.#pairs.set(layer, { layer, site, way: way!, by });
  }

  #layersCalled(name: string): NormLayer[] {
    const { layers } = this.#layers;
    const own = layers.filter(({ key }) => key === name);
    if (own.length > 0) return own;
    const called = layers.filter(({ path }) => path.at(-1) === name);
    if (called.length > 0 && new Set(called.map(({ key }) => key)).size === 1) {
      return called;
    }
    const keys = [...new Set(layers.map(({ key }) => key))];
    throw new OptionError(
      `Cannot use "${name}" in the option map: the Keras file has no one BatchNormalization layer of that name${
        didYouMean(name, keys) || `, expected one of ${list(keys)}`
      }`,
    );
  }

  #siteCalled(name: string, layer: NormLayer): Site {
    const called = this.#sites.filter((site) => namesOf(site).includes(name));
    const fitting = called.filter((site) => this.#ways.get(layer)!.has(site));
    const [only, ...others] = fitting;
    if (only && others.length === 0) return only;
    const exact = fitting.find((site) => site.name === name);
    if (exact) return exact;
    const expected = list(
      [...this.#ways.get(layer)!.keys()].map((s) => s.name),
    );
    if (called.length > 0) {
      throw new OptionError(
        `Cannot pair layer "${layer.key}" with "${name}": it has no constants for ${layer.channels} channels in the layer's form, expected one of ${expected}`,
      );
    }
    const names = this.#sites.map((site) => site.name);
    throw new OptionError(
      `Cannot pair layer "${layer.key}" with "${name}": the ONNX model has no such node with constants, expected one of ${expected}${
        didYouMean(name, names)
      }`,
    );
  }

  /** Pairs what the caller says. */
  byMap(map: PairMap): void {
    const owners = new Map<Site, string>();
    for (const [name, nodes] of map) {
      const layers = this.#layersCalled(name);
      if (nodes === null) {
        this.#leftOut.add(layers[0]!.key);
        continue;
      }
      if (nodes.length !== layers.length) {
        throw new OptionError(
          `Cannot use the option map for layer "${name}": expected ${layers.length} nodes, as often as the model uses it, got ${nodes.length}`,
        );
      }
      layers.forEach((layer, i) => {
        const site = this.#siteCalled(nodes[i]!, layer);
        const other = owners.get(site);
        if (other !== undefined) {
          throw new OptionError(
            `Cannot use the option map: it has "${
              nodes[i]
            }" for layer "${other}" and for "${name}"`,
          );
        }
        owners.set(site, name);
        this.#pair(layer, site, "map");
      });
    }
  }

  /** Leaves each layer the sites that hold its old values, and pairs those that have one. */
  async byValues(): Promise<void> {
    if (!this.#was) return;
    for (const layer of this.#layers.layers) {
      const old = this.#was.get(layer)!;
      const held = new Map<Site, readonly ChannelOrder[]>();
      for (const site of this.#ways.get(layer)!.keys()) {
        const ways = await heldWays(old, site, this.#open.external);
        if (ways.length > 0) held.set(site, ways);
      }
      const mapped = this.#pairs.get(layer);
      if (mapped && !held.has(mapped.site)) {
        throw new OptionError(
          `Cannot pair layer "${layer.key}" with "${mapped.site.name}": it does not hold what the old Keras file gives; the node, or the file, is another one`,
        );
      }
      if (held.size === 0 && this.#isOpen(layer)) {
        this.#miss(
          layer,
          "no node holds what the old Keras file gives: the ONNX model was made of other weights",
          [...this.#ways.get(layer)!.keys()],
        );
      }
      this.#ways.set(layer, held);
    }
    const candidates = [...this.#candidates()];
    for (const [layer, sites] of candidates) {
      const [site, ...others] = sites;
      const isElsewhere = candidates.some(([other, these]) =>
        other.layer !== layer.layer && site && these.includes(site)
      );
      if (site && others.length === 0 && !isElsewhere) {
        this.#pair(layer, site, "values");
      }
    }
  }

  /** Pairs by names, unless they are against the order in the graph. */
  byNames(): void {
    const named = pairByNames(this.#candidates(), this.#layers.modelName);
    for (const [layer, site] of named.pairs) this.#pair(layer, site, "name");
    for (const [layer, site] of named.byTensors) {
      this.#pair(layer, site, "tensor name");
    }
    const pairs = [...this.#pairs.values()];
    const isByName = ({ by }: FoundPair) =>
      by === "name" || by === "tensor name";
    for (const pair of pairs.filter(isByName)) {
      const against = pairs.find((other) =>
        // Paths of shapes alone may be gone from the graph: only the reverse
        // order contradicts.
        other !== pair && areReversed(
          this.#layers,
          this.#reach,
          [pair.layer, pair.site],
          [other.layer, other.site],
        )
      );
      if (!against) continue;
      this.#pairs.delete(pair.layer);
      this.#miss(
        pair.layer,
        `"${pair.site.name}" is called as the layer is, but does not stand to "${against.site.name}" as the layer stands to "${against.layer.key}"`,
        [pair.site],
      );
    }
  }

  /** Whether what stands before a site is the kernel that stands before a layer. */
  #isBehindKernel({ kernel }: NormLayer, site: Site): boolean {
    if (!kernel || site.kind === "folded") return true;
    const before = kernelSiteBefore(site, this.#kernels);
    return before?.site !== undefined &&
      fitsKernel(kernel, before.site.folded);
  }

  /** BatchNormalization nodes that are left when these are paired too, and are more than what the caller leaves out. */
  #surplus(sites: readonly Site[]): Site[] {
    const taken = new Set([
      ...[...this.#pairs.values()].map(({ site }) => site),
      ...[...this.#missed.values()].flatMap(({ candidates }) => candidates),
      ...sites,
    ]);
    const left = this.#sites.filter((site) =>
      site.kind === "op" && !taken.has(site)
    );
    return left.length > this.#leftOut.size ? left : [];
  }

  /** Pairs what is left by the order, and says why the rest cannot be. */
  byOrder(): void {
    const candidates = this.#candidates();
    for (const [layer, sites] of candidates) {
      const free = sites.filter((site) =>
        site.kind !== "folded" || !site.isFollowed
      );
      const behind = free.filter((site) => this.#isBehindKernel(layer, site));
      candidates.set(layer, behind.length > 0 ? behind : free);
    }
    const fixed = new Map(
      [...this.#pairs].map(([layer, { site }]) => [layer, site]),
    );
    const { pairs, open } = pairByOrder(
      this.#layers,
      this.#reach,
      fixed,
      candidates,
    );
    const surplus = this.#surplus([
      ...pairs.values(),
      ...[...open.values()].flat(),
    ]);
    for (const [layer, site] of pairs) {
      // Without names or values, only the whole model is evidence.
      if (surplus.length === 0) this.#pair(layer, site, "order");
      else {
        this.#miss(
          layer,
          `by the order of the layers it would be "${site.name}", but then the BatchNormalization ${
            list(surplus.map(({ name }) => name))
          } of the ONNX model would be no layer's: it seems to be another model`,
          [site],
        );
      }
    }
    for (const [layer, sites] of open) {
      this.#miss(
        layer,
        sites.length === 0
          ? `the ONNX model has no BatchNormalization, Mul or kernel for its ${layer.channels} channels that is no other layer's${
            layer.call
              ? ""
              : "; kernels are looked at only with the model's configuration, which files of weights do not have: give it too (load: { config }, or --config)"
          }`
          : `it could be ${list(sites.map(({ name }) => name))}`,
        sites,
      );
    }
  }

  result(): FoundPairs {
    const pairs = this.#layers.layers.flatMap((layer) =>
      this.#pairs.get(layer) ?? []
    );
    const taken = new Set(pairs.map(({ site }) => site));
    return {
      pairs,
      missed: this.#layers.layers.flatMap((layer) =>
        this.#missed.get(layer) ?? []
      ),
      leftOut: [...this.#leftOut],
      kept: this.#sites.filter((site) =>
        site.kind === "op" && !taken.has(site)
      ),
      sites: this.#sites,
    };
  }
}

/**
 * The layers of the old Keras file that are those of the new one: by key, or
 * if a model was built again under other names, by place.
 *
 * @throws {FormatError} If it is another model's.
 */
function oldLayers(
  layers: NormLayers,
  was: NormLayers,
): Map<NormLayer, NormLayer> {
  const idOf = ({ key, place }: NormLayer) => JSON.stringify([key, place]);
  const byId = new Map(was.layers.map((layer) => [idOf(layer), layer]));
  const isByName = layers.layers.every((layer) => byId.has(idOf(layer)));
  const isByPlace = layers.layers.length === was.layers.length;
  const pairs = layers.layers.map((layer, i) =>
    [
      layer,
      isByName ? byId.get(idOf(layer)) : isByPlace ? was.layers[i] : undefined,
    ] as const
  );
  return new Map(pairs.map(([layer, old]) => {
    if (
      old && old.layer.movingMean.dims.join() ===
        layer.layer.movingMean.dims.join()
    ) {
      return [layer, old];
    }
    throw new FormatError(
      `Cannot compare with the old Keras file: ${
        old
          ? `its layer "${old.key}" has ${old.channels} channels, "${layer.key}" of the new one ${layer.channels}`
          : `it has no layer "${layer.key}"`
      }; it is another model's`,
    );
  }));
}

/**
 * Pairs the layers of a Keras file with nodes of an ONNX model: by the
 * strongest evidence that there is for each.
 *
 * @param open The ONNX model.
 * @param layers The Keras file's layers.
 * @param was Those of the old Keras file, if there is one.
 * @param map What the caller says.
 *
 * @throws {FormatError} If the old Keras file is another model's.
 * @throws {OptionError} If the map names something that does not fit.
 */
export async function pairLayers(
  open: OpenModel,
  layers: NormLayers,
  was: NormLayers | undefined,
  map: PairMap,
): Promise<FoundPairs> {
  const pairing = new Pairing(open, layers, was && oldLayers(layers, was));
  pairing.byMap(map);
  await pairing.byValues();
  pairing.byNames();
  pairing.byOrder();
  return pairing.result();
}
