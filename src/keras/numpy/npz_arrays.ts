/**
 * NumPy's `.npz`: arrays by name, or by number as `np.savez` has those without
 * one. Of a member that is not used, only its header is read.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { Tensor } from "../../tensor.ts";
import type { FileVariable } from "../contents/contents.ts";
import type { ZipFile } from "../zip/zip.ts";
import {
  descrName,
  type NpyHeader,
  parseNpy,
  parseNpyHeader,
  tensorOfStored,
} from "./npy.ts";

const ENDING = ".npy";
/** As long as NumPy's headers are. */
const HEADER_BYTES = 128;
/** What NumPy calls arrays of Python objects, which are pickles. */
const OBJECTS = "O";

class NpzVariable implements FileVariable {
  readonly name: string;
  readonly location: string;
  readonly type: string;
  readonly dims: readonly number[];
  readonly #archive: ZipFile;
  readonly #member: string;

  constructor(archive: ZipFile, member: string, header: NpyHeader) {
    this.name = member.slice(0, -ENDING.length);
    this.location = this.name;
    this.type = descrName(header.descr);
    this.dims = header.dims;
    this.#archive = archive;
    this.#member = member;
  }

  async read(): Promise<Tensor> {
    const { location } = this;
    const bytes = await this.#archive.read(this.#member);
    return tensorOfStored(parseNpy(bytes, location), location);
  }
}

async function headerOf(archive: ZipFile, member: string): Promise<NpyHeader> {
  const head = await archive.head(member, HEADER_BYTES);
  const header = parseNpyHeader(head, member) ??
    parseNpyHeader(await archive.read(member), member);
  if (!header) {
    throw new FormatError(
      `Cannot read ${member}: expected a .npy header, it is truncated`,
    );
  }
  return header;
}

/** The members of an archive that are called as arrays are. */
export function arrayMembers({ names }: Pick<ZipFile, "names">): string[] {
  return names.filter((name) => name.endsWith(ENDING));
}

/**
 * Whether an archive's arrays are pickled objects, which is how Keras writes
 * its own weights into an npz.
 *
 * @throws {FormatError} If the first member is no array.
 */
export async function hasObjects(archive: ZipFile): Promise<boolean> {
  const [first] = arrayMembers(archive);
  if (first === undefined) return false;
  const { descr } = await headerOf(archive, first);
  return descr.endsWith(OBJECTS);
}

/**
 * The arrays of an archive, in its order; members of other kinds are left
 * out.
 *
 * @throws {FormatError} If an array's header is damaged.
 */
export async function readNpzArrays(
  archive: ZipFile,
): Promise<FileVariable[]> {
  const variables: FileVariable[] = [];
  for (const member of arrayMembers(archive)) {
    const header = await headerOf(archive, member);
    variables.push(new NpzVariable(archive, member, header));
  }
  return variables;
}
