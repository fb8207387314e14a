/** The tests of the kernels' runtime in the newest Node and in Deno; the Node that runs this is another stage's. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { install, pack, run, SCRATCH } from "./packed.mjs";

const { NEWEST_NODE, DENO } = process.env;
const SUITE = "test/wasm.node.test.mjs";
const missing = (what) => `no ${what}; build_scripts/toolchain.py windowless fetches it`;

test("the newest Node passes all of them", { skip: !NEWEST_NODE && missing("newest Node") }, async () => {
  const [version, started] = [await run(NEWEST_NODE, ["--version"]), performance.now()];
  // what the parent's test runner says to its children is not for this one
  const env = { NODE_TEST_CONTEXT: undefined, NODE_OPTIONS: "" };
  const printed = await run(NEWEST_NODE, ["--test", "--test-reporter=tap", SUITE], { env });
  const figure = (name) => Number(printed.match(new RegExp(`^# ${name} (\\d+)$`, "m"))[1]);
  console.log(`Node ${version.trim()}: ${figure("pass")} passed in ${seconds(started)} s`);
  assert(figure("pass") >= 170, `${figure("pass")} tests passed; expected those of three instruction sets`);
  assert.equal(figure("fail") + figure("cancelled") + figure("skipped"), 0);
});

test("Deno passes all of them", { skip: !DENO && missing("Deno") }, async () => {
  const [version, started] = [await run(DENO, ["--version"]), performance.now()];
  const options = ["test", "--no-check", "--allow-all", "--no-lock"];
  const printed = await run(DENO, [...options, SUITE], { env: { NO_COLOR: "1" } });
  const [, tests, steps, failed] = printed.match(/(\d+) passed \((\d+) steps\) \| (\d+) failed/);
  console.log(`${version.split("\n")[0]}: ${tests} passed of ${steps} steps in ${seconds(started)} s`);
  assert(Number(steps) >= 160, `${steps} steps passed; expected those of three instruction sets`);
  assert.equal(Number(failed), 0);
});

test("Deno runs the installed package, and ends while its worker idles", {
  skip: !DENO && missing("Deno"),
}, async () => {
  await install((await pack()).tarball, []);
  const program = `
    import { load } from "ruvector-attention/wasm";
    const ra = await load({ worker: true });
    const flash = await ra.create("flash", { dim: 1 });
    console.log((await flash.forward([[1]], [[1]], [[5]]))[0]);`;
  await writeFile(join(SCRATCH, "program.mjs"), program);
  assert.equal(await run(DENO, ["run", "--allow-read", "--no-lock", "program.mjs"], { cwd: SCRATCH }), "5\n");
});

const seconds = (started) => ((performance.now() - started) / 1000).toFixed(1);
