// The ONNX project's own tests of our operators.

import { assert, assertEquals } from "@std/assert";
import { createSession } from "./session.ts";
import { type NodeCase, nodeCases } from "./testing/node_cases.ts";

/** Cases that do not pass, each with the reason; there is none. */
const NOT_PASSING: ReadonlyMap<string, string> = new Map();

/** The largest excess over what the ONNX project allows; 0 if there is none. */
function excess(
  actual: ArrayLike<number | bigint>,
  expected: ArrayLike<number | bigint>,
  { rtol, atol }: NodeCase,
): number {
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const a = Number(actual[i]);
    const e = Number(expected[i]);
    if (Object.is(a, e) || a === e) continue;
    const over = Math.abs(a - e) - atol - rtol * Math.abs(e);
    // A NaN on one side only is an excess, too.
    if (!(over <= 0)) worst = Math.max(worst, over || Infinity);
  }
  return worst;
}

const cases = [...nodeCases()];

Deno.test("all cases are there", () => {
  assert(cases.length >= 470, String(cases.length));
  for (const name of NOT_PASSING.keys()) {
    assert(cases.some((each) => each.name === name), name);
  }
});

const operators = new Set(cases.flatMap(({ operators }) => operators));
for (const operator of operators) {
  const own = cases.filter((each) => each.operators[0] === operator);
  Deno.test(`ONNX's ${own.length} tests that begin with ${operator}`, async () => {
    for (const each of own) {
      if (NOT_PASSING.has(each.name)) continue;
      await using session = await createSession(each.model);
      const feeds = Object.fromEntries(
        each.inputs.map((input) => [input.name, input]),
      );
      const outputs = await session.run(feeds);
      assertEquals(Object.keys(outputs), each.outputs.map(({ name }) => name));
      for (const expected of each.outputs) {
        const actual = outputs[expected.name]!;
        assertEquals(actual.type, expected.type, each.name);
        assertEquals(actual.dims, expected.dims, each.name);
        // 16-bit floats come as bits, and must be the very same.
        const isBits = expected.type === "float16" ||
          expected.type === "bfloat16";
        if (isBits) assertEquals(actual.data, expected.data, each.name);
        else {assertEquals(
            excess(actual.data, expected.data, each),
            0,
            each.name,
          );}
      }
    }
  });
}
