/** Assertions that run in Node and in a browser alike. */

export function assert(holds, message) {
  if (!holds) throw new Error(message);
}

export function equal(actual, expected, what = "the value") {
  const [a, b] = [actual, expected].map((x) => JSON.stringify(x));
  assert(a === b, `${what} is ${a}; expected ${b}`);
}

export function close(actual, expected, tolerance = 2e-6, what = "the result") {
  equal(actual.shape, expected.shape, `the shape of ${what}`);
  equal(actual.length, expected.data.length, `the length of ${what}`);
  const top = expected.data.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  for (let i = 0; i < actual.length; i++) {
    const error = Math.abs(actual[i] - expected.data[i]);
    assert(
      error <= tolerance * (1 + top),
      `${what}: element ${i} is ${actual[i]}; expected ${expected.data[i]}`,
    );
  }
}

export async function throws(body, Expected, message) {
  let error;
  try {
    await body();
  } catch (thrown) {
    error = thrown;
  }
  assert(error instanceof Expected, `${error?.name}: ${error?.message}; expected a ${Expected.name}`);
  equal(error.name, Expected.name, "the error's name");
  assert(message.test(error.message), `the message is '${error.message}'; expected ${message}`);
  return error;
}
