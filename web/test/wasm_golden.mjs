import { assert, close } from "./wasm_assert.mjs";

/** The cases of one file of golden vectors; build_scripts/make_vectors.py explains their form. */
export function checkVectors(ra, file, { cases }) {
  for (const { mechanism, name, config, parameters, inputs, options, expected, tolerance } of cases) {
    const attention = ra.createSync(mechanism, config);
    if (parameters) attention.loadStateDictSync(arrays(parameters));
    const given = Object.values(arrays(inputs));
    // One band of keys cannot be all that global tokens see and nothing for the others.
    if (config.window === 0 && config.global_tokens > 0 && !options.causal) {
      refuses(() => attention.forwardSync(...given, arrays(options)), "pyodide");
      continue;
    }
    for (const [what, wanted] of Object.entries(expected)) {
      const result =
        what === "output"
          ? attention.forwardSync(...given, arrays(options))
          : attention.callSync(what, ...given.slice(0, 2), arrays(options));
      close(
        result,
        { data: wanted.data.map(Number), shape: wanted.shape },
        tolerance,
        `${file}, ${name}, ${what}`,
      );
    }
    attention.free();
  }
  return cases.length;
}

function refuses(body, word) {
  let message = "";
  try {
    body();
  } catch (error) {
    message = error.name === "UnsupportedError" ? error.message : `${error}`;
  }
  assert(message.includes(word), `the message is '${message}'; expected an UnsupportedError with '${word}'`);
}

function arrays(group) {
  return Object.fromEntries(
    Object.entries(group).map(([name, value]) => {
      if (typeof value !== "object" || value === null) return [name, value];
      const { data, shape, dtype } = value;
      return [name, { data: dtype === "bool" ? data.map(Boolean) : Float32Array.from(data, Number), shape }];
    }),
  );
}
