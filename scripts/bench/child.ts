/**
 * Running a script in a fresh process.
 *
 * @module
 */

const ROOT = new URL("../../", import.meta.url);

/** What a script printed, and how long its process lived, in milliseconds. */
export interface ChildResult {
  readonly output: string;
  readonly time: number;
}

/**
 * Runs a file of this folder.
 *
 * @throws {Error} If it fails; its own words are the message.
 */
export async function runChild(
  file: string,
  args: readonly string[] = [],
): Promise<ChildResult> {
  const command = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-check",
      // Reading /proc takes no less.
      "--allow-all",
      new URL(file, import.meta.url).href,
      ...args,
    ],
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
  const start = performance.now();
  const { stdout, stderr, success } = await command.output();
  const time = performance.now() - start;
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  if (!success) throw new Error(`${file} failed: ${text(stderr)}`);
  return { output: text(stdout).trim(), time };
}
