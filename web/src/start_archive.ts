/**
 * What a start keeps for the next one, as one piece of bytes:
 *
 *   "rv-start"  SHA-256 of all that follows (32)  length of the header (4)  header, JSON  the files, one after the other
 *
 * The header has the key of the start and the files' paths and lengths.
 */

const MAGIC = new TextEncoder().encode("rv-start");
const HASH = 32;
const LENGTH = 4;
const HEADER = MAGIC.length + HASH + LENGTH;

export type Bytes = Uint8Array<ArrayBuffer>;
/** Absolute paths in Pyodide's file system, and what is there. */
export type Files = Map<string, Bytes>;

export async function pack(key: string, files: Files): Promise<Bytes> {
  const sizes = Array.from(files, ([path, bytes]) => [path, bytes.length]);
  const header = new TextEncoder().encode(JSON.stringify({ key, files: sizes }));
  let end = HEADER + header.length;
  for (const bytes of files.values()) end += bytes.length;
  const packed = new Uint8Array(end);
  new DataView(packed.buffer).setUint32(HEADER - LENGTH, header.length);
  packed.set(header, HEADER);
  let at = HEADER + header.length;
  for (const bytes of files.values()) {
    packed.set(bytes, at);
    at += bytes.length;
  }
  packed.set(MAGIC);
  packed.set(await digest(packed), MAGIC.length);
  return packed;
}

/** The files, or undefined where these are not the bytes that were packed for that key, to the last of them. */
export async function unpack(key: string, packed: Bytes): Promise<Files | undefined> {
  if (packed.length < HEADER || !MAGIC.every((byte, i) => packed[i] === byte)) return undefined;
  const hash = await digest(packed);
  if (!hash.every((byte, i) => packed[MAGIC.length + i] === byte)) return undefined;
  const begin = HEADER + new DataView(packed.buffer, packed.byteOffset).getUint32(HEADER - LENGTH);
  const header = JSON.parse(new TextDecoder().decode(packed.subarray(HEADER, begin)));
  if (header.key !== key) return undefined;
  const files: Files = new Map();
  let at = begin;
  for (const [path, length] of header.files as [string, number][]) {
    files.set(path, packed.subarray(at, at + length)); // views: nothing is copied
    at += length;
  }
  return files;
}

async function digest(packed: Bytes): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", packed.subarray(MAGIC.length + HASH)));
}

/** In hexadecimal; undefined in pages without HTTPS, which have no way to it. */
export async function sha256(data: Bytes | string): Promise<string | undefined> {
  if (!globalThis.crypto?.subtle) return undefined;
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
