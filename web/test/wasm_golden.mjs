import { assert, close } from "./wasm_assert.mjs";

const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());

/** THE list of golden cases that these runtimes leave to Python: by mechanism and case, the setting that they name. */
const REFUSED = {
  hyperbolic: { frechet: "aggregation" },
  // one band of keys cannot be all that global tokens see and nothing for the others
  local_global: { "only-globals": "global tokens", "top-k-only-globals": "global tokens" },
};

/** The cases of one file of golden vectors; build_scripts/make_vectors.py explains their form. */
export function checkVectors(ra, file, { cases }) {
  for (const each of cases) {
    const word = REFUSED[each.mechanism]?.[each.name];
    if (word) refuses(() => checkCase(ra, file, each), word);
    else checkCase(ra, file, each);
  }
  return cases.length;
}

/** The same, of the promises; what is left to Python is not asked for again. */
export async function checkPromises(ra, file, { cases }) {
  for (const { mechanism, name, config, parameters, inputs, options, expected, tolerance } of cases) {
    if (REFUSED[mechanism]?.[name]) continue;
    const attention = await ra.create(mechanism, config);
    if (Object.keys(parameters ?? {}).length > 0) await attention.loadStateDict(arrays(parameters));
    const given = arrays(inputs);
    const named = Object.fromEntries(Object.entries(arrays(options)).map(([key, x]) => [camel(key), x]));
    const weighed = Object.entries(given).filter(([input]) => input !== "values");
    for (const [what, wanted] of Object.entries(expected)) {
      const result =
        what === "output"
          ? await attention.forward(...Object.values(given), named)
          : await attention.call(what, ...weighed.map(([, array]) => array), named);
      const { shape } = wanted;
      close(result, { data: wanted.data.map(Number), shape }, tolerance, `${file}, ${name}, ${what}`);
    }
    await attention.dispose();
  }
  return cases.length;
}

function checkCase(ra, file, { mechanism, name, config, parameters, inputs, options, expected, tolerance }) {
  const attention = ra.createSync(mechanism, config);
  if (Object.keys(parameters ?? {}).length > 0) attention.loadStateDictSync(arrays(parameters));
  const given = arrays(inputs);
  const named = Object.fromEntries(Object.entries(arrays(options)).map(([key, x]) => [camel(key), x]));
  // weights have no use for values
  const weighed = Object.entries(given).filter(([input]) => input !== "values");
  for (const [what, wanted] of Object.entries(expected)) {
    const result =
      what === "output"
        ? attention.forwardSync(...Object.values(given), named)
        : attention.callSync(what, ...weighed.map(([, array]) => array), named);
    close(
      result,
      { data: wanted.data.map(Number), shape: wanted.shape },
      tolerance,
      `${file}, ${name}, ${what}`,
    );
  }
  attention.free();
}

/** With an UnsupportedError that names the setting and who has it. */
function refuses(body, word) {
  let message = "";
  try {
    body();
  } catch (error) {
    message = error.name === "UnsupportedError" ? error.message : `${error}`;
  }
  for (const part of [word, "runtime: 'pyodide'"])
    assert(
      message.includes(part),
      `the message is '${message}'; expected an UnsupportedError with '${part}'`,
    );
}

function arrays(group) {
  return Object.fromEntries(
    Object.entries(group).map(([name, value]) => {
      if (typeof value !== "object" || value === null) return [name, value];
      const { data, shape, dtype } = value;
      if (dtype === "bool") return [name, { data: data.map(Boolean), shape }];
      const Flat = dtype.startsWith("int") ? Int32Array : Float32Array;
      return [name, { data: Flat.from(data, Number), shape }];
    }),
  );
}
