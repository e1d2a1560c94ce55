/**
 * A session as a model that is served.
 *
 * @module
 */

import { createSession, type Session } from "../session/session.ts";
import type { ServedModel } from "./served_model.ts";

/**
 * An ONNX model that is loaded at the first request: what runs when a worker
 * starts counts against the platform's limit for that.
 *
 * @param name Its name in the URL.
 * @param model The ONNX file.
 * @param externalData The files that it keeps elements in, by location.
 */
export function sessionModel(
  name: string,
  model: Uint8Array,
  externalData?: ReadonlyMap<string, Uint8Array>,
): ServedModel {
  let session: Promise<Session> | undefined;
  return {
    name,
    async run(feeds, outputs) {
      session ??= createSession(model, externalData ? { externalData } : {});
      return (await session).run(feeds, outputs);
    },
  };
}
