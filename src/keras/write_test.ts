import { assertEquals, assertRejects } from "@std/assert";
import * as fc from "fast-check";
import { unzipSync } from "fflate";
import { OptionError, ShapeError } from "../errors.ts";
import { BatchNormalization } from "../layer/batch_normalization.ts";
import { type ElementType, type Tensor, tensor } from "../tensor.ts";
import { BytesFile, readAll } from "./files/source_file.ts";
import { readSafetensors } from "./formats/safetensors.ts";
import { loadKeras } from "./load.ts";
import { parseNpy, tensorOfStored } from "./numpy/npy.ts";
import { encodeNpy } from "./numpy/npy_write.ts";
import { arraysBytes, arraysUrl, expectedArrays } from "./testing/arrays.ts";
import { writeKeras, type WriteKerasFormat } from "./write.ts";
import { encodeSafetensors } from "./write/safetensors.ts";

const FORMATS: readonly WriteKerasFormat[] = ["npz", "safetensors", "json"];
const TYPES: readonly ElementType[] = [
  "float16",
  "bfloat16",
  "float32",
  "float64",
];

Deno.test("the files that the real libraries have loaded are what is written", async () => {
  // scripts/fixtures/keras_arrays.py check loads them with NumPy, safetensors
  // and json, and compares every bit.
  const { batchNormalizations } = await loadKeras(
    arraysUrl("types.safetensors"),
  );
  for (const format of FORMATS) {
    assertEquals(
      await writeKeras(batchNormalizations, { format }),
      arraysBytes(`evenkeel.${format}`),
    );
  }
});

Deno.test("encodeNpy() writes NumPy's bytes", () => {
  const members = unzipSync(arraysBytes("types.npz"));
  const recorded = expectedArrays().get("types.npz")!;
  let compared = 0;
  for (const [layer, [gamma]] of recorded) {
    if (!layer.startsWith("little_")) continue;
    assertEquals(encodeNpy(gamma!), members[`${layer}/gamma.npy`]!);
    compared++;
  }
  assertEquals(compared, 4);
  assertEquals(
    encodeNpy(tensorOfStored(parseNpy(arraysBytes("rows.npy"), "it"), "it")),
    arraysBytes("rows.npy"),
  );
});

Deno.test("encodeSafetensors() writes the reference's bytes", async () => {
  const ours = arraysBytes("evenkeel.safetensors");
  const { variables } = await readSafetensors(new BytesFile("it", ours));
  const tensors = new Map<string, Tensor>();
  for (const variable of variables) {
    tensors.set(variable.name, await variable.read());
  }
  // Those of types.safetensors, which the reference wrote with two more
  // tensors at its ends.
  const reference = new BytesFile("it", arraysBytes("types.safetensors"));
  const { variables: theirs } = await readSafetensors(reference);
  assertEquals(
    variables.map(({ name }) => name),
    theirs.map(({ name }) => name).slice(1, -1),
  );
  const size = [...tensors.values()]
    .reduce((sum, { data }) => sum + data.byteLength, 0);
  assertEquals(
    ours.subarray(-size),
    (await readAll(reference)).subarray(-size - 6, -6),
  );
});

/** A float64 that each type can hold as it is, or a special one. */
const value = fc.oneof(
  fc.integer({ min: -256, max: 256 }).map((n) => n / 16),
  fc.constantFrom(NaN, Infinity, -Infinity, -0, 0),
);

const layerArbitrary = fc.record({
  type: fc.constantFrom(...TYPES),
  channels: fc.integer({ min: 1, max: 5 }),
  scale: fc.boolean(),
  center: fc.boolean(),
  epsilon: fc.constantFrom(1e-3, 0.25),
  momentum: fc.constantFrom(0.9, 0.99),
  kerasVersion: fc.constantFrom("2.4" as const, "3" as const),
  values: fc.infiniteStream(value),
}).map(({ type, channels, values, ...options }) => {
  const layer = new BatchNormalization({ ...options, dtype: type });
  const count = 2 + Number(options.scale) + Number(options.center);
  layer.setWeights(Array.from({ length: count }, () => {
    const numbers = Array.from(
      { length: channels },
      () => values.next().value!,
    );
    return tensor(numbers, [channels], type);
  }));
  return layer;
});

const nameArbitrary = fc.array(
  fc.stringMatching(/^[a-zA-Z_][a-zA-Z0-9_ äß😀-]{0,8}$/u),
  { minLength: 1, maxLength: 3 },
).map((parts) => parts.join("/"))
  // A part that is a variable's name would be one.
  .filter((name) => !/gamma|beta|mean|variance|stddev|__proto__/.test(name));

const layersArbitrary = fc.uniqueArray(
  fc.tuple(nameArbitrary, layerArbitrary),
  { minLength: 1, maxLength: 4, selector: ([name]) => name },
).map((entries) => new Map(entries));

Deno.test("loadKeras() reads what writeKeras() wrote, bit for bit", async () => {
  await fc.assert(
    fc.asyncProperty(
      layersArbitrary,
      fc.constantFrom(...FORMATS),
      async (layers, format) => {
        const bytes = await writeKeras(layers, { format });
        assertEquals(await writeKeras(layers, { format }), bytes);
        const options = format === "json"
          ? {
            kerasVersion: "3" as const,
            layers: Object.fromEntries(
              [...layers].map(([name, { options }]) => [name, {
                dtype: options.dtype.variable,
              }]),
            ),
          }
          : {};
        const { batchNormalizations } = await loadKeras(bytes, options);
        assertEquals(
          new Set(batchNormalizations.keys()),
          new Set(layers.keys()),
        );
        for (const [name, layer] of layers) {
          const read = batchNormalizations.get(name)!;
          assertEquals(read.getWeights(), layer.getWeights());
          if (format !== "safetensors") continue;
          assertEquals(read.options.epsilon, layer.options.epsilon);
          assertEquals(read.options.momentum, layer.options.momentum);
          assertEquals(read.name, layer.name);
          const versions = new Set(
            [...layers.values()].map(({ options }) => options.kerasVersion),
          );
          if (versions.size > 1) continue;
          assertEquals(read.options.kerasVersion, layer.options.kerasVersion);
        }
      },
    ),
    { numRuns: 60, seed: 11 },
  );
});

Deno.test("encodeSafetensors() keeps names of any characters", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(
        fc.string({ unit: "grapheme", maxLength: 9 }).filter((name) =>
          name !== "__proto__" && name !== "__metadata__"
        ),
        { maxLength: 6 },
      ),
      async (names) => {
        const tensors = new Map(
          names.map((name, i) => [name, tensor([i], [1])]),
        );
        const { variables } = await readSafetensors(
          new BytesFile("it", encodeSafetensors(tensors)),
        );
        const read = new Map<string, Tensor>();
        for (const variable of variables) {
          read.set(variable.name, await variable.read());
        }
        assertEquals(read, tensors);
      },
    ),
    { numRuns: 100, seed: 2 },
  );
});

Deno.test("variables of several axes are written with their shape", async () => {
  const layer = new BatchNormalization({ axis: [1, 3] });
  layer.build([null, 2, 3, 2]);
  for (const format of FORMATS) {
    const bytes = await writeKeras(new Map([["bn", layer]]), { format });
    const { batchNormalizations } = await loadKeras(bytes);
    assertEquals(
      batchNormalizations.get("bn")!.getWeights().map(({ dims }) => dims),
      [[1, 2, 1, 2], [1, 2, 1, 2], [1, 2, 1, 2], [1, 2, 1, 2]],
    );
  }
});

Deno.test("writeKeras() refuses what it cannot write", async () => {
  const layer = new BatchNormalization();
  layer.build([null, 2]);
  const good = new Map([["bn", layer]]);
  const npz = { format: "npz" };
  for (
    const [layers, options, message] of [
      [good, null, "expected an object with a format"],
      [good, {}, 'Cannot use format "undefined": expected "npz"'],
      [good, { format: "toString" }, 'Cannot use format "toString"'],
      [good, { ...npz, level: 3 }, 'Cannot use the option "level"'],
      [new Map(), npz, "expected a Map with at least one"],
      [{ bn: layer }, npz, "expected a Map with at least one"],
      [new Map([["bn", {}]]), npz, "expected a BatchNormalization"],
      [
        new Map([["bn", new BatchNormalization()]]),
        npz,
        'Cannot write layer "bn": it has no variables yet',
      ],
      ...[
        "",
        "/bn",
        "bn/",
        "a//b",
        "../bn",
        "a/./b",
        "a\\b",
        "a/__proto__",
        "\ud800",
      ]
        .map((name) =>
          [
            new Map([[name, layer]]),
            npz,
            `Cannot write a layer as ${JSON.stringify(name)}`,
          ] as const
        ),
    ] as const
  ) {
    await assertRejects(
      () => writeKeras(layers as never, options as never),
      OptionError,
      message,
    );
  }
});

Deno.test("inputShapes says which inputs a model's layers are for", async () => {
  const layer = new BatchNormalization();
  layer.setWeights([1, 0, 2, 3].map((value) => tensor([value, value], [2])));
  const layers = new Map([["bn", layer]]);
  const shape = [null, 5, null, 2];
  const shapeIn = async (inputShapes?: ReadonlyMap<string, typeof shape>) => {
    const bytes = await writeKeras(layers, {
      format: "keras",
      ...(inputShapes ? { inputShapes } : {}),
    });
    const { layers: found } = await loadKeras(bytes);
    return found.find(({ loaded }) => loaded)?.inputShape;
  };
  assertEquals(await shapeIn(), [null, 2]);
  assertEquals(await shapeIn(new Map([["bn", shape]])), shape);
  await assertRejects(
    () => shapeIn(new Map([["no", shape]])),
    OptionError,
    'there is no layer "no"',
  );
  await assertRejects(
    () => shapeIn(new Map([["bn", [null, 3]]])),
    ShapeError,
    'Cannot write layer "bn" for inputs of shape [null, 3]',
  );
  await assertRejects(
    () => shapeIn({ bn: shape } as never),
    OptionError,
    "expected a Map of shapes by name",
  );
});
