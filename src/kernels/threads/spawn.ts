/**
 * Starting a worker, in the way that the runtime has.
 *
 * @module
 */

/** A worker, whatever the runtime calls its methods. */
export interface Thread {
  /** Sends its first message. */
  start(message: unknown): void;
  /** Ends it, wherever it is; resolves once it is gone, if that can be known. */
  terminate(): Promise<void>;
}

/** Hears that a worker is gone, or why it never came. */
export type OnGone = (reason: unknown) => void;

/** What is used of Node's `worker_threads`, which Deno and Bun have too. */
interface NodeWorker {
  postMessage(message: unknown): void;
  terminate(): Promise<unknown>;
  unref(): void;
  on(event: "error" | "exit", listener: (value: unknown) => void): void;
}

interface NodeThreads {
  readonly Worker: new (
    source: string,
    options: { readonly eval: true },
  ) => NodeWorker;
}

function nodeThreads(): NodeThreads | undefined {
  const { process } = globalThis as {
    process?: { getBuiltinModule?: (name: string) => unknown };
  };
  // Not imported: that would be in the way of browsers and their bundlers.
  return process?.getBuiltinModule?.("node:worker_threads") as
    | NodeThreads
    | undefined;
}

/**
 * Starts a worker that does not keep the process alive.
 *
 * @param source Its program, as a script.
 * @param onGone Hears of its end, however it came; more than once perhaps.
 *
 * @throws What the runtime throws where it has no workers.
 */
export function spawn(source: string, onGone: OnGone): Thread {
  const node = nodeThreads();
  return node === undefined
    ? spawnInBrowser(source, onGone)
    : spawnAsInNode(node, source, onGone);
}

function spawnAsInNode(
  { Worker }: NodeThreads,
  source: string,
  onGone: OnGone,
): Thread {
  const worker = new Worker(source, { eval: true });
  worker.on("error", onGone);
  worker.on("exit", (code) => onGone(new Error(`exit code ${code}`)));
  worker.unref();
  return {
    start: (message) => worker.postMessage(message),
    terminate: async () => void await worker.terminate(),
  };
}

function spawnInBrowser(source: string, onGone: OnGone): Thread {
  const url = URL.createObjectURL(
    new Blob([source], { type: "text/javascript" }),
  );
  // Deno has no other ones.
  const worker = new Worker(url, { type: "module" });
  worker.onerror = (event) => onGone(new Error(event.message || "no reason"));
  worker.onmessageerror = () => onGone(new Error("its message was refused"));
  return {
    start: (message) => worker.postMessage(message),
    terminate(): Promise<void> {
      worker.terminate();
      URL.revokeObjectURL(url);
      return Promise.resolve();
    },
  };
}
