import { assert, assertEquals } from "@std/assert";
import { ROOT } from "../bundle/entries.ts";
import { complaintsOf, formatTable, type Row } from "./report.ts";
import { COMMAND_FEATURE } from "./runtime.ts";
import { FEATURES, type Outcome } from "./suite.ts";

const DIGEST = "0123456789abcdef";

/** A row in which all is well, but for some features. */
function row(changes: readonly Outcome[] = []): Row {
  const outcomes = FEATURES.map((feature): Outcome =>
    changes.find((change) => change.feature === feature) ??
      { feature, state: "ok", detail: DIGEST }
  );
  return { name: "Some 1.0", by: "package", outcomes };
}

const expected = new Map(FEATURES.map((feature) => [feature, DIGEST]));

Deno.test("formatTable() says what works, what is refused and why", () => {
  const refused = (feature: string, detail: string): Outcome => ({
    feature,
    state: "refused",
    detail,
  });
  const [first, second, third] = FEATURES as [string, string, string];
  const text = formatTable([
    row(),
    row([refused(first, "no A"), refused(second, "no B")]),
    row([refused(second, "no A"), { ...refused(third, "x"), state: "failed" }]),
    { name: "Gone 2.0", by: "URL", outcomes: [], missing: "no such machine" },
  ]);
  const [head, , a, b, c, d, , one, two, ...rest] = text.split("\n");
  for (const feature of FEATURES) assert(head!.includes(` ${feature} |`));
  assert(head!.endsWith(` ${COMMAND_FEATURE} |`));
  assert(a!.startsWith("| Some 1.0 | package | yes | yes | yes |"), a);
  assert(a!.endsWith("| yes | - |"), a);
  assert(b!.startsWith("| Some 1.0 | package | no (1) | no (2) | yes |"), b);
  assert(c!.startsWith("| Some 1.0 | package | yes | no (1) | FAILED |"), c);
  assert(d!.startsWith("| Gone 2.0 | URL | not tried | not tried |"), d);
  assertEquals([one, two, rest], ["(1) no A", "(2) no B", []]);
});

Deno.test("complaintsOf() finds what failed, is missing or has other bits", () => {
  const [feature] = FEATURES as [string];
  const complaints = (...changes: Outcome[]) =>
    complaintsOf(row(changes), expected);
  assertEquals(complaints(), []);
  assertEquals(complaints({ feature, state: "refused", detail: "no" }), []);
  assertEquals(complaints({ feature, state: "failed", detail: "broken" }), [
    `Some 1.0 (package), ${feature}: broken`,
  ]);
  assertEquals(complaints({ feature, state: "ok", detail: "other" }), [
    `Some 1.0 (package), ${feature}: other bits than the sources give`,
  ]);
  const { outcomes } = row();
  assertEquals(
    complaintsOf({ ...row(), outcomes: outcomes.slice(1) }, expected),
    [`Some 1.0 (package), ${feature}: did not run`],
  );
  const command = { feature: COMMAND_FEATURE, detail: "exit code 1" };
  assertEquals(
    complaintsOf({
      ...row(),
      outcomes: [...outcomes, { ...command, state: "failed" }],
    }, expected),
    [`Some 1.0 (package), ${COMMAND_FEATURE}: exit code 1`],
  );
  assertEquals(
    complaintsOf({ ...row(), outcomes: [], missing: "no machine" }, expected),
    [],
  );
});

Deno.test("the README shows the table that was measured", async () => {
  const [readme, report] = await Promise.all(
    ["README.md", "scripts/runtimes/RUNTIMES.md"].map((path) =>
      Deno.readTextFile(new URL(path, ROOT))
    ),
  );
  const lines = report!.split("\n").filter((line) => /^[|(]/.test(line));
  assert(lines.length > 10);
  for (const line of lines) {
    assert(readme!.includes(line), `README.md lacks the line ${line}`);
  }
});
