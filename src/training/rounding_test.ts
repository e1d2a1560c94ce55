import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { castTensor, tensor, toFloats } from "../tensor.ts";
import { ROUND } from "./rounding.ts";

Deno.test("ROUND gives what a tensor of the type holds", () => {
  for (const type of ["float64", "float32", "float16", "bfloat16"] as const) {
    fc.assert(fc.property(fc.double(), (value) => {
      const held = castTensor(tensor(new Float64Array([value]), [1]), type);
      assertEquals(ROUND[type](value), toFloats(held, new Float64Array(1))[0]);
    }));
  }
});
