/**
 * The `evenkeel` command: Keras BatchNormalization layers listed, verified
 * and converted, and those of ONNX models changed.
 *
 * @module
 */

import process from "node:process";
import { EvenkeelError } from "../errors.ts";
import { bundle } from "./bundle.ts";
import {
  type Command,
  EXIT,
  helpOf,
  readArguments,
  UsageError,
} from "./command.ts";
import { convert } from "./convert.ts";
import { fold } from "./fold.ts";
import { inspect } from "./inspect.ts";
import { recalibrate } from "./recalibrate.ts";
import { processTerminal, type Terminal } from "./terminal.ts";
import { update } from "./update.ts";
import { verify } from "./verify.ts";

const COMMANDS: readonly Command[] = [
  inspect,
  verify,
  convert,
  update,
  fold,
  recalibrate,
  bundle,
];

function overview(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  return [
    "evenkeel COMMAND [options]",
    "",
    "Keras BatchNormalization layers, and those of ONNX models.",
    "",
    "Commands:",
    ...COMMANDS.map(({ name, summary }) =>
      `  ${name.padEnd(width)}  ${summary}`
    ),
    "",
    "evenkeel COMMAND --help tells more.",
    "",
    "Exit codes: 0 all went well; 1 a check failed; 2 the command line is wrong;",
    "3 a file cannot be read, used or written; 70 a defect of Evenkeel.",
  ].join("\n");
}

/** What the machine refused, where an error is of that kind. */
function systemReason(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  // Deno's own errors of this name say which permission is missing.
  if (error.name === "NotCapable") return error.message;
  if (error instanceof RangeError && /allocation|length/.test(error.message)) {
    return `not enough memory: ${error.message}`;
  }
  // Such as a full disk behind standard output.
  const { code } = error as { code?: unknown };
  return typeof code === "string" && /^E[A-Z]+$/.test(code)
    ? error.message
    : undefined;
}

/**
 * Runs the command.
 *
 * @param args The arguments after the program's name.
 * @param terminal Where output goes; the process's own streams by default.
 * @returns The exit code.
 */
export async function main(
  args: readonly string[],
  terminal: Terminal = processTerminal(),
): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === "--help" || name === "-h") {
    terminal.out(overview());
    return name === undefined ? EXIT.usage : EXIT.ok;
  }
  try {
    const command = COMMANDS.find((command) => command.name === name);
    if (!command) {
      throw new UsageError(
        `Unknown command "${name}", expected ${
          COMMANDS.map(({ name }) => name).join(", ")
        }; see evenkeel --help`,
      );
    }
    const read = readArguments(command, rest);
    if (read.options.help) {
      terminal.out(helpOf(command));
      return EXIT.ok;
    }
    return await command.run(read, terminal);
  } catch (error) {
    if (error instanceof EvenkeelError) {
      terminal.err(`evenkeel: ${error.message}`);
      return error instanceof UsageError ? EXIT.usage : EXIT.file;
    }
    const system = systemReason(error);
    if (system !== undefined) {
      terminal.err(`evenkeel: ${system}`);
      return EXIT.file;
    }
    terminal.err(
      `evenkeel: internal error, please report it: ${
        error instanceof Error ? error.stack : error
      }`,
    );
    return EXIT.internal;
  }
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
