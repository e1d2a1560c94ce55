/**
 * Which layer a model applies to which layer's output, from its
 * configuration, in every release's spelling.
 *
 * @module
 */

import type { KerasConfig } from "../../layer/config.ts";
import { isObject } from "../../layer/keras_object.ts";

/** One application of a layer; a layer that is used twice has two. */
export interface LayerCall {
  /** The names from the model's layer down to this one. */
  readonly path: readonly string[];
  readonly className: string;
  readonly config: KerasConfig;
  /** What it is applied to. */
  readonly inputs: readonly LayerCall[];
}

/** A reference to a tensor: `["conv", 0, 0]`, the layer and which call of it. */
type Reference = readonly [name: string, call: number];

/** Models within models multiply; no real one comes near. */
const MAX_CALLS = 20_000;

/** What a configuration says that no model is like. */
class Unreadable extends Error {}

/** References anywhere in a value: Keras 3 has them deep inside of arguments. */
function* referencesIn(value: unknown, depth = 0): Generator<Reference> {
  if (depth > 32 || typeof value !== "object" || value === null) return;
  if (Array.isArray(value)) {
    const [name, call, position] = value;
    if (
      typeof name === "string" && Number.isSafeInteger(call) &&
      Number.isSafeInteger(position)
    ) {
      yield [name, call];
      // Arguments with a name, some of which are tensors too.
      yield* referencesIn(value[3], depth + 1);
      return;
    }
  }
  for (const each of Object.values(value)) {
    yield* referencesIn(each, depth + 1);
  }
}

function isSerialized(value: unknown): value is KerasConfig {
  return isObject(value) && typeof value.class_name === "string" &&
    (isObject(value.config) || Array.isArray(value.config));
}

/** Whether a value in a configuration is a layer, and not a policy, an initializer and so on. */
function isLayer(value: unknown): value is KerasConfig {
  return isSerialized(value) && isObject(value.config) &&
    typeof value.config.name === "string" &&
    ("trainable" in value.config || "layers" in value.config);
}

/** The members of a model; undefined if it is none. */
function membersOf(config: unknown): KerasConfig[] | undefined {
  // Up to Keras 2.1, Sequential's configuration is the list itself.
  const layers = Array.isArray(config)
    ? config
    : isObject(config)
    ? config.layers
    : undefined;
  return Array.isArray(layers) && layers.every(isSerialized)
    ? layers
    : undefined;
}

function nameOf(entry: KerasConfig): string {
  const { config } = entry;
  return String(
    entry.name ?? (isObject(config) ? config.name : undefined) ??
      entry.class_name,
  );
}

/** The calls of a functional model's member, one for each list of inputs. */
function inboundOf({ inbound_nodes }: KerasConfig): readonly unknown[] {
  return Array.isArray(inbound_nodes) ? inbound_nodes : [];
}

class Expander {
  readonly calls: LayerCall[] = [];

  #call(
    path: readonly string[],
    entry: KerasConfig,
    inputs: readonly LayerCall[],
  ): LayerCall {
    if (this.calls.length === MAX_CALLS) throw new Unreadable();
    const className = String(entry.class_name);
    const call: LayerCall = {
      path,
      className: className.slice(className.lastIndexOf(">") + 1),
      config: isObject(entry.config) ? entry.config : {},
      inputs,
    };
    this.calls.push(call);
    return call;
  }

  #layer(
    entry: KerasConfig,
    parent: readonly string[],
    inputs: readonly LayerCall[],
  ): readonly LayerCall[] {
    const path = [...parent, nameOf(entry)];
    if (path.length > 64) throw new Unreadable();
    const { config } = entry;
    if (membersOf(config)) return this.model(config, path, inputs);
    // What a wrapper such as TimeDistributed wraps.
    const wrapped = Object.values(isObject(config) ? config : {})
      .filter(isLayer);
    const inner = wrapped.flatMap((each) => this.#layer(each, path, inputs));
    return [this.#call(path, entry, inner.length > 0 ? inner : inputs)];
  }

  model(
    config: unknown,
    path: readonly string[],
    inputs: readonly LayerCall[],
  ): readonly LayerCall[] {
    const members = membersOf(config)!;
    const isFunctional = members.some((entry) => inboundOf(entry).length > 0);
    return isFunctional
      ? this.#functional(config as KerasConfig, members, path, inputs)
      : this.#sequential(members, path, inputs);
  }

  #sequential(
    members: readonly KerasConfig[],
    path: readonly string[],
    inputs: readonly LayerCall[],
  ): readonly LayerCall[] {
    let at = inputs;
    for (const entry of members) {
      const isInput = entry.class_name === "InputLayer";
      if (!isInput || at.length === 0) at = this.#layer(entry, path, at);
    }
    return at;
  }

  #functional(
    config: KerasConfig,
    members: readonly KerasConfig[],
    path: readonly string[],
    inputs: readonly LayerCall[],
  ): readonly LayerCall[] {
    const byName = new Map(members.map((entry) => [nameOf(entry), entry]));
    // A model's own construction counts as a call of its layers, in some
    // releases: the numbers need not begin at 0.
    const highest = new Map<string, number>();
    const all = [...members.flatMap(inboundOf), config.output_layers];
    for (const [name, call] of referencesIn(all)) {
      highest.set(name, Math.max(highest.get(name) ?? 0, call));
    }
    const starts = [...referencesIn(config.input_layers)].map(([name]) => name);
    const known = new Map<string, readonly LayerCall[] | undefined>();
    const outputOf = (name: string, call: number): readonly LayerCall[] => {
      const entry = byName.get(name);
      if (!entry) throw new Unreadable();
      const nodes = inboundOf(entry);
      const surplus = Math.max(
        0,
        (highest.get(name) ?? 0) - (nodes.length - 1),
      );
      const index = Math.max(0, call - surplus);
      const key = JSON.stringify([name, index]);
      if (known.has(key)) {
        const result = known.get(key);
        if (!result) throw new Unreadable(); // it depends on itself
        return result;
      }
      known.set(key, undefined);
      const given = inputs[starts.indexOf(name)];
      const before = [...referencesIn(nodes[index])].flatMap((reference) =>
        outputOf(...reference)
      );
      const result = nodes.length === 0 && given
        ? [given]
        : this.#layer(entry, path, before);
      known.set(key, result);
      return result;
    };
    for (const entry of members) {
      const nodes = inboundOf(entry);
      const first = Math.max(
        0,
        (highest.get(nameOf(entry)) ?? 0) - (nodes.length - 1),
      );
      for (let i = 0; i < Math.max(1, nodes.length); i++) {
        outputOf(nameOf(entry), first + i);
      }
    }
    return [...referencesIn(config.output_layers)].flatMap((reference) =>
      outputOf(...reference)
    );
  }
}

/**
 * Every call of a layer in a model, those inside of nested models too, each
 * after what it is applied to.
 *
 * @param model `{ class_name, config }`, or only what `get_config` gave.
 * @returns The calls; undefined if the configuration does not tell, as that
 * of a model that is written as a class.
 */
export function layerCalls(
  model: KerasConfig,
): readonly LayerCall[] | undefined {
  const { class_name, config = model } = model;
  const body = class_name === undefined && Array.isArray(model.layers)
    ? model
    : config;
  if (!membersOf(body)) return undefined;
  const expander = new Expander();
  try {
    expander.model(body, [], []);
  } catch (error) {
    if (error instanceof Unreadable || error instanceof RangeError) {
      return undefined;
    }
    throw error;
  }
  return expander.calls;
}

/** All calls that a call depends on. */
export function callsBefore(call: LayerCall): Set<LayerCall> {
  const before = new Set<LayerCall>();
  const open = [...call.inputs];
  for (let at = open.pop(); at; at = open.pop()) {
    if (before.has(at)) continue;
    before.add(at);
    open.push(...at.inputs);
  }
  return before;
}

/** Layers that do nothing in inference. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set([
  "Dropout",
  "AlphaDropout",
  "GaussianDropout",
  "GaussianNoise",
  "SpatialDropout1D",
  "SpatialDropout2D",
  "SpatialDropout3D",
  "ActivityRegularization",
  "Identity",
  "InputLayer",
]);

/** Whether a configuration's activation is none. */
export function isLinear({ activation }: KerasConfig): boolean {
  const name = isObject(activation)
    ? (isObject(activation.config) ? activation.config.name : undefined) ??
      activation.class_name
    : activation;
  return name === undefined || name === null || name === "linear";
}

/**
 * The one call that a call is applied to, through layers that do nothing;
 * undefined if there are several, or others use what it gives.
 */
export function onlyCallBefore(
  call: LayerCall,
  users: ReadonlyMap<LayerCall, number>,
): LayerCall | undefined {
  const [before, ...others] = call.inputs;
  if (!before || others.length > 0 || (users.get(before) ?? 0) > 1) {
    return undefined;
  }
  const { className, config } = before;
  const isPassing = WITHOUT_EFFECT.has(className) ||
    className === "Activation" && isLinear(config);
  return isPassing ? onlyCallBefore(before, users) : before;
}

/** How many calls use what each call gives. */
export function usersOf(
  calls: readonly LayerCall[],
): ReadonlyMap<LayerCall, number> {
  const users = new Map<LayerCall, number>();
  for (const { inputs } of calls) {
    for (const input of inputs) users.set(input, (users.get(input) ?? 0) + 1);
  }
  return users;
}
