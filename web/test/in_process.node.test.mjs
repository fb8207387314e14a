import { describe } from "node:test";
import { bridgeTests } from "./bridge.suite.mjs";

describe("Pyodide in this thread", () => bridgeTests({ worker: false }));
