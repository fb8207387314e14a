/** Where the tests find this machine's addon: $RUVECTOR_NATIVE_BINARY, else where the build script puts it. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

export const BINARY =
  process.env.RUVECTOR_NATIVE_BINARY ??
  fileURLToPath(new URL("../../.cache/node-host/host.node", import.meta.url));
if (!existsSync(BINARY)) throw new Error(`${BINARY} does not exist; run npm test -- native, which builds it`);

export const addon = createRequire(import.meta.url)(BINARY);
