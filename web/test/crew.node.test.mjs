/** Tasks and the workers that they outlive, with workers that only pretend. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { build } from "esbuild";

const { outputFiles } = await build({
  stdin: {
    contents: `export * from "./src/pool/crew.ts"; export * from "./src/pool/order.ts"; export * from "./src/errors.ts";`,
    resolveDir: new URL("..", import.meta.url).pathname,
    loader: "ts",
  },
  bundle: true,
  format: "esm",
  write: false,
});
const { Crew, throughWindow, PoisonedTaskError, RuntimeLostError } = await import(
  `data:text/javascript;base64,${Buffer.from(outputFiles[0].text).toString("base64")}`
);

/** A worker whose tasks end when the test says so. */
class Pretender {
  onLost = undefined;
  isLost = false;
  running = [];
  run = () =>
    new Promise((resolve, reject) => {
      this.running.push({ resolve, reject });
    });
  die() {
    this.isLost = true;
    const error = new RuntimeLostError("the worker ended");
    this.onLost?.(error);
    for (const { reject } of this.running.splice(0)) reject(error);
  }
  close() {
    this.die();
  }
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 5));

function crewOf(options, open) {
  const opened = [];
  const openOne = async () => {
    const worker = open ? open(opened.length) : new Pretender();
    opened.push(worker);
    if (worker instanceof Error) throw worker;
    return worker;
  };
  const defaults = { size: 1, inFlight: 2, timeout: undefined, onLost: () => {}, open: openOne };
  return { crew: new Crew({ ...defaults, ...options }), opened };
}

test("the oldest task of a dead worker is the suspect, and runs alone", async () => {
  const { crew, opened } = crewOf({ inFlight: 3 });
  const tasks = [0, 1, 2].map((i) => crew.run((worker) => worker.run(), i));
  await settled();
  assert.equal(opened[0].running.length, 3);
  opened[0].die();
  await settled();
  assert.equal(opened[1].running.length, 1); // the suspect; the others wait
  opened[1].running[0].resolve("first");
  assert.equal(await tasks[0], "first");
  await settled();
  assert.equal(opened[1].running.length, 3); // its own place, and the two that go on together
  for (const { resolve } of opened[1].running.splice(1)) resolve("later");
  assert.deepEqual(await Promise.all(tasks), ["first", "later", "later"]);
  assert.deepEqual(crew.state, { waiting: 0, running: 0, workers: 1, lost: 1 });
});

test("two deaths are the task's fault, a death in its sleep nobody's", async () => {
  const { crew, opened } = crewOf();
  await crew.start();
  opened[0].die(); // nothing ran
  const task = crew.run((worker) => worker.run(), 7);
  for (const i of [1, 2]) {
    await settled();
    opened[i].die();
  }
  await assert.rejects(task, (error) => error instanceof PoisonedTaskError && error.index === 7);
  assert.equal(crew.state.lost, 3);
});

test("workers that do not start are given up after a few, while others do the work", async () => {
  const { crew, opened } = crewOf({ size: 3 }, (i) => (i === 0 ? new Pretender() : new Error("no memory")));
  await crew.start();
  const tasks = Array.from({ length: 6 }, () => crew.run((worker) => worker.run()));
  for (let done = 0; done < 6; done++) {
    await settled();
    opened[0].running.shift().resolve(done);
  }
  assert.deepEqual(await Promise.all(tasks), [0, 1, 2, 3, 4, 5]);
  assert.ok(opened.length <= 6, `${opened.length} workers were tried`);
  // With the last one gone, what waits is told why.
  const waiting = crew.run((worker) => worker.run());
  await settled();
  opened[0].die();
  await assert.rejects(waiting, /^Error: no memory$/);
  assert.deepEqual(crew.state, { waiting: 0, running: 0, workers: 0, lost: 1 });
});

test("closing rejects what waits and what runs", async () => {
  const { crew } = crewOf();
  const tasks = Array.from({ length: 4 }, () => crew.run((worker) => worker.run()));
  await settled();
  crew.close();
  for (const task of tasks) await assert.rejects(task, RuntimeLostError);
  await assert.rejects(
    crew.run((worker) => worker.run()),
    RuntimeLostError,
  );
});

test("a window gives results in order or as they are done, and reads no further than its size", async () => {
  for (const inOrder of [true, false]) {
    const releases = [];
    let read = 0;
    function* source() {
      while (read < 6) yield read++;
    }
    const work = (item) => new Promise((resolve) => releases.push(() => resolve(item)));
    const seen = [];
    const drained = (async () => {
      for await (const { index, value } of throughWindow(source(), { size: 3, inOrder }, work)) {
        assert.equal(index, value);
        seen.push(value);
      }
    })();
    await settled();
    assert.equal(read, 3);
    releases[2](); // the last of the three
    await settled();
    assert.deepEqual(seen, inOrder ? [] : [2]);
    assert.equal(read, inOrder ? 3 : 4);
    for (let i = 0; i < 6; i++) {
      releases[i]?.();
      await settled();
    }
    await drained;
    assert.deepEqual([...seen].sort(), [0, 1, 2, 3, 4, 5]);
    if (inOrder) assert.deepEqual(seen, [0, 1, 2, 3, 4, 5]);
  }
});

test("a listener that raises does not keep tasks from the next worker", async () => {
  const { crew, opened } = crewOf({
    onLost: () => {
      throw new Error("the caller's own");
    },
  });
  const task = crew.run((worker) => worker.run());
  await settled();
  assert.throws(() => opened[0].onLost(new RuntimeLostError("gone")), /the caller's own/);
  await settled();
  assert.equal(opened.length, 2);
  opened[1].running[0].resolve("done");
  assert.equal(await task, "done");
});

test("an aborted signal ends a window whose source waits", async () => {
  const stop = new AbortController();
  let ended = false;
  const source = {
    [Symbol.asyncIterator]: () => source,
    next: () => new Promise(() => {}),
    return: async () => {
      ended = true;
    },
  };
  const window = throughWindow(source, { size: 2, inOrder: true, signal: stop.signal }, async (item) => item);
  const first = window.next();
  await settled();
  stop.abort(new Error("nobody came"));
  await assert.rejects(first, /^Error: nobody came$/);
  assert.ok(ended);
});
