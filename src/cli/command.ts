/**
 * What a sub-command is, and how its arguments are read and explained.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { OptionError } from "../errors.ts";
import type { Terminal } from "./terminal.ts";

/** How the `evenkeel` command ends. */
export const EXIT = {
  /** All went well. */
  ok: 0,
  /** A check was made and failed. */
  failed: 1,
  /** The command line is wrong. */
  usage: 2,
  /** A file cannot be read, used or written. */
  file: 3,
  /** A defect of Evenkeel. */
  internal: 70,
} as const;

/** An option of a sub-command. */
export interface Option {
  /** Whether it takes a value. */
  readonly type: "string" | "boolean";
  /** Whether it can be given several times; see {@linkcode Arguments.lists}. */
  readonly multiple?: true;
  /** The name of the value in the help. */
  readonly value?: string;
  /** A one-letter form. */
  readonly short?: string;
  /** What it does; a sentence without a full stop. */
  readonly help: string;
}

/** The arguments of a sub-command, read. */
export interface Arguments {
  /** What is no option. */
  readonly positionals: readonly string[];
  /** The options given, by name. */
  readonly options: Readonly<Record<string, string | boolean | undefined>>;
  /** Options that can be given several times, by name; empty if they are not. */
  readonly lists: Readonly<Record<string, readonly string[]>>;
}

/** A sub-command. */
export interface Command {
  /** Its name. */
  readonly name: string;
  /** What it does; a sentence without a full stop. */
  readonly summary: string;
  /**
   * The names of what must be given beside options, such as `FILE`; the last
   * one is `FILE...` if there may be several.
   */
  readonly positionals: readonly string[];
  /** Its options by long name. */
  readonly options: Readonly<Record<string, Option>>;
  /** What the help says beyond that, in lines of at most 80 columns. */
  readonly details: string;
  /** The Deno permissions that it needs. */
  readonly permissions: string;
  /** Runs it and returns the exit code. */
  run(args: Arguments, terminal: Terminal): Promise<number>;
}

/** The command line is wrong; leads to exit code 2. */
export class UsageError extends OptionError {}

/** Options that every sub-command has. */
const COMMON: Readonly<Record<string, Option>> = {
  json: { type: "boolean", help: "print JSON instead of a table" },
  help: { type: "boolean", short: "h", help: "print this help" },
};

/** All options of a sub-command, the common ones last. */
function optionsOf(command: Command): Record<string, Option> {
  return { ...command.options, ...COMMON };
}

/**
 * Reads the arguments of a sub-command.
 *
 * @throws {UsageError} If an option is unknown or lacks its value, or the
 * number of other arguments is wrong.
 */
export function readArguments(
  command: Command,
  args: readonly string[],
): Arguments {
  let parsed: Arguments;
  try {
    const { positionals, values } = parseArgs({
      args: [...args],
      options: Object.fromEntries(
        Object.entries(optionsOf(command)).map(([name, option]) => [
          name,
          {
            type: option.type,
            ...(option.short ? { short: option.short } : {}),
            ...(option.multiple ? { multiple: true } : {}),
          },
        ]),
      ),
      allowPositionals: true,
      strict: true,
    });
    const given = Object.entries(values);
    const lists = Object.entries(command.options)
      .filter(([, { multiple }]) => multiple)
      .map(([name]) => [name, (values[name] ?? []) as string[]]);
    parsed = {
      positionals,
      options: Object.fromEntries(
        given.filter(([, value]) => !Array.isArray(value)),
      ) as Arguments["options"],
      lists: Object.fromEntries(lists),
    };
  } catch (cause) {
    // Node's text goes on with advice for authors of parsers.
    const [reason = ""] = (cause as Error).message.split(/\.? (?=To )|\.?\n/);
    const advice = reason.includes("ambiguous")
      ? ", write --option=VALUE if the value begins with -"
      : "";
    throw new UsageError(
      `${reason}${advice}; see evenkeel ${command.name} --help`,
      { cause },
    );
  }
  const { length } = command.positionals;
  const given = parsed.positionals.length;
  const isRight = command.positionals.at(-1)?.endsWith("...")
    ? given >= length
    : given === length;
  if (!parsed.options.help && !isRight) {
    throw new UsageError(
      `Expected ${command.positionals.join(" ")}, got ${
        parsed.positionals.length === 0
          ? "nothing"
          : parsed.positionals.map((p) => `"${p}"`).join(" ")
      }; see evenkeel ${command.name} --help`,
    );
  }
  return parsed;
}

/** The help of a sub-command. */
export function helpOf(command: Command): string {
  const options = Object.entries(optionsOf(command));
  const heads = options.map(([name, { short, value }]) =>
    `${short ? `-${short}, ` : "    "}--${name}${value ? ` ${value}` : ""}`
  );
  const width = Math.max(...heads.map((head) => head.length));
  const required = command.positionals.map((name) => ` ${name}`).join("");
  return [
    `evenkeel ${command.name}${required} [options]`,
    "",
    `${command.summary}.`,
    "",
    ...(command.details ? [command.details, ""] : []),
    "Options:",
    ...options.map(([, { help }], i) =>
      `  ${heads[i]!.padEnd(width)}  ${help}`
    ),
    "",
    `Deno permissions: ${command.permissions}`,
  ].join("\n");
}
