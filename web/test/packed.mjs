/** The package as `npm pack` makes it, installed into a folder of its own as a user's `npm install` does it. */
import { spawn } from "node:child_process";
import { cp, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const WEB = fileURLToPath(new URL("..", import.meta.url));
export const FIXTURES = join(WEB, "fixtures");
/** Inside of the folder that has the bundlers in its node_modules. */
export const SCRATCH = join(FIXTURES, "scratch");

/** What a command prints; a failure carries all of it. */
export function run(command, words, { cwd = WEB, env = {} } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, words, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let printed = "";
    let errors = "";
    child.stdout.on("data", (text) => {
      printed += text;
    });
    child.stderr.on("data", (text) => {
      errors += text;
    });
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(printed);
      else reject(new Error(`${command} ${words.join(" ")} ended with ${code}:\n${printed}\n${errors}`));
    });
  });
}

/** The tarball, and npm's own list of what is in it. */
export async function pack() {
  await rm(SCRATCH, { recursive: true, force: true });
  await mkdir(SCRATCH, { recursive: true });
  const [made] = JSON.parse(await run("npm", ["pack", "--json", "--pack-destination", SCRATCH]));
  return { tarball: join(SCRATCH, made.filename), size: made.size, files: made.files };
}

/** The fixtures in the scratch folder, with the tarball installed there. */
export async function install(tarball, fixtures) {
  for (const name of fixtures) await cp(join(FIXTURES, name), join(SCRATCH, name), { recursive: true });
  await writeFile(join(SCRATCH, "package.json"), '{ "private": true, "type": "module" }\n');
  // the package needs nothing else, so there is nothing to ask a registry for
  await run("npm", ["install", "--offline", "--no-save", "--no-package-lock", tarball], { cwd: SCRATCH });
}
