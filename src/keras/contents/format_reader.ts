/**
 * What a format brings along to be read by `loadKeras`.
 *
 * @module
 */

import type { SourceFile, SourceFolder } from "../files/source_file.ts";
import type { Contents } from "./contents.ts";
import type { Probe } from "./probe.ts";

/** A format, or several that begin alike. */
export interface FormatReader {
  /** What such a file is, for messages: `HDF5`, `a zip archive`. */
  readonly what: string;
  /**
   * What decides among several known files in a map: the highest is the
   * model. 2 for files that name others, which may be known formats as well;
   * 1 for files by themselves; 0 for what anything could be, such as JSON.
   */
  readonly rank: 0 | 1 | 2;
  /** Whether a file is such a one. */
  detect(probe: Probe): boolean | Promise<boolean>;
  /**
   * Opens it.
   *
   * @param file The file.
   * @param folder The files beside it.
   * @param probe What `detect` was given.
   * @returns What is in it; must be closed.
   *
   * @throws {FormatError} If it is damaged, or no Keras file.
   */
  open(
    file: SourceFile,
    folder: SourceFolder,
    probe: Probe,
  ): Promise<Contents>;
}
