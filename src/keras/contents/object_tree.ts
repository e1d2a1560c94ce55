/**
 * Keras' tree of objects, put together from paths.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { FileVariable, ObjectNode } from "./contents.ts";

/** No model is nested deeper. */
const MAX_PARTS = 64;

/** An object while its tree grows. */
export class GrowingNode implements ObjectNode {
  readonly key: string;
  readonly location: string;
  readonly children: Map<string, GrowingNode> = new Map();
  readonly variables: FileVariable[] = [];
  isObject = false;
  name: string | undefined;

  /** Makes an object that hangs on nothing; the model, by default. */
  constructor(key = "", location = "") {
    this.key = key;
    this.location = location;
  }

  #child(key: string): GrowingNode {
    let node = this.children.get(key);
    if (!node) {
      const prefix = this.location ? `${this.location}/` : "";
      node = new GrowingNode(key, prefix + key);
      this.children.set(key, node);
    }
    return node;
  }

  /**
   * The object at a path such as `layers/dense`, and all above it, which are
   * made where they are not there yet.
   *
   * @throws {FormatError} If the path is deeper than any model.
   */
  at(path: string): GrowingNode {
    const parts = path.split("/").filter((part) => part !== "");
    if (parts.length > MAX_PARTS) {
      throw new FormatError(
        `Cannot read the object at ${
          path.slice(0, 60)
        }...: it is nested more than ${MAX_PARTS} deep`,
      );
    }
    return parts.reduce<GrowingNode>((node, key) => node.#child(key), this);
  }
}
