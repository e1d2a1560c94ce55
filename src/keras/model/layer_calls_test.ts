import { assertEquals } from "@std/assert";
import type { KerasConfig } from "../../layer/config.ts";
import {
  callsBefore,
  type LayerCall,
  layerCalls,
  onlyCallBefore,
  usersOf,
} from "./layer_calls.ts";

function layer(
  className: string,
  name: string,
  inbound?: unknown,
  config: object = {},
): KerasConfig {
  return {
    class_name: className,
    name,
    config: { name, trainable: true, ...config },
    ...(inbound === undefined ? {} : { inbound_nodes: inbound }),
  };
}

function functional(
  name: string,
  layers: readonly KerasConfig[],
  inputs: unknown,
  outputs: unknown,
  inbound?: unknown,
): KerasConfig {
  return {
    class_name: "Functional",
    name,
    config: {
      name,
      trainable: true,
      layers,
      input_layers: inputs,
      output_layers: outputs,
    },
    ...(inbound === undefined ? {} : { inbound_nodes: inbound }),
  };
}

/** Calls as `path <- inputs`. */
function edges(calls: readonly LayerCall[] | undefined): string[] | undefined {
  return calls?.map(({ path, inputs }) =>
    `${path.join("/")} <- ${
      inputs.map((each) => each.path.join("/")).join(", ")
    }`
  );
}

const DIAMOND = ["x <- ", "a <- x", "b <- x", "sum <- a, b"];

Deno.test("functional models of Keras 1 and 2", () => {
  const model = functional(
    "net",
    [
      layer("InputLayer", "x", []),
      layer("Dense", "a", [[["x", 0, 0]]]),
      layer("Dense", "b", [[["x", 0, 0, {}]]]),
      layer("Add", "sum", [[["a", 0, 0, {}], ["b", 0, 0, {}]]]),
    ],
    [["x", 0, 0]],
    [["sum", 0, 0]],
  );
  assertEquals(edges(layerCalls(model)), DIAMOND);
  // Only what get_config gives.
  assertEquals(edges(layerCalls(model.config as KerasConfig)), DIAMOND);
});

Deno.test("functional models with tensors in arguments", () => {
  const model = functional(
    "net",
    [
      layer("InputLayer", "x", []),
      layer("Dense", "a", [["x", 0, 0, {}]]),
      layer("Dense", "b", [["x", 0, 0, {}]]),
      layer("TFOpLambda", "sum", [["a", 0, 0, { y: ["b", 0, 0], name: null }]]),
    ],
    ["x", 0, 0],
    ["sum", 0, 0],
  );
  assertEquals(edges(layerCalls(model)), DIAMOND);
});

Deno.test("functional models of Keras 3", () => {
  const of = (...names: string[]) =>
    names.map((name) => ({
      class_name: "__keras_tensor__",
      config: {
        shape: [null, 4],
        dtype: "float32",
        keras_history: [name, 0, 0],
      },
    }));
  const dtype = { class_name: "DTypePolicy", config: { name: "float32" } };
  const model = functional(
    "net",
    [
      layer("InputLayer", "x", []),
      layer("Dense", "a", [{ args: of("x"), kwargs: {} }], { dtype }),
      layer("Dense", "b", [{ args: of("x"), kwargs: { mask: null } }]),
      layer("Add", "sum", [{ args: [of("a", "b")], kwargs: {} }]),
    ],
    [["x", 0, 0]],
    [["sum", 0, 0]],
  );
  assertEquals(edges(layerCalls(model)), DIAMOND);
});

Deno.test("Sequential, up to Keras 2.1 a list", () => {
  const layers = [
    layer("Dense", "a", undefined, { batch_input_shape: [null, 3] }),
    { class_name: "Sequential", config: [layer("Dense", "b")] },
    layer("Dense", "c"),
  ];
  const expected = ["a <- ", "Sequential/b <- a", "c <- Sequential/b"];
  const list = { class_name: "Sequential", config: layers };
  assertEquals(edges(layerCalls(list as unknown as KerasConfig)), expected);
  const object = { class_name: "Sequential", config: { name: "s", layers } };
  assertEquals(edges(layerCalls(object)), expected);
});

Deno.test("models in models, and layers that are used twice", () => {
  const inner = functional(
    "inner",
    [
      layer("InputLayer", "in", []),
      layer("BatchNormalization", "bn", [[["in", 0, 0, {}]]]),
    ],
    [["in", 0, 0]],
    [["bn", 0, 0]],
    // Its own construction is call 0, in some releases.
    [[["a", 0, 0, {}]], [["a", 1, 0, {}]]],
  );
  const model = functional(
    "net",
    [
      layer("InputLayer", "x", []),
      layer("InputLayer", "y", []),
      layer("Dense", "a", [[["x", 0, 0, {}]], [["y", 0, 0, {}]]]),
      inner,
      layer("Add", "sum", [[["inner", 1, 0, {}], ["inner", 2, 0, {}]]]),
    ],
    [["x", 0, 0], ["y", 0, 0]],
    [["sum", 0, 0]],
  );
  const calls = layerCalls(model)!;
  assertEquals(edges(calls), [
    "x <- ",
    "y <- ",
    "a <- x",
    "a <- y",
    "inner/bn <- a",
    "inner/bn <- a",
    "sum <- inner/bn, inner/bn",
  ]);
  const [first, second] = calls.filter(({ path }) => path.at(-1) === "bn");
  assertEquals(first!.inputs[0]!.inputs, [calls[0]]);
  assertEquals(second!.inputs[0]!.inputs, [calls[1]]);
  assertEquals([...callsBefore(first!)].includes(calls[1]!), false);
});

Deno.test("what a wrapper wraps", () => {
  const model = {
    class_name: "Sequential",
    config: {
      name: "s",
      layers: [
        layer("Dense", "a"),
        layer("TimeDistributed", "each", undefined, {
          layer: layer("BatchNormalization", "bn"),
        }),
      ],
    },
  };
  assertEquals(edges(layerCalls(model)), [
    "a <- ",
    "each/bn <- a",
    "each <- each/bn",
  ]);
});

Deno.test("what is no model of layers tells nothing", () => {
  assertEquals(layerCalls({ class_name: "MyModel", config: {} }), undefined);
  const call = (name: string) => [[[name, 0, 0, {}]]];
  const cycle = functional(
    "net",
    [layer("Dense", "a", call("b")), layer("Dense", "b", call("a"))],
    [],
    [["b", 0, 0]],
  );
  assertEquals(layerCalls(cycle), undefined);
  const missing = functional(
    "net",
    [layer("Dense", "a", call("nope"))],
    [],
    [["a", 0, 0]],
  );
  assertEquals(layerCalls(missing), undefined);
});

Deno.test("models that multiply are given up in time", () => {
  // 4^12 layers, if each call was followed.
  let model: KerasConfig = layer("Dense", "m0");
  for (let depth = 1; depth <= 12; depth++) {
    const name = `m${depth - 1}`;
    const inner = { ...model, inbound_nodes: undefined };
    const calls = [0, 1, 2, 3].map((i) =>
      i === 0 ? [["x", 0, 0]] : [[name, i - 1, 0]]
    );
    model = functional(
      `m${depth}`,
      [
        layer("InputLayer", "x", []),
        { ...inner, name, inbound_nodes: calls },
      ],
      [["x", 0, 0]],
      [[name, 3, 0]],
    );
  }
  assertEquals(layerCalls(model), undefined);
});

Deno.test("the layer before, through what does nothing", () => {
  const conv = layer("Conv2D", "conv");
  const between = [
    layer("Dropout", "drop"),
    layer("Activation", "none", undefined, { activation: "linear" }),
  ];
  const before = (...layers: KerasConfig[]): string | undefined => {
    const model = { class_name: "Sequential", config: { name: "s", layers } };
    const calls = layerCalls(model)!;
    return onlyCallBefore(calls.at(-1)!, usersOf(calls))?.path.join("/");
  };
  const bn = layer("BatchNormalization", "bn");
  assertEquals(before(conv, ...between, bn), "conv");
  const relu = layer("Activation", "relu", undefined, { activation: "relu" });
  assertEquals(before(conv, relu, bn), "relu");
  assertEquals(before(bn), undefined);
});
