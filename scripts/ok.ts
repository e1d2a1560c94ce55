/**
 * Runs every gate, each in its own process, and closes with a line
 * `N passed, N failed` that counts the tests and the other gates.
 *
 *     deno task ok
 *
 * @module
 */

interface Gate {
  readonly name: string;
  readonly args: readonly string[];
}

const GATES: readonly Gate[] = [
  { name: "format", args: ["fmt", "--check"] },
  { name: "lint", args: ["lint"] },
  { name: "type check", args: ["task", "check"] },
  {
    name: "documentation lint",
    args: ["doc", "--lint", "mod.ts", "inference.ts", "threads.ts"],
  },
  { name: "generated kernels", args: ["task", "build", "--check"] },
  { name: "sizes", args: ["task", "size", "--check"] },
  { name: "runtimes", args: ["task", "runtimes", "--check"] },
  // The README's own command.
  { name: "tests", args: ["task", "test"] },
  {
    name: "publish dry run",
    args: ["publish", "--dry-run", "--allow-dirty"],
  },
];

interface Outcome {
  readonly passed: number;
  readonly failed: number;
}

/** Copies a stream to ours as it comes, and returns it as text. */
async function tee(
  stream: ReadableStream<Uint8Array>,
  to: { write(bytes: Uint8Array): Promise<number> },
): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of stream) {
    let written = 0;
    while (written < bytes.length) {
      written += await to.write(bytes.subarray(written));
    }
    text += decoder.decode(bytes, { stream: true });
  }
  return text;
}

async function run(gate: Gate): Promise<Outcome> {
  console.log(`\n== ${gate.name}: deno ${gate.args.join(" ")}`);
  const child = new Deno.Command(Deno.execPath(), {
    args: [...gate.args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
  const [stdout, , status] = await Promise.all([
    tee(child.stdout, Deno.stdout),
    tee(child.stderr, Deno.stderr),
    child.status,
  ]);
  // deno test's own summary; every other gate counts as one.
  const summary = /\| (\d+) passed.*\| (\d+) failed/.exec(stdout);
  const passed = summary ? Number(summary[1]) : Number(status.success);
  const failed = summary ? Number(summary[2]) : Number(!status.success);
  console.log(`== ${gate.name}: ${status.success ? "passed" : "FAILED"}`);
  // A test run can fail without a failed test: a leak, an import error.
  return { passed, failed: status.success ? failed : Math.max(failed, 1) };
}

let passed = 0;
let failed = 0;
for (const gate of GATES) {
  const outcome = await run(gate);
  passed += outcome.passed;
  failed += outcome.failed;
}
console.log(`\n${passed} passed, ${failed} failed`);
if (failed > 0 || passed === 0) Deno.exit(1);
