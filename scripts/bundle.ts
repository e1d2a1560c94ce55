/**
 * Builds the npm package in `dist/`, from which `npm pack` makes an archive.
 *
 *     deno task bundle
 *
 * @module
 */

import { buildPackage, writePackage } from "./bundle/build.ts";
import { ROOT } from "./bundle/entries.ts";

const files = await buildPackage();
await writePackage(files, new URL("dist/", ROOT));

const folders = new Map<string, { files: number; bytes: number }>();
for (const [path, { length }] of files) {
  const folder = path.includes("/") ? `${path.split("/", 1)[0]}/` : path;
  const sum = folders.get(folder) ?? { files: 0, bytes: 0 };
  folders.set(folder, { files: sum.files + 1, bytes: sum.bytes + length });
}
for (const [folder, { files, bytes }] of folders) {
  console.log(
    `dist/${folder.padEnd(18)}${`${files}`.padStart(4)} files${
      `${bytes}`.padStart(9)
    } bytes`,
  );
}
