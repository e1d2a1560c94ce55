import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { EvenkeelError, FormatError, OptionError } from "../../errors.ts";
import { BytesFile } from "../files/source_file.ts";
import { loadKeras } from "../load.ts";
import {
  bundle,
  floats,
  type GraphObject,
  message,
  objectGraph,
  stringTensor,
  type TensorOptions,
  WatchedFile,
} from "../testing/bundle_builder.ts";
import { fixtureUrl } from "../testing/fixtures.ts";
import { openCheckpoint } from "./checkpoint.ts";

function fixture(name: string, files: readonly string[]) {
  return new Map(files.map((file) => [
    file,
    Deno.readFileSync(fixtureUrl(`${name}/${file}`, "keras_checkpoints")),
  ]));
}

const CHECKPOINT = ["ckpt.index", "ckpt.data-00000-of-00001"] as const;
const SAVED_MODEL = [
  "saved_model.pb",
  "keras_metadata.pb",
  "variables/variables.index",
  "variables/variables.data-00000-of-00001",
] as const;

/** A batch normalization's four variables under a name. */
function named(name: string): Record<string, TensorOptions> {
  return {
    [`${name}/gamma`]: floats(1, 2),
    [`${name}/beta`]: floats(3, 4),
    [`${name}/moving_mean`]: floats(5, 6),
    [`${name}/moving_variance`]: floats(7, 8),
  };
}

Deno.test("of other variables nothing is read", async () => {
  const files = fixture("k24_sequential", CHECKPOINT);
  const data = new WatchedFile(CHECKPOINT[1], files.get(CHECKPOINT[1])!);
  const contents = await openCheckpoint(
    new BytesFile(CHECKPOINT[0], files.get(CHECKPOINT[0])!),
    (name) => Promise.resolve(name === CHECKPOINT[1] ? data : undefined),
  );
  // The graph of objects.
  assertEquals(data.reads.length, 1);
  assertEquals(contents.weights.kind, "tracked");
  assertEquals(data.reads.length, 1);
});

Deno.test("moments and averages of names are no layers", async () => {
  const model = await loadKeras(bundle({
    ...named("bn"),
    "bn/gamma/Adam": floats(1, 1),
    "bn/moving_mean/ExponentialMovingAverage": floats(1, 1),
    global_step: { type: 9, data: new Uint8Array(8) },
  }));
  assertEquals(model.format, "tf-checkpoint-v1");
  assertEquals(model.layers.map(({ key, loaded }) => [key, loaded]), [
    ["bn", true],
    ["variables", false],
  ]);
});

Deno.test("names without their models are found in a configuration", async () => {
  const layer = (name: string) => ({
    class_name: "BatchNormalization",
    config: { name, trainable: true },
  });
  const config = {
    class_name: "Functional",
    config: {
      layers: [{
        class_name: "Functional",
        config: { name: "block", layers: [layer("inner")] },
      }, layer("outer")],
    },
  };
  const model = await loadKeras(
    bundle({ ...named("inner"), ...named("outer") }),
    { config },
  );
  assertEquals([...model.batchNormalizations.keys()], ["block/inner", "outer"]);
});

/** A checkpoint of objects. */
function tracked(
  objects: readonly GraphObject[],
  tensors: Readonly<Record<string, TensorOptions>> = {},
) {
  return bundle({
    _CHECKPOINTABLE_OBJECT_GRAPH: stringTensor(objectGraph(objects)),
    ...tensors,
  });
}

const BN: readonly GraphObject[] = [
  { children: [["bn", 1]] },
  {
    children: [
      ["gamma", 2],
      ["beta", 3],
      ["moving_mean", 4],
      ["moving_variance", 5],
    ],
  },
  ...["gamma", "beta", "moving_mean", "moving_variance"].map((role) => ({
    variable: [`norm/${role}`, `bn/${role}`] as const,
  })),
];

Deno.test("a variable that the graph names and the file lacks is named", async () => {
  const { "bn/beta": _, ...rest } = named("bn");
  assertEquals(
    [...(await loadKeras(tracked(BN, named("bn")))).batchNormalizations.keys()],
    ["norm"],
  );
  await assertRejects(
    () => loadKeras(tracked(BN, rest)),
    FormatError,
    "Cannot read norm/beta: the checkpoint has no bn/beta",
  );
});

Deno.test("variables of a wrong type or shape are named", async () => {
  for (
    const [beta, text] of [
      [
        { ...floats(1, 2), type: 3 },
        "expected float elements, found int32 at bn/beta",
      ],
      [
        floats(1, 2, 3),
        "expected the shape [2] of the variables before it, found [3] at bn/beta",
      ],
      [{ ...floats(1, 2), crc: 1 }, "the checksum of its data is wrong"],
    ] as const
  ) {
    await assertRejects(
      () => loadKeras(tracked(BN, { ...named("bn"), "bn/beta": beta })),
      FormatError,
      `Cannot load beta of layer "norm": `,
    );
    const error = await assertRejects(() =>
      loadKeras(tracked(BN, { ...named("bn"), "bn/beta": beta }))
    );
    assert((error as Error).message.includes(text), (error as Error).message);
  }
});

Deno.test("a layer of several axes waits for who names them", async () => {
  const dims = [1, 1, 2];
  const wide = Object.fromEntries(
    Object.entries(named("bn")).map(([name, tensor]) => [
      name,
      { ...tensor, dims },
    ]),
  );
  const model = await loadKeras(tracked(BN, wide));
  assertEquals(model.batchNormalizations.size, 0);
  assert(model.layers[0]!.reason!.includes("give its virtual_batch_size"));
  await assertRejects(
    () => loadKeras(tracked(BN, wide), { layers: ["norm"] }),
    OptionError,
  );
});

Deno.test("many objects, and one that hangs on all of them, have an end", async () => {
  const count = 20_000;
  const objects: GraphObject[] = [
    { children: Array.from({ length: 1000 }, (_, i) => [`a${i}`, i + 1]) },
    ...Array.from({ length: count }, (): GraphObject => ({
      children: [["up", 0], ["last", count]],
    })),
  ];
  const model = await loadKeras(tracked(objects));
  assertEquals(model.layers, []);
});

Deno.test("a file alone says what is missing", async () => {
  const files = fixture("k24_sequential", CHECKPOINT);
  await assertRejects(
    () => loadKeras(files.get(CHECKPOINT[0])!),
    FormatError,
    "expected a name that ends with .index",
  );
  await assertRejects(
    () => loadKeras(new Map([[CHECKPOINT[0], files.get(CHECKPOINT[0])!]])),
    FormatError,
    "expected its data in ckpt.data-00000-of-00001 beside it",
  );
  const saved = fixture("tfk_saved", SAVED_MODEL);
  const [model, , index] = SAVED_MODEL;
  await assertRejects(
    () => loadKeras(new Map([[model, saved.get(model)!]])),
    FormatError,
    "expected variables/variables.index beside saved_model.pb",
  );
  await assertRejects(
    () =>
      loadKeras(
        new Map([[model, new Uint8Array()], [index, saved.get(index)!]]),
      ),
    FormatError,
    "expected a SavedModel, found no graph in it",
  );
});

Deno.test("a SavedModel that ends anywhere is refused, or has less in it", async () => {
  const files = fixture("tfk_saved", SAVED_MODEL);
  const ends = (name: string) => {
    const { length } = files.get(name)!;
    const step = Math.max(1, Math.floor(length / 200));
    return Array.from({ length: Math.ceil(length / step) }, (_, i) => i * step);
  };
  for (const name of SAVED_MODEL) {
    for (const end of ends(name)) {
      const cut = new Map([...files, [
        name,
        files.get(name)!.subarray(0, end),
      ]]);
      try {
        // Fields that are missing as a whole leave a message that is one.
        await loadKeras(cut);
      } catch (error) {
        assert(error instanceof FormatError, `${name} at ${end}: ${error}`);
      }
    }
  }
});

Deno.test("a SavedModel without Keras' metadata has its layers by their names", async () => {
  const files = fixture("tfk_saved", SAVED_MODEL);
  files.delete("keras_metadata.pb");
  const model = await loadKeras(files);
  assertEquals(model.kerasVersion, undefined);
  assertEquals(
    [...model.batchNormalizations.keys()].length,
    1,
  );
  assert(model.layers.find(({ loaded }) => loaded)!.reason);
});

Deno.test("any graph is read or refused", async () => {
  const names = fc.constantFrom(
    "gamma",
    "moving_mean",
    "moving_variance",
    "layer-0",
    "layer-1",
    "variables",
    "_operations",
    "0",
    "1",
    "bn",
  );
  const objects = fc.array(
    fc.record({
      children: fc.array(fc.tuple(names, fc.nat(8)), { maxLength: 4 }),
      isVariable: fc.boolean(),
    }),
    { minLength: 1, maxLength: 9 },
  );
  await fc.assert(fc.asyncProperty(objects, async (graph) => {
    const files = tracked(
      graph.map(({ children, isVariable }, i) =>
        isVariable
          ? { children, variable: [`v${i % 3}/gamma`, "bn/gamma"] as const }
          : { children }
      ),
      named("bn"),
    );
    try {
      await loadKeras(files);
    } catch (error) {
      assert(error instanceof EvenkeelError, String(error));
    }
  }));
});

Deno.test("any change to a checkpoint's files is refused or read", async () => {
  const files = fixture("k24_nested", CHECKPOINT);
  const changes = fc.record({
    name: fc.constantFrom(...CHECKPOINT),
    at: fc.nat(2000),
    bits: fc.integer({ min: 1, max: 255 }),
  });
  await fc.assert(fc.asyncProperty(changes, async ({ name, at, bits }) => {
    const bytes = files.get(name)!.slice();
    bytes[at % bytes.length]! ^= bits;
    try {
      await loadKeras(new Map([...files, [name, bytes]]));
    } catch (error) {
      assert(error instanceof EvenkeelError, String(error));
    }
  }));
});

Deno.test("a checkpoint of before TensorFlow 0.12 says so", async () => {
  await assertRejects(
    () => loadKeras(bundle({}, message([1, message([1, "x"])]))),
    EvenkeelError,
    "before TensorFlow 0.12 (V1)",
  );
});
