/** What resident memory must do, in any runtime that bridge.suite.mjs loads. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  DimensionMismatchError,
  Memory,
  NumericalInstabilityError,
  OutOfBoundsError,
  RuntimeLostError,
  UnsupportedError,
} from "../dist/lib/index.js";

/** The runtime and the arrays come when the tests run: before() makes the runtime. */
export function memoryTests({ runtime, query, keys, values, reference, close, flat }, { worker }) {
  const exact = (q, k, v) => reference(q, k, v, 8 ** -0.5);

  test("a memory stands for keys and values, in every mechanism that reads them", async () => {
    const ra = runtime();
    const bank = await ra.memory(keys, values);
    assert.ok(bank instanceof Memory);
    assert.deepEqual([bank.length, bank.dim, bank.dimValue], [7, 8, 3]);
    const attention = await ra.create("scaled_dot_product", { dim: 8 });
    close(await attention.forward(query, bank), exact(query, keys, values));
    const mask = keys.map((_, j) => j !== 4);
    close(
      await attention.forward(query, bank, { mask }),
      reference(query, keys, values, 8 ** -0.5, (_, j) => j !== 4),
    );
    close(await bank.attend(query, { scale: 0.5 }), reference(query, keys, values, 0.5));
    assert.deepEqual(
      [...(await attention.attentionWeights(query, bank))],
      [...(await attention.attentionWeights(query, keys))],
    );
    const heads = await ra.create("multi_head", { dim: 8, numHeads: 2, vdim: 3 });
    const expected = [...(await heads.forward(query, keys, values))];
    close(await heads.forward(query, bank), expected);
    await bank.project(heads);
    close(await heads.forward(query, bank), expected);
    const batch = await attention.forwardBatch([[query, bank], { query, keys: bank }]);
    for (const output of batch) close(output, exact(query, keys, values));
    await Promise.all([bank.dispose(), attention.dispose(), heads.dispose()]);
  });

  test("rows are appended and evicted by their ids", async () => {
    const bank = await runtime().memory(keys.slice(0, 3), values.slice(0, 3), { capacity: 5 });
    assert.deepEqual([...(await bank.append(keys.slice(3), values.slice(3)))], [3, 4, 5, 6]);
    assert.equal(bank.length, 7);
    assert.equal(await bank.evict([1, 4]), 2);
    assert.equal(await bank.evict({ oldest: 1 }), 1);
    assert.equal(bank.length, 4);
    const stay = [2, 3, 5, 6];
    close(
      await bank.attend(query),
      exact(
        query,
        stay.map((i) => keys[i]),
        stay.map((i) => values[i]),
      ),
    );
    const state = await bank.stateDict();
    assert.deepEqual([...state.ids], stay);
    close(
      state.keys,
      stay.map((i) => keys[i]),
      1e-7,
    );
    assert.deepEqual(state.values.shape, [4, 3]);
    await bank.clear();
    assert.equal(bank.length, 0);
    assert.deepEqual([...(await bank.append(keys, values))], [7, 8, 9, 10, 11, 12, 13]);
    await bank.dispose();
  });

  test("a memory of keys alone brings the keys back", async () => {
    const bank = await runtime().memory(keys);
    await bank.append(keys.slice(0, 1));
    assert.equal(bank.length, 8);
    close(await bank.attend(query), exact(query, [...keys, keys[0]], [...keys, keys[0]]));
    await bank.dispose();
  });

  test("the rows are the memory's own, and may be handed over", async () => {
    const [k, v] = [flat(keys), flat(values)];
    const kept = await runtime().memory(k, v);
    assert.equal(k.length, 56);
    k.fill(0);
    close(await kept.attend(query), exact(query, keys, values));
    const [k2, v2] = [flat(keys), flat(values)];
    const given = await runtime().memory(k2, v2, { transfer: true });
    assert.equal(k2.length, worker ? 0 : 56);
    close(await given.attend(query), exact(query, keys, values));
    await Promise.all([kept.dispose(), given.dispose()]);
  });

  test("what does not fit a memory is refused by name, and leaves it as it was", async () => {
    const ra = runtime();
    const bank = await ra.memory(keys, values);
    const attention = await ra.create("flash", { dim: 8 });
    const nan = [[Number.NaN, 0, 0, 0, 0, 0, 0, 0]];
    await assert.rejects(ra.memory(nan), NumericalInstabilityError);
    await assert.rejects(ra.memory(keys, values.slice(1)), DimensionMismatchError);
    await assert.rejects(ra.memory(keys, values, { capacity: 2 }), /capacity is 2/);
    await assert.rejects(bank.append(nan, [[1, 2, 3]]), NumericalInstabilityError);
    await assert.rejects(bank.append(keys), UnsupportedError);
    await assert.rejects(bank.evict([99]), OutOfBoundsError);
    await assert.rejects(bank.evict({ oldest: 99 }), OutOfBoundsError);
    await assert.rejects(bank.evict(3), UnsupportedError);
    await assert.rejects(attention.forward(query, bank, values), /values came beside a Memory/);
    await assert.rejects(attention.forward([[1, 2]], bank), DimensionMismatchError);
    assert.equal(bank.length, 7);
    close(await attention.forward(query, bank), exact(query, keys, values));
    await Promise.all([bank.dispose(), attention.dispose()]);
  });

  test("dispose frees the rows, and a call with a memory that is gone is refused", async () => {
    const ra = runtime();
    const before = (await ra.describe()).handles;
    const bank = await ra.memory(keys, values);
    const attention = await ra.create("flash", { dim: 8 });
    assert.equal((await ra.describe()).handles, before + 2);
    await Promise.all([bank.dispose(), bank.dispose()]);
    assert.equal((await ra.describe()).handles, before + 1);
    await assert.rejects(bank.attend(query), (error) => {
      assert.ok(error instanceof RuntimeLostError);
      assert.match(error.message, /Memory was disposed/);
      return true;
    });
    await assert.rejects(attention.forward(query, bank), RuntimeLostError);
    (await ra.memory(keys))[Symbol.dispose]();
    await (await ra.memory(keys))[Symbol.asyncDispose]();
    await attention.dispose();
    assert.equal((await ra.describe()).handles, before);
  });

  test("a mechanism that is not ready is no argument yet, and nothing else of a runtime is an array", async () => {
    const ra = runtime();
    const bank = await ra.memory(keys, values);
    const heads = new ra.MultiHeadAttention({ dim: 8, numHeads: 2, vdim: 3 });
    await assert.rejects(bank.project(heads), /MultiHeadAttention is not ready/);
    await heads.ready;
    await bank.project(heads);
    await assert.rejects(heads.forward(heads, bank), UnsupportedError);
    await Promise.all([bank.dispose(), heads.dispose()]);
  });

  test("key lengths leave the padding of a batch unread", async () => {
    const attention = await runtime().create("flash", { dim: 8 });
    const padded = keys.map((row, j) => (j < 4 ? row : row.map(() => Number.NaN)));
    const output = await attention.forward([query, query], [padded, keys], [values, values], {
      keyLengths: [4, 7],
    });
    close(output, [exact(query, keys.slice(0, 4), values.slice(0, 4)), exact(query, keys, values)]);
    await attention.dispose();
  });
}
