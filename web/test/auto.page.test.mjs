/** Both runtimes at once, and the interruption of Python, in a page that is cross-origin isolated. */
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch } from "../drive.mjs";
import { serve } from "../serve.mjs";

let browser;
let server;
let page;

before(async () => {
  browser = await launch();
  server = await serve(fileURLToPath(new URL("..", import.meta.url)));
  page = await browser.newPage();
  await page.goto(`${server.url}test/wasm.html`);
});
after(async () => {
  await browser?.close();
  server?.close();
});

test("the kernels answer while Pyodide starts; a signal interrupts Python", () =>
  page.evaluate(async () => {
    const assert = (holds, message) => {
      if (!holds) throw new Error(message);
    };
    const { load } = await import("/dist/lib/index.js");
    const busy = `
class Busy:
    def forward(self):
        from js import BroadcastChannel
        BroadcastChannel.new("busy").postMessage("in the middle")
        while True:
            pass
`;
    const ra = await load({ runtime: "auto", assetBase: "/dist/page/", modules: { busy } });
    const flash = await ra.create("flash", { dim: 1 });
    const [value] = await flash.forward([[1]], [[1]], [[5]]);
    assert(value === 5 && !ra.isComplete, "expected the kernels to answer before Python is there");
    const endless = await ra.create("busy:Busy", {});
    assert((await ra.complete).canInterrupt, "expected memory that both threads see");
    const stop = new AbortController();
    const channel = new BroadcastChannel("busy");
    channel.onmessage = () => stop.abort(new Error("enough"));
    const message = await endless.call("forward", { signal: stop.signal }).catch((error) => error.message);
    channel.close();
    assert(message === "enough", `the call ended with '${message}'`);
    const hyperbolic = await ra.create("hyperbolic", { dim: 1, aggregation: "frechet" });
    const output = await hyperbolic.forward([[0.1]], [[0.2]], [[0.5]]);
    assert(Math.abs(output[0] - 0.5) < 1e-6, `the output is ${output[0]}; expected its one value`);
    ra.close();
  }));
