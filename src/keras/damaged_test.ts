// Every way in which a file can be wrong gives a FormatError that says how.

import { assert, assertEquals, assertRejects } from "@std/assert";
import * as h5wasm from "h5wasm";
import { strToU8, unzipSync, zipSync } from "fflate";
import { FormatError } from "../errors.ts";
import { loadKeras } from "./load.ts";
import { fixtureBytes } from "./testing/fixtures.ts";
import { buildHdf5, vector } from "./testing/hdf5_builder.ts";
import {
  FOUR,
  layerGroup,
  type LayerWeights,
  oneLayer,
  serialized,
  wholeModel,
} from "./testing/legacy_model.ts";

async function assertRefused(
  bytes: Uint8Array,
  ...messages: string[]
): Promise<FormatError> {
  const error = await assertRejects(() => loadKeras(bytes), FormatError);
  for (const message of messages) {
    assert(error.message.includes(message), error.message);
  }
  return error;
}

function without(weights: LayerWeights, name: string): LayerWeights {
  const { [name]: _, ...rest } = weights;
  return rest;
}

Deno.test("a missing weight is named, with near matches", async () => {
  const { "moving_variance:0": variance, ...rest } = FOUR;
  const weights = { ...rest, "moving_varience:0": variance! };
  await assertRefused(
    await oneLayer(layerGroup(weights)),
    `Cannot load moving_variance of layer "bn": expected gamma, beta, moving_mean, moving_variance, found bn/gamma:0, bn/beta:0, bn/moving_mean:0, bn/moving_varience:0`,
    `near matches: "bn/moving_varience:0"`,
  );
});

Deno.test("a weight that the list names and the group lacks is named", async () => {
  await assertRefused(
    await oneLayer(
      layerGroup(without(FOUR, "beta:0"), "bn", Object.keys(FOUR)),
    ),
    `expected a dataset at model_weights/bn/bn/beta:0, found nothing`,
    `near matches: "bn/`,
  );
});

Deno.test("a weight that the configuration does not ask for is named", async () => {
  await assertRefused(
    await oneLayer(layerGroup(FOUR), { scale: false }),
    `asks for beta, moving_mean, moving_variance, but the file has bn/gamma:0 as well`,
  );
});

Deno.test("weights of a wrong type or shape are named", async () => {
  for (
    const [weight, message] of [
      [
        { dims: [2], values: [1, 2], dtype: "<i" },
        'Cannot load beta of layer "bn": expected float elements, found int32 at model_weights/bn/bn/beta:0',
      ],
      [
        vector(1, 2, 3),
        "expected the shape [2] of the variables before it, found [3]",
      ],
      [
        { dims: [1, 2], values: [1, 2] },
        "expected a vector, for its one axis, found the shape [1, 2]",
      ],
    ] as const
  ) {
    await assertRefused(
      await oneLayer(layerGroup({ ...FOUR, "beta:0": weight })),
      message,
    );
  }
});

Deno.test("a layer without any weights is named", async () => {
  await assertRefused(
    await oneLayer({ attributes: { weight_names: [] } }),
    `Cannot load layer "bn": expected gamma, beta, moving_mean, moving_variance, found no variables in model_weights/bn (was the model saved before it was built?)`,
  );
  await assertRefused(
    await wholeModel([serialized("BatchNormalization", "bn_1")], {
      bn_2: layerGroup(FOUR, "bn_2"),
    }),
    `Cannot load layer "bn_1"`,
    "found no variables for it in the file",
  );
});

Deno.test("a layer that the list names and the file lacks is named", async () => {
  const bytes = await buildHdf5({
    attributes: { layer_names: ["bn_1"] },
    members: { bn: layerGroup(FOUR) },
  });
  await assertRefused(
    bytes,
    `Cannot read the weights of layer "bn_1": expected a group in /, found nothing; near matches: "bn"`,
  );
  await assertRefused(
    await buildHdf5({
      attributes: { layer_names: ["bn"] },
      members: { bn: { members: {} } },
    }),
    "/bn has no attribute weight_names",
  );
  await assertRefused(
    await buildHdf5({ members: { model_weights: {} } }),
    "/model_weights has no attribute layer_names",
  );
});

Deno.test("a configuration that Keras refuses is named with its layer", async () => {
  const error = await assertRefused(
    await oneLayer(layerGroup(FOUR), { axis: "last" }),
    `Cannot load layer "bn": Cannot use axis "last"`,
  );
  assert(error.cause instanceof Error);
});

Deno.test("a damaged configuration is refused", async () => {
  for (
    const [config, message] of [
      [
        `{"class_name": "Sequential", `,
        "the attribute model_config: expected JSON",
      ],
      [`{"__proto__": {}}`, `it has a key "__proto__"`],
      [`[]`, "expected a JSON object"],
      [
        `{"x": 1}`,
        "expected an object with class_name and config, got the keys x",
      ],
    ] as const
  ) {
    await assertRefused(
      await buildHdf5({
        attributes: { model_config: config, layer_names: [] },
      }),
      message,
    );
  }
});

Deno.test("a configuration that is nested without end is refused", async () => {
  let layer = serialized("BatchNormalization", "bn");
  for (let i = 0; i < 100; i++) {
    layer = serialized("Functional", `m${i}`, { layers: [layer] });
  }
  await assertRefused(
    await wholeModel([layer], {}),
    "nested more than 64 deep",
  );
});

Deno.test("truncated files are refused, at any length", async () => {
  for (
    const file of [
      "tfk_rank3.h5",
      "k3_axes.keras",
      "k3_functional_rank4_npz.keras",
    ]
  ) {
    const bytes = fixtureBytes(file);
    for (let length = 8; length < bytes.length; length += 509) {
      await assertRefused(bytes.subarray(0, length));
    }
  }
});

Deno.test("HDF5's error stack is the cause and not printed", async () => {
  const bytes = fixtureBytes("k3_subclassed_variables.weights.h5");
  const error = await assertRefused(
    bytes.subarray(0, -1),
    "Cannot read the HDF5 file: opening it failed, it is damaged or truncated",
  );
  assert(String(error.cause).startsWith("Error: HDF5-DIAG"));
});

Deno.test("no file stays in h5wasm's memory", async () => {
  const { FS } = await h5wasm.ready;
  const list = (): string[] => FS.readdir("/");
  const before = list();
  const bytes = fixtureBytes("tfk_rank3.h5");
  await loadKeras(bytes);
  await assertRefused(bytes.subarray(0, 3000));
  await assertRefused(await oneLayer(layerGroup(FOUR), { axis: "last" }));
  assertEquals(list(), before);
});

Deno.test("a damaged global heap is refused instead of looping for ever", async () => {
  const bytes = fixtureBytes("tfk_rank3.h5");
  const at = new TextDecoder("latin1").decode(bytes).indexOf("GCOL");
  // The size of the first object; see hdf5/heap.ts.
  bytes[at + 24]! += 48;
  await assertRefused(bytes, `the global heap at byte ${at} is damaged`);
});

Deno.test("an archive without its members is refused", async () => {
  const members = unzipSync(fixtureBytes("k3_axes.keras"));
  const { "config.json": config, "model.weights.h5": weights } = members;
  for (
    const [changed, message] of [
      [
        { "model.weights.h5": weights! },
        "expected a Keras archive with config.json, or NumPy arrays, found model.weights.h5",
      ],
      [
        { "config.json": config! },
        "expected model.weights.h5 or model.weights.npz in it, found config.json",
      ],
      [
        { ...members, "config.json": strToU8("{") },
        "Cannot read config.json: expected JSON",
      ],
      [
        { ...members, "config.json": new Uint8Array([0xff]) },
        "Cannot read config.json: expected UTF-8 text",
      ],
      [
        { ...members, "model.weights.h5": strToU8("no") },
        "Cannot read the HDF5 file",
      ],
      [{}, "Cannot read the zip archive"],
    ] as const
  ) {
    await assertRefused(
      zipSync(changed as Record<string, Uint8Array>),
      message,
    );
  }
});

Deno.test("an archive with a wrong number of variables is refused", async () => {
  const members = unzipSync(fixtureBytes("k3_axes.keras"));
  const weights = await buildHdf5({
    members: {
      "layers/batch_normalization/vars": { members: { 0: vector(1) } },
    },
  });
  await assertRefused(
    zipSync({ ...members, "model.weights.h5": weights }),
    `expected 4 variables (gamma, beta, moving_mean, moving_variance), found 1 in layers/batch_normalization: 0 (float32 [1])`,
  );
});

Deno.test("npz members that are no pickled variables are refused", async () => {
  const members = unzipSync(fixtureBytes("k3_functional_rank4_npz.keras"));
  const npz = unzipSync(members["model.weights.npz"]!);
  const name = "layers/batch_normalization.npy";
  const original = Array.from(npz[name]!, (byte) => String.fromCharCode(byte))
    .join("");
  const patched = (from: string, to: string): Uint8Array =>
    Uint8Array.from(original.replace(from, to), (char) => char.charCodeAt(0));
  for (
    const [member, message] of [
      [strToU8("text"), `Cannot read ${name}: expected a .npy array`],
      // Of the same length, since a length stands before it.
      [
        patched("functools", "posixpath"),
        "it refers to posixpath.partial, which is not read",
      ],
      [
        patched("initial_value", "initial_thing"),
        "expected a pickled NumPy array or Keras variable",
      ],
    ] as const
  ) {
    await assertRefused(
      zipSync({
        ...members,
        "model.weights.npz": zipSync({ ...npz, [name]: member }),
      }),
      message,
    );
  }
});

Deno.test("HDF5 that is not Keras' is refused", async () => {
  await assertRefused(
    await buildHdf5({ members: { data: vector(1), other: {} } }),
    "expected a Keras model or weights, found the members data, other",
  );
});

Deno.test("links that make an endless tree are refused", async () => {
  const message =
    "has more groups than a model can have, or links that form a loop";
  await assertRefused(
    await buildHdf5({ links: { a: "/", b: "/" } }),
    message,
  );
  // Without a loop, and not deep: HDF5 follows at most 16 soft links.
  const groups = Array.from({ length: 12 }, (_, i) => {
    const next = `/x${i + 1}`;
    return [`x${i}`, { links: { a: next, b: next, c: next, d: next } }];
  });
  await assertRefused(
    await buildHdf5({
      members: { "0/vars": {}, ...Object.fromEntries(groups) },
    }),
    message,
  );
});

Deno.test("links do not make the search for near matches endless", async () => {
  const links = Object.fromEntries(
    Array.from({ length: 10 }, (_, i) => [`z${i}`, "/model_weights/bn"]),
  );
  const group = layerGroup(without(FOUR, "beta:0"), "bn", Object.keys(FOUR));
  await assertRefused(
    await oneLayer({ ...group, links }),
    "expected a dataset at model_weights/bn/bn/beta:0, found nothing",
  );
});

/** A `.npy` file of one object, with this pickle of a dict in it. */
function pickledMember(dict: string): Uint8Array {
  const pickle = "\x80\x04cnumpy.core.multiarray\n_reconstruct\n)R" +
    `(K\x01)N\x89]${dict}atb.`;
  const header = "{'descr': '|O', 'fortran_order': False, 'shape': (), }\n";
  return Uint8Array.from(
    `\x93NUMPY\x01\x00${
      String.fromCharCode(header.length)
    }\x00${header}${pickle}`,
    (char) => char.charCodeAt(0),
  );
}

Deno.test("npz members that are nested without end are refused", async () => {
  const members = unzipSync(fixtureBytes("k3_functional_rank4_npz.keras"));
  const npz = unzipSync(members["model.weights.npz"]!);
  const global = (name: string): string =>
    `c${name.replace(/\.(?=\w+$)/, "\n")}\n`;
  // A variable whose initial value is itself.
  const variable = `${global("keras.src.backend.Variable")})R\x94` +
    `}X\x06\x00\x00\x00_value` +
    `${
      global("functools.partial")
    })R(NN}X\x0d\x00\x00\x00initial_valueh\x00stb)R` +
    "sb";
  for (
    const [changed, message] of [
      [
        {
          "layers/batch_normalization.npy": pickledMember(`}K\x00${variable}s`),
        },
        "its variables are nested more than 8 deep",
      ],
      [
        { "layers/batch_normalization.npy": pickledMember("})Ns") },
        "expected variables by name or number",
      ],
      [
        { [`${"a/".repeat(20_000)}b.npy`]: strToU8("") },
        "...: it is nested more than 64 deep",
      ],
    ] as const
  ) {
    await assertRefused(
      zipSync({
        ...members,
        "model.weights.npz": zipSync({ ...npz, ...changed }),
      }),
      message,
    );
  }
});
