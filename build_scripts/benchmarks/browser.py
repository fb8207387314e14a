"""A Chromium lane: a page, served from the loopback, that fetches requests and posts replies.

The page is cross-origin isolated, because only then is the browser's clock fine enough (5 microseconds).
"""

from __future__ import annotations

import functools
import json
import mimetypes
import queue
import shutil
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from .environment import clean_environment
from .lanes import HERE, LaneError, Message

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
)


class BrowserWorker:
    """One browser with one page. `configuration` is what the page's host needs; `roots` are the folders it may read."""

    def __init__(self, chromium: Path, configuration: dict[str, Any], roots: tuple[Path, ...], log: Path) -> None:
        self._requests: queue.Queue[str] = queue.Queue()
        self._replies: queue.Queue[str] = queue.Queue()
        handler = functools.partial(_Handler, self._requests, self._replies, json.dumps(configuration), (HERE, *roots))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._profile = tempfile.mkdtemp(prefix="bench-chromium-")
        address = f"http://127.0.0.1:{self._server.server_address[1]}{HERE}/web/page.html"
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [str(chromium), *FLAGS, f"--user-data-dir={self._profile}", address],
                env=clean_environment(),
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def ask(self, message: Message, timeout: float) -> Message:
        self._requests.put(json.dumps(message))
        try:
            line = self._replies.get(timeout=timeout)
        except queue.Empty as error:
            ended = self._process.poll()
            self.close()
            why = f"no answer within {timeout:.0f} s" if ended is None else f"the browser ended with status {ended}"
            raise LaneError(why) from error
        reply: Message = json.loads(line)
        return reply

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._requests.put("")
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self._profile, ignore_errors=True)


class _Handler(BaseHTTPRequestHandler):
    """GET a file under a root by its path; GET /next waits for a request; POST a reply or an answer's bytes."""

    protocol_version = "HTTP/1.1"

    def __init__(
        self,
        requests: queue.Queue[str],
        replies: queue.Queue[str],
        configuration: str,
        roots: tuple[Path, ...],
        *args: Any,
    ) -> None:
        self._requests, self._replies, self._configuration, self._roots = requests, replies, configuration, roots
        super().__init__(*args)

    def do_GET(self) -> None:
        if self.path == "/next":
            self._send(self._requests.get().encode(), "application/json")
        elif self.path == "/configuration":
            self._send(self._configuration.encode(), "application/json")
        else:
            path = self._allowed(self.path)
            if path is None or not path.is_file():
                self.send_error(404)
                return
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            kinds = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}
            self._send(path.read_bytes(), kinds.get(path.suffix, kind))

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/reply":
            self._replies.put(body.decode())
        else:
            path = self._allowed(self.path)
            if path is None:
                self.send_error(404)
                return
            path.write_bytes(body)
        self._send(b"", "text/plain")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: every array and every reply is a request."""

    def _allowed(self, address: str) -> Path | None:
        path = Path(unquote(address.split("?")[0])).resolve()
        return path if any(path.is_relative_to(root) for root in self._roots) else None

    def _send(self, body: bytes, kind: str) -> None:
        try:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            pass
