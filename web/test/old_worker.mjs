/** A worker of the kernels that says it is of another release. */
import { parentPort } from "node:worker_threads";

const { postMessage } = parentPort;
parentPort.postMessage = (message, transfer) => {
  const { value } = message;
  const aged = value?.version ? { ...message, value: { ...value, version: "0.0.1" } } : message;
  return postMessage.call(parentPort, aged, transfer);
};
await import("../dist/lib/wasm_worker.js");
