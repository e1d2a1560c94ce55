import { assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  type AttributeProto,
  DataType,
  encodeModel,
  type GraphProto,
  type ModelProto,
  type ValueInfoProto,
} from "./model.ts";
import { decode, onnx } from "./testing/onnx_proto.ts";

const text = fc.string({ unit: "grapheme" });
const integer = fc.oneof(fc.maxSafeInteger(), fc.integer());
const dataType = fc.constantFrom(...Object.values(DataType));

const attribute: fc.Arbitrary<AttributeProto> = fc.oneof(
  fc.record({ name: text, f: fc.float() }),
  fc.record({ name: text, i: integer }),
  fc.record({ name: text, ints: fc.array(integer) }),
);

const tensor = fc.record({
  name: text,
  dims: fc.array(fc.maxSafeNat()),
  dataType,
  rawData: fc.uint8Array({ maxLength: 300 }),
});

const node = fc.record({
  name: text,
  opType: text,
  input: fc.array(text),
  output: fc.array(text),
  attribute: fc.array(attribute),
  docString: fc.option(text.filter((t) => t !== ""), { nil: undefined }),
});

const valueInfo = fc.record({
  name: text,
  elemType: dataType,
  shape: fc.array(fc.oneof(fc.maxSafeNat(), text)),
});

const graph = fc.record({
  name: text,
  node: fc.array(node),
  initializer: fc.array(tensor),
  input: fc.array(valueInfo),
  output: fc.array(valueInfo),
});

const model = fc.record({
  irVersion: fc.nat(),
  producerName: text,
  graph,
  opsetImport: fc.array(fc.record({ domain: text, version: fc.maxSafeNat() })),
  trainingInfo: fc.option(
    fc.array(
      fc.record({
        algorithm: graph,
        updateBinding: fc.array(fc.record({ key: text, value: text })),
      }),
      { maxLength: 2 },
    ),
    { nil: undefined },
  ),
});

/** The same without empty lists and missing fields, which look alike. */
function withoutEmpty(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutEmpty);
  if (typeof value !== "object" || value === null) return value;
  const isEmpty = (field: unknown): boolean =>
    field === undefined || (Array.isArray(field) && field.length === 0);
  return Object.fromEntries(
    Object.entries(value).filter(([, field]) => !isEmpty(field))
      .map(([name, field]) => [name, withoutEmpty(field)]),
  );
}

/** A value as onnx-proto has it. */
function schemaValue({ name, elemType, shape }: ValueInfoProto): unknown {
  const dim = shape.map((extent) =>
    typeof extent === "number" ? { dimValue: extent } : { dimParam: extent }
  );
  return { name, type: { tensorType: { elemType, shape: { dim } } } };
}

/** An attribute as onnx-proto has it. */
function schemaAttribute(attribute: AttributeProto): unknown {
  const type = "f" in attribute ? "FLOAT" : "i" in attribute ? "INT" : "INTS";
  return { ...attribute, type: onnx.AttributeProto.AttributeType[type] };
}

/** A model as onnx-proto has it. */
function schemaModel(model: ModelProto): unknown {
  return {
    ...model,
    graph: schemaGraph(model.graph),
    trainingInfo: model.trainingInfo?.map((info) => ({
      ...info,
      algorithm: schemaGraph(info.algorithm),
    })),
  };
}

/** A graph as onnx-proto has it. */
function schemaGraph(graph: GraphProto): unknown {
  return {
    ...graph,
    node: graph.node.map((node) => ({
      ...node,
      attribute: node.attribute.map(schemaAttribute),
    })),
    initializer: graph.initializer.map((tensor) => ({
      ...tensor,
      rawData: [...tensor.rawData],
    })),
    input: graph.input.map(schemaValue),
    output: graph.output.map(schemaValue),
  };
}

Deno.test("onnx-proto reads every model as it was meant, and writes the same bytes", () => {
  fc.assert(
    fc.property(model, (model) => {
      const bytes = encodeModel(model);
      const message = decode(bytes);
      assertEquals(
        withoutEmpty(
          onnx.ModelProto.toObject(message, { longs: Number, bytes: Array }),
        ),
        withoutEmpty(schemaModel(model)),
      );
      // It drops what it does not know; here that is nothing.
      assertEquals(
        new Uint8Array(onnx.ModelProto.encode(message).finish()),
        bytes,
      );
    }),
  );
});
