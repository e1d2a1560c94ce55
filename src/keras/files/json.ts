/**
 * JSON from files that nobody vouches for.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { isObject } from "../../layer/keras_object.ts";

/** A JSON object. */
export type JsonObject = Record<string, unknown>;

/**
 * Python's dialect as JSON: infinities become numbers that overflow, and NaN,
 * which JSON has no number for, something else.
 */
function standardJson(text: string, nan: string): string {
  let inString = false;
  // Without a repetition, so that no text is slow or too long for it.
  return text.replace(/\\.|"|-?Infinity|NaN/gs, (token) => {
    if (token === '"') inString = !inString;
    if (inString || token === '"' || token.startsWith("\\")) return token;
    return token === "NaN" ? nan : token.replace("Infinity", "1e999");
  });
}

function parse(text: string, nan: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return JSON.parse(standardJson(text, nan));
  }
}

/** What stands for NaN among numbers: a text that no file of numbers has. */
export const NAN_TEXT = "\u0000NaN";

/** Beyond the 64 levels of layers in model/config.ts, which take three or four each. */
const MAX_DEPTH = 400;

/** Refuses what could harm those who use the value. Not recursive: it may be deep. */
function checkValue(value: unknown, what: string): void {
  const rest: { item: unknown; depth: number }[] = [{ item: value, depth: 0 }];
  for (let next = rest.pop(); next; next = rest.pop()) {
    const { item, depth } = next;
    if (typeof item !== "object" || item === null) continue;
    if (depth >= MAX_DEPTH) {
      throw new FormatError(
        `Cannot read ${what}: it is nested more than ${MAX_DEPTH} deep`,
      );
    }
    if (Object.hasOwn(item, "__proto__")) {
      throw new FormatError(`Cannot read ${what}: it has a key "__proto__"`);
    }
    for (const inner of Object.values(item)) {
      rest.push({ item: inner, depth: depth + 1 });
    }
  }
}

function parseChecked(text: string, what: string, nan: string): unknown {
  let value: unknown;
  try {
    value = parse(text, nan);
  } catch (cause) {
    throw new FormatError(
      `Cannot read ${what}: expected JSON, got ${excerpt(text)}`,
      { cause },
    );
  }
  checkValue(value, what);
  return value;
}

/**
 * Parses JSON of numbers, or Python's dialect of it, to any value; NaN becomes
 * {@linkcode NAN_TEXT}, so that it is told from null.
 *
 * @param text The JSON.
 * @param what What it is, for messages.
 *
 * @throws {FormatError} As {@linkcode parseJsonObject}, but for what is no
 * object.
 */
export function parseNumbers(text: string, what: string): unknown {
  return parseChecked(text, what, JSON.stringify(NAN_TEXT));
}

/** The characters that matter for keys: of texts and of what holds them. */
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;
const COLON = 0x3a;

/** Where a text ends that begins at a quote: behind the closing one. */
function endOfText(text: string, start: number): number {
  let at = start + 1;
  while (text.charCodeAt(at) !== QUOTE) {
    at += text.charCodeAt(at) === BACKSLASH ? 2 : 1;
  }
  return at + 1;
}

/**
 * Refuses an object that has a key twice, of which JSON's parsers keep the
 * last and others the first.
 *
 * @param text Valid JSON.
 * @param what What it is, for messages.
 *
 * @throws {FormatError} If there is such an object.
 */
export function checkUniqueKeys(text: string, what: string): void {
  const open: Set<string>[] = [];
  for (let at = 0; at < text.length;) {
    const code = text.charCodeAt(at);
    if (code === OPEN) open.push(new Set());
    if (code === CLOSE) open.pop();
    if (code !== QUOTE) {
      at++;
      continue;
    }
    const end = endOfText(text, at);
    let next = end;
    while (/\s/.test(text.charAt(next))) next++;
    if (text.charCodeAt(next) === COLON) {
      const key: string = JSON.parse(text.slice(at, end));
      const keys = open.at(-1)!;
      if (keys.has(key)) {
        throw new FormatError(
          `Cannot read ${what}: it has the key ${excerpt(key)} twice`,
        );
      }
      keys.add(key);
    }
    at = end;
  }
}

/**
 * Parses JSON, or Python's dialect of it (`NaN` and `Infinity`, which Keras
 * writes for a value that is one), to an object.
 *
 * @param text The JSON.
 * @param what What it is, for messages.
 *
 * @throws {FormatError} If it is not JSON, not an object, nested too deep, or
 * has a key `__proto__`, which no Keras file has and which could change the
 * behaviour of objects that it is merged into.
 */
export function parseJsonObject(text: string, what: string): JsonObject {
  const value = parseChecked(text, what, "null");
  if (!isObject(value)) {
    throw new FormatError(
      `Cannot read ${what}: expected a JSON object, got ${excerpt(text)}`,
    );
  }
  return value;
}

function excerpt(text: string): string {
  return text.length > 60 ? `"${text.slice(0, 60)}..."` : `"${text}"`;
}
