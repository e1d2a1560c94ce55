/**
 * JSON from files that nobody vouches for.
 *
 * @module
 */

import { FormatError } from "../errors.ts";

/** A JSON object. */
export type JsonObject = Record<string, unknown>;

/** Whether a value is an object and not an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Python's dialect as JSON: infinities become numbers that overflow, and NaN,
 * which JSON has no number for, null.
 */
function standardJson(text: string): string {
  return text.replace(
    /"(?:[^"\\]|\\.)*"|-?Infinity|NaN/g,
    (token) => {
      if (token.startsWith('"')) return token;
      return token === "NaN" ? "null" : token.replace("Infinity", "1e999");
    },
  );
}

/**
 * Parses JSON, or Python's dialect of it (`NaN` and `Infinity`, which Keras
 * writes for a value that is one), to an object.
 *
 * @param text The JSON.
 * @param what What it is, for messages.
 *
 * @throws {FormatError} If it is not JSON, not an object, or has a key
 * `__proto__`, which no Keras file has and which could change the behaviour
 * of objects that it is merged into.
 */
export function parseJsonObject(text: string, what: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(standardJson(text), (key, item) => {
      if (key === "__proto__") {
        throw new FormatError(`Cannot read ${what}: it has a key "__proto__"`);
      }
      return item;
    });
  } catch (cause) {
    if (cause instanceof FormatError) throw cause;
    throw new FormatError(
      `Cannot read ${what}: expected JSON, got ${excerpt(text)}`,
      { cause },
    );
  }
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
