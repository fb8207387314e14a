/**
 * A thread of the kernels that dies of its own: `?die=error|silent&after=3&who=0`, in the call after so many of them;
 * without `who` every thread does, else the one that was the first to start, or the second.
 */
const wanted = new URL(import.meta.url).searchParams;

/** Ends this thread, in the middle of a part. */
function die() {
  if (wanted.get("die") === "silent") {
    if (typeof process === "object") process.exit(7);
    self.postMessage = () => {}; // nobody is told
    self.close();
  }
  throw new Error("the thread fell ill");
}

let left = Number(wanted.get("after"));
const { instantiate } = WebAssembly;
WebAssembly.instantiate = async (module, imports) => {
  const { exports } = await instantiate(module, imports);
  // of the lowest addresses neither data nor a stack makes use
  const place = Atomics.add(new Int32Array(imports.env.memory.buffer), 1, 1);
  const isMeant = !wanted.has("who") || place === Number(wanted.get("who"));
  const run = (...call) => (isMeant && left-- <= 0 ? die() : exports.rv_run_kernel(...call));
  return { exports: { ...exports, rv_run_kernel: run } };
};
await import("../dist/lib/wasm_thread.js");
