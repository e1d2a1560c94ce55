/**
 * JSON from files that nobody vouches for.
 *
 * @module
 */

import { isObject } from "../layer/keras_object.ts";
import { FormatError } from "../errors.ts";

/** A JSON object. */
export type JsonObject = Record<string, unknown>;

/**
 * Python's dialect as JSON: infinities become numbers that overflow, and NaN,
 * which JSON has no number for, null.
 */
function standardJson(text: string): string {
  let inString = false;
  // Without a repetition, so that no text is slow or too long for it.
  return text.replace(/\\.|"|-?Infinity|NaN/gs, (token) => {
    if (token === '"') inString = !inString;
    if (inString || token === '"' || token.startsWith("\\")) return token;
    return token === "NaN" ? "null" : token.replace("Infinity", "1e999");
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return JSON.parse(standardJson(text));
  }
}

/** Beyond the 64 levels of layers in model_config.ts, which take three or four each. */
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
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    throw new FormatError(
      `Cannot read ${what}: expected JSON, got ${excerpt(text)}`,
      { cause },
    );
  }
  checkValue(value, what);
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
