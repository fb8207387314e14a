"""The cache under `.cache/`: every piece is locked while it is made, checked by hash, and complete or absent.

Only the standard library is used here, because these lines run before anything is installed.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

if sys.version_info < (3, 11):  # noqa: UP036  no pip has checked this yet
    raise SystemExit(f"Python {sys.version.split()[0]} runs this script; at least 3.11 is needed")

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("RUVECTOR_CACHE") or ROOT / ".cache").resolve()
_STAMP = ".complete"


class _Held(threading.local):
    """The locks of this thread."""

    def __init__(self) -> None:
        self.names: set[str] = set()


_held = _Held()


class ToolchainError(SystemExit):
    """Ends a script with its message and no traceback; callers that have another way out catch it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def say(message: str) -> None:
    """One line on what is being done, on stderr: the scripts' results own stdout."""
    print(f"· {message}", file=sys.stderr, flush=True)


def run(cmd: Sequence[object], *, quiet: bool = False, **kw: Any) -> subprocess.CompletedProcess[str]:
    """Run a command; a failure names it. quiet keeps its output, and shows it only when it fails."""
    line = [str(part) for part in cmd]
    if quiet:
        kw = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **kw}
    try:
        done = subprocess.run(line, text=True, check=False, **kw)
    except FileNotFoundError as error:
        raise ToolchainError(f"cannot run {line[0]!r}: {error.strerror or error}; is it installed?") from error
    if done.returncode != 0:
        shown = " ".join(line if len(line) < 12 else [*line[:10], "…", line[-1]])
        tail = "\n".join((done.stdout or "").splitlines()[-60:]) if quiet else ""
        raise ToolchainError("\n".join(filter(None, [tail, f"failed with exit code {done.returncode}: {shown}"])))
    return done


class Bar:
    """A progress bar of one line; silent when stderr is no terminal, but for the final figure."""

    def __init__(self, label: str, total: int, unit: float = 1e6, unit_name: str = "MB") -> None:
        self.label, self.total, self.unit, self.unit_name = label, max(total, 1), unit, unit_name
        self.live = sys.stderr.isatty()
        self.started = time.monotonic()

    def show(self, done: int) -> None:
        if not self.live:
            return
        share = min(done / self.total, 1.0)
        width = max(10, min(30, shutil.get_terminal_size().columns - len(self.label) - 34))
        filled = "█" * int(share * width) + "·" * (width - int(share * width))
        figure = f"{done / self.unit:.0f}/{self.total / self.unit:.0f} {self.unit_name}"
        print(f"\r  {self.label} {filled} {share:4.0%} {figure} ", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        seconds = time.monotonic() - self.started
        end = "\r\033[K" if self.live else ""
        print(f"{end}  {self.label}: {self.total / self.unit:.0f} {self.unit_name} in {seconds:.1f} s", file=sys.stderr)

    @contextlib.contextmanager
    def watching(self, size: Callable[[], int]) -> Iterator[None]:
        """Follow a figure that another program makes grow."""
        stop = threading.Event()

        def follow() -> None:
            while not stop.wait(0.2):
                self.show(size())

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        self.close()


def directory_size(path: Path) -> int:
    total = 0
    for file in path.rglob("*"):
        with contextlib.suppress(OSError):  # apt renames files while we look
            total += file.stat().st_size
    return total


def digest(path: Path, algorithm: str = "sha256") -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def verify(path: Path, expected: str) -> None:
    """Refuse, and remove, a file that has not the expected hash: a sha256 in hex, or npm's `sha512-<base64>`."""
    if expected.startswith("sha512-"):
        found = "sha512-" + base64.b64encode(bytes.fromhex(digest(path, "sha512"))).decode()
    else:
        found = digest(path)
    if found != expected:
        path.unlink()
        raise ToolchainError(f"{path.name} has hash {found}; expected {expected}. The file was removed; try again.")


def content_hash(paths: Iterable[Path], *extra: str) -> str:
    """One hash over names and contents of files and folders; build products and caches do not count."""
    total = hashlib.sha256("\0".join(extra).encode())
    for path in sorted(paths):
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if not file.is_file() or file.suffix in {".pyc", ".so", ".pyd"} or "node_modules" in file.parts:
                continue
            total.update(f"\0{file.relative_to(path.parent).as_posix()}\0".encode())
            total.update(file.read_bytes())
    return total.hexdigest()


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Keep other processes and threads, and not this one, away from a piece of the cache."""
    if name in _held.names:
        yield
        return
    folder = CACHE / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as file:
        _acquire(file, name)
        _held.names.add(name)
        try:
            yield
        finally:
            _held.names.discard(name)


def _acquire(file: Any, name: str) -> None:
    # the operating system drops the lock with the file, so a killed process leaves none behind
    if sys.platform == "win32":
        import msvcrt

        def attempt() -> None:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        def attempt() -> None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    waiting = False
    while True:
        try:
            return attempt()
        except OSError:
            if not waiting:
                say(f"waiting for another process or thread that prepares {name}")
                waiting = True
            time.sleep(0.3)


def is_current(path: Path, key: str) -> bool:
    stamp = path / _STAMP
    return stamp.is_file() and stamp.read_text() == key


def mark_current(path: Path, key: str) -> None:
    (path / _STAMP).write_text(key)


def piece(path: Path, key: str, message: str, build: Callable[[Path], None]) -> Path:
    """The folder `path` as `build(folder)` fills it: made once for each key, moved into place when complete."""
    if is_current(path, key):
        return path
    with locked(path.relative_to(CACHE).as_posix().replace("/", "-")):
        if is_current(path, key):
            return path
        say(message)
        partial = path.with_name(f"{path.name}.part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        build(partial)
        mark_current(partial, key)
        shutil.rmtree(path, ignore_errors=True)
        partial.rename(path)
    return path


def fetch(url: str, target: Path, expected: str) -> Path:
    """Download with a bar; an interrupted download goes on where it stopped, and only the right hash gets the name."""
    if target.exists():
        verify(target, expected)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".part")
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            resumed = answer.status == 206
            size = (have if resumed else 0) + int(answer.headers.get("Content-Length") or 0)
            bar = Bar(target.name, size)
            with partial.open("ab" if resumed else "wb") as file:
                while block := answer.read(1 << 18):
                    file.write(block)
                    bar.show(file.tell())
        bar.close()
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: the partial file was complete already
            raise ToolchainError(f"cannot download {url}: {error}") from error
    except OSError as error:
        raise ToolchainError(f"cannot download {url}: {error}") from error
    verify(partial, expected)
    partial.rename(target)
    return target


def pip_download(requirement: str, folder: Path, *options: str) -> Path:
    """One wheel from PyPI; pip checks it against the index's hash and shows its own bar."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", *options, "-d", str(folder)]
    live = sys.stderr.isatty()
    run([*command, requirement], quiet=not live, **({"stdout": sys.stderr} if live else {}))
    return max(folder.glob("*.whl"), key=lambda wheel: wheel.stat().st_mtime)


def pyproject() -> dict[str, Any]:
    import tomllib

    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def build_requirements() -> list[str]:
    """What a build without isolation needs; scikit-build-core fetches CMake and Ninja itself in an isolated one."""
    return [*pyproject()["build-system"]["requires"], "cmake>=3.25,<5", "ninja>=1.11,<2"]
