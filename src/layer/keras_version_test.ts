// Real Keras of seven releases is the judge of what the layer accepts,
// resolves, refuses, configures and computes. scripts/fixtures/
// keras_validation.py ran the cases; its header explains the file.

import { assert, assertEquals } from "@std/assert";
import { EvenkeelError } from "../errors.ts";
import {
  createData,
  encodeInto,
  type Tensor,
  tensor,
  toFloats,
} from "../tensor.ts";
import { BatchNormalization } from "./batch_normalization.ts";
import type { KerasConfig } from "./config.ts";
import { kerasVersionOf } from "./keras_version.ts";
import type { BatchNormalizationOptions } from "./options.ts";

type Json = null | boolean | number | string | Json[] | JsonObject;
interface JsonObject {
  [key: string]: Json;
}
type Stage = "constructor" | "build" | "call";

/** What came of one case, ours or Keras'. */
interface Outcome {
  failed?: Stage;
  error?: unknown;
  made?: KerasConfig;
  built?: KerasConfig;
  axes?: number[];
  fused?: boolean | null;
  weights?: string[];
  shape?: readonly number[];
  type?: string;
  y?: number[];
  yType?: string;
  loss?: number;
}

interface Case {
  readonly line: string;
  readonly args: JsonObject;
  readonly shape: readonly (number | null)[];
  readonly theirs: Outcome;
}

const file = JSON.parse(
  Deno.readTextFileSync(
    new URL("../../testdata/keras_validation.json", import.meta.url),
  ),
);

/** Keys of a configuration that are there only if they are set. */
const CONFIG_KEYS = [
  "renorm",
  "renorm_clipping",
  "renorm_momentum",
  "virtual_batch_size",
];
const USUAL = {
  weights: ["gamma", "beta", "moving_mean", "moving_variance"],
  type: "float32",
};

/** Values that JSON does not hold, from their tags. */
function decode(value: Json): unknown {
  if (Array.isArray(value)) return value.map(decode);
  if (typeof value !== "object" || value === null) return value;
  if (value.$fn !== undefined) return () => [1, 0];
  if (value.$float !== undefined) {
    return Number(String(value.$float).replace("inf", "Infinity"));
  }
  if (Array.isArray(value.$arrays)) {
    return value.$arrays.map((a) => tensor(a as number[], [(a as []).length]));
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, decode(item)]),
  );
}

/** A configuration as it was, with a recorded difference put in. */
function apply(config: KerasConfig, changes: JsonObject = {}): KerasConfig {
  const { "-": removed, ...changed } = changes;
  const result: KerasConfig = {
    ...config,
    ...decode(changed) as KerasConfig,
  };
  for (const key of removed as string[] | undefined ?? []) delete result[key];
  return result;
}

/** Keras' outcome, with what the file leaves out. */
function expand(args: JsonObject, base: JsonObject, recorded: JsonObject) {
  const { made: changed, built: changedByBuild, ...rest } = recorded;
  const outcome = decode(rest) as Outcome;
  if (outcome.failed !== "constructor") {
    const given = Object.entries(args).filter(([key]) =>
      key in base || CONFIG_KEYS.includes(key)
    );
    const expected = {
      ...base,
      ...decode(Object.fromEntries(given)) as KerasConfig,
    };
    outcome.made = apply(expected, changed as JsonObject);
  }
  if (outcome.axes) {
    outcome.built = apply(outcome.made!, changedByBuild as JsonObject);
    outcome.weights ??= USUAL.weights;
    outcome.type ??= USUAL.type;
    outcome.fused ??= null;
  }
  if (!outcome.failed) outcome.yType ??= "float32";
  return outcome;
}

const lines: string[] = Object.keys(file.lines);
const cases: Case[] = file.cases.flatMap(
  ([args, shape, indices]: [JsonObject, number[], number[]]) =>
    lines.map((line, i) => ({
      line,
      args,
      shape,
      theirs: expand(
        args,
        file.lines[line].config,
        file.outcomes[indices[i]!],
      ),
    })),
);

function optionsOf({ line, args }: Case): BatchNormalizationOptions {
  const entries = Object.entries(args).map(([key, value]) => [
    key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
    decode(value),
  ]);
  return {
    name: "bn",
    kerasVersion: kerasVersionOf(line)!,
    ...Object.fromEntries(entries),
  };
}

/** Does what the script does, with our layer. */
function run(testCase: Case): Outcome & { layer?: BatchNormalization } {
  const { args, shape } = testCase;
  const outcome: Outcome & { layer?: BatchNormalization } = {};
  let stage: Stage = "constructor";
  const record = (layer: BatchNormalization) => {
    const weights = layer.weights;
    outcome.built = layer.getConfig();
    outcome.axes = [...layer.axes!];
    outcome.fused = layer.options.kerasVersion === "3" ? null : layer.fused!;
    outcome.weights = [
      layer.gamma && "gamma",
      layer.beta && "beta",
      "moving_mean",
      "moving_variance",
      layer.movingStddev && "moving_stddev",
      layer.renormMean && "renorm_mean",
      layer.renormStddev && "renorm_stddev",
    ].filter((name) => name !== undefined);
    assertEquals(weights.length, outcome.weights.length);
    outcome.shape = weights[0]!.dims;
    outcome.type = weights[0]!.type;
    for (const { dims, type } of weights) {
      assertEquals([dims, type], [outcome.shape, outcome.type]);
    }
  };
  try {
    const layer = new BatchNormalization(optionsOf(testCase));
    outcome.layer = layer;
    outcome.made = layer.getConfig();
    stage = "build";
    const dims = shape.map((extent) => extent ?? 4);
    const ones = new Array(dims.reduce((a, b) => a * b, 1)).fill(1);
    const x = tensor(ones, dims);
    let y: Tensor;
    if (args.weights) {
      stage = "call";
      y = layer.call(x);
      record(layer);
    } else {
      layer.build(shape);
      record(layer);
      stage = "call";
      layer.setWeights(layer.weights.map((weight) => {
        const data = createData(weight.type, weight.data.length);
        const value = weight === layer.gamma ? 1 : 0;
        encodeInto(weight.type, data, new Array(data.length).fill(value));
        return { ...weight, data };
      }));
      y = layer.call(x);
    }
    const values = [...toFloats(y, new Float64Array(y.data.length))];
    const distinct = args.weights ? dims[1]! : Math.min(1, values.length);
    outcome.y = values.slice(0, distinct);
    outcome.yType = y.type;
    outcome.loss = layer.losses();
  } catch (error) {
    // Anything else is a bug of ours, not an answer.
    if (!(error instanceof EvenkeelError)) throw error;
    outcome.failed = stage;
    outcome.error = error.message;
  }
  return outcome;
}

/**
 * How far two outputs of x = 1 may be apart, relative: 1/sqrt(epsilon) in six
 * operations of ours and as many of Keras', each within one unit roundoff (of
 * float32 for 16-bit types, which are rounded once more, on both sides), but
 * an rsqrt of two.
 */
const OUTPUT_BOUND: Readonly<Record<string, number>> = {
  float32: 14 * 2 ** -24,
  float64: 14 * 2 ** -53,
  float16: 2 * 2 ** -11,
  bfloat16: 2 * 2 ** -8,
};

function near(a: number, b: number, bound: number): boolean {
  return Object.is(a, b) || a === b || Math.abs(a - b) <= bound * Math.abs(b);
}

/** Keys in one order, and without what only tells undefined from missing. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, item) => {
    if (typeof item === "number" && !Number.isFinite(item)) return `${item}`;
    if (typeof item !== "object" || item === null || Array.isArray(item)) {
      return item;
    }
    return Object.fromEntries(
      Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)),
    );
  });
}

/** From 2.13 on, Keras 2 writes objects with Keras 3's two further keys. */
function withoutModules<T>(value: T): T {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return value;
  }
  const isObject = "class_name" in value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) =>
        !isObject || (key !== "module" && key !== "registered_name")
      )
      .map(([key, item]) => [key, withoutModules(item)]),
  ) as T;
}

/** What differs, by name: "failed", "made.axis", "fused", "y" and so on. */
function compare(testCase: Case, ours: Outcome): string[] {
  const { theirs, line, args } = testCase;
  const differing: string[] = [];
  const check = (name: string, a: unknown, b: unknown) => {
    if (canonical(a) !== canonical(b)) differing.push(name);
  };
  check("failed", ours.failed, theirs.failed);
  for (const stage of ["made", "built"] as const) {
    if (!ours[stage] || !theirs[stage]) continue;
    const their = line === "2.21.0"
      ? withoutModules(theirs[stage])
      : theirs[stage];
    for (
      const key of new Set([...Object.keys(ours[stage]), ...Object.keys(their)])
    ) {
      // Automatic names count, here over all cases.
      if (key === "name" && args.name === null) continue;
      check(`${stage}.${key}`, ours[stage][key], their[key]);
    }
  }
  if (ours.axes && theirs.axes) {
    check("axes", ours.axes, theirs.axes.toSorted((a, b) => a - b));
    for (const name of ["fused", "weights", "shape", "type"] as const) {
      check(name, ours[name], theirs[name]);
    }
  }
  if (!ours.failed && !theirs.failed) {
    check("yType", ours.yType, theirs.yType);
    const bound = OUTPUT_BOUND[ours.yType!]!;
    const same = ours.y!.length === theirs.y!.length &&
      ours.y!.every((value, i) => near(value, theirs.y![i]!, bound));
    if (!same) differing.push("y");
    // Keras adds float32 losses up; ours are float64.
    if (!near(ours.loss!, theirs.loss ?? 0, 1e-6)) differing.push("loss");
  }
  return differing;
}

/** A place where we are not as Keras, on purpose. */
interface Difference {
  readonly reason: string;
  /** Which cases it is about. */
  readonly when: (testCase: Case) => boolean;
  /** What may differ, as a start of the names of {@linkcode compare}. */
  readonly what: readonly string[];
  /** Where ours fails; "ok" for nowhere. */
  readonly ours?: readonly (Stage | "ok")[];
}

const has = (args: JsonObject, key: string) => Object.hasOwn(args, key);
const isNull = (key: string) => ({ args }: Case) =>
  has(args, key) && args[key] === null;
const isKeras3 = ({ line }: Case) => line.startsWith("3.");
const before = (minor: number) => ({ line }: Case) =>
  line.startsWith("2.") && Number(line.split(".")[1]) < minor;
const isFloatTag = (value: Json | undefined) =>
  typeof value === "object" && value !== null && !Array.isArray(value) &&
  value.$float !== undefined;
const isNoBoolean = (value: Json | undefined) =>
  !(value === true || value === false || value === 0 || value === 1);

const SWITCHES = [
  "center",
  "scale",
  "trainable",
  "synchronized",
  "dynamic",
  "autocast",
  "renorm",
];

const DIFFERENCES: readonly Difference[] = [
  {
    reason: "an axis is an integer: True, '1', 1.5 and lists with such are " +
      "accidents of Python, which partly fail later",
    when: ({ args }) =>
      has(args, "axis") &&
        [args.axis].flat(2).some((a) => !Number.isInteger(a)) ||
      [args.axis].flat().some((a) => Array.isArray(a)),
    what: ["failed"],
    ours: ["constructor"],
  },
  {
    reason: "Keras fails on an empty list of axes only in call, with an " +
      "IndexError; ours normalizes over all axes",
    when: ({ args, theirs }) =>
      Array.isArray(args.axis) && args.axis.length === 0 &&
      theirs.failed === "call",
    what: ["failed"],
    ours: ["ok"],
  },
  {
    reason: "a built layer with ghost batches has an axis list that is off " +
      "by one in Keras' configuration, which Keras cannot build again " +
      "(tensorflow#56556); ours counts from the end",
    when: ({ args }) => args.virtual_batch_size != null,
    what: ["built.axis"],
  },
  {
    reason: "the mixed policies' names stand for the Policy objects that " +
      "TF 2.4 wants there; JSON has no objects",
    when: ({ line, args }) =>
      line === "2.4.0" && String(args.dtype).startsWith("mixed_"),
    what: ["failed"],
    ours: ["ok", "build"],
  },
  {
    reason: "no CPU kernel for the fused operator on bfloat16 in these " +
      "releases: it fails, or gives an empty tensor",
    when: (testCase) =>
      before(13)(testCase) && testCase.theirs.fused === true &&
      String(testCase.args.dtype).includes("bfloat16"),
    what: ["failed", "y", "yType"],
    ours: ["ok"],
  },
  {
    reason: "before 2.12, `synchronized` stands for the class " +
      "SyncBatchNormalization, which those releases have in its place",
    when: (testCase) =>
      before(12)(testCase) && has(testCase.args, "synchronized"),
    what: ["failed"],
    ours: ["ok", "build"],
  },
  {
    reason: "null is how an argument of ours is left out; in Keras 3 these " +
      "are unknown keywords, in Keras 2 None is no shape",
    when: ({ args }) =>
      [
        "fused",
        "adjustment",
        "virtual_batch_size",
        "implementation",
        "weights",
        "input_shape",
        "batch_input_shape",
      ].some((key) => has(args, key) && args[key] === null),
    what: ["failed"],
    ours: ["ok", "build"],
  },
  {
    reason: "null is how an argument of ours is left out; Keras 2 takes it " +
      "for an input of unknown extent",
    when: isNull("input_dim"),
    what: ["made.batch_input_shape", "built.batch_input_shape"],
  },
  {
    reason: "switches are true, false, 1 or 0; Python has other truths",
    when: ({ args }) =>
      [...SWITCHES, "fused"].some((key) =>
        has(args, key) && isNoBoolean(args[key]) &&
        !(key === "fused" && args[key] === null)
      ),
    what: ["failed"],
    ours: ["constructor"],
  },
  {
    reason: "1 and 0 become true and false, which Keras' types are too",
    when: ({ args }) =>
      [...SWITCHES, "fused"].some((key) => args[key] === 1 || args[key] === 0),
    what: [
      ...SWITCHES.flatMap((key) => [`made.${key}`, `built.${key}`]),
      "fused",
    ],
  },
  {
    reason: "1 and 0 are switches in every release here; some check types",
    when: ({ line, args, theirs }) =>
      theirs.failed === "constructor" &&
      (has(args, "dynamic") && !line.startsWith("3.") ||
        has(args, "trainable")),
    what: ["failed"],
    ours: ["ok"],
  },
  {
    reason: "Keras stores any momentum; one that is not a finite number " +
      "would only show as NaN in every later output",
    when: ({ args }) =>
      ["momentum", "renorm_momentum"].some((key) =>
        has(args, key) && typeof args[key] !== "number" &&
        (key === "momentum" || args.renorm === true)
      ),
    what: ["failed"],
    ours: ["constructor"],
  },
  {
    reason: "Keras stores any epsilon, and fails in call or computes NaN " +
      "(None is 1e-4 on the fused path of 2.12)",
    when: ({ args }) =>
      has(args, "epsilon") && typeof args.epsilon !== "number",
    what: ["failed"],
    ours: ["constructor"],
  },
  {
    reason: "the root of a negative number is an error, not NaN",
    when: ({ args }) => args.epsilon === -1e-3,
    what: ["failed"],
    ours: ["call"],
  },
  {
    reason: "inf * 0 in `beta - mean * a`: ours is in onnxruntime's order, " +
      "TensorFlow's fused operator computes (x - mean) * a + beta",
    when: ({ args, theirs }) => args.epsilon === 0 && theirs.fused === true,
    what: ["y"],
  },
  {
    reason: "Keras stores any bounds and fails in training, or clips with " +
      "NaN; infinity is better left out",
    when: ({ args }) =>
      args.renorm === true && has(args, "renorm_clipping") &&
      (typeof args.renorm_clipping !== "object" ||
        Array.isArray(args.renorm_clipping) ||
        Object.values(args.renorm_clipping ?? {}).some((bound) =>
          typeof bound === "string" || isFloatTag(bound)
        )),
    what: ["failed"],
    ours: ["constructor"],
  },
  {
    reason: "a bound of None is no bound, and not written",
    when: ({ args }) => canonical(args.renorm_clipping) === '{"rmax":null}',
    what: ["made.renorm_clipping", "built.renorm_clipping"],
  },
  {
    reason: "Keras 3 also writes the settings of renorm that it neither " +
      "checks nor uses while renorm is off",
    when: (testCase) => isKeras3(testCase) && testCase.args.renorm !== true,
    what: [
      "made.renorm_clipping",
      "built.renorm_clipping",
      "made.renorm_momentum",
      "built.renorm_momentum",
    ],
  },
  {
    reason: "no initializer means glorot_uniform, with renorm too, where " +
      "Keras 2 calls None",
    when: ({ args }) =>
      args.renorm === true && has(args, "moving_variance_initializer") &&
      args.moving_variance_initializer === null,
    what: ["failed"],
    ours: ["ok"],
  },
  {
    reason: "sizes of ghost batches are integers; Keras stores others and " +
      "fails in call, in training at the latest",
    when: ({ args }) =>
      has(args, "virtual_batch_size") &&
      args.virtual_batch_size !== null &&
      !Number.isInteger(args.virtual_batch_size),
    what: ["failed"],
    ours: ["build"],
  },
  {
    reason: "an adjustment is a function; Keras fails in training",
    when: ({ args }) =>
      has(args, "adjustment") && typeof args.adjustment !== "object",
    what: ["failed"],
    ours: ["constructor"],
  },
  {
    reason: "without autocast, Keras computes in a mixture of types that " +
      "depends on the release",
    when: ({ args }) => args.autocast === false && has(args, "dtype"),
    what: ["failed"],
    ours: ["call"],
  },
  {
    reason: "floating types only, by name; TensorFlow also takes integers, " +
      "complex numbers, enum numbers, and nothing at all",
    when: ({ args }) =>
      ["int32", "bool", "string", "complex64", "", 5, true].includes(
        args.dtype as string,
      ) || Array.isArray(args.dtype),
    what: ["failed"],
    ours: ["constructor"],
  },
  {
    reason: "the JSON of a policy is read in every release's spelling; the " +
      "library fails on the others', Keras 3 in build",
    when: ({ args }) =>
      typeof args.dtype === "object" &&
      ["Policy", "PolicyV1", "DTypePolicy"].includes(
        (args.dtype as JsonObject | null)?.class_name as string,
      ),
    what: ["failed", "made.dtype"],
    ours: ["ok", "constructor"],
  },
  {
    reason: "an unknown policy is an error at once; Keras 3 fails in build",
    when: (testCase) =>
      isKeras3(testCase) &&
      (testCase.args.dtype as JsonObject | undefined)?.class_name === "Bogus",
    what: ["failed"],
    ours: ["constructor"],
  },
  {
    reason: "an unknown regularizer is an error at once, as in every other " +
      "release; tf-keras 2.21 fails in call",
    when: ({ line, args }) =>
      line === "2.21.0" &&
      Object.entries(args).some(([key, value]) =>
        key.endsWith("regularizer") && value === "bogus"
      ),
    what: ["failed"],
    ours: ["constructor"],
  },
  {
    reason: "initializers are compared in initializers_test.ts, which says " +
      "what these two leave out in Keras 3",
    when: (testCase) =>
      isKeras3(testCase) &&
      ["HeNormal", "identity"].includes(
        testCase.args.gamma_initializer as string,
      ),
    what: ["made.gamma_initializer", "built.gamma_initializer"],
  },
  {
    reason: "a name is a string; before 2.8 Keras notices in call",
    when: ({ args }) => args.name === 5,
    what: ["failed"],
    ours: ["constructor"],
  },
  {
    reason: "an empty name is no name before 2.8, and a name from then on",
    when: ({ args }) => args.name === "",
    what: ["made.name", "built.name"],
  },
  {
    reason: "a shape is a list of extents; Keras takes any iterable, Keras 3 " +
      "anything",
    when: ({ args }) => args.input_shape === "x" || args.input_shape === 3,
    what: ["failed"],
    ours: ["constructor"],
  },
  {
    reason: "two forms of one shape: Keras 3 knows one at a time",
    when: (testCase) =>
      isKeras3(testCase) && has(testCase.args, "input_shape") &&
      has(testCase.args, "input_dim"),
    what: ["failed"],
    ours: ["ok"],
  },
  {
    reason: "2.11 stopped to write `dynamic`, in the middle of the releases " +
      "that are one behaviour here",
    when: ({ line, args }) => line === "2.11.0" && args.dynamic === true,
    what: ["made.dynamic", "built.dynamic"],
  },
  {
    reason: "the count of given weights is checked at once, by Keras after " +
      "the build in the first call",
    when: (testCase) =>
      !isKeras3(testCase) && has(testCase.args, "weights") &&
      testCase.theirs.failed === "call",
    what: ["failed"],
    ours: ["constructor"],
  },
];

function title({ line, args, shape }: Case): string {
  return `Keras ${line}: ${JSON.stringify(args)} on ${JSON.stringify(shape)}`;
}

Deno.test("real Keras and the layer agree, but for listed differences", () => {
  const used = new Map(DIFFERENCES.map((difference) => [difference, 0]));
  const unexpected: string[] = [];
  for (const testCase of cases) {
    const ours = run(testCase);
    for (const what of compare(testCase, ours)) {
      const known = DIFFERENCES.filter((difference) =>
        difference.when(testCase) &&
        difference.what.some((name) => name === what) &&
        (what !== "failed" ||
          difference.ours!.includes(ours.failed ?? "ok"))
      );
      for (const difference of known) {
        used.set(difference, used.get(difference)! + 1);
      }
      if (known.length === 0) {
        const { theirs } = testCase;
        const [stage, key] = what.split(".") as ["made", string?];
        const show = (o: Outcome) =>
          canonical(key === undefined ? o[stage] : o[stage]?.[key]) +
          (o.error ? ` (${o.error})` : "");
        unexpected.push(
          `${title(testCase)}: ${what} is ${show(theirs)} in Keras, ${
            show(ours)
          } here`,
        );
      }
    }
  }
  assertEquals(unexpected, []);
  // A difference that is gone must go from the list.
  const unused = DIFFERENCES.filter((difference) => !used.get(difference));
  assertEquals(unused.map(({ reason }) => reason), []);
});

Deno.test("the effective epsilon is what real Keras adds", () => {
  let count = 0;
  for (const testCase of cases) {
    const { layer, failed, y, yType } = run(testCase);
    const their = testCase.theirs.y?.[0];
    if (
      failed || testCase.args.weights || !their || !Number.isFinite(their) ||
      !Number.isFinite(y![0]!)
    ) continue;
    count++;
    // y = 1 / sqrt(epsilon); an error of y counts twice in its square.
    assert(
      near(1 / their ** 2, layer!.effectiveEpsilon, 3 * OUTPUT_BOUND[yType!]!),
      `${title(testCase)}: ${1 / their ** 2}, ${layer!.effectiveEpsilon}`,
    );
  }
  assert(count > 2000, `${count} cases`);
});

Deno.test("a default configuration has Keras' keys in Keras' order", () => {
  for (const line of lines) {
    const layer = new BatchNormalization({
      name: "bn",
      kerasVersion: kerasVersionOf(line)!,
    });
    assertEquals(
      Object.keys(layer.getConfig()),
      Object.keys(file.lines[line].config),
      line,
    );
  }
});

Deno.test("configurations of real layers make the same layer again", () => {
  let count = 0;
  for (const testCase of cases) {
    const { theirs, line, args, shape } = testCase;
    // Ghost batches: Keras cannot read its own; keras_cases_test.ts has them.
    if (theirs.failed || args.virtual_batch_size != null) continue;
    const { layer, failed } = run(testCase);
    if (failed || args.weights) continue;
    // Keras saves none of these, so that its own layer does not come back
    // either; `fused` is read where someone adds it, to the axis that was
    // given: fused=True with axis=-3 builds on rank 5, with [2] it is refused.
    if (has(args, "adjustment") || has(args, "synchronized")) continue;
    const added = has(args, "fused") ? { fused: args.fused } : {};
    const configs = has(args, "fused")
      ? [theirs.made!]
      : [theirs.made!, theirs.built!];
    for (const saved of configs) {
      const config = { ...saved, ...added };
      const before = structuredClone(config);
      const again = BatchNormalization.fromConfig(config, {
        kerasVersion: kerasVersionOf(line)!,
      });
      assertEquals(config, before, title(testCase));
      again.build(shape);
      assertEquals(
        [again.axes, again.fused, again.effectiveEpsilon],
        [layer!.axes, layer!.fused, layer!.effectiveEpsilon],
        title(testCase),
      );
      assertEquals(
        again.weights.map(({ type, dims, data }) => [type, dims, data.length]),
        layer!.weights.map(({ type, dims, data }) => [type, dims, data.length]),
        title(testCase),
      );
      count++;
    }
  }
  assert(count > 4000, `${count} configurations`);
});

Deno.test("every line, case and behaviour is in the file", () => {
  assertEquals(lines.map(kerasVersionOf), [
    "2.4",
    "2.6",
    "2.6",
    "2.6",
    "2.12",
    "2.12",
    "3",
  ]);
  assert(cases.length > 5000, `${cases.length}`);
  const failed = cases.map(({ theirs }) => theirs.failed ?? "ok");
  for (const stage of ["ok", "constructor", "build", "call"]) {
    assert(failed.includes(stage as Stage), stage);
  }
});

Deno.test("kerasVersionOf follows the releases", () => {
  const expected = {
    "1.2.2": "2.4",
    "2.0.8": "2.4",
    "2.2.4-tf": "2.4",
    "2.4.0": "2.4",
    "2.5.0": "2.4",
    "2.5.2": "2.4",
    "2.6.0": "2.6",
    "2.9.0rc0": "2.6",
    "2.11.1": "2.6",
    "2.12.0": "2.12",
    "2.21": "2.12",
    "3.0.0": "3",
    "3.15.1": "3",
    "4.0": "3",
    "10.1": "3",
  } as const;
  for (const [release, version] of Object.entries(expected)) {
    assertEquals(kerasVersionOf(release), version, release);
  }
  for (const nonsense of ["", "3", "v3.1", "x.y", " 2.4", "latest", "-2.4"]) {
    assertEquals(kerasVersionOf(nonsense), undefined, nonsense);
  }
});
