/**
 * Jobs that several threads take from one queue in shared memory.
 *
 * A job is a list of calls of the module's functions. The thread that wants
 * results publishes jobs and runs them as well; workers take what they get.
 * Nobody waits for a worker that has taken nothing: one that is late, asleep or
 * dead only leaves more to the others. What was taken is waited for, within
 * {@linkcode PATIENCE}.
 *
 * @module
 */

import { ThreadError } from "../../errors.ts";
import { reasonOf } from "../wasm_module.ts";

/** Groups that may be in the queue at once. */
export const LANES = 32;
/** The calls that the jobs of one lane have in all. */
export const CALLS_PER_LANE = 1024;
/** The words of a call: the function, then arguments as far as it has them. */
export const CALL_WORDS = 8;
/**
 * Jobs in the queue at once; a power of two, so that tickets may wrap around.
 * A group has at most `JOBS_PER_GROUP` of them.
 */
const TICKETS = 1024;
/** The most jobs that a group is cut into. */
export const JOBS_PER_GROUP: number = TICKETS / LANES;

/** The words of the control area, those that are contended a line apart. */
export const CONTROL = {
  /** The next ticket to take. */
  taken: 0,
  /** The next ticket to give out. */
  published: 16,
  /** How many workers are asleep. */
  sleeping: 32,
  /** Whether workers are to end. */
  stopped: 33,
  /** How many workers have started. */
  started: 34,
  /** Whether a job threw, and the length of the message. */
  failed: 35,
  failedLength: 36,
  /** The message, a word per UTF-16 unit. */
  message: 48,
  messageLength: 200,
  /** Per lane and a line apart: the jobs that are not done. */
  pending: 256,
  /** Per ticket: its lane, its first word and the word behind its last. */
  tickets: 256 + 16 * LANES,
  ticketWords: 3,
  ticketMask: TICKETS - 1,
} as const;

const CONTROL_WORDS = CONTROL.tickets + CONTROL.ticketWords * TICKETS;

/** The word with the jobs of a lane that are not done. */
export function pendingWord(lane: number): number {
  return CONTROL.pending + 16 * lane;
}

/**
 * How long a job that a worker has taken may stay undone, in ms, without any
 * other job being done. A job takes 0.1 ms; systems let every runnable thread
 * run within a few tens of milliseconds, also where ten of them share a core.
 * That leaves a hundredfold margin.
 */
export const PATIENCE = 5000;
/** A wait is taken in slices, so that a suspended machine counts as one. */
const SLICE = 10;
/** Looks before sleeping: about 10 microseconds, less than waking up costs. */
const LOOKS = 2000;

/** A function of the module, of up to seven numbers. */
export type JobFunction = (...values: number[]) => void;

/** Whether this thread may sleep: that of a browser's page may not. */
function maySleep(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0);
    return true;
  } catch {
    return false;
  }
}

/** The side of the thread that publishes. */
export class JobQueue {
  /** See {@linkcode CONTROL}. */
  readonly control: Int32Array = new Int32Array(
    new SharedArrayBuffer(4 * CONTROL_WORDS),
  );
  /**
   * The calls, lane by lane. A pointer that is negative is the complement of
   * an offset into the staging area of whichever thread runs the call.
   */
  readonly calls: Int32Array = new Int32Array(
    new SharedArrayBuffer(4 * CALL_WORDS * CALLS_PER_LANE * LANES),
  );
  readonly #functions: readonly JobFunction[];
  readonly #staging: number;
  readonly #patience: number;
  readonly #maySleep: boolean = maySleep();
  readonly #stop: () => void;
  #error: unknown;

  /**
   * Makes an empty queue.
   *
   * @param functions What calls name by their index.
   * @param staging The byte offset of this thread's staging area.
   * @param stop Ends all workers, after one of them was silent for too long.
   * @param patience See {@linkcode PATIENCE}.
   */
  constructor(
    functions: readonly JobFunction[],
    staging: number,
    stop: () => void,
    patience: number = PATIENCE,
  ) {
    this.#functions = functions;
    this.#staging = staging;
    this.#stop = stop;
    this.#patience = patience;
  }

  /**
   * Publishes jobs of a lane.
   *
   * @param lane The lane, whose earlier jobs may still be under way.
   * @param bounds Where each job's words begin, and where the last one's end.
   */
  publish(lane: number, bounds: readonly number[]): void {
    const { control } = this;
    const jobs = bounds.length - 1;
    const first = Atomics.load(control, CONTROL.published);
    for (let i = 0; i < jobs; i++) {
      const ticket = (first + i) & CONTROL.ticketMask;
      const word = CONTROL.tickets + CONTROL.ticketWords * ticket;
      control[word] = lane;
      control[word + 1] = bounds[i]!;
      control[word + 2] = bounds[i + 1]!;
    }
    Atomics.add(control, pendingWord(lane), jobs);
    Atomics.store(control, CONTROL.published, first + jobs);
    // A worker that goes to sleep now sees the new number, and does not.
    if (Atomics.load(control, CONTROL.sleeping) > 0) {
      Atomics.notify(control, CONTROL.published, jobs);
    }
  }

  /**
   * Runs jobs until those of a lane are done.
   *
   * @throws {ThreadError} If a worker does not finish what it has taken. All
   * are ended then.
   */
  finish(lane: number): void {
    const { control } = this;
    const word = pendingWord(lane);
    let waited = 0;
    let before = 0;
    for (let looks = 0;;) {
      const left = Atomics.load(control, word);
      if (left === 0) return;
      if (this.#runOne() || left !== before) {
        before = left;
        waited = looks = 0;
        continue;
      }
      if (++looks < LOOKS) continue;
      waited += this.#pause(word, left);
      if (waited < this.#patience) continue;
      this.#stop();
      throw new ThreadError(
        `Cannot finish a call on several threads: a worker has not done its part within ${this.#patience} ms, so all were ended, and the outputs of this call are not complete. Call again: what follows runs on one thread. Close the pool and start another one for more`,
      );
    }
  }

  /**
   * Says once what a job threw.
   *
   * @throws {ThreadError} If one did since the last time.
   */
  check(): void {
    const { control } = this;
    if (Atomics.load(control, CONTROL.failed) === 0) return;
    const cause = this.#error;
    const length = control[CONTROL.failedLength]!;
    const words = control.subarray(CONTROL.message, CONTROL.message + length);
    const reason = cause === undefined
      ? String.fromCharCode(...words)
      : reasonOf(cause);
    this.#error = undefined;
    Atomics.store(control, CONTROL.failed, 0);
    throw new ThreadError(
      `Cannot finish a call on several threads: a worker has stopped its part with "${reason}", and the outputs of this call are not complete. Call again: the threads go on`,
      { cause },
    );
  }

  /** Whether workers were told to end: nothing more may be published. */
  get ended(): boolean {
    return Atomics.load(this.control, CONTROL.stopped) !== 0;
  }

  /** Tells all workers to end. */
  end(): void {
    const { control } = this;
    Atomics.store(control, CONTROL.stopped, 1);
    // So that none goes to sleep that has not seen the word above.
    Atomics.add(control, CONTROL.published, 1);
    Atomics.notify(control, CONTROL.published);
  }

  /** Runs the next job, if there is one. */
  #runOne(): boolean {
    const { control, calls } = this;
    const ticket = Atomics.load(control, CONTROL.taken);
    if (
      ticket === Atomics.load(control, CONTROL.published) ||
      Atomics.compareExchange(control, CONTROL.taken, ticket, ticket + 1) !==
        ticket
    ) return false;
    const at = CONTROL.tickets +
      CONTROL.ticketWords * (ticket & CONTROL.ticketMask);
    const end = control[at + 2]!;
    try {
      for (let word = control[at + 1]!; word < end; word += CALL_WORDS) {
        this.#functions[calls[word]!]!(
          this.#value(word + 1),
          this.#value(word + 2),
          this.#value(word + 3),
          this.#value(word + 4),
          this.#value(word + 5),
          this.#value(word + 6),
          this.#value(word + 7),
        );
      }
    } catch (error) {
      this.#error = error;
      Atomics.store(control, CONTROL.failed, 1);
    }
    Atomics.sub(control, pendingWord(control[at]!), 1);
    return true;
  }

  #value(word: number): number {
    const value = this.calls[word]!;
    return value < 0 ? this.#staging + ~value : value;
  }

  /** Waits a little for a word to change; returns how long, in ms. */
  #pause(word: number, value: number): number {
    if (this.#maySleep) {
      const came = Atomics.wait(this.control, word, value, SLICE);
      return came === "timed-out" ? SLICE : 0;
    }
    const start = performance.now();
    let passed = 0;
    while (passed < 1 && Atomics.load(this.control, word) === value) {
      passed = performance.now() - start;
    }
    return Math.min(passed, SLICE);
  }
}
