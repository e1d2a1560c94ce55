// The folded file, byte by byte: written here a second time as it must come
// out, unknown fields, their order and overlong lengths included.

import { assertEquals } from "@std/assert";
import { encodeFields } from "../edit.ts";
import { fold } from "../testing/fold_checks.ts";
import type { WireWriter } from "../wire.ts";

/** Fields of no schema. */
function unknown(writer: WireWriter, text: string): void {
  writer.string(900, text);
  writer.integer(901, -5);
  writer.float(902, 0.5);
}

function floats(...values: number[]): Uint8Array {
  return new Uint8Array(Float32Array.from(values).buffer);
}

function tensor(name: string, dims: number[], ...values: number[]) {
  return (writer: WireWriter): void => {
    unknown(writer, `first in ${name}`);
    writer.bytes(9, floats(...values));
    writer.string(8, name);
    // Not packed, as proto2 writes it.
    for (const extent of dims) writer.integer(1, extent);
    writer.string(12, "doc");
    writer.integer(2, 1);
    unknown(writer, `last in ${name}`);
  };
}

function value(name: string) {
  return (writer: WireWriter): void => {
    writer.string(3, "doc");
    writer.string(1, name);
    unknown(writer, name);
  };
}

function node(op: string, inputs: string[], output: string) {
  return (writer: WireWriter): void => {
    unknown(writer, `first in ${op}`);
    writer.string(4, op);
    writer.string(2, output);
    unknown(writer, `between in ${op}`);
    for (const input of inputs) writer.string(1, input);
    if (op === "BatchNormalization") {
      writer.message(5, (attribute) => {
        attribute.string(1, "epsilon");
        attribute.float(2, 0);
      });
    }
  };
}

/** A Relu whose length has two bytes more than it needs. */
const OVERLONG_RELU = Uint8Array.of(
  ...[0x0a, 0x8c, 0x80, 0x00], // node, 12 bytes
  ...[0x0a, 0x01, 0x79], // input "y"
  ...[0x12, 0x01, 0x7a], // output "z"
  ...[0x22, 0x04, 0x52, 0x65, 0x6c, 0x75], // op_type "Relu"
);

/** A Conv and a BatchNormalization that doubles and adds 1; or both in one. */
function fields(isFolded: boolean): Uint8Array[] {
  const field = (
    number: number,
    write: (writer: WireWriter) => void,
  ): Uint8Array => encodeFields((writer) => writer.message(number, write));
  const bn = ["c", "y_scale", "y_B", "y_mean", "y_var"];
  const only = (field: Uint8Array): Uint8Array[] => isFolded ? [] : [field];
  return [
    encodeFields((writer) => unknown(writer, "first in the graph")),
    ...only(field(5, tensor("y_var", [2], 1, 1))),
    field(12, value("z")),
    field(
      1,
      node(
        "Conv",
        ["x", "w", "b"],
        isFolded ? "y" : "c",
      ),
    ),
    ...only(field(13, value("c"))),
    field(13, value("y")),
    ...only(field(1, node("BatchNormalization", bn, "y"))),
    field(5, tensor("w", [2, 1, 1], ...isFolded ? [6, -10] : [3, -5])),
    ...only(field(5, tensor("y_scale", [2], 2, 2))),
    OVERLONG_RELU,
    field(5, tensor("other", [1], 7)),
    ...only(field(5, tensor("y_B", [2], 1, 1))),
    field(5, tensor("b", [2], ...isFolded ? [1.5, 9] : [0.25, 4])),
    ...only(field(5, tensor("y_mean", [2], 0, 0))),
    field(11, value("x")),
    encodeFields((writer) => unknown(writer, "last in the graph")),
  ];
}

function model(isFolded: boolean): Uint8Array {
  return encodeFields((writer) => {
    unknown(writer, "first");
    writer.message(8, (opset) => {
      unknown(opset, "opset");
      opset.integer(2, 17);
    });
    writer.bytes(7, Uint8Array.from(fields(isFolded).flatMap((f) => [...f])));
    writer.integer(1, 8);
    writer.message(14, (entry) => {
      entry.string(1, "key");
      entry.string(2, "value");
    });
    unknown(writer, "last");
  });
}

Deno.test("fold: every byte that is not folded stays", () => {
  const { bytes, folded } = fold(model(false));
  assertEquals(folded.length, 1);
  assertEquals(bytes, model(true));
});

Deno.test("fold: a file with nothing to fold stays, byte for byte", () => {
  const { bytes, folded, kept } = fold(model(true));
  assertEquals([folded, kept], [[], []]);
  assertEquals(bytes, model(true));
});
