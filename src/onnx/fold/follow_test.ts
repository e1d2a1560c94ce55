import { assertEquals } from "@std/assert";
import { Follower } from "./follow.ts";
import type { Value } from "../scopes.ts";

/** Values `0` to `count - 1`, of which only the numbers count here. */
function numbered(count: number): Value[] {
  return Array.from(
    { length: count },
    (_, i) => ({ name: String(i) }) as unknown as Value,
  );
}

Deno.test("each value is asked once, however many ways lead through it", () => {
  const values = numbered(1000);
  let steps = 0;
  const follower = new Follower<string>(({ name }) => {
    steps++;
    const next = values[Number(name) + 1];
    return next ? { next } : { answer: "end" };
  });
  // The ways are 500 500 steps long together.
  for (const value of values) assertEquals(follower.ask(value), "end");
  assertEquals(steps, 1000);
  assertEquals(follower.ask(values[3]!), "end");
  assertEquals(steps, 1000);
});

Deno.test("no answer is remembered too, and a circle has none", () => {
  const [a, b, c, lost] = numbered(4) as [Value, Value, Value, Value];
  const nexts = new Map([[a, b], [b, c], [c, b]]);
  let steps = 0;
  const follower = new Follower<string>((value) => {
    steps++;
    const next = nexts.get(value);
    return next && { next };
  });
  for (let turn = 0; turn < 2; turn++) {
    for (const value of [b, a, c, lost]) {
      assertEquals(follower.ask(value), undefined);
    }
  }
  assertEquals(steps, 4);
});

Deno.test("a way that meets one with an answer has that", () => {
  const [a, b, c] = numbered(3) as [Value, Value, Value];
  const follower = new Follower<number>((value) =>
    value === c ? { answer: 0 } : { next: value === a ? b : c }
  );
  assertEquals(follower.ask(b), 0);
  assertEquals(follower.ask(a), 0);
});
