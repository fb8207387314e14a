// The library through its own npm package, called from JavaScript on typed arrays.
import { Unavailable } from "./unavailable.mjs";

export async function ours() {
  throw new Unavailable("no build of the npm package in web/dist");
}
