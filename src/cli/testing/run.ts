/**
 * Runs the command in this process and keeps what it prints.
 *
 * @module
 */

import { main } from "../main.ts";

/** What a run left behind. */
export interface Run {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Where the fixtures of real Keras are. */
export const KERAS = new URL("../../../testdata/keras/", import.meta.url)
  .pathname;

/** Runs the command with arguments, without colours. */
export async function run(...args: string[]): Promise<Run> {
  let out = "";
  let err = "";
  const code = await main(args, {
    out: (text) => void (out += `${text}\n`),
    err: (text) => void (err += `${text}\n`),
    progress: () => {},
    style: (_style, text) => text,
  });
  return { code, out, err };
}
