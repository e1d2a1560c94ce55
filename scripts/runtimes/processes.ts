/**
 * Child processes that end: on their own, at a time limit, or with the block
 * that started them.
 *
 * @module
 */

/** The longest that anything here may take, in ms. */
const TIME_LIMIT = 240_000;

/** What a process printed, if it ended well. */
export interface Printed {
  readonly stdout: string;
  readonly stderr: string;
}

/** How a process runs. */
export interface ProcessOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
}

const decoder = new TextDecoder();

/**
 * Runs a command to its end.
 *
 * @throws {Error} If it fails or takes too long; with what it printed.
 */
export async function run(
  command: string,
  args: readonly string[],
  { cwd, env = {} }: ProcessOptions = {},
): Promise<Printed> {
  const { code, signal, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    ...(cwd === undefined ? {} : { cwd }),
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    signal: AbortSignal.timeout(TIME_LIMIT),
  }).output();
  const printed = {
    stdout: decoder.decode(stdout),
    stderr: decoder.decode(stderr),
  };
  if (code !== 0) {
    throw new Error(
      `${command} ${args.slice(0, 3).join(" ")}: ${
        signal ?? `exit code ${code}`
      }\n${printed.stdout.slice(-2000)}\n${printed.stderr.slice(-2000)}`,
    );
  }
  return printed;
}

/** A process that goes on until the end of the block. */
export class Service implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #stderr: Promise<string>;
  readonly #lines: ReadableStreamDefaultReader<string>;
  #text = "";

  /** Starts it. */
  constructor(command: string, args: readonly string[], cwd?: string) {
    this.#child = new Deno.Command(command, {
      args: [...args],
      ...(cwd === undefined ? {} : { cwd }),
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#stderr = new Response(this.#child.stderr).text();
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
  }

  /** Its process' id. */
  get pid(): number {
    return this.#child.pid;
  }

  /**
   * Waits for something in its output.
   *
   * @throws {Error} If it ends without, or says nothing for too long.
   */
  async printed(pattern: RegExp): Promise<RegExpExecArray> {
    const late = AbortSignal.timeout(TIME_LIMIT);
    const cancel = () => void this.#lines.cancel();
    late.addEventListener("abort", cancel);
    try {
      for (;;) {
        const match = pattern.exec(this.#text);
        if (match) return match;
        const { value, done } = await this.#lines.read();
        if (done) break;
        this.#text += value;
      }
    } finally {
      late.removeEventListener("abort", cancel);
    }
    this.#kill();
    throw new Error(
      `Expected output with ${pattern}, got ${this.#text}\n${await this
        .#stderr}`,
    );
  }

  #kill(): void {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#kill();
    await this.#lines.cancel();
    await this.#child.status;
    await this.#stderr;
  }
}

/**
 * Serves on a free port of loopback until the end of the block.
 *
 * @param handler What answers a request's path and method.
 */
export function serveLocally(
  handler: (request: Request) => Response | Promise<Response>,
): AsyncDisposable & { readonly origin: string } {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    handler,
  );
  return {
    origin: `http://127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
