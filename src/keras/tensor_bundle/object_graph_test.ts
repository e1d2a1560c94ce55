import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { FormatError } from "../../errors.ts";
import { joined, message, objectGraph } from "../testing/bundle_builder.ts";
import { readObjectGraph, readSavedObjectGraph } from "./object_graph.ts";

Deno.test("objects have their children, values and slots", () => {
  const [root, variable, optimizer] = readObjectGraph(objectGraph([
    { children: [["gamma", 1], ["opt", 2], ["again", 1]] },
    { variable: ["bn/gamma", "bn/gamma/.ATTRIBUTES/VARIABLE_VALUE"] },
    { hasSlots: true },
  ]));
  assertEquals([...root!.children], [["gamma", 1], ["opt", 2], ["again", 1]]);
  assertEquals(root!.attributes, []);
  assertEquals(variable!.attributes, [{
    name: "VARIABLE_VALUE",
    fullName: "bn/gamma",
    key: "bn/gamma/.ATTRIBUTES/VARIABLE_VALUE",
  }]);
  assertEquals([root, variable, optimizer].map((node) => node!.hasSlots), [
    false,
    false,
    true,
  ]);
});

Deno.test("a SavedModel's objects have Keras' metadata, and no other's", () => {
  const user = (identifier: string) =>
    message([1, message([4, message([1, identifier], [3, "{}"])])]);
  const nodes = readSavedObjectGraph(
    joined(user("_tf_keras_layer"), user("trackable_list_wrapper")),
  );
  assertEquals(nodes.map(({ metadata }) => metadata), ["{}", undefined]);
});

Deno.test("children that cannot be are refused", () => {
  const refused = (children: [string, number][], text: string) =>
    assertThrows(
      () => readObjectGraph(objectGraph([{ children }, {}])),
      FormatError,
      text,
    );
  refused([["a", 2]], `"a" is object 2 of 2`);
  refused([["a", 0], ["a", 1]], `object 0 has two different children "a"`);
  // Numbers are signed: as 64 bits, all ones are -1.
  const minusOne = joined([0x08], Array(9).fill(0xff), [0x01]);
  assertThrows(
    () => readObjectGraph(message([1, message([1, minusOne])])),
    FormatError,
    "is object -1 of 1",
  );
});

Deno.test("a graph has an end", () => {
  const bytes = new Uint8Array(400_002);
  for (let at = 0; at < bytes.length; at += 2) bytes[at] = 1 << 3 | 2;
  assertEquals(readObjectGraph(bytes.subarray(2)).length, 200_000);
  assertThrows(
    () => readObjectGraph(bytes),
    FormatError,
    "more than 200000 objects",
  );
});

Deno.test("any bytes are read or refused", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
    for (const read of [readObjectGraph, readSavedObjectGraph]) {
      try {
        read(bytes);
      } catch (error) {
        assert(error instanceof FormatError, String(error));
      }
    }
  }));
});
