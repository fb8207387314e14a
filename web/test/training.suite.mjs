/** What parts of training do through the bridge; with `client`, a function that gives the loaded runtime. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DimensionMismatchError, InvalidConfigError, UnsupportedError } from "../dist/lib/index.js";

export function trainingTests(client) {
  test("describe lists the parts of training, and each has its class", async () => {
    const ra = client();
    const { training } = await ra.describe();
    const kinds = new Set(training.map(({ kind }) => kind));
    assert.deepEqual([...kinds].sort(), ["loss", "miner", "optimizer", "schedule"]);
    for (const part of training) {
      assert.equal(ra.training[part.class].name, part.class);
      assert.ok(part.summary && part.config.every(({ doc }) => doc));
    }
  });

  test("an optimizer trains a mechanism", async () => {
    const ra = client();
    const attention = await ra.create("multi_head", { dim: 4, numHeads: 2 });
    const adam = await ra.training.Adam.create({ learningRate: 0.05 });
    const x = { data: Float32Array.from({ length: 12 }, (_, i) => Math.sin(i)), shape: [3, 4] };
    const losses = [];
    for (let step = 0; step < 12; step++) {
      const output = await attention.forward(x, x, x, { training: true });
      losses.push(output.reduce((sum, value) => sum + value ** 2, 0));
      const slope = { data: output.map((value) => 2 * value), shape: output.shape };
      const gradients = await attention.backward(slope);
      await attention.loadStateDict(await adam.updated(await attention.stateDict(), gradients));
    }
    assert.ok(losses.at(-1) < 0.5 * losses[0], `${losses}`);
    await Promise.all([attention.dispose(), adam.dispose()]);
  });

  test("arrays by name keep their names, and options stand behind them", async () => {
    const sgd = await client().create("sgd", { learningRate: 0.5 });
    const before = { outWeight: Float32Array.of(1, 2), gradients: Float64Array.of(3) };
    const after = await sgd.updated(before, {
      outWeight: Float32Array.of(1, 1),
      gradients: Float64Array.of(2),
    });
    assert.deepEqual(Object.keys(after), ["outWeight", "gradients"]);
    assert.deepEqual(Array.from(after.outWeight), [0.5, 1.5]);
    assert.ok(after.gradients instanceof Float64Array);
    assert.deepEqual(Array.from(after.gradients), [2]);
    await sgd.add({ inWeight: Float32Array.of(1) }, { learningRate: 0.1 });
    await sgd.step({ inWeight: Float32Array.of(1) });
    assert.ok(Math.abs((await sgd.parameters()).inWeight[0] - 0.9) < 1e-6);
    await assert.rejects(sgd.step({ weight: [1] }), (error) => {
      assert.ok(error instanceof UnsupportedError);
      return /gradients has none of inWeight/.test(error.message);
    });
    await assert.rejects(sgd.step({ inWeight: [1, 2] }), DimensionMismatchError);
    await sgd.dispose();
  });

  test("settings that are lists of settings have JavaScript's names", async () => {
    const ra = client();
    const stages = [
      { name: "a", duration: 2, negativeCount: 4 },
      { name: "b", duration: 1 },
    ];
    const curriculum = await ra.training.CurriculumScheduler.create({ stages });
    assert.equal(curriculum.config.stages[0].negativeCount, 4);
    assert.deepEqual(await curriculum.at(1), { ...stages[0], difficulty: 1, temperature: 1 });
    await assert.rejects(ra.training.CurriculumScheduler.create({ stages: [{ name: "a" }] }), (error) => {
      assert.ok(error instanceof InvalidConfigError);
      return /stages\[0\] needs the setting 'duration'/.test(error.message);
    });
    await curriculum.dispose();
  });

  test("a loss gives its value and gradients by name", async () => {
    const triplet = await client().training.TripletLoss.create({ margin: 1 });
    const points = [[[0, 0]], [[3, 4]], [[0, 5]]];
    assert.equal(await triplet.compute(...points), 1);
    const { value, gradients } = await triplet.computeWithGradients(...points);
    assert.equal(value, 1);
    assert.ok(Math.abs(gradients.positive[0] - 0.6) < 1e-6);
    await triplet.dispose();
  });
}
