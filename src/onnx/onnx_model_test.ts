import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import {
  EvenkeelError,
  FormatError,
  OptionError,
  ShapeError,
  UnsupportedError,
} from "../errors.ts";
import { BatchNormalization } from "../layer/batch_normalization.ts";
import { type Tensor, tensor, widen } from "../tensor.ts";
import { buildOnnx } from "./build.ts";
import { externalFiles } from "./external_files.ts";
import { ROLES } from "./find.ts";
import { type OnnxModel, openOnnx } from "./onnx_model.ts";
import { runReference } from "./reference.ts";
import {
  caseNamed,
  externalOf,
  knownRoles,
  MODEL_CASES,
  MODEL_FOLDER,
  type ModelCase,
  modelNamed,
  readModel,
  tensorOf,
} from "./testing/models.ts";
import { decode, onnx } from "./testing/onnx_proto.ts";

function open(model: ModelCase): OnnxModel {
  return openOnnx(readModel(model), { externalData: externalOf(model) });
}

/** What `source` says of a vector that is not known, by the reason's kind. */
const REASONS: Readonly<Record<string, RegExp>> = {
  computed: /^the \w+ node ".*" computes "/,
  input: /^the (sub)?graph input ".*" has no value$/,
  sparse: /is sparse$/,
  outside: /expected a file in the model's folder$/,
  missing: /which the option externalData does not have|has no location$/,
  beyond: /expected \d+ bytes at \d+ of|a number of bytes as the external/,
  length: /the file says \d+|a number of bytes as the external/,
  "several calls": /is an input of a function that 2 nodes call$/,
};

for (const model of MODEL_CASES) {
  Deno.test(`openOnnx finds what is in ${model.name}: ${model.note}`, () => {
    const found = open(model).batchNormalizations;
    assertEquals(found.length, model.batchNormalizations.length);
    const left = [...found];
    for (const expected of model.batchNormalizations) {
      // Names are unique; the file's may be none, or twice the same. The order
      // is the file's, in which attributes may have any.
      const around = expected.scope.map((text) => text.split(".").at(-1)!);
      const at = left.findIndex(({ name }) =>
        [expected.name, ...around].every((part) => name.includes(part))
      );
      const [node] = left.splice(at, 1) as [typeof found[number]];
      assertEquals(node.opset, expected.opset);
      assertEquals(node.epsilon, expected.epsilon);
      assertEquals(node.momentum, expected.momentum);
      assertEquals(node.trainingMode, expected.trainingMode);
      assertEquals(
        node.channels,
        expected.shape?.[0] ?? expected.channels ?? undefined,
      );
      for (const role of ROLES) {
        const values = expected[role];
        const vector = node[role];
        if ("reason" in values) {
          assertEquals(vector, undefined);
          assertMatch(node.source[role], REASONS[values.reason]!);
        } else {
          assert(vector, node.source[role]);
          assertEquals([...widen(vector!)], [...values]);
        }
      }
    }
    const names = found.map(({ name }) => name);
    assertEquals(new Set(names).size, names.length);
  });
}

Deno.test("external data comes from the model's folder, and from nowhere else", async () => {
  const externalData = await externalFiles(MODEL_FOLDER);
  for (const model of MODEL_CASES) {
    if (!model.external) continue;
    const [node] = openOnnx(readModel(model), { externalData })
      .batchNormalizations;
    const [expected] = model.batchNormalizations;
    assertEquals(
      node!.gamma === undefined,
      "reason" in expected!.gamma,
      `${model.name}: ${node!.source.gamma}`,
    );
  }
});

Deno.test("a link out of the folder is not followed", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const model = caseNamed("external_data");
    const [name] = model.external!;
    await Deno.mkdir(`${folder}/model`);
    await Deno.copyFile(new URL(name!, MODEL_FOLDER), `${folder}/secret.bin`);
    await Deno.symlink(`${folder}/secret.bin`, `${folder}/model/${name}`);
    const [node] = openOnnx(readModel(model), {
      externalData: await externalFiles(`${folder}/model`),
    }).batchNormalizations;
    assertMatch(node!.source.gamma, /a link that leads out/);
    // A link within is.
    await Deno.rename(`${folder}/secret.bin`, `${folder}/model/data.bin`);
    await Deno.remove(`${folder}/model/${name}`);
    await Deno.symlink("data.bin", `${folder}/model/${name}`);
    const [inside] = openOnnx(readModel(model), {
      externalData: await externalFiles(`${folder}/model`),
    }).batchNormalizations;
    assert(inside!.gamma, inside!.source.gamma);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("without external data, the source tells which option is missing", () => {
  const [node] = openOnnx(modelNamed("external_data")).batchNormalizations;
  assertMatch(node!.source.gamma, /pass it with the option externalData/);
  assertThrows(
    () => openOnnx(modelNamed("rank2"), { external: new Map() } as object),
    OptionError,
    'the option "external" of openOnnx',
  );
});

/** The vectors of all nodes, by name and role. */
function vectorsOf(model: OnnxModel): Map<string, Tensor> {
  return new Map(
    model.batchNormalizations.flatMap((node) =>
      ROLES.flatMap((role) =>
        node[role] ? [[`${node.name} ${role}`, node[role]] as const] : []
      )
    ),
  );
}

/** Values that differ from the old ones, and that every type holds exactly. */
function newValues({ data }: Tensor): number[] {
  return Array.from(data, (_, i) => 0.25 * (i + 1));
}

for (const model of MODEL_CASES) {
  const roles = model.batchNormalizations.some((node) =>
    knownRoles(node).length > 0
  );
  if (!roles) continue;
  Deno.test(`update changes one vector, and no other, of ${model.name}`, () => {
    const old = open(model);
    const before = vectorsOf(old);
    for (const { name, ...node } of old.batchNormalizations) {
      for (const role of ROLES) {
        const vector = node[role];
        if (!vector) continue;
        const bytes = old.update({ [name]: { [role]: newValues(vector) } });
        const updated = openOnnx(bytes, { externalData: externalOf(model) });
        const after = vectorsOf(updated);
        assertEquals([...after.keys()], [...before.keys()]);
        for (const [key, value] of after) {
          const expected = key === `${name} ${role}`
            ? tensor(newValues(vector), vector.dims, vector.type)
            : before.get(key)!;
          assertEquals(value, expected, `${key} after ${name} ${role}`);
        }
        assertEquals(
          updated.batchNormalizations.map((each) => each.epsilon),
          old.batchNormalizations.map((each) => each.epsilon),
        );
      }
    }
  });

  Deno.test(`the same values leave every byte of ${model.name}`, () => {
    const old = open(model);
    const same = Object.fromEntries(
      old.batchNormalizations.map(({ name, gamma, beta, mean, variance }) => [
        name,
        Object.fromEntries(
          Object.entries({ gamma, beta, mean, variance }).filter(([, value]) =>
            value !== undefined
          ),
        ),
      ]),
    );
    assertEquals(old.update(same), readModel(model));
  });
}

/** How many bytes differ, at the same length. */
function differences(a: Uint8Array, b: Uint8Array): number {
  assertEquals(a.length, b.length);
  return a.reduce((count, byte, i) => count + Number(byte !== b[i]), 0);
}

Deno.test("a vector that one node reads is changed where it stands", () => {
  for (
    const name of [
      "opset17",
      "constant_value",
      "initializer_is_input",
      "identity_chain",
      "unknown_fields",
      "long_varints",
      "fields_backwards",
    ]
  ) {
    const model = caseNamed(name);
    const old = open(model);
    const [{ name: node, mean }] = old.batchNormalizations as [
      OnnxModel["batchNormalizations"][number],
    ];
    const bytes = old.update({ [node]: { mean: newValues(mean!) } });
    const changed = differences(bytes, readModel(model));
    assert(
      changed > 0 && changed <= mean!.data.byteLength,
      `${name}: ${changed}`,
    );
  }
});

Deno.test("elements that were in another file come into the model", () => {
  const bytes = open(caseNamed("external_data")).update({
    bn: {
      gamma: [1, 2, 3],
      beta: [4, 5, 6],
      mean: [7, 8, 9],
      variance: [1, 1, 1],
    },
  });
  const { batchNormalizations, externalLocations } = openOnnx(bytes);
  assertEquals([...batchNormalizations[0]!.gamma!.data], [1, 2, 3]);
  assertEquals(externalLocations, []);
  assertEquals(open(caseNamed("external_data")).externalLocations, [
    "external_data.bin",
  ]);
});

Deno.test("unknown fields and their order survive a change of length", () => {
  const model = caseNamed("unknown_fields");
  const old = readModel(model);
  const bytes = open(model).update({ bn: { epsilon: 0.5, momentum: 0.25 } });
  const [node] = openOnnx(bytes).batchNormalizations;
  assertEquals([node!.epsilon, node!.momentum], [0.5, 0.25]);
  // What follows, and what comes before, up to the lengths of the messages
  // around, is the same.
  const text = (part: Uint8Array) => new TextDecoder("latin1").decode(part);
  for (const unknown of text(old).match(/unknown[ -~]*/g) ?? []) {
    assertStringIncludes(text(bytes), unknown);
  }
});

Deno.test("a shared vector is split when one of its users changes", () => {
  const old = open(caseNamed("shared_mean"));
  const mean = [...widen(old.batchNormalizations[0]!.mean!)];
  const one = openOnnx(old.update({ bn_1: { mean: [7, 8, 9] } }));
  assertEquals(
    one.batchNormalizations.slice(0, 2).map((node) => [...node.mean!.data]),
    [[7, 8, 9], mean],
  );
  // All users together: no new constant.
  const both = old.update({
    bn_1: { mean: [7, 8, 9] },
    bn_2: { mean: [7, 8, 9] },
  });
  assertEquals(both.length, readModel(caseNamed("shared_mean")).length);
  // Both, and differently.
  const apart = openOnnx(
    old.update({ bn_1: { mean: [7, 8, 9] }, bn_2: { mean: [1, 2, 3] } }),
  );
  assertEquals(
    apart.batchNormalizations.slice(0, 2).map((node) => [...node.mean!.data]),
    [[7, 8, 9], [1, 2, 3]],
  );
});

Deno.test("who sees a shared vector through a Cast gets one of its own", () => {
  const old = open(caseNamed("casts_shared"));
  const mean = [1.0001, 2.0003, 3.0007];
  const bytes = old.update({ bn_1: { mean }, bn_2: { mean } });
  for (const node of openOnnx(bytes).batchNormalizations) {
    assertEquals([...node.mean!.data], [...Float32Array.from(mean)], node.name);
  }
});

Deno.test("twenty thousand nodes of one name are told apart", () => {
  const message = decode(modelNamed("opset17"));
  const [node] = message.graph!.node!;
  message.graph!.node = Array.from({ length: 20_000 }, (_, i) => ({
    ...node,
    output: [`y${i}`],
  }));
  const bytes = onnx.ModelProto.encode(message).finish();
  const { batchNormalizations } = openOnnx(bytes);
  assertEquals(batchNormalizations.at(-1)!.name, "bn#20000");
});

Deno.test("a long chain of Identity nodes is no constant, and is left soon", () => {
  const message = decode(modelNamed("opset17"));
  const { node } = message.graph!;
  const [bn] = node!;
  const last = bn!.input![3]!;
  for (let i = 0; i < 20_000; i++) {
    node!.push(onnx.NodeProto.create({
      opType: "Identity",
      input: [i === 0 ? last : `i${i - 1}`],
      output: [`i${i}`],
    }));
  }
  bn!.input![3] = "i19999";
  const model = openOnnx(onnx.ModelProto.encode(message).finish());
  assertMatch(
    model.batchNormalizations[0]!.source.mean,
    /more than 1000 nodes pass "i19999" on/,
  );
});

/** The distance of 1 to the next number. */
const UNIT: Readonly<Record<string, number>> = {
  float64: 2 ** -52,
  float32: 2 ** -23,
  float16: 2 ** -10,
};

for (const model of MODEL_CASES) {
  if (!model.run?.with.startsWith("onnxruntime")) continue;
  if (
    model.batchNormalizations.every((node) => knownRoles(node).length === 0)
  ) {
    continue;
  }
  // Types that onnxruntime-web's tensors, or its kernels, do not have.
  if (/bfloat16|mixed_x16|opset28/.test(model.name)) continue;
  const { inputs, outputs } = model.run;
  if (
    Object.values(inputs).some(({ dtype }) => !/float(32|64|16)/.test(dtype))
  ) {
    continue;
  }
  Deno.test(`onnxruntime-web runs ${model.name} after an update of every vector`, async () => {
    const feeds = Object.fromEntries(
      Object.entries(inputs).map(([name, value]) => [name, tensorOf(value)]),
    );
    const old = open(model);
    const external = externalOf(model);
    const fetches = Object.keys(outputs);
    const updates = new Map(
      old.batchNormalizations.map((node) => [
        node.name,
        Object.fromEntries(
          ROLES.flatMap((role) =>
            node[role] ? [[role, newValues(node[role])] as const] : []
          ),
        ),
      ]),
    );
    const changed = await runReference(old.update(updates), feeds, external);
    const before = await runReference(readModel(model), feeds, external);
    for (const name of fetches) {
      assertEquals(changed[name]!.dims, before[name]!.dims);
      const recorded = widen(tensorOf(outputs[name]!));
      widen(before[name]!).forEach((value, i) => {
        // Both round a handful of operations on values of order 10.
        const bound = 64 * UNIT[before[name]!.type]! *
          Math.max(1, Math.abs(recorded[i]!));
        assert(Math.abs(value - recorded[i]!) <= bound, `${name}[${i}]`);
      });
    }
    assert(
      fetches.some((name) =>
        widen(changed[name]!).some((v, i) => v !== widen(before[name]!)[i])
      ),
      "the update changes nothing",
    );
  });
}

Deno.test("an updated model gives what a fresh one of the same layer gives", async () => {
  for (const opset of [7, 9, 14, 15, 22]) {
    const layer = new BatchNormalization({ axis: 1, name: "bn" });
    const options = { inputShape: [null, 3, 4], opset };
    const old = openOnnx(buildOnnx(layer, options));
    layer.setWeights([
      tensor([1, 2, 3], [3]),
      tensor([-1, 0, 1], [3]),
      tensor([0.5, 0.25, 0], [3]),
      tensor([1, 4, 9], [3]),
    ]);
    const bytes = old.update({
      bn: {
        gamma: layer.gamma!,
        beta: layer.beta!,
        mean: layer.movingMean,
        variance: layer.movingVariance,
      },
    });
    assertEquals(bytes, buildOnnx(layer, options));
    const x = tensor(Float32Array.from({ length: 24 }, (_, i) => i / 7), [
      2,
      3,
      4,
    ]);
    assertEquals(
      (await runReference(bytes, { x })).y!.data,
      layer.call(x).data,
    );
  }
});

const BAD_UPDATES: readonly [
  string,
  Parameters<OnnxModel["update"]>[0],
  new (message: string) => Error,
  RegExp,
][] = [
  ["an unknown node", { nope: {} }, OptionError, /expected "bn"/],
  [
    "an unknown key",
    { bn: { scale: [1] } as object },
    OptionError,
    /expected one of gamma/,
  ],
  [
    "too few values",
    { bn: { gamma: [1, 2] } },
    ShapeError,
    /expected 3 values, got 2/,
  ],
  [
    "no numbers",
    { bn: { gamma: 1 as unknown as number[] } },
    OptionError,
    /expected a tensor or 3/,
  ],
  ["NaN", { bn: { mean: [1, NaN, 2] } }, OptionError, /got NaN/],
  [
    "beyond float32",
    { bn: { mean: [1, 1e39, 2] } },
    OptionError,
    /got Infinity/,
  ],
  [
    "a negative variance",
    { bn: { variance: [1, -1, 2] } },
    OptionError,
    /not negative.*got -1/,
  ],
  [
    "a negative epsilon",
    { bn: { epsilon: -1 } },
    OptionError,
    /from 0, got -1/,
  ],
  [
    "a momentum above 1",
    { bn: { momentum: 1.5 } },
    OptionError,
    /from 0 to 1, got 1.5/,
  ],
  [
    "nothing",
    undefined as unknown as Record<string, never>,
    OptionError,
    /expected a Map/,
  ],
  [
    "null",
    { bn: null as unknown as object },
    OptionError,
    /expected an object/,
  ],
];

for (const [title, updates, ErrorClass, message] of BAD_UPDATES) {
  Deno.test(`update refuses ${title}`, () => {
    const model = openOnnx(modelNamed("opset17"));
    const error = assertThrows(() => model.update(updates), ErrorClass);
    assertMatch((error as Error).message, message);
  });
}

Deno.test("update refuses a vector that is no constant", () => {
  const model = openOnnx(modelNamed("input_without_value"));
  assertThrows(
    () => model.update({ bn: { gamma: [1, 2, 3] } }),
    UnsupportedError,
    "it is no constant of the model, the graph input",
  );
});

Deno.test("the pieces of an update are views of the file, but for what is new", () => {
  const bytes = modelNamed("fold_conv");
  const model = openOnnx(bytes);
  const updates = {
    bn: { mean: newValues(model.batchNormalizations[0]!.mean!) },
  };
  const pieces = model.updatePieces(updates);
  const own = pieces.filter(({ buffer }) => buffer !== bytes.buffer);
  const size = own.reduce((sum, { length }) => sum + length, 0);
  assert(size < 64, `${size} new bytes`);
  assertEquals(
    new Uint8Array(pieces.flatMap((piece) => [...piece])),
    model.update(updates),
  );
});

Deno.test("truncated at any byte, a model is refused or read, and never worse", () => {
  for (
    const name of ["opset17", "if_in_loop", "function_nested", "unknown_group"]
  ) {
    const bytes = modelNamed(name);
    for (let length = 0; length < bytes.length; length++) {
      try {
        openOnnx(bytes.slice(0, length));
      } catch (error) {
        assert(error instanceof EvenkeelError, String(error));
      }
    }
  }
});

Deno.test("with any byte changed, a model is refused or read, and never worse", () => {
  const names = [
    "opset17",
    "field_float16_typed",
    "if_in_loop",
    "function_nested",
    "external_data",
  ];
  fc.assert(
    fc.property(
      fc.constantFrom(...names),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 5 }),
      (name, changes) => {
        const bytes = modelNamed(name);
        for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
        try {
          const model = openOnnx(bytes);
          for (const { name, mean } of model.batchNormalizations) {
            if (mean) model.update({ [name]: { mean: newValues(mean) } });
          }
        } catch (error) {
          if (!(error instanceof EvenkeelError)) throw error;
        }
      },
    ),
    { numRuns: 3000 },
  );
});

/** A model with one BatchNormalization, whose scale claims these extents. */
function claiming(dims: number[]): Uint8Array {
  const message = decode(modelNamed("opset17"));
  message.graph!.initializer![0]!.dims = dims;
  return onnx.ModelProto.encode(message).finish();
}

Deno.test("extents that the data do not bear out are told, before anything is allocated", () => {
  const cases: readonly [number[], RegExp][] = [
    [[2 ** 40], /expected 4398046511104 bytes for .* found 12/],
    [[2 ** 30, 2 ** 30], /beyond 2\^53 elements/],
    [[-3], /the extents \[-3\] are negative/],
    [[4], /expected 16 bytes .* found 12/],
  ];
  for (const [dims, message] of cases) {
    const [node] = openOnnx(claiming(dims)).batchNormalizations;
    assertEquals(node!.gamma, undefined);
    assertMatch(node!.source.gamma, message);
  }
});

Deno.test("what is no model is refused", () => {
  const text = new TextEncoder().encode("<!doctype html>");
  for (const bytes of [new Uint8Array(), text, new Uint8Array(100)]) {
    assertThrows(() => openOnnx(bytes), FormatError, "Cannot read the");
  }
  assertThrows(
    () => openOnnx("model.onnx" as unknown as Uint8Array),
    FormatError,
    "expected its bytes as a Uint8Array",
  );
});
