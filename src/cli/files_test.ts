import { assertEquals, assertRejects } from "@std/assert";
import { FormatError } from "../errors.ts";
import { checkTarget, followLinks, stageFile, writeWhole } from "./files.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** A folder that is there for one test, without links in its path. */
async function inFolder(
  test: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.realPath(await Deno.makeTempDir());
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const namesIn = (folder: string) =>
  [...Deno.readDirSync(folder)].map(({ name }) => name).sort();

Deno.test("a link stays one, and leads to what was written", () =>
  inFolder(async (folder) => {
    Deno.mkdirSync(`${folder}/real`);
    Deno.writeTextFileSync(`${folder}/real/a`, "old");
    Deno.symlinkSync("real/a", `${folder}/link`);
    Deno.symlinkSync("link", `${folder}/second`);
    await writeWhole(`${folder}/second`, bytes("new"));
    for (const link of ["link", "second"]) {
      assertEquals(Deno.lstatSync(`${folder}/${link}`).isSymlink, true);
    }
    assertEquals(Deno.readTextFileSync(`${folder}/real/a`), "new");
    assertEquals(namesIn(`${folder}/real`), ["a"]);
    assertEquals(namesIn(folder), ["link", "real", "second"]);
  }));

Deno.test("a link to what is not there yet makes it", () =>
  inFolder(async (folder) => {
    Deno.mkdirSync(`${folder}/real/deep`, { recursive: true });
    Deno.symlinkSync("real/deep", `${folder}/short`);
    // From where the link really is: real/b, not b.
    Deno.symlinkSync("../b", `${folder}/real/deep/link`);
    assertEquals(
      await followLinks(`${folder}/short/link`),
      `${folder}/real/b`,
    );
    await writeWhole(`${folder}/short/link`, bytes("new"));
    assertEquals(Deno.readTextFileSync(`${folder}/real/b`), "new");
    assertEquals(namesIn(`${folder}/real`), ["b", "deep"]);
  }));

Deno.test("a file that is replaced passes its permissions on", {
  ignore: Deno.build.os === "windows",
}, () =>
  inFolder(async (folder) => {
    // More than the usual mask leaves, and less.
    for (const mode of [0o640, 0o600, 0o666, 0o755, 0o444]) {
      const path = `${folder}/${mode.toString(8)}`;
      Deno.writeTextFileSync(path, "old");
      Deno.chmodSync(path, mode);
      await writeWhole(path, [bytes("n"), bytes("ew")]);
      assertEquals(Deno.readTextFileSync(path), "new");
      assertEquals(Deno.statSync(path).mode! & 0o777, mode);
    }
    await writeWhole(`${folder}/new`, bytes("new"));
    Deno.writeTextFileSync(`${folder}/usual`, "new");
    assertEquals(
      Deno.statSync(`${folder}/new`).mode,
      Deno.statSync(`${folder}/usual`).mode,
    );
  }));

Deno.test("where no file can be, nothing is written", () =>
  inFolder(async (folder) => {
    Deno.mkdirSync(`${folder}/folder`);
    Deno.writeTextFileSync(`${folder}/file`, "mine");
    Deno.symlinkSync("loop", `${folder}/loop`);
    const before = namesIn(folder);
    for (
      const [name, message] of [
        ["folder", "it is a folder"],
        ["none/a", "its folder does not exist, make it first"],
        ["none/", "expected the name of a file, got a folder's"],
        ["file/a", "what should be its folder is a file"],
        ["loop", "Cannot write"],
      ] as const
    ) {
      for (const write of [checkTarget, writeWhole]) {
        await assertRejects(
          () => write(`${folder}/${name}`, bytes("new")),
          FormatError,
          message,
        );
      }
    }
    assertEquals(namesIn(folder), before);
    assertEquals(Deno.readTextFileSync(`${folder}/file`), "mine");
  }));

Deno.test("a device is not replaced", {
  ignore: Deno.build.os === "windows",
}, async () => {
  await assertRejects(
    () => checkTarget("/dev/null"),
    FormatError,
    "it is no regular file",
  );
});

Deno.test("a file has its name once it is committed, and not before", () =>
  inFolder(async (folder) => {
    const path = `${folder}/a`;
    Deno.writeTextFileSync(path, "old");
    const dropped = await stageFile(path, bytes("dropped"));
    const taken = await stageFile(path, bytes("taken"));
    assertEquals(Deno.readTextFileSync(path), "old");
    await dropped.discard();
    await taken.commit();
    await taken.discard();
    assertEquals(Deno.readTextFileSync(path), "taken");
    assertEquals(namesIn(folder), ["a"]);
  }));

Deno.test("content that ends in an error leaves the old file", () =>
  inFolder(async (folder) => {
    Deno.writeTextFileSync(`${folder}/a`, "old");
    await assertRejects(
      () =>
        writeWhole(
          `${folder}/a`,
          (function* () {
            yield bytes("ne");
            throw new Error("no more");
          })(),
        ),
      FormatError,
      "no more",
    );
    assertEquals(Deno.readTextFileSync(`${folder}/a`), "old");
    assertEquals(namesIn(folder), ["a"]);
  }));
