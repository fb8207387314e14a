/** The part of Pyodide's API that is used here. */
export interface PyProxy {
  destroy(): void;
}

export interface FileSystem {
  writeFile(path: string, data: string | Uint8Array, options?: { canOwn: boolean }): void;
  readFile(path: string): Uint8Array<ArrayBuffer>;
  mkdirTree(path: string): void;
  readdir(path: string): string[];
  unlink(path: string): void;
  stat(path: string): { mode: number };
  isDir(mode: number): boolean;
  analyzePath(path: string): { exists: boolean };
}

export interface Pyodide {
  loadPackage(names: string | string[], options?: object): Promise<unknown>;
  loadedPackages: Record<string, string>;
  unpackArchive(archive: Uint8Array, format: string, options: { extractDir: string }): void;
  // biome-ignore lint/suspicious/noExplicitAny: a Python module has whatever it has
  pyimport(module: string): PyProxy & any;
  FS: FileSystem;
  runPython(code: string): unknown;
  setInterruptBuffer(buffer: Uint8Array): void;
}

export interface PyodideModule {
  version: string;
  loadPyodide(options: {
    indexURL: string;
    stdLibURL?: string;
    fsInit: (fs: FileSystem, info: { sitePackages: string }) => Promise<void>;
  }): Promise<Pyodide>;
}
