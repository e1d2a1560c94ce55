import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { FormatError } from "../../errors.ts";
import type { FileVariable, ObjectNode } from "../contents/contents.ts";
import { matchObjects } from "../match/objects.ts";
import { configLayers } from "../model/config.ts";
import { type TrackedObject, trackedTree } from "./tracked_tree.ts";

function object(
  children: Readonly<Record<string, number>>,
  rest: Partial<TrackedObject> = {},
): TrackedObject {
  return {
    children: new Map(Object.entries(children)),
    variable: undefined,
    entry: undefined,
    isOptimizer: false,
    ...rest,
  };
}

function variable(name: string): TrackedObject {
  const own: FileVariable = {
    name,
    location: name,
    type: "float32",
    dims: [2],
    read: () => ({ type: "float32", dims: [2], data: new Float32Array(2) }),
  };
  return object({}, { variable: own });
}

/** Two objects: a batch normalization without gamma and beta at `at`. */
function norm(at: number, name: string): TrackedObject[] {
  return [
    object({ moving_mean: at + 1, moving_variance: at + 2 }),
    variable(`${name}/moving_mean`),
    variable(`${name}/moving_variance`),
  ];
}

/** Keys with locations of all that is below a node. */
function outline(node: ObjectNode): string[] {
  return [...node.children.values()].flatMap((child) => [
    `${child.name ?? child.key}@${child.location}`,
    ...outline(child),
  ]);
}

Deno.test("an object's place is the shortest path to it", () => {
  const root = trackedTree([
    object({ deep: 1, near: 3, keras_api: 2 }),
    object({ norm: 3 }),
    object({ norm: 3 }),
    ...norm(3, "bn"),
  ]);
  assertEquals(outline(root), ["bn@near"]);
});

Deno.test("objects may hang on each other", () => {
  const root = trackedTree([
    object({ self: 0, block: 1 }),
    object({ owner: 0, norm: 2, self: 1 }),
    ...norm(2, "bn"),
  ]);
  assertEquals(outline(root), ["block@block", "bn@block/norm"]);
});

Deno.test("optimizers and what only they hold are no layers", () => {
  const root = trackedTree([
    object({ optimizer: 1, opt: 2, norm: 3 }),
    object({ moving_mean: 4, moving_variance: 5 }),
    object({ moving_mean: 4, moving_variance: 5 }, { isOptimizer: true }),
    ...norm(3, "bn"),
  ]);
  assertEquals(outline(root), ["bn@norm"]);
});

Deno.test("one scope of several objects is nobody's name", () => {
  const root = trackedTree([
    object({ a: 1, b: 4 }),
    ...norm(1, "model"),
    ...norm(4, "model"),
  ]);
  assertEquals(outline(root), ["a@a", "b@b"]);
});

/** A functional model with a nested one that begins with the same layer. */
function sharing(): TrackedObject[] {
  return [
    object({
      "layer-0": 1,
      "layer_with_weights-0": 2,
      "layer-1": 2,
      "layer-2": 3,
    }),
    object({}),
    object({ "layer-0": 1, "layer-1": 3 }),
    ...norm(3, "bn"),
  ];
}

function serialized(className: string, name: string, config = {}): unknown {
  return {
    class_name: className,
    config: { name, trainable: true, ...config },
  };
}

const BN = serialized("BatchNormalization", "bn", {
  scale: false,
  center: false,
});

function modelOf(...layers: unknown[]) {
  return configLayers({ class_name: "Functional", config: { layers } });
}

const SHARING = modelOf(
  serialized("InputLayer", "x"),
  serialized("Functional", "inner", {
    layers: [serialized("InputLayer", "x"), BN],
  }),
  BN,
);

Deno.test("a layer in two models is matched where it comes first", () => {
  const found = matchObjects(trackedTree(sharing()), SHARING)
    .filter(({ verdict }) => verdict === "certain");
  assertEquals(found.map(({ path, location }) => [path.join("/"), location]), [
    ["inner/bn", "layer-2"],
  ]);
});

Deno.test("a configuration of another model is refused", () => {
  const tree = trackedTree(sharing());
  assertThrows(
    () => matchObjects(tree, modelOf(BN)),
    FormatError,
    "it has 1 where the file has 3; it is another model's",
  );
  const [, , last] = matchObjects(
    tree,
    modelOf(
      serialized("InputLayer", "x"),
      serialized("Dense", "a"),
      serialized("Dense", "b"),
    ),
  );
  assertEquals(last!.verdict, "possible");
  assertEquals(
    last!.reason,
    "the configuration says that it is a Dense, but its variables are named as a BatchNormalization's are",
  );
});

Deno.test("a configuration finds its model among several", () => {
  const two = (second: Readonly<Record<string, number>>) =>
    trackedTree([
      object({ generator: 1, critic: 5 }),
      object({ "layer-0": 2 }),
      ...norm(2, "bn"),
      object(second),
      ...norm(6, "other"),
    ]);
  const [found, other] = matchObjects(
    two({ "layer-0": 6, "layer-1": 1 }),
    modelOf(BN),
  );
  assertEquals(found!.location, "generator/layer-0");
  assertEquals(other!.verdict === "certain", false);
  assertThrows(
    () => matchObjects(two({ "layer-0": 6 }), modelOf(BN)),
    FormatError,
    "it has as many as generator, critic have",
  );
});

Deno.test("an attribute that is called layers hides nothing", () => {
  const root = trackedTree([
    object({ layers: 1, "layer-0": 5 }),
    object({ "0": 2 }),
    ...norm(2, "a"),
    ...norm(5, "b"),
  ]);
  assertEquals(outline(root).filter((each) => /[ab]@/.test(each)), [
    "b@layer-0",
    "a@layers/0",
  ]);
});

Deno.test("an object's own configuration decides", () => {
  const entry = (class_name: string, config?: Record<string, unknown>) => ({
    entry: { class_name, ...(config ? { config } : {}) },
  });
  const like = {
    name: "mine",
    epsilon: 1e-3,
    momentum: 0.9,
    moving_variance_initializer: "ones",
  };
  const [block, mine, own, dense] = matchObjects(
    trackedTree([
      object({ block: 1, own: 3, dense: 6 }),
      object({ mine: 2 }, entry("Custom>Block")),
      object({}, entry("Custom>Norm", like)),
      { ...norm(3, "x")[0]!, ...entry("BatchNormalization", { name: "own" }) },
      ...norm(3, "x").slice(1),
      object({}, entry("Dense", { name: "dense" })),
    ]),
    undefined,
  );
  assertEquals(
    [block, mine, own, dense].map((found) => [
      found!.path.join("/"),
      found!.className,
      found!.verdict,
    ]).sort(),
    [
      ["block", "Block", "other"],
      ["block/mine", "Norm", "possible"],
      ["dense", "Dense", "other"],
      ["own", "BatchNormalization", "certain"],
    ],
  );
});

Deno.test("a chain of objects has an end", () => {
  const chain = (length: number) => [
    ...Array.from({ length }, (_, i) => object({ next: i + 1 })),
    ...norm(length, "bn"),
  ];
  assert(outline(trackedTree(chain(64))).length > 0);
  assertThrows(() => trackedTree(chain(65)), FormatError, "more than 64 deep");
  assertThrows(() => trackedTree(chain(100_000)), FormatError, "deep");
});

Deno.test("layers that are each other's layers have an end", () => {
  // Each is a layer of every other.
  const members = Object.fromEntries(
    Array.from({ length: 300 }, (_, i) => [`layer-${i}`, i + 1]),
  );
  const objects = [
    ...Array.from({ length: 301 }, () => object(members)),
  ];
  const root = trackedTree(objects);
  assertEquals(matchObjects(root, undefined), []);
  assertEquals(root.children.get("layers")!.children.size, 300);
});

Deno.test("any graph gives a tree, in which no object is twice", () => {
  const names = fc.constantFrom(
    "a",
    "0",
    "layers",
    "layer-0",
    "layer-1",
    "layer_with_weights-0",
    "_operations",
    "_layers",
    "_functional",
    "moving_mean",
    "moving_variance",
  );
  const graphs = fc.integer({ min: 1, max: 12 }).chain((count) =>
    fc.array(
      fc.tuple(
        fc.dictionary(names, fc.nat(count - 1), { maxKeys: 5 }),
        fc.boolean(),
      ),
      { minLength: count, maxLength: count },
    )
  );
  fc.assert(fc.property(graphs, (graph) => {
    const root = trackedTree(
      graph.map(([children, isVariable], i) =>
        isVariable && i > 0 ? variable(`v${i}/gamma`) : object(children)
      ),
    );
    const seen = new Set<ObjectNode>();
    const walk = (node: ObjectNode) => {
      assertEquals(seen.has(node), false);
      seen.add(node);
      for (const child of node.children.values()) walk(child);
    };
    walk(root);
    matchObjects(root, undefined);
    try {
      matchObjects(root, SHARING);
    } catch (error) {
      assert(error instanceof FormatError, String(error));
    }
  }));
});
