/** The classes of training by other packages' names: [what, check] pairs. Values by hand, from formulas. */
import { assert, equal, throws } from "./wasm_assert.mjs";

const f32 = (...x) => Float32Array.from(x);
function near(actual, expected, tolerance = 1e-6, what = "the value") {
  const [a, b] = [actual, expected].map((x) => (typeof x === "number" ? [x] : Array.from(x)));
  equal(a.length, b.length, `the length of ${what}`);
  a.forEach((x, i) => {
    const isNear = Math.abs(x - b[i]) <= tolerance * (1 + Math.abs(b[i]));
    assert(isNear, `${what}: element ${i} is ${x}; expected ${b[i]}`);
  });
}
const freed = (...objects) => Promise.all(objects.map((object) => object.dispose()));

/** What Adam makes of a parameter, in float64. */
function adam(parameter, gradients, { rate, beta1 = 0.9, beta2 = 0.999, decay = 0 }) {
  let [m, v] = [0, 0];
  gradients.forEach((gradient, i) => {
    m = beta1 * m + (1 - beta1) * gradient;
    v = beta2 * v + (1 - beta2) * gradient ** 2;
    const root = Math.sqrt(v / (1 - beta2 ** (i + 1))) + 1e-8;
    parameter = parameter * (1 - rate * decay) - (rate * m) / (1 - beta1 ** (i + 1)) / root;
  });
  return parameter;
}

/** Where no part of training is. */
export const untrainedChecks = [
  [
    "classes of training say which runtime has them",
    async (module) => {
      for (const make of [
        () => new module.AdamOptimizer(0.1),
        () => new module.InfoNCELoss(0.1),
        () => new module.LearningRateScheduler(0.1, 1, 10),
        () => module.CurriculumScheduler.defaultCurriculum(10),
        () => new module.WasmHardNegativeMiner("hard"),
      ])
        await throws(make, module.UnsupportedError, /needs init\(\{ runtime: "pyodide" \}\)/);
    },
  ],
];

/** By promises, in any runtime that has them. */
export const trainingChecks = [];
const check = (what, body) => trainingChecks.push([what, body]);

check("optimizers step parameters or give the updates, by either package's constructor", async (module) => {
  const { AdamOptimizer, AdamWOptimizer, SGDOptimizer, SgdOptimizer, WasmAdam } = module;
  const gradients = [0.5, -2, 0.25];
  const seed = new AdamOptimizer(0.1, 0.8, 0.99);
  const published = AdamOptimizer.withBetas(1, 0.1, 0.8, 0.99);
  const inPlace = new WasmAdam(1, 0.1);
  let [one, two] = [[f32(1)], f32(1)];
  const three = f32(1);
  for (const gradient of gradients) {
    one = await seed.stepAsync(one, [f32(gradient)]);
    two = await published.stepAsync(two, f32(gradient));
    equal(await inPlace.stepAsync(three, f32(gradient)), undefined);
  }
  const wanted = adam(1, gradients, { rate: 0.1, beta1: 0.8, beta2: 0.99 });
  near(one[0], [wanted]);
  near(two, [wanted]);
  near(three, [adam(1, gradients, { rate: 0.1 })]);
  // Of gradients alone the updates: lists of arrays of one length stay lists.
  const lone = new AdamOptimizer(0.1);
  const [a, b] = await lone.stepAsync([f32(3, -4), f32(0.5, 0)]);
  near(a, [-0.1, 0.1]);
  near(b, [-0.1, 0]);
  const decayed = new AdamWOptimizer(2, 0.1, 0.5); // number of parameters, rate, decay
  near(await decayed.stepAsync(f32(1, 2), f32(1, 1)), [0.85, 1.8]);
  equal(decayed.weightDecay, 0.5);
  await throws(() => decayed.stepAsync(f32(1, 1)), module.UnsupportedError, /depends on the parameters/);
  const seedDecay = new AdamWOptimizer(0.1, 0.5);
  near(await seedDecay.stepAsync(f32(1), f32(1)), [0.85]);
  const heavy = new SGDOptimizer(0.1, 0.9, 0, true); // nesterov
  near(await heavy.stepAsync(f32(1), f32(1)), [1 - 0.1 * 1.9]);
  const plain = new SgdOptimizer(2, 0.5);
  near(await plain.stepAsync([1, 2], [1, 1]), [0.5, 1.5]);
  await freed(seed, published, inPlace, lone, decayed, seedDecay, heavy, plain);
});

check("a learning rate can be read, set and reset", async (module) => {
  const sgd = new module.SGDOptimizer(0.5);
  equal([sgd.getLearningRate(), sgd.learningRate], [0.5, 0.5]);
  sgd.setLearningRate(0.25);
  near(await sgd.stepAsync(f32(0), f32(1)), [-0.25]);
  sgd.learningRate = 0;
  near(await sgd.stepAsync(f32(0), f32(1)), [0]);
  for (const bad of [-1, Number.NaN, Number.POSITIVE_INFINITY, "1"])
    await throws(() => sgd.setLearningRate(bad), module.InvalidConfigError, /learningRate is/);
  equal(sgd.getLearningRate(), 0);
  sgd.reset();
  equal(sgd.getLearningRate(), 0.5);
  near(await sgd.stepAsync(f32(0), f32(1)), [-0.5]);
  await sgd.dispose();
  await throws(() => sgd.stepAsync(f32(0), f32(1)), module.RuntimeLostError, /was freed/);
});

check("what does not fit an optimizer is refused by name", async (module) => {
  const { AdamOptimizer, WasmSGD, DimensionMismatchError, InvalidConfigError } = module;
  const sgd = new WasmSGD(3, 0.1);
  const counted = await throws(
    () => sgd.stepAsync(f32(1, 2), f32(1, 2)),
    DimensionMismatchError,
    /parameters has 2 numbers; expected 3/,
  );
  equal([counted.expected, counted.actual], [3, 2]);
  const some = new AdamOptimizer(0.1);
  await throws(() => some.stepAsync(f32(1, 2), f32(1)), DimensionMismatchError, /gradients\['0'\] is \(1,\)/);
  await throws(
    () => some.stepAsync([f32(1), f32(2)], [f32(1)]),
    module.UnsupportedError,
    /gradients has none of 1/,
  );
  await throws(
    () => some.stepAsync(f32(1, 2), f32(1, Number.NaN)),
    module.NumericalInstabilityError,
    /gradients\['0'\] holds nan at index \(1,\)/,
  );
  await throws(
    () => some.stepInPlaceAsync([1, 2], [1, 2]),
    module.UnsupportedError,
    /parameters is no Float32Array/,
  );
  await throws(
    async () => new AdamOptimizer(-0.1).stepAsync(f32(1)),
    InvalidConfigError,
    /learning_rate is -0.1/,
  );
  await throws(() => new WasmSGD(2.5, 0.1), InvalidConfigError, /paramCount of WasmSGD is 2.5/);
  await freed(sgd, some);
});

check("losses give a number, and gradients beside it", async (module) => {
  const { InfoNCELoss, WasmInfoNCELoss, LocalContrastiveLoss, SpectralRegularization } = module;
  const [anchor, positive, negatives] = [f32(1, 0.5), f32(1, 0.1), [f32(0.3, 1), f32(0.7, -0.9)]];
  const cosine = (x, y) => {
    const dot = (p, q) => p.reduce((sum, value, i) => sum + value * q[i], 0);
    return dot(Array.from(x), y) / Math.sqrt(dot(Array.from(x), x) * dot(Array.from(y), y));
  };
  const value = (x) => {
    const scores = [positive, ...negatives].map((y) => Math.exp(cosine(x, y) / 0.5));
    return -Math.log(scores[0] / scores.reduce((p, q) => p + q));
  };
  const loss = new InfoNCELoss(0.5);
  equal(loss.temperature, 0.5);
  near(await loss.computeAsync(anchor, positive, negatives), value(anchor));
  const found = await loss.computeWithGradientsAsync(anchor, positive, negatives);
  near(found.loss, value(anchor));
  const step = 1e-4;
  const slopes = [0, 1].map((i) => {
    const [more, less] = [step, -step].map((by) =>
      value(Array.from(anchor, (x, j) => x + (i === j ? by : 0))),
    );
    return (more - less) / (2 * step);
  });
  near(found.gradients, slopes, 1e-5);
  equal(Object.keys(found.gradientsByName).sort(), ["anchor", "negatives", "positives"]);
  await throws(
    () => loss.computeAsync(anchor, f32(1), negatives),
    module.DimensionMismatchError,
    /positives is/,
  );
  await throws(
    async () => new InfoNCELoss(-1).computeAsync(anchor),
    module.InvalidConfigError,
    /temperature is -1/,
  );
  const margin = new LocalContrastiveLoss(2);
  const before = await margin.computeAsync(f32(0, 0), f32(1, 0), [f32(0, 1)]);
  const after = await margin.computeAsync(f32(0, 0), f32(0.5, 0), [f32(0, 1)]);
  assert(after < before, "nearer neighbours are to cost less");
  const spectral = new SpectralRegularization(0.5);
  const [same, apart] = [
    await spectral.computeAsync([f32(1, 0), f32(1, 0)]),
    await spectral.computeBatchAsync([f32(1, 0), f32(0, 1)]),
  ];
  near(same, 0);
  assert(apart > 0, "rows that differ are to cost something");
  equal(module.InfoNceLoss, WasmInfoNCELoss);
  await freed(loss, margin, spectral);
});

check("schedules go on by themselves or to the step that is asked for", async (module) => {
  const { LearningRateScheduler, WasmLRScheduler, TemperatureAnnealing, DecayType } = module;
  const rates = new LearningRateScheduler(1, 4, 12, 0.1);
  const wanted = (step) =>
    step < 4 ? (step + 1) / 4 : 0.1 + 0.45 * (1 + Math.cos((Math.PI * (step - 4)) / 8));
  near(await rates.getLearningRateAsync(), wanted(0));
  for (const step of [0, 3, 4, 7, 12]) {
    near(await rates.stepAsync(step), wanted(step));
    near(await rates.getLearningRateAsync(), wanted(step));
    near(await rates.getLrAsync(), wanted(Math.min(12, step + 1)));
  }
  equal((await rates.statusAsync()).is_complete, true);
  await throws(() => rates.stepAsync(-1), module.InvalidConfigError, /current_step is -1/);
  const other = new WasmLRScheduler(1, 2, 4);
  const seen = [];
  for (let i = 0; i < 6; i++) seen.push(await other.stepAsync());
  near(seen, [0.5, 1, 1, 0.5, 0, 0]); // not 0 at first, and not up again at the end
  const annealing = new TemperatureAnnealing(2, 0.5, 4, "exponential");
  near(await annealing.stepAsync(2), 1);
  near(await annealing.getTempAsync(), 2 / Math.sqrt(8));
  const stairs = TemperatureAnnealing.withDecay(16, 1, 8, DecayType.Step);
  const temperatures = [];
  for (let i = 0; i < 9; i++) temperatures.push(await stairs.stepAsync());
  near(temperatures, [16, 16, 8, 8, 4, 4, 2, 2, 1]);
  await freed(rates, other, annealing, stairs);
});

check("a curriculum goes from stage to stage, and takes more of them", async (module) => {
  const { CurriculumScheduler } = module;
  const whole = CurriculumScheduler.defaultCurriculum(100);
  const stage = await whole.stepAsync(30);
  equal(stage, { name: "medium", duration: 25, difficulty: 0.3, temperature: 1, negativeCount: 10 });
  const own = new CurriculumScheduler();
  await throws(() => own.stepAsync(), module.UnsupportedError, /no stages; expected addStage/);
  await own.addStageAsync({ name: "first", duration: 1, negativeCount: 4 });
  await own.addStageAsync({ name: "second", duration: 1, difficulty: 0.5 });
  equal([(await own.stepAsync()).negativeCount, (await own.getStageAsync()).difficulty], [4, 0.5]);
  equal((await own.statusAsync()).progress, 0.5);
  own.reset();
  equal((await own.stepAsync()).name, "first");
  await throws(
    () => own.addStageAsync({ name: "third" }),
    module.InvalidConfigError,
    /needs the setting 'duration'/,
  );
  await throws(
    async () => CurriculumScheduler.defaultCurriculum(2).stepAsync(),
    module.InvalidConfigError,
    /total_steps is 2/,
  );
  await freed(whole, own);
});

check("miners answer with indices", async (module) => {
  const { HardNegativeMiner, InBatchMiner, MiningStrategy } = module;
  const [anchor, positive] = [f32(1, 0), f32(0.9, 0.1)];
  const negatives = [f32(0.8, 0.1), f32(0, 1), f32(-1, 0), f32(0.95, 0)];
  const hard = new HardNegativeMiner("hard");
  equal(await hard.mineAsync(anchor, [positive], negatives, 2), [3, 0]);
  const semi = HardNegativeMiner.withMargin(MiningStrategy.SemiHard, 0.1);
  equal((await semi.mineAsync(anchor, positive, negatives, 1))[0], 0); // 0.14 < 0.22 < 0.24
  const [drawn, again] = [0, 1].map(() => new HardNegativeMiner({ strategy: "random", seed: 3 }));
  const draws = [];
  for (let i = 0; i < 12; i++) draws.push((await drawn.mineAsync(anchor, positive, negatives, 1))[0]);
  assert(new Set(draws).size > 1, "draws are to differ");
  equal(await again.mineAsync(anchor, positive, negatives, 1), draws.slice(0, 1));
  await throws(
    async () => new HardNegativeMiner("hardest").mineAsync(anchor, positive, negatives),
    module.InvalidConfigError,
    /strategy is 'hardest'; did you mean/,
  );
  const batch = new InBatchMiner();
  equal(await batch.mineAsync([[0], [5], [9]], [[1], [4], [8]]), [[1, 2], [0, 2], [0, 1]]); // biome-ignore format: rows
  equal(batch.getNegatives(0, 1, 5), [2, 3, 4]);
  equal(InBatchMiner.includePositive().getNegatives(0, 1, 5), [1, 2, 3, 4]);
  await throws(
    () => batch.getNegatives(5, 1, 2),
    module.OutOfBoundsError,
    /anchor is 5; expected an integer of 0 to 1/,
  );
  await freed(hard, semi, drawn, again, batch);
});

/** At once, where the runtime is in this thread. */
export const trainingNowChecks = [
  [
    "in this thread the classes of training answer at once",
    async (module) => {
      const adamOf = new module.AdamOptimizer(0.1);
      near(adamOf.step(f32(1), f32(2)), [0.9]);
      const parameters = f32(1, 1);
      const sgd = new module.WasmSGD(2, 0.5);
      equal(sgd.step(parameters, f32(1, 2)), undefined);
      near(parameters, [0.5, 0]);
      near(new module.InfoNCELoss(1).compute(f32(1, 0), f32(1, 0), [f32(1, 0)]), Math.log(2));
      const rates = new module.LearningRateScheduler(1, 2, 4);
      near([rates.step(), rates.getLearningRate(), rates.getLr(), rates.get_lr()], [0.5, 0.5, 1, 1]);
      equal([rates.currentStep, rates.progress, rates.isComplete], [1, 0.25, false]);
      const stages = new module.CurriculumScheduler([{ name: "a", duration: 1, temperature: 0.5 }]);
      stages.addStage({ name: "b", duration: 1, negativeCount: 3 });
      equal([stages.temperature, stages.step().name, stages.negativeCount], [0.5, "a", 3]);
      equal(new module.HardNegativeMiner("hard").mine(f32(0), f32(1), [f32(2), f32(1)], 1), [1]);
      await throws(() => new module.AdamOptimizer(-1), module.InvalidConfigError, /learning_rate is -1/);
      await throws(() => adamOf.step(f32(1), f32(1, 2)), module.DimensionMismatchError, /gradients/);
      const attention = new module.HyperbolicAttention(2, -1);
      near(attention.forward(f32(0.1, 0.2), [f32(0.1, 0)], [f32(0.3, 0.1)]), [0.3, 0.1]);
      attention.free();
    },
  ],
];

/** At once, where the runtime is elsewhere. */
export const trainingElsewhereChecks = [
  [
    "in another thread the classes of training name their promises",
    async (module) => {
      const rates = new module.LearningRateScheduler(1, 2, 4);
      await throws(
        () => rates.step(),
        module.UnsupportedError,
        /LearningRateScheduler.step .* expected stepAsync/,
      );
      assert(!module.getFeatures().includes("sync"), "what is elsewhere cannot answer at once");
      await throws(() => rates.progress, module.UnsupportedError, /expected statusAsync/);
      await rates.dispose();
    },
  ],
];
