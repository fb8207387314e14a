/** Where things are: URLs, and in Node paths, as absolute URLs. */

export const IN_NODE = typeof process === "object" && process.versions?.node !== undefined;

export function absolute(place: string | URL): string {
  if (place instanceof URL) return place.href;
  if (/^[a-z][a-z0-9+.-]+:/i.test(place)) return place; // two letters at least: C:\ is a path
  return IN_NODE ? pathToURL(place) : new URL(place, document_base()).href;
}

export function folder(place: string | URL): string {
  const url = absolute(place);
  return url.endsWith("/") ? url : `${url}/`;
}

/** The path that a file: URL names, for what wants no URLs in Node; any other URL as it is. */
export function pathOf(url: string): string {
  if (!url.startsWith("file:")) return url;
  const { hostname, pathname } = new URL(url);
  const path = decodeURIComponent(pathname);
  if (process.platform !== "win32") return path;
  return hostname ? `//${hostname}${path}` : path.replace(/^\/(?=[a-z]:\/)/i, "");
}

function pathToURL(path: string): string {
  // process.getBuiltinModule would need a newer Node; a file URL resolves a path just as well.
  return new URL(pathOfURL(path), `file://${pathOfURL(process.cwd())}/`).href;
}

/** A path as it is written in a URL: on Windows with slashes, and one before the drive's letter. */
function pathOfURL(path: string): string {
  const slashes =
    process.platform === "win32" ? path.replaceAll("\\", "/").replace(/^(?=[a-z]:\/)/i, "/") : path;
  return encodeURI(slashes).replace(/[?#]/g, encodeURIComponent);
}

function document_base(): string {
  return typeof document === "undefined" ? self.location.href : document.baseURI;
}
