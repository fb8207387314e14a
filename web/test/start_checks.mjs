/** What the tests of kept starts share: a start that tells what it did, and a wheel that is another one. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./runtime.mjs";
import { close } from "./wasm_assert.mjs";

export const READING = "Reading what an earlier start kept";
export const KEPT = "Kept for the next start";

const { cases } = JSON.parse(readFileSync(join(ROOT, "tests/vectors/flash.json"), "utf8"));
/** Golden vectors as plain data, for a page too. */
export const golden = cases.map(({ name, mechanism, config, inputs, options, expected, tolerance }) => {
  const plain = ({ data, shape }) => ({ data: data.map(Number), shape });
  const given = Object.values(inputs).map(plain);
  return { name, mechanism, config, given, options, expected: plain(expected.output), tolerance };
});

/** Runs wherever the library does: loads, computes the cases, waits until what is to be kept is. */
export async function startAndCompute({ load }, options, cases) {
  const stages = [];
  let ended;
  const end = new Promise((resolve) => {
    ended = resolve;
  });
  let isKeeping = false;
  const ra = await load({
    ...options,
    onProgress: ({ stage, keeping }) => {
      stages.push(stage);
      isKeeping ||= keeping === true;
      if (keeping === false) ended();
    },
  });
  const outputs = [];
  for (const { mechanism, config, given, options: call } of cases) {
    const attention = await ra.create(mechanism, config);
    const output = await attention.forward(
      ...given.map(({ data, shape }) => ({ data: Float32Array.from(data), shape })),
      call,
    );
    outputs.push({ data: Array.from(output), shape: output.shape });
    await attention.dispose();
  }
  if (isKeeping) await end;
  ra.close();
  return { stages, outputs };
}

export function assertGolden(outputs) {
  assert.equal(outputs.length, golden.length);
  golden.forEach(({ name, expected, tolerance }, i) => {
    const { data, shape } = outputs[i];
    close(Object.assign(Float32Array.from(data), { shape }), expected, tolerance, name);
  });
}

/** The same wheel with a comment at the end of its zip file: other bytes, another hash. */
export function changed(wheel) {
  const comment = Buffer.from("changed");
  const bytes = Buffer.concat([wheel, comment]);
  bytes.writeUInt16LE(comment.length, wheel.length - 2);
  return bytes;
}

export const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
