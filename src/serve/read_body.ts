/**
 * Reading a request's body, up to a limit.
 *
 * @module
 */

import { RequestError } from "./request_error.ts";

function tooLarge(limit: number): RequestError {
  return new RequestError(
    413,
    `Cannot read the body: expected at most ${limit} bytes; send fewer elements at once`,
  );
}

/**
 * Lets go of what is left of a body. Nobody waits for that: of a body that the
 * platform keeps a copy of, as edge-runtime does, the end never comes.
 */
function letGo(body: { cancel(): Promise<void> } | null): void {
  body?.cancel().catch(() => {});
}

/**
 * Reads a body as text.
 *
 * @param request The request.
 * @param limit The most bytes that it may have.
 *
 * @throws {RequestError} 413 if it is longer; no more than the limit is kept.
 * 400 if it is not UTF-8.
 */
export async function readBody(
  request: Request,
  limit: number,
): Promise<string> {
  if (Number(request.headers.get("content-length")) > limit) {
    letGo(request.body);
    throw tooLarge(limit);
  }
  if (!request.body) return "";
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const reader = request.body.getReader();
  let text = "";
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return text + decoder.decode();
      length += value.length;
      if (length > limit) {
        letGo(reader);
        throw tooLarge(limit);
      }
      text += decoder.decode(value, { stream: true });
    }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new RequestError(400, "Cannot read the body: expected UTF-8");
  }
}
