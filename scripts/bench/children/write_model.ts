// Writes the models that the large files are measured with: a folder, an
// ending, and the bytes of the large layers.
import { WRITERS } from "../sparse_files.ts";

const [folder, ending, bytes] = Deno.args;
await WRITERS[ending!]!(`${folder}/${bytes}${ending}`, Number(bytes));
