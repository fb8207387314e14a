/** The worker that hosts the kernels, in browsers and in Node alike. */
import { serveHere } from "../worker_scope.js";
import { KernelHost } from "./host.js";

void serveHere(new KernelHost());
