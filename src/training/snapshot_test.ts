import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { FormatError } from "../errors.ts";
import { BatchNormalization } from "../layer/batch_normalization.ts";
import type { JsonObject } from "../layer/keras_object.ts";
import { tensor } from "../tensor.ts";
import { Adam } from "./optimizers.ts";
import {
  decodeBytes,
  decodeJson,
  encodeBytes,
  encodeJson,
  type Snapshot,
} from "./snapshot.ts";
import { swapToLittle } from "./tensor_bytes.ts";
import { trainStep } from "./train_step.ts";
import { TrainingState } from "./training_state.ts";

/** A state with everything in it. */
function fullState(): TrainingState {
  const layer = new BatchNormalization({ renorm: true, name: "bn" });
  const optimizer = new Adam();
  const state = new TrainingState({ layer, optimizer });
  const x = tensor([1, 2, 3, 5], [2, 2]);
  trainStep(layer, x, { optimizer, gradient: x });
  state.add(x);
  return state;
}

const FULL = fullState();

Deno.test("bytes: every flipped bit is found", () => {
  const bytes = FULL.toBytes();
  TrainingState.fromBytes(bytes);
  for (let i = 0; i < bytes.length; i++) {
    for (let bit = 0; bit < 8; bit++) {
      const damaged = bytes.slice();
      damaged[i]! ^= 1 << bit;
      assertThrows(() => TrainingState.fromBytes(damaged), FormatError);
    }
  }
});

Deno.test("bytes: every truncation and every addition is found", () => {
  const bytes = FULL.toBytes();
  for (let length = 0; length < bytes.length; length++) {
    assertThrows(
      () => TrainingState.fromBytes(bytes.subarray(0, length)),
      FormatError,
    );
  }
  const longer = new Uint8Array(bytes.length + 1);
  longer.set(bytes);
  assertThrows(() => TrainingState.fromBytes(longer), FormatError);
});

Deno.test("JSON: every flipped bit is found or changes nothing", () => {
  const text = JSON.stringify(FULL);
  const expected = FULL.toBytes();
  const bytes = new TextEncoder().encode(text);
  const decoder = new TextDecoder();
  for (let i = 0; i < bytes.length; i++) {
    for (let bit = 0; bit < 8; bit++) {
      const damaged = bytes.slice();
      damaged[i]! ^= 1 << bit;
      const changed = decoder.decode(damaged);
      try {
        const state = TrainingState.fromJSON(changed);
        assertEquals(state.toBytes(), expected);
        // A number has several spellings: 1e-7 is 1E-7.
        assert(/[\de]/.test(text[i]!), text.slice(i - 9, i + 9));
      } catch (error) {
        assert(error instanceof FormatError, `${i}: ${error}`);
      }
    }
  }
});

Deno.test("JSON: every truncation is found", () => {
  const text = JSON.stringify(FULL);
  for (let length = 0; length < text.length; length++) {
    assertThrows(
      () => TrainingState.fromJSON(text.slice(0, length)),
      FormatError,
    );
  }
});

Deno.test("JSON may be laid out anew and its keys sorted", () => {
  const sorted = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(sorted);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).sort().reverse().map(([k, v]) => [k, sorted(v)]),
    );
  };
  const json = sorted(FULL.toJSON());
  const again = TrainingState.fromJSON(JSON.stringify(json, null, 2));
  assertEquals(again.layer!.getWeights(), FULL.layer!.getWeights());
  assertEquals([again.mean, again.variance], [FULL.mean, FULL.variance]);
});

Deno.test("a newer version is refused and says so", () => {
  const bytes = FULL.toBytes();
  bytes[8]! = 2;
  const newer = assertThrows(() => TrainingState.fromBytes(bytes), FormatError);
  assertStringIncludes(newer.message, "newer release");
  assertThrows(
    () => TrainingState.fromJSON({ ...FULL.toJSON(), version: 2 }),
    FormatError,
    "newer release",
  );
  for (const version of [0, 1.5, "1", null]) {
    assertThrows(
      () => TrainingState.fromJSON({ ...FULL.toJSON(), version }),
      FormatError,
    );
  }
});

Deno.test("the layout of bytes is the documented one", () => {
  const state = new TrainingState();
  state.add(tensor(new Float64Array([1.5]), [1, 1]));
  const bytes = state.toBytes();
  const view = new DataView(bytes.buffer);
  assertEquals(new TextDecoder().decode(bytes.subarray(0, 8)), "EVKSTATE");
  assertEquals(view.getUint32(8, true), 1);
  const start = 20 + view.getUint32(16, true);
  const header = JSON.parse(
    new TextDecoder().decode(bytes.subarray(20, start)),
  );
  assertEquals(header, {
    axis: -1,
    shape: [1],
    count: 1,
    layer: null,
    optimizer: null,
    tensors: Array(3).fill({ type: "float64", dims: [1] }),
  });
  assertEquals(view.getFloat64(start, true), 1.5);
  assertEquals(bytes.length, start + 24);
  // 1.5 is 0x3ff8000000000000, in little-endian order.
  assertEquals(
    bytes.subarray(start, start + 8),
    new Uint8Array([0, 0, 0, 0, 0, 0, 0xf8, 0x3f]),
  );
});

Deno.test("bits of all types survive, NaN payloads too", () => {
  const float32 = new Float32Array(
    new Uint32Array([0x7f800001, 0xffc12345]).buffer,
  );
  const float64 = new Float64Array(
    new BigUint64Array([0x7ff0000000000001n, 1n]).buffer,
  );
  const halves = new Uint16Array([0x7c01, 0x1234]);
  const snapshot: Snapshot = {
    header: { key: "value" },
    tensors: [
      { type: "float16", dims: [2], data: halves },
      { type: "float32", dims: [1, 2], data: float32 },
      { type: "bfloat16", dims: [2, 1], data: halves },
      { type: "float64", dims: [2], data: float64 },
      { type: "float32", dims: [0, 7], data: new Float32Array() },
      { type: "float32", dims: [], data: new Float32Array(1) },
    ],
  };
  const raw = (s: Snapshot) =>
    s.tensors.map(({ type, dims, data }) => [
      type,
      dims,
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    ]);
  for (
    const again of [
      // At an odd offset, where no typed array can begin.
      decodeBytes(shifted(encodeBytes(snapshot))),
      decodeJson(encodeJson(snapshot)),
    ]
  ) {
    assertEquals(again.header, snapshot.header);
    assertEquals(raw(again), raw(snapshot));
  }
});

function shifted(bytes: Uint8Array): Uint8Array {
  const longer = new Uint8Array(bytes.length + 1);
  longer.set(bytes, 1);
  return longer.subarray(1);
}

Deno.test("big-endian machines turn their bytes around", () => {
  const bytes = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);
  swapToLittle(bytes, 4, true);
  assertEquals([...bytes], [1, 2, 3, 4, 5, 6, 7, 8]);
  swapToLittle(bytes, 4, false);
  assertEquals([...bytes], [4, 3, 2, 1, 8, 7, 6, 5]);
});

/** A state of the given header and tensors, with valid checksums. */
function forged(change: (header: Record<string, unknown>) => void): [
  Uint8Array,
  JsonObject,
] {
  const { header, tensors } = decodeBytes(FULL.toBytes());
  const copy = structuredClone(header) as Record<string, unknown>;
  change(copy);
  const snapshot = { header: copy as JsonObject, tensors };
  return [encodeBytes(snapshot), encodeJson(snapshot)];
}

const part =
  (name: string, change: object) => (header: Record<string, unknown>) => {
    header[name] = { ...header[name] as object, ...change };
  };

const FORGERIES: [string, (header: Record<string, unknown>) => void][] = [
  ["no axis", (h) => delete h.axis],
  ["an axis that is none", (h) => h.axis = "x"],
  ["no shape", (h) => delete h.shape],
  ["a negative shape", (h) => h.shape = [-2]],
  ["another shape", (h) => h.shape = [3]],
  ["a huge shape", (h) => h.shape = [2 ** 52, 2 ** 52]],
  ["no channels but a count", (h) => h.shape = null],
  ["no count", (h) => delete h.count],
  ["a negative count", (h) => h.count = -1],
  ["a fractional count", (h) => h.count = 0.5],
  ["no layer", (h) => delete h.layer],
  ["a layer that is a list", (h) => h.layer = []],
  ["a layer less", (h) => h.layer = null],
  ["an optimizer less", (h) => h.optimizer = null],
  ["a layer without configuration", part("layer", { config: null })],
  [
    "a layer of another class",
    part("layer", { config: { class_name: "Dense", config: {} } }),
  ],
  ["a layer with a bad option", part("layer", { config: { epsilon: "x" } })],
  ["a layer of an unknown Keras", part("layer", { kerasVersion: "9" })],
  ["a layer with fewer weights", part("layer", { weights: 2 })],
  ["a layer with half a weight", part("layer", { weights: 0.5 })],
  ["a layer with a negative count", part("layer", { weights: -1 })],
  ["a layer with too many weights", part("layer", { weights: 1e9 })],
  ["an unknown optimizer", part("optimizer", { className: "Nadam" })],
  ["an optimizer without a class", part("optimizer", { className: 1 })],
  ["an optimizer of an unknown Keras", part("optimizer", { kerasVersion: 3 })],
  [
    "an optimizer with a schedule",
    part("optimizer", { config: { learning_rate: {} } }),
  ],
  ["negative iterations", part("optimizer", { iterations: -1 })],
  ["slots that are no list", part("optimizer", { slots: {} })],
  ["slots that are no pairs", part("optimizer", { slots: [["gamma"]] })],
  [
    "unknown slots",
    part("optimizer", {
      slots: [["gamma", "x"], ["a", "b"], ["c", "d"], ["e", "f"]],
    }),
  ],
];

for (const [name, change] of FORGERIES) {
  Deno.test(`a state with ${name} is refused, whatever its checksum`, () => {
    const [bytes, json] = forged(change);
    assertThrows(() => TrainingState.fromBytes(bytes), FormatError);
    assertThrows(() => TrainingState.fromJSON(json), FormatError);
  });
}

Deno.test("sizes are checked before anything is allocated", () => {
  const claim = (
    dims: unknown,
    type: unknown = "float64",
  ): [Uint8Array, JsonObject] => {
    const tensors = [{ type, dims, data: new Float64Array() } as never];
    const snapshot = { header: {}, tensors };
    const json = { ...encodeJson({ header: {}, tensors: [] }) } as Record<
      string,
      unknown
    >;
    delete json.checksum;
    json.tensors = [{ type, dims, data: "" }];
    const bytes = encodeBytes({ ...snapshot, tensors: [] });
    const header = new TextEncoder().encode(
      JSON.stringify({ tensors: [{ type, dims }] }),
    );
    return [withHeader(bytes, header), json as JsonObject];
  };
  for (
    const [dims, type] of [
      [[2 ** 50]],
      [[2 ** 52, 2 ** 52]],
      [[1e300]],
      [[-1]],
      [[0.5]],
      ["3"],
      [[1], "int8"],
      [[1], "__proto__"],
    ] as [unknown, unknown?][]
  ) {
    const [bytes, json] = claim(dims, type);
    assertThrows(() => decodeBytes(bytes), FormatError);
    assertThrows(() => decodeJson(resigned(json)), FormatError);
  }
});

/** Bytes with another header and a valid checksum. */
function withHeader(bytes: Uint8Array, header: Uint8Array): Uint8Array {
  const result = new Uint8Array(20 + header.length);
  result.set(bytes.subarray(0, 20));
  result.set(header, 20);
  new DataView(result.buffer).setUint32(16, header.length, true);
  return signed(result);
}

/** Bitwise, and so independent of the table that is tested. */
function slowCrc(bytes: Iterable<number>): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) {
      crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
  }
  return (crc ^ 0xffffffff) >>> 0;
}

function signed(bytes: Uint8Array): Uint8Array {
  const crc = slowCrc([...bytes.subarray(0, 12), ...bytes.subarray(16)]);
  new DataView(bytes.buffer).setUint32(12, crc, true);
  return bytes;
}

/** JSON of flat keys with a valid checksum. */
function resigned(json: JsonObject): JsonObject {
  const text = (value: unknown): string => {
    if (Array.isArray(value)) return `[${value.map(text).join(",")}]`;
    if (typeof value !== "object" || value === null) {
      return JSON.stringify(value);
    }
    return `{${
      Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1)
        .map(([k, v]) => `${JSON.stringify(k)}:${text(v)}`).join(",")
    }}`;
  };
  const crc = slowCrc(new TextEncoder().encode(text(json)));
  return { ...json, checksum: `crc32:${crc.toString(16).padStart(8, "0")}` };
}

Deno.test("checksums are as documented", () => {
  const { checksum, ...rest } = FULL.toJSON();
  assertEquals(resigned(rest).checksum, checksum!);
  const bytes = FULL.toBytes();
  assertEquals(signed(bytes.slice()), bytes);
});

Deno.test("headers that are no JSON objects are refused", () => {
  const bytes = FULL.toBytes();
  const encode = (text: string) => new TextEncoder().encode(text);
  for (const text of ["", "1", "null", "[]", "{}", '{"tensors":1}', "{"]) {
    assertThrows(
      () => decodeBytes(withHeader(bytes, encode(text))),
      FormatError,
    );
  }
  const invalid = new Uint8Array([0x22, 0xff, 0x22]);
  assertThrows(() => decodeBytes(withHeader(bytes, invalid)), FormatError);
  const long = withHeader(bytes, encode('{"tensors":[]}'));
  new DataView(long.buffer).setUint32(16, 0xffffffff, true);
  assertThrows(() => decodeBytes(signed(long)), FormatError, "header is cut");
});

Deno.test("bytes behind the tensors are refused, whatever the checksum", () => {
  const header = new TextEncoder().encode('{"tensors":[]}');
  const bytes = withHeader(FULL.toBytes(), header);
  assertEquals(decodeBytes(bytes), { header: {}, tensors: [] });
  const longer = new Uint8Array(bytes.length + 1);
  longer.set(bytes);
  assertThrows(() => decodeBytes(signed(longer)), FormatError, "too long");
});

Deno.test("deep nesting is refused", () => {
  const deep = `${"[".repeat(1e5)}${"]".repeat(1e5)}`;
  const text = `{"format":"evenkeel-training-state","version":1,"x":${deep}}`;
  assertThrows(() => decodeJson(text), FormatError, "deep");
  const header = new TextEncoder().encode(`{"tensors":[],"x":${deep}}`);
  const bytes = withHeader(FULL.toBytes(), header);
  assertThrows(() => decodeBytes(bytes), FormatError, "deep");
});

Deno.test("tensors of JSON must be base64 of the right length", () => {
  const json = FULL.toJSON();
  const tensors = json.tensors as JsonObject[];
  const { checksum: _checksum, ...rest } = json;
  for (
    const data of [undefined, 1, "", "AAAA", "!".repeat(24), "A".repeat(24)]
  ) {
    const changed = [{ ...tensors[0], data }, ...tensors.slice(1)];
    assertThrows(
      () => decodeJson(resigned({ ...rest, tensors: changed as JsonObject[] })),
      FormatError,
    );
  }
  assertThrows(
    () => decodeJson(resigned({ ...rest, tensors: 1 })),
    FormatError,
  );
});

Deno.test("__proto__ in a file is a key like any other", () => {
  const [bytes, json] = forged((header) => {
    const { config } = header.layer as { config: object };
    const evil = JSON.parse(
      '{"__proto__":{"polluted":true},"constructor":{"x":1}}',
    );
    header.layer = {
      ...header.layer as object,
      config: mixed(config, evil),
    };
    for (const [key, value] of Object.entries(evil)) {
      Object.defineProperty(header, key, { value, enumerable: true });
    }
  });
  for (
    const load of [
      () => TrainingState.fromBytes(bytes),
      () => TrainingState.fromJSON(JSON.parse(JSON.stringify(json))),
    ]
  ) {
    let state: TrainingState | undefined;
    try {
      state = load();
    } catch (error) {
      assert(error instanceof FormatError);
    }
    assert(!("polluted" in {}));
    assert(state === undefined || !("polluted" in state));
  }
});

function mixed(a: object, b: object): object {
  const result = { ...a };
  for (const [key, value] of Object.entries(b)) {
    Object.defineProperty(result, key, { value, enumerable: true });
  }
  return result;
}
