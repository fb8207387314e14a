/** A module of the kernels, called as bindings/wasm.c has it, without the package around it: for timing kernels alone. */
const BUFFER_BYTES = 16; // an rv_buffer: a pointer padded to eight bytes, a count

export async function load(bytes) {
  const { instance } = await WebAssembly.instantiate(bytes, {});
  const wasm = instance.exports;
  const view = () => new DataView(wasm.memory.buffer);
  const word = (pointer, index) => view().getUint32(pointer + 4 * index, true);
  const text = (pointer) => {
    const rest = new Uint8Array(wasm.memory.buffer, pointer);
    return new TextDecoder().decode(rest.slice(0, rest.indexOf(0)));
  };
  const described = wasm.rv_describe();
  const [target, kernels, count, kernelBytes, bufferBytes, callBytes, intsAt, floatsAt] = Array.from(
    { length: 8 },
    (_, index) => word(described, index),
  );
  const specs = new Map();
  for (let index = 0; index < count; index++) {
    const spec = kernels + index * kernelBytes;
    const names = (list, length) => Array.from({ length }, (_, at) => text(word(list, at)));
    const buffers = Array.from({ length: word(spec, 1) }, (_, at) =>
      text(view().getUint32(word(spec, 4) + at * bufferBytes, true)),
    );
    specs.set(text(word(spec, 0)), {
      index,
      buffers,
      ints: names(word(spec, 5), word(spec, 2)),
      floats: names(word(spec, 6), word(spec, 3)),
    });
  }

  /** `length` floats of the module's memory: `fill` makes each. */
  const floats = (length, fill = () => 0) => {
    const pointer = wasm.rv_alloc(4 * Math.max(length, 1));
    if (pointer === 0) throw new Error(`no memory for ${length} floats`);
    const array = new Float32Array(wasm.memory.buffer, pointer, length);
    for (let i = 0; i < length; i++) array[i] = fill();
    return { pointer, length };
  };

  /** The kernel with these arguments by name; what is not given is 0 or absent. */
  const prepare = (name, { ints = {}, floats: reals = {}, buffers = {} }) => {
    const spec = specs.get(name);
    const call = wasm.rv_alloc(callBytes);
    new Uint8Array(wasm.memory.buffer, call, callBytes).fill(0);
    for (const [at, key] of spec.buffers.entries()) {
      if (!(key in buffers)) continue;
      view().setUint32(call + at * BUFFER_BYTES, buffers[key].pointer, true);
      view().setBigInt64(call + at * BUFFER_BYTES + 8, BigInt(buffers[key].length), true);
    }
    for (const [at, key] of spec.ints.entries())
      view().setBigInt64(call + intsAt + 8 * at, BigInt(ints[key] ?? 0), true);
    for (const [at, key] of spec.floats.entries())
      view().setFloat64(call + floatsAt + 8 * at, reals[key] ?? 0, true);
    return () => {
      const status = wasm.rv_call_kernel(spec.index, call);
      if (status !== 0) throw new Error(`${name} answers ${status}`);
    };
  };
  const read = ({ pointer, length }) => new Float32Array(wasm.memory.buffer, pointer, length);
  return { target: text(target), floats, prepare, read };
}
