/**
 * What a runtime is to the runner.
 *
 * @module
 */

import type { Project } from "./project.ts";
import type { Outcome } from "./suite.ts";
import type { Tools } from "./tools.ts";

/** Where a runtime tries the package. */
export interface Place {
  readonly project: Project;
  readonly tools: Tools;
  /** An empty folder of its own. */
  readonly scratch: string;
}

/** What a runtime did. */
export interface Trial {
  readonly outcomes: readonly Outcome[];
  /** What is worth knowing of this run: its version, times. */
  readonly notes: readonly string[];
}

/** A runtime that tries the package. */
export interface Runtime {
  /** Its name and version in the table. */
  readonly name: string;
  /** What it imports. */
  readonly by: string;
  /**
   * Runs the suite.
   *
   * @returns What came of it; or why this machine has no such runtime.
   *
   * @throws {Error} If it does not run to its end.
   */
  try(place: Place): Promise<Trial | { readonly missing: string }>;
}

/** The name of the command's feature, which only some runtimes have. */
export const COMMAND_FEATURE = "evenkeel command";

/** The line on which a process reports. */
export const REPORT = "EVENKEEL ";

/** What a process reports on its line. */
export interface Report {
  readonly outcomes: Outcome[];
  readonly importMs?: number;
  /** What a strict runtime should refuse, and did not. */
  readonly allowed?: string[];
}

/** The report in what a process printed. */
export function reportIn(text: string): Report {
  const line = text.split("\n").find((line) => line.startsWith(REPORT));
  if (line === undefined) throw new Error(`Expected a report, got ${text}`);
  return JSON.parse(line.slice(REPORT.length));
}

/**
 * The lines with which a script finds what no strict runtime allows. To be
 * called for a request: workerd allows all of it while a worker starts.
 */
export const STRICTNESS = `function findAllowed() {
  const attempts = {
    eval: () => (0, eval)("1"),
    "new Function": () => new Function("return 1")(),
    // An empty module.
    "WASM from bytes": () =>
      new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])),
  };
  return Object.keys(attempts).filter((name) => {
    try {
      attempts[name]();
      return true;
    } catch {
      return false;
    }
  });
}
`;

/** Fails where a runtime that shall be strict is not. */
export function checkStrict({ allowed }: Report): void {
  if (!allowed || allowed.length > 0) {
    throw new Error(`Expected a strict runtime, which allows: ${allowed}`);
  }
}
