import { assert, assertEquals } from "@std/assert";

Deno.test("the loops over both classes of arrays are the same", () => {
  const read = (name: string): string =>
    Deno.readTextFileSync(new URL(name, import.meta.url));
  const single = read("float32_loops.ts");
  const double = read("float64_loops.ts");
  // The vectors are float64 in both, and named by the type of `pieces.ts`.
  const marks = [
    ["arrays.\n", "The loops of training over float32 arrays.\n"],
    ["class", "type Elements = Float32Array;"],
    ["name", "export const float32Loops:"],
  ];
  let expected = single;
  for (const [what, mark] of marks) {
    assertEquals(single.split(mark!).length, 2, what);
    expected = expected.replace(
      mark!,
      mark!.replaceAll("32", "64"),
    );
  }
  assert(expected !== single);
  assertEquals(double, expected);
});
