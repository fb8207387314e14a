/** Has this worker die of messages that are marked, as it comes to them. */
const die = {
  exit: () => (typeof process === "object" ? process.exit(7) : self.close()), // of which no event tells the page
  error: () => {
    throw new Error("the worker fell ill");
  },
  hang: () => {
    while (true);
  },
};

if (typeof process === "object") {
  const { parentPort } = process.getBuiltinModule("node:worker_threads");
  const { on } = parentPort;
  parentPort.on = (event, listener) =>
    on.call(parentPort, event, (message) => (message.death ? die[message.death]() : listener(message)));
} else {
  const listen = (event) => {
    if (!event.data.death) return;
    event.stopImmediatePropagation();
    die[event.data.death]();
  };
  self.addEventListener("message", listen, { capture: true });
}
