/** Preloaded where Node runs on musl beside a system of glibc's: npm asks /usr/bin/ldd first, which is not its own. */
const fs = require("node:fs");
const { readFileSync } = fs;
fs.readFileSync = (path, ...rest) => {
  if (path !== "/usr/bin/ldd") return readFileSync(path, ...rest);
  throw Object.assign(new Error("ENOENT: no such file or directory, open '/usr/bin/ldd'"), { code: "ENOENT" });
};
