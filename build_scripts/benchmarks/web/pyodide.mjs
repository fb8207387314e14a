// Pyodide as one more Python worker: the package `benchmarks` runs inside it unchanged, files go through its file system.

/** Start Pyodide with NumPy and (when there is one) the library's wheel, and open a session of session.py in it. */
export async function openPyodide(host, environment) {
  const { loadPyodide } = await import(host.pyodide.module);
  const pyodide = await loadPyodide({ indexURL: host.pyodide.index, env: { HOME: "/home/pyodide", ...environment } });
  await pyodide.loadPackage(["numpy", "micropip"], { messageCallback: () => {} });
  let missing = null;
  if (host.pyodide.wheel) {
    pyodide.FS.mkdirTree("/wheels");
    const wheel = `/wheels/${host.pyodide.wheel.split("/").pop()}`;
    pyodide.FS.writeFile(wheel, new Uint8Array(await host.read(host.pyodide.wheel)));
    pyodide.globals.set("wheel", `emfs:${wheel}`);
    await pyodide.runPythonAsync("import micropip\nawait micropip.install(wheel, deps=False)");
  } else {
    missing = "no wheel in dist/";
  }
  for (const [path, text] of Object.entries(host.pyodide.sources)) {
    pyodide.FS.mkdirTree(`/bench/${path.split("/").slice(0, -1).join("/")}`);
    pyodide.FS.writeFile(`/bench/${path}`, text);
  }
  pyodide.runPython(`
import json, sys
sys.path.insert(0, "/bench")
from benchmarks.session import Session
session = Session()
def handle(text):
    try:
        return json.dumps(session.handle(json.loads(text)))
    except Exception as error:
        return json.dumps({"error": f"{type(error).__name__}: {error}"})
`);
  const handle = pyodide.globals.get("handle");
  return {
    async handle(message) {
      const files = [];
      if (message.op === "prepare" || message.op === "memory") {
        pyodide.FS.mkdirTree("/arrays");
        for (const name of Object.keys(message.workload.inputs)) {
          const file = `${message.workload.name}.${name}.f32`;
          pyodide.FS.writeFile(`/arrays/${file}`, new Uint8Array(await host.read(`${message.folder}/${file}`)));
          files.push(`/arrays/${file}`);
        }
      }
      const local = { ...message, folder: "/arrays", answer: "/arrays/answer.f32" };
      const reply = JSON.parse(handle(JSON.stringify(local)));
      for (const file of files) pyodide.FS.unlink(file);
      if (message.op === "prepare" && !reply.unavailable && !reply.error) {
        // Read out as a copy: the memory of Pyodide moves when it grows.
        const bytes = pyodide.FS.readFile(local.answer);
        await host.write(message.answer, new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4));
        pyodide.FS.unlink(local.answer);
      }
      if (missing && reply.unavailable) reply.unavailable += ` (${missing})`;
      return reply;
    },
  };
}
