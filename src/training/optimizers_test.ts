import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertThrows,
} from "@std/assert";
import {
  type EvenkeelError,
  OptionError,
  ShapeError,
  UnsupportedError,
} from "../errors.ts";
import { resolveConstraint } from "../layer/constraints.ts";
import type { JsonObject } from "../layer/keras_object.ts";
import type { KerasVersion } from "../layer/keras_version.ts";
import { type ElementType, tensor, toFloats } from "../tensor.ts";
import type {
  Optimizer,
  OptimizerOptions,
  OptimizerVariable,
} from "./optimizer.ts";
import { Adam, AdamW, resolveOptimizer, RMSprop, SGD } from "./optimizers.ts";
import {
  decode,
  GRADIENTS,
  INITIAL,
  OPTIMIZER_CASES,
  type OptimizerCase,
} from "./testing/training_cases.ts";

const NAMES = ["gamma", "beta"] as const;

/** The variables of a case, with the gradients of a step. */
function variablesOf({ dtype }: OptimizerCase): OptimizerVariable[] {
  return NAMES.map((name) => {
    const value = tensor(INITIAL[name], [4], dtype);
    return { name, value, gradient: value };
  });
}

/** The same variables with the gradients of one step. */
function withGradients(
  variables: readonly OptimizerVariable[],
  step: number,
): OptimizerVariable[] {
  return variables.map((variable) => ({
    ...variable,
    gradient: tensor(
      GRADIENTS[variable.name as "gamma"][step]!,
      [4],
      variable.value.type,
    ),
  }));
}

function make(version: OptimizerCase["name"], entry: OptimizerCase): Optimizer {
  return resolveOptimizer(
    { class_name: entry.class, config: entry.arguments },
    { kerasVersion: version as "3" },
  );
}

/**
 * Zero for everything but the constraints on norms: those compute in float64,
 * while TensorFlow rounds each of at most 12 operations to float32 (see
 * `constraints_test.ts`). Values are at most 2 and a norm never grows what
 * went in, so that a step adds at most 12 * 2^-24 * 2; the updates carry what
 * came before on with a factor of 1, or of less than 2 through the norm.
 */
function toleranceOf({ constraint }: OptimizerCase): number {
  const isNorm = constraint !== null && constraint.class_name !== "NonNeg";
  return isNorm ? 5 * 2 * 12 * 2 ** -24 * 2 : 0;
}

for (const [line, version, entry] of OPTIMIZER_CASES) {
  Deno.test(`optimizers: ${line} ${entry.name}`, () => {
    const optimizer = make(version, entry);
    const constraint = resolveConstraint(entry.constraint, {
      kerasVersion: version,
    });
    const variables = variablesOf(entry)
      .map((variable) => ({ ...variable, constraint }));
    const tolerance = toleranceOf(entry);
    for (let step = 0; step < 5; step++) {
      optimizer.apply(withGradients(variables, step));
      for (const { name, value } of variables) {
        const expected = decode(entry.values[name as "gamma"]).data;
        for (let i = 0; i < 4; i++) {
          const message = `${name}[${i}] after step ${step + 1}`;
          assertAlmostEquals(
            value.data[i]!,
            expected[4 * step + i]!,
            tolerance,
            message,
          );
        }
      }
    }
    assertEquals(optimizer.iterations, 5);
    const slots: Record<string, Record<string, unknown>> = {
      gamma: {},
      beta: {},
    };
    for (const { variable, slot, value } of optimizer.getState().slots) {
      slots[variable]![slot] = value;
    }
    for (const name of NAMES) {
      const expected = Object.entries(entry.slots[name])
        .map(([slot, value]) => [slot, decode(value)]);
      // Bit for bit: no slot depends on the values, which constraints change.
      assertEquals(slots[name], Object.fromEntries(expected));
    }
  });

  if (entry.config) {
    Deno.test(`optimizers: the config of ${line} ${entry.name}`, () => {
      const config = make(version, entry).getConfig();
      // Keras 3 counts its optimizers.
      const name = String(entry.config!.name).replace(/_\d+$/, "");
      assertEquals(config, { ...entry.config, name });
      assertEquals(Object.keys(config), Object.keys(entry.config!));
      // The spelling alone tells whose it is.
      const again = resolveOptimizer({ class_name: entry.class, config });
      assertEquals(again.getConfig(), config);
      assertEquals(again.kerasVersion, version);
    });
  }
}

Deno.test("every line has its cases", () => {
  const counts = new Map<string, number>();
  for (const [line] of OPTIMIZER_CASES) {
    counts.set(line, (counts.get(line) ?? 0) + 1);
  }
  assertEquals(Object.fromEntries(counts), {
    k24: 31,
    k212: 39,
    tfk: 39,
    k3: 39,
  });
});

Deno.test("every optimizer goes on from a saved state with the same bits", () => {
  for (const [, version, entry] of OPTIMIZER_CASES) {
    const straight = make(version, entry);
    const variables = variablesOf(entry);
    for (let step = 0; step < 5; step++) {
      straight.apply(withGradients(variables, step));
    }
    let stopped = make(version, entry);
    const others = variablesOf(entry);
    for (let step = 0; step < 5; step++) {
      const state = structuredClone(stopped.getState());
      stopped = resolveOptimizer(
        { class_name: stopped.className, config: stopped.getConfig() },
        { kerasVersion: version },
      );
      stopped.setState(state);
      stopped.apply(withGradients(others, step));
    }
    assertEquals(others, variables, entry.name);
    assertEquals(stopped.getState(), straight.getState(), entry.name);
  }
});

Deno.test("a state is a copy, and setState copies", () => {
  const optimizer = new Adam();
  const variables = variablesOf(OPTIMIZER_CASES[0]![2]);
  optimizer.apply(withGradients(variables, 0));
  const state = optimizer.getState();
  const other = new Adam();
  other.setState(state);
  for (const { value } of state.slots) value.data.fill(7);
  assertEquals(other.getState(), optimizer.getState());
});

/**
 * What the fixtures do not have: 16-bit variables, `decay`, several bounds at
 * once. Seen in runs of TensorFlow 2.4.4 and Keras 3.15.1: [1, 2, -3] after
 * three steps with the gradients below.
 */
const SEEN: [KerasVersion, ElementType, string, JsonObject, number[]][] = [
  ["2.4", "float32", "SGD", {
    "learning_rate": 0.3,
    "decay": 0.7,
    "momentum": 0.9,
  }, [0.37247058749198914, 2.308161735534668, -4.954294204711914]],
  ["2.4", "float32", "Adam", { "learning_rate": 0.3, "decay": 0.7 }, [
    0.45772793889045715,
    2.2147252559661865,
    -3.380944013595581,
  ]],
  ["2.4", "float32", "SGD", {
    "learning_rate": 0.3,
    "clipvalue": 0.9,
    "clipnorm": 0.7,
  }, [0.760336697101593, 1.9249030351638794, -2.865244150161743]],
  ["2.4", "float32", "SGD", {
    "learning_rate": 0.3,
    "clipvalue": 0.9,
    "global_clipnorm": 0.7,
  }, [0.760336697101593, 1.9249030351638794, -2.865244150161743]],
  ["2.4", "float32", "Adam", { "learning_rate": 0.3, "epsilon": 0 }, [
    0.21774263679981232,
    2.1294496059417725,
    -3.4345593452453613,
  ]],
  ["2.4", "float32", "SGD", { "learning_rate": 0.3, "clipnorm": 0.0 }, [
    1.0,
    2.0,
    -3.0,
  ]],
  ["3", "float16", "SGD", {
    "learning_rate": 0.3,
    "momentum": 0.9,
    "nesterov": true,
  }, [-0.45263671875, 1.4931640625, -4.3828125]],
  ["3", "float16", "Adam", { "learning_rate": 0.3, "epsilon": 0.001 }, [
    0.263671875,
    2.123046875,
    -3.42578125,
  ]],
  ["3", "float16", "AdamW", {
    "learning_rate": 0.3,
    "epsilon": 0.001,
    "weight_decay": 0.1,
    "clipnorm": 0.7,
  }, [0.286865234375, 1.8359375, -3.056640625]],
  ["3", "float16", "RMSprop", {
    "learning_rate": 0.3,
    "centered": true,
    "momentum": 0.5,
    "epsilon": 0.01,
  }, [-1.681640625, 2.337890625, -3.84375]],
  ["3", "float16", "SGD", { "learning_rate": 0.3, "global_clipnorm": 0.7 }, [
    0.83349609375,
    1.8564453125,
    -2.955078125,
  ]],
  ["3", "bfloat16", "SGD", {
    "learning_rate": 0.3,
    "momentum": 0.9,
    "nesterov": true,
  }, [-0.45703125, 1.4921875, -4.40625]],
  ["3", "bfloat16", "Adam", { "learning_rate": 0.3, "epsilon": 0.001 }, [
    1.0,
    2.0,
    -3.0,
  ]],
  ["3", "bfloat16", "AdamW", {
    "learning_rate": 0.3,
    "epsilon": 0.001,
    "weight_decay": 0.1,
    "clipnorm": 0.7,
  }, [0.9140625, 1.828125, -2.734375]],
  ["3", "bfloat16", "RMSprop", {
    "learning_rate": 0.3,
    "centered": true,
    "momentum": 0.5,
    "epsilon": 0.01,
  }, [-1.6875, 2.34375, -3.859375]],
  ["3", "bfloat16", "SGD", { "learning_rate": 0.3, "global_clipnorm": 0.7 }, [
    0.83203125,
    1.859375,
    -2.953125,
  ]],
];
const SEEN_GRADIENTS = [[0.5, -1.25, 3], [0.1, 2, -0.7], [1.5, 0.3, -2]];

for (const [kerasVersion, type, class_name, config, expected] of SEEN) {
  const title = `${kerasVersion} ${type} ${class_name} ${
    JSON.stringify(config)
  }`;
  Deno.test(`optimizers: ${title}`, () => {
    const optimizer = resolveOptimizer({ class_name, config }, {
      kerasVersion,
    });
    const value = tensor([1, 2, -3], [3], type);
    for (const gradient of SEEN_GRADIENTS) {
      optimizer.apply([
        { name: "w", value, gradient: tensor(gradient, [3], type) },
      ]);
    }
    assertEquals([...toFloats(value, new Float64Array(3))], expected);
  });
}

Deno.test("the learning rate may change between steps", () => {
  const optimizer = new SGD({ learningRate: 1 });
  const value = tensor([0], [1]);
  const step = { name: "w", value, gradient: tensor([-1], [1]) };
  optimizer.apply([step]);
  optimizer.learningRate = 0.5;
  optimizer.apply([step]);
  assertEquals([...value.data], [1.5]);
  assertThrows(() => optimizer.learningRate = NaN, OptionError, "finite");
  assertEquals(optimizer.learningRate, 0.5);
});

Deno.test("legacy optimizers clip by every bound, others by the first", () => {
  const clipped = (options: OptimizerOptions): number[] => {
    const value = tensor([0, 0], [2]);
    const gradient = tensor([-3, -4], [2]);
    new SGD({ learningRate: 1, ...options })
      .apply([{ name: "w", value, gradient }]);
    return [...value.data];
  };
  const both = { clipvalue: 3, clipnorm: 1 };
  const side = Math.fround(Math.fround(1 / Math.sqrt(18)) * 3);
  assertAlmostEquals(clipped(both)[0]!, side, 1e-7);
  assertAlmostEquals(clipped(both)[1]!, side, 1e-7);
  const first = clipped({ ...both, kerasVersion: "2.12" });
  assertAlmostEquals(first[0]!, 0.6, 1e-7);
  assertAlmostEquals(first[1]!, 0.8, 1e-7);
  // A bound of 0 is no bound there.
  assertEquals(clipped({ clipvalue: 0, kerasVersion: "3" }), [3, 4]);
  assertEquals(clipped({ clipvalue: 0, kerasVersion: "2.4" }), [0, 0]);
});

Deno.test("global norms that are not finite give NaN, as Keras' do", () => {
  const value = tensor([1, 2], [2]);
  new SGD({ globalClipnorm: 1 }).apply([
    { name: "w", value, gradient: tensor([Infinity, 1], [2]) },
  ]);
  assertEquals([...value.data], [NaN, NaN]);
});

Deno.test("epsilon 0 or null is the default up to TensorFlow 2.10", () => {
  assertEquals(new Adam({ epsilon: 0 }).getConfig().epsilon, 1e-7);
  assertEquals(new RMSprop({ epsilon: null }).getConfig().epsilon, 1e-7);
  const kerasVersion = "3";
  assertEquals(new Adam({ epsilon: 0, kerasVersion }).getConfig().epsilon, 0);
  assertThrows(() => new Adam({ epsilon: null, kerasVersion }), OptionError);
});

Deno.test("no variables make no step", () => {
  const optimizer = new Adam();
  optimizer.apply([]);
  assertEquals(optimizer.iterations, 0);
});

Deno.test("a step that fails changes nothing", () => {
  const optimizer = new SGD({ momentum: 0.5 });
  const gamma = tensor([1, 2], [2]);
  const beta = tensor([3, 4], [2]);
  const step = (change: object) => () =>
    optimizer.apply([
      { name: "gamma", value: gamma, gradient: gamma },
      { name: "beta", value: beta, gradient: beta, ...change },
    ]);
  const failures: [
    () => void,
    new (message: string) => EvenkeelError,
    string,
  ][] = [
    [
      step({ gradient: tensor([1], [1]) }),
      ShapeError,
      "expected the variable's shape [2]",
    ],
    [step({ gradient: { ...beta, dims: [3] } }), ShapeError, "gradient"],
    [step({ name: "gamma" }), OptionError, "same name"],
    [
      step({ constraint: resolveConstraint("radial_constraint") }),
      ShapeError,
      "rank 4",
    ],
  ];
  for (const [run, type, message] of failures) {
    assertThrows(run, type, message);
    assertEquals([...gamma.data, ...beta.data], [1, 2, 3, 4]);
    assertEquals(optimizer.getState(), { iterations: 0, slots: [] });
  }
  step({})();
  // A variable of another shape does not fit the slots that are there.
  const other = tensor([1], [1]);
  assertThrows(
    () => optimizer.apply([{ name: "gamma", value: other, gradient: other }]),
    ShapeError,
    "momentums",
  );
  assertEquals(optimizer.iterations, 1);
});

Deno.test("setState refuses what is no state of its kind", () => {
  const optimizer = new SGD({ momentum: 0.5 });
  const value = tensor([1], [1]);
  const slot = { variable: "w", slot: "momentums", value };
  assertThrows(
    () => optimizer.setState({ iterations: -1, slots: [] }),
    OptionError,
    "iterations",
  );
  assertThrows(
    () => optimizer.setState({ iterations: 0.5, slots: [] }),
    OptionError,
  );
  assertThrows(
    () =>
      optimizer.setState({
        iterations: 1,
        slots: [{ ...slot, slot: "velocities" }],
      }),
    OptionError,
    "unknown",
  );
  assertThrows(
    () => optimizer.setState({ iterations: 1, slots: [slot, slot] }),
    OptionError,
    "twice",
  );
  assertEquals(optimizer.getState(), { iterations: 0, slots: [] });
  // Names from a file are no keys of objects.
  optimizer.setState({
    iterations: 1,
    slots: [{ ...slot, variable: "__proto__" }],
  });
  assertEquals(optimizer.getState().slots[0]!.variable, "__proto__");
  assert(!("momentums" in {}));
});

Deno.test("arguments are checked", () => {
  const refused: [() => unknown, string][] = [
    [() => new SGD({ learningRate: NaN }), "learningRate"],
    [() => new SGD({ learningRate: "1" as never }), "learningRate"],
    [() => new SGD({ momentum: 1.5 }), "from 0 to 1"],
    [() => new SGD({ nesterov: 1 as never }), "nesterov"],
    [() => new RMSprop({ momentum: -1 }), "from 0 to 1"],
    [() => new RMSprop({ rho: Infinity }), "rho"],
    [() => new Adam({ beta1: null as never }), "beta1"],
    [() => new SGD({ clipnorm: -1 }), "clipnorm"],
    [() => new SGD({ kerasVersion: "4" as never }), "kerasVersion"],
    [() => new SGD({ clipnorm: 1, globalClipnorm: 1 }), "several"],
    [
      () => new SGD({ clipnorm: 1, clipvalue: 1, kerasVersion: "3" }),
      "clipvalue",
    ],
    [() => new SGD({ weightDecay: 0.1 }), "2.10"],
    [() => new SGD({ decay: 0.1, kerasVersion: "3" }), "decay"],
    [() => new AdamW(), "2.10"],
    [() => new AdamW({ weightDecay: null, kerasVersion: "3" }), "use Adam"],
  ];
  for (const [run, message] of refused) {
    assertThrows(run, OptionError, message);
  }
});

Deno.test("optimizers by name, class, object and every spelling of JSON", () => {
  const kerasVersion = "2.12";
  for (const name of ["adamw", "AdamW", "ADAMW"]) {
    assert(resolveOptimizer(name, { kerasVersion }) instanceof AdamW);
  }
  const adam = resolveOptimizer(Adam, { kerasVersion });
  assertEquals([adam.className, adam.kerasVersion], ["Adam", "2.12"]);
  assertEquals(resolveOptimizer(adam), adam);
  class Own extends SGD {}
  assert(resolveOptimizer(Own) instanceof Own);
  const rate = (config: JsonObject) =>
    resolveOptimizer({ class_name: "Adam", config }).learningRate;
  assertEquals(rate({ lr: 0.25 }), 0.25);
  assertEquals(rate({ learning_rate: 0.25, name: "Adam" }), 0.25);
  const keras3 = resolveOptimizer({
    module: "keras.optimizers",
    class_name: "Adam",
    config: { ...new Adam({ kerasVersion: "3" }).getConfig() },
    registered_name: null,
  });
  assertEquals(keras3.kerasVersion, "3");
});

Deno.test("is_legacy_optimizer outweighs the release", () => {
  const legacy = resolveOptimizer(
    { class_name: "Adam", config: { is_legacy_optimizer: true, decay: 0.5 } },
    { kerasVersion: "2.12" },
  );
  assertEquals(legacy.kerasVersion, "2.4");
});

Deno.test("what is not an optimizer is refused", () => {
  for (const identifier of [null, 1, [], {}, { class_name: 1 }]) {
    assertThrows(
      () => resolveOptimizer(identifier as never),
      OptionError,
      "Could not interpret",
    );
  }
  assertThrows(
    () => resolveOptimizer("nadam"),
    OptionError,
    "Unknown optimizer",
  );
  const refused: [
    JsonObject,
    new (message: string) => EvenkeelError,
    string,
  ][] = [
    [{ rho: 1 }, OptionError, 'Unknown argument "rho"'],
    [{ constructor: 1 }, OptionError, 'Unknown argument "constructor"'],
    [
      JSON.parse('{"__proto__":1}'),
      OptionError,
      'Unknown argument "__proto__"',
    ],
    [{ use_ema: true }, UnsupportedError, "use_ema"],
    [{ gradient_accumulation_steps: 2 }, UnsupportedError, "accumulation"],
    [
      { learning_rate: { class_name: "ExponentialDecay" } },
      UnsupportedError,
      "schedule",
    ],
  ];
  for (const [config, type, message] of refused) {
    assertThrows(
      () => resolveOptimizer({ class_name: "SGD", config }),
      type,
      message,
    );
  }
});
