/**
 * What a worker of a pool runs: jobs, until it is told to end.
 *
 * As text, because that starts the same way wherever the library lies: as
 * files, bundled, or imported by URL. It knows nothing but the queue, which
 * `job_queue.ts` explains.
 *
 * @module
 */

import { CALL_WORDS, CONTROL, pendingWord } from "./job_queue.ts";

/** What a worker is given to start with. */
export interface WorkerStart {
  /** The module for shared memory. */
  readonly module: WebAssembly.Module;
  /** That memory. */
  readonly memory: WebAssembly.Memory;
  /** The exports that calls name by their index. */
  readonly names: readonly string[];
  /** See `JobQueue`. */
  readonly control: Int32Array;
  /** See `JobQueue`. */
  readonly calls: Int32Array;
  /** The byte offset of the worker's own staging area. */
  readonly staging: number;
}

/**
 * Looks before a worker goes to sleep: some 50 microseconds, more than passes
 * between two jobs of a call, and as much as it costs to be woken up.
 */
const LOOKS = 10_000;

/**
 * The program of a worker, as a script. The three words have to be read in this
 * order: an older ticket is at most the number that was published, and who
 * sees the number that comes with the end sees the end.
 */
export const WORKER_SOURCE: string = `"use strict";
const port = typeof require === "function" ? require("node:worker_threads").parentPort : globalThis;
function run({ module, memory, names, control, calls, staging }) {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const functions = names.map((name) => exports[name]);
  const value = (word) => calls[word] < 0 ? staging + ~calls[word] : calls[word];
  Atomics.add(control, ${CONTROL.started}, 1);
  for (let looks = 0;;) {
    const ticket = Atomics.load(control, ${CONTROL.taken});
    const published = Atomics.load(control, ${CONTROL.published});
    if (Atomics.load(control, ${CONTROL.stopped})) return;
    if (ticket === published) {
      if (++looks < ${LOOKS}) continue;
      Atomics.add(control, ${CONTROL.sleeping}, 1);
      Atomics.wait(control, ${CONTROL.published}, published);
      Atomics.sub(control, ${CONTROL.sleeping}, 1);
      looks = 0;
      continue;
    }
    if (Atomics.compareExchange(control, ${CONTROL.taken}, ticket, ticket + 1) !== ticket) continue;
    looks = 0;
    const at = ${CONTROL.tickets} + ${CONTROL.ticketWords} * (ticket & ${CONTROL.ticketMask});
    const pending = ${pendingWord(0)} + ${
  pendingWord(1) - pendingWord(0)
} * control[at];
    try {
      for (let word = control[at + 1], end = control[at + 2]; word < end; word += ${CALL_WORDS}) {
        functions[calls[word]](value(word + 1), value(word + 2), value(word + 3),
          value(word + 4), value(word + 5), value(word + 6), value(word + 7));
      }
    } catch (error) {
      if (Atomics.compareExchange(control, ${CONTROL.failed}, 0, 1) === 0) {
        const text = String(error).slice(0, ${CONTROL.messageLength});
        for (let i = 0; i < text.length; i++) control[${CONTROL.message} + i] = text.charCodeAt(i);
        control[${CONTROL.failedLength}] = text.length;
      }
    }
    if (Atomics.sub(control, pending, 1) === 1) Atomics.notify(control, pending);
  }
}
if (port === globalThis) port.onmessage = ({ data }) => run(data);
else port.once("message", run);
`;
