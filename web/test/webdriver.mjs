/** WebKitGTK's own browser, MiniBrowser, driven by WebDriver's plain HTTP. */
import { spawn } from "node:child_process";
import { createServer } from "node:net";

/** Opens a session: { open(url), evaluate(expression), version, close() }. */
export async function launchWebKit({ driver, browser, display = [] }) {
  const port = await freePort();
  const [command, ...words] = [...display, driver, `--port=${port}`, "--host=127.0.0.1"];
  // a group of its own, so that the X server and the browser end with the driver
  const child = spawn(command, words, { stdio: "ignore", detached: true });
  let ended;
  child.on("error", (error) => {
    ended = error;
  });
  child.on("exit", (code) => {
    ended ??= new Error(`${command} ended with ${code}`);
  });
  const end = () => {
    if (!ended) process.kill(-child.pid, "SIGTERM");
  };
  const ask = async (method, path, body) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      ...(body && { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
    });
    const { value } = await answer.json();
    if (!answer.ok) throw new Error(`WebDriver: ${value.error}: ${value.message}`);
    return value;
  };
  try {
    for (let tries = 0; ; tries++) {
      if (ended) throw ended;
      if (await ask("GET", "/status").catch(() => undefined)) break;
      if (tries > 1000) throw new Error(`${driver} does not answer`);
      await new Promise((done) => setTimeout(done, 100));
    }
    const options = { binary: browser, args: ["--automation"] };
    const { sessionId, capabilities } = await ask("POST", "/session", {
      capabilities: { alwaysMatch: { "webkitgtk:browserOptions": options } },
    });
    const session = `/session/${sessionId}`;
    return {
      version: `WebKitGTK ${capabilities.browserVersion}`,
      open: (url) => ask("POST", `${session}/url`, { url }),
      evaluate: (expression) =>
        ask("POST", `${session}/execute/sync`, { script: `return ${expression}`, args: [] }),
      async close() {
        await ask("DELETE", session).catch(() => {});
        end();
      },
    };
  } catch (error) {
    end();
    throw error;
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
