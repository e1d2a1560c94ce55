import { assert, assertEquals, assertRejects } from "@std/assert";
import type onnxProto from "onnx-proto";
import { FormatError, OptionError } from "../../errors.ts";
import { BatchNormalization } from "../../layer/batch_normalization.ts";
import { buildOnnx } from "../../onnx/build.ts";
import { decode, onnx } from "../../onnx/testing/onnx_proto.ts";
import { castTensor, type ElementType, tensor } from "../../tensor.ts";
import { loadKeras } from "../load.ts";

function layer(dtype: ElementType = "float32"): BatchNormalization {
  const made = new BatchNormalization({
    name: "bn",
    axis: 1,
    epsilon: 0.25,
    momentum: 0.5,
    dtype,
    kerasVersion: "3",
  });
  made.setWeights(
    [[1, 2, 3], [-1, 0, 1], [0.5, -0.5, 0], [1, 4, 9]].map((values) =>
      tensor(values, [3], dtype)
    ),
  );
  return made;
}

function model(): Uint8Array<ArrayBuffer> {
  return buildOnnx(layer(), { inputShape: [null, 3], form: "op" });
}

type Graph = onnxProto.onnx.GraphProto;

/** The model after a change through onnx-proto. */
function changed(
  change: (graph: Graph) => void,
  bytes = model(),
): Uint8Array<ArrayBuffer> {
  const message = decode(bytes);
  change(message.graph as Graph);
  return new Uint8Array(onnx.ModelProto.encode(message).finish());
}

/** The model with vectors of given types, in the order of the node's inputs. */
function typed(types: readonly ElementType[]): Uint8Array<ArrayBuffer> {
  const { FLOAT, DOUBLE, FLOAT16, BFLOAT16 } = onnx.TensorProto.DataType;
  const codes = {
    float32: FLOAT,
    float64: DOUBLE,
    float16: FLOAT16,
    bfloat16: BFLOAT16,
  };
  return changed(({ node, initializer }) => {
    const vectors = layer().getWeights();
    node[0]!.input!.slice(1).forEach((name, i) => {
      const stored = initializer.find((each) => each.name === name)!;
      const { data } = castTensor(vectors[i]!, types[i]!);
      stored.dataType = codes[types[i]!];
      stored.rawData = new Uint8Array(
        data.buffer,
        data.byteOffset,
        data.byteLength,
      );
      stored.floatData = [];
    });
  });
}

Deno.test("a node is a layer with its parameters, of every type", async () => {
  for (
    const [type, statistics, dtype] of [
      ["float32", "float32", "float32"],
      ["float64", "float64", "float64"],
      ["float16", "float16", "float16"],
      ["bfloat16", "bfloat16", "bfloat16"],
      ["float16", "float32", "mixed_float16"],
      ["bfloat16", "float32", "mixed_bfloat16"],
    ] as const
  ) {
    const { format, batchNormalizations, layers } = await loadKeras(
      typed([type, type, statistics, statistics]),
    );
    assertEquals(format, "onnx");
    const [[key, read]] = [...batchNormalizations] as [
      [string, BatchNormalization],
    ];
    assertEquals(key, layers[0]!.key);
    const { axis, epsilon, momentum, kerasVersion } = read.options;
    assertEquals({ axis, epsilon, momentum, kerasVersion }, {
      axis: 1,
      epsilon: 0.25,
      momentum: 0.5,
      kerasVersion: "3",
    });
    assertEquals(read.options.dtype.name, dtype);
    assertEquals(
      read.getWeights(),
      layer(statistics).getWeights(),
    );
  }
});

Deno.test("types that no layer has together are the reason", async () => {
  const types = ["float32", "float32", "float64", "float64"] as const;
  const { layers } = await loadKeras(typed(types));
  assertEquals(layers[0]!.loaded, false);
  assert(layers[0]!.reason!.includes("give a dtype in the option layers"));
  const { batchNormalizations } = await loadKeras(typed(types), {
    layers: { [layers[0]!.key]: { dtype: "float64" } },
  });
  const [read] = batchNormalizations.values();
  assertEquals(read!.getWeights(), layer("float64").getWeights());
});

Deno.test("a node's name is the key, and its last part the layer's name", async () => {
  const bytes = changed(({ node }) => {
    node[0]!.name = "/features/bn/BatchNormalization";
  });
  const { batchNormalizations } = await loadKeras(bytes);
  assertEquals(
    [...batchNormalizations].map(([key, { name }]) => [key, name]),
    [["/features/bn/BatchNormalization", "BatchNormalization"]],
  );
});

Deno.test("what ONNX says of a loaded layer is what it said before", async () => {
  const { batchNormalizations } = await loadKeras(model());
  const [read] = batchNormalizations.values();
  assertEquals(
    read!.call(tensor([1, 2, 3, 4, 5, 6], [2, 3])),
    layer().call(tensor([1, 2, 3, 4, 5, 6], [2, 3])),
  );
});

Deno.test("a node in training mode is loaded, and says so", async () => {
  const bytes = changed(({ node }) => {
    node[0]!.attribute!.push(onnx.AttributeProto.create({
      name: "training_mode",
      type: onnx.AttributeProto.AttributeType.INT,
      i: 1,
    }));
  });
  const { layers } = await loadKeras(bytes);
  assertEquals(layers[0]!.loaded, true);
  assert(layers[0]!.reason!.includes("training_mode is on"));
});

Deno.test("a configuration says nothing about operators", async () => {
  await assertRejects(
    () => loadKeras(model(), { config: { class_name: "A", config: {} } }),
    OptionError,
    'a file of the format "onnx" has operators',
  );
});

Deno.test("a node without constants is listed with the reason", async () => {
  const bytes = changed((graph) => {
    const [, gamma] = graph.node[0]!.input!;
    graph.initializer = graph.initializer.filter(({ name }) => name !== gamma);
  });
  const { layers, batchNormalizations } = await loadKeras(bytes);
  assertEquals(batchNormalizations.size, 0);
  assertEquals(layers[0]!.loaded, false);
  assert(
    layers[0]!.reason!.startsWith("its gamma is not known: "),
    layers[0]!.reason,
  );
  await assertRejects(
    () => loadKeras(bytes, { layers: [layers[0]!.key] }),
    FormatError,
    "Cannot load gamma of layer",
  );
});

Deno.test("statistics of each place of a sample are the reason", async () => {
  const bytes = changed((graph) => {
    for (const { dims } of graph.initializer) dims!.push(1);
  });
  const { layers } = await loadKeras(bytes);
  assertEquals(
    layers[0]!.reason,
    "its gamma has the shape [3, 1], expected a value for each channel",
  );
});

/** The model with the elements of its vectors in a file beside it. */
function withExternalData(location: string): {
  bytes: Uint8Array;
  data: Uint8Array;
} {
  const pieces: Uint8Array[] = [];
  let at = 0;
  const bytes = changed((graph) => {
    for (const initializer of graph.initializer) {
      const raw = initializer.rawData!;
      initializer.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
      initializer.externalData = [
        { key: "location", value: location },
        { key: "offset", value: String(at) },
        { key: "length", value: String(raw.length) },
      ].map((entry) => onnx.StringStringEntryProto.create(entry));
      initializer.rawData = new Uint8Array(0);
      pieces.push(new Uint8Array(raw), new Uint8Array(5));
      at += raw.length + 5;
    }
  });
  return { bytes, data: new Uint8Array(pieces.flatMap((each) => [...each])) };
}

Deno.test("elements in files beside the model are read from there", async () => {
  const { bytes, data } = withExternalData("data/weights.bin");
  const files = new Map([
    ["folder/model.onnx", bytes],
    ["folder/data/weights.bin", data],
  ]);
  const { batchNormalizations } = await loadKeras(files);
  const [read] = batchNormalizations.values();
  assertEquals(read!.getWeights(), layer().getWeights());
});

Deno.test("files that are not beside the model, or too short, are the reason", async () => {
  const { bytes, data } = withExternalData("weights.bin");
  for (
    const [source, message] of [
      [bytes, 'in the file "weights.bin", which is not beside the model'],
      [
        new Map([["m", bytes], ["weights.bin", data.subarray(0, 3)]]),
        "it has 3 bytes",
      ],
      [withExternalData("../weights.bin").bytes, "expected"],
    ] as const
  ) {
    const { layers } = await loadKeras(source);
    assertEquals(layers[0]!.loaded, false);
    assert(layers[0]!.reason!.includes(message), layers[0]!.reason);
  }
});

Deno.test("truncated models give a FormatError or the layer", async () => {
  const bytes = model();
  let refused = 0;
  for (let length = 3; length < bytes.length; length++) {
    try {
      const { layers } = await loadKeras(bytes.subarray(0, length));
      // Cut between two fields behind the graph.
      assertEquals(layers.length, 1);
    } catch (error) {
      assert(error instanceof FormatError, String(error));
      refused++;
    }
  }
  assert(refused > bytes.length - 20);
});
