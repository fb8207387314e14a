/** The tests of the kernels' runtime in the newest Node and in Deno; the Node that runs this is another stage's. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { logEngine } from "./engine_log.mjs";
import { install, pack, run, SCRATCH } from "./packed.mjs";

const { NEWEST_NODE, DENO } = process.env;
const SUITES = ["test/wasm.node.test.mjs", "test/wasm_threads.node.test.mjs"];
const missing = (what) => `no ${what}; build_scripts/toolchain.py windowless fetches it`;

describe("newest Node", { skip: !NEWEST_NODE && missing("newest Node") }, () => {
  test("it passes all of them", async () => {
    const version = `Node ${(await run(NEWEST_NODE, ["--version"])).trim().slice(1)}`;
    const started = performance.now();
    // what the parent's test runner says to its children is not for this one
    const env = { NODE_TEST_CONTEXT: undefined, NODE_OPTIONS: "" };
    const printed = await run(NEWEST_NODE, ["--test", "--test-reporter=tap", ...SUITES], { env });
    const figure = (name) => Number(printed.match(new RegExp(`^# ${name} (\\d+)$`, "m"))[1]);
    const [passed, failed, skipped] = [
      figure("pass"),
      figure("fail") + figure("cancelled"),
      figure("skipped"),
    ];
    logEngine("newest Node", version, { passed, failed, skipped });
    console.log(`${version}: ${passed} passed in ${seconds(started)} s`);
    assert(passed >= 170, `${passed} tests passed; expected those of three instruction sets`);
    assert.equal(failed + skipped, 0);
  });
});

describe("Deno", { skip: !DENO && missing("Deno") }, () => {
  test("it passes all of them", async () => {
    const version = (await run(DENO, ["--version"])).match(/^deno (\S+)/)[1];
    const started = performance.now();
    const options = ["test", "--no-check", "--allow-all", "--no-lock"];
    const printed = await run(DENO, [...options, ...SUITES], { env: { NO_COLOR: "1" } });
    const found = printed.match(/(\d+) passed \((\d+) steps\) \| (\d+) failed/).slice(1);
    const [tests, steps, failed] = found.map(Number);
    logEngine("Deno", `Deno ${version}`, { passed: steps, failed });
    console.log(`Deno ${version}: ${tests} passed of ${steps} steps in ${seconds(started)} s`);
    assert(steps >= 160, `${steps} steps passed; expected those of three instruction sets`);
    assert.equal(failed, 0);
  });

  test("it runs the installed package, and ends while its worker idles", async () => {
    await install((await pack()).tarball, []);
    const program = `
      import { load } from "ruvector-attention/wasm";
      const ra = await load({ worker: true });
      const flash = await ra.create("flash", { dim: 1 });
      console.log((await flash.forward([[1]], [[1]], [[5]]))[0]);`;
    await writeFile(join(SCRATCH, "program.mjs"), program);
    assert.equal(
      await run(DENO, ["run", "--allow-read", "--no-lock", "program.mjs"], { cwd: SCRATCH }),
      "5\n",
    );
  });
});

const seconds = (started) => ((performance.now() - started) / 1000).toFixed(1);
