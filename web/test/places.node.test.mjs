/** Where files are, as each system writes it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const { outputFiles } = await build({
  entryPoints: [fileURLToPath(new URL("../src/places.ts", import.meta.url))],
  bundle: true,
  format: "esm",
  write: false,
});
const source = Buffer.from(outputFiles[0].text).toString("base64");
const { absolute, folder, pathOf } = await import(`data:text/javascript;base64,${source}`);

/** As if Node ran there. */
function at(platform, cwd, body) {
  const [own, { cwd: ownCwd }] = [process.platform, process];
  Object.defineProperty(process, "platform", { value: platform });
  process.cwd = () => cwd;
  try {
    body();
  } finally {
    Object.defineProperty(process, "platform", { value: own });
    process.cwd = ownCwd;
  }
}

test("paths of Windows", () =>
  at("win32", "D:\\a b\\c#d", () => {
    for (const [path, url] of [
      ["C:\\x\\y.node", "file:///C:/x/y.node"],
      ["c:/x/50%/y?.node", "file:///c:/x/50%25/y%3F.node"],
      ["x\\..\\y.node", "file:///D:/a%20b/c%23d/y.node"],
      ["\\x.node", "file:///D:/x.node"],
      ["\\\\server\\share\\x.node", "file://server/share/x.node"],
      ["file:///C:/x.node", "file:///C:/x.node"],
      ["https://host/x", "https://host/x"],
    ])
      assert.equal(absolute(path), url);
    assert.equal(folder("C:\\x"), "file:///C:/x/");
    for (const path of ["C:\\a b\\50%#", "D:\\", "\\\\server\\share\\x"])
      assert.equal(pathOf(absolute(path)), path.replaceAll("\\", "/"));
    assert.equal(pathOf("https://host/x"), "https://host/x");
  }));

test("paths of other systems", () =>
  at("linux", "/a b/c#d", () => {
    for (const [path, url] of [
      ["/x/50%/y?.node", "file:///x/50%25/y%3F.node"],
      ["x/../y.node", "file:///a%20b/c%23d/y.node"],
      ["a\\b.node", "file:///a%20b/c%23d/a%5Cb.node"],
      [new URL("file:///x.node"), "file:///x.node"],
    ])
      assert.equal(absolute(path), url);
    for (const path of ["/a b/50%#", "/", "/c:/x\\y"]) assert.equal(pathOf(absolute(path)), path);
  }));
