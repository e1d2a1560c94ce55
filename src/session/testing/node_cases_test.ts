import { assert, assertEquals } from "@std/assert";
import { elementTypeNamed } from "../../onnx/element_types.ts";
import { decode } from "../../onnx/testing/onnx_proto.ts";
import { nodeCases } from "./node_cases.ts";

Deno.test("every node case is read whole", () => {
  const names = new Set<string>();
  const operators = new Set<string>();
  for (const each of nodeCases()) {
    names.add(each.name);
    const { graph, opsetImport } = decode(each.model);
    assertEquals(
      [...new Set(graph!.node!.map(({ opType }) => opType!))].sort(),
      each.operators,
      each.name,
    );
    const version = opsetImport!.find(({ domain }) => !domain)!.version;
    assertEquals(Number(version), each.opset, each.name);
    assertEquals(
      each.outputs.map(({ name }) => name),
      graph!.output!.map(({ name }) => name!),
      each.name,
    );
    const given = new Map(
      [...graph!.input!, ...graph!.output!].map((value) => [
        value.name!,
        value.type!.tensorType!.elemType!,
      ]),
    );
    for (const { name, type } of [...each.inputs, ...each.outputs]) {
      assertEquals(elementTypeNamed(type).code, given.get(name), each.name);
    }
    for (const operator of each.operators) operators.add(operator);
  }
  assertEquals(names.size, 478);
  assertEquals(operators.size, 32);
});

Deno.test("elements of a node case are those of its files", () => {
  const cases = [...nodeCases()];
  const relu = cases.find(({ name }) => name === "test_relu@1.8.1")!;
  assertEquals(
    Array.from(relu.outputs[0]!.data, Number),
    Array.from(
      relu.inputs[0]!.data as Float32Array,
      (value) => Math.max(0, value),
    ),
  );
  const shape = cases.find(({ name }) => name === "test_shape@1.23.2")!;
  assertEquals(
    Array.from(shape.outputs[0]!.data as BigInt64Array, Number),
    shape.inputs[0]!.dims,
  );
  assert(
    cases.some(({ inputs }) => inputs.some(({ type }) => type === "bfloat16")),
  );
});
