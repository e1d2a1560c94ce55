/**
 * Where the command's output goes, and whether it may have colours. The one
 * place of the command line that asks which runtime this is.
 *
 * @module
 */

import process from "node:process";

/** The command's two streams. */
export interface Terminal {
  /** Results: tables and JSON. */
  out(text: string): void;
  /** Errors, notes and progress. */
  err(text: string): void;
  /** Shows how far long work is, on one line that the next one replaces. */
  progress(text: string): void;
  /** Marks text on standard output; plain where that is no terminal. */
  style(style: Style, text: string): string;
}

/** What text can be marked as. */
export type Style = "bold" | "dim" | "good" | "bad";

/** ECMA-48 graphic renditions, each with the one that ends it. */
const CODES: Readonly<Record<Style, readonly [number, number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  good: [32, 39],
  bad: [31, 39],
};

/** Deno tells without a permission; Node and Bun through the environment. */
function noColor(): boolean {
  const deno = (globalThis as { Deno?: { noColor: boolean } }).Deno;
  return deno ? deno.noColor : Boolean(process.env.NO_COLOR);
}

/** The process's own streams. */
export function processTerminal(): Terminal {
  const colours = Boolean(process.stdout.isTTY) && !noColor();
  const live = Boolean(process.stderr.isTTY);
  let progressShown = false;
  const clear = () => {
    if (progressShown) process.stderr.write("\r\x1b[2K");
    progressShown = false;
  };
  return {
    out(text) {
      clear();
      process.stdout.write(`${text}\n`);
    },
    err(text) {
      clear();
      process.stderr.write(`${text}\n`);
    },
    progress(text) {
      if (!live) return;
      clear();
      process.stderr.write(text.slice(0, 79));
      progressShown = true;
    },
    style(style, text) {
      if (!colours) return text;
      const [on, off] = CODES[style];
      return `\x1b[${on}m${text}\x1b[${off}m`;
    },
  };
}
