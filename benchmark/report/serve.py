"""Shows the site on this machine; it follows a sweep that is running."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from dabench.core import DabenchError
from dabench.report.site import ASSETS


def version(results: Path) -> str:
    """Changes when a file of the results folder does."""
    found = ((path.name, path.parent.name, path.stat()) for path in sorted(results.glob("*/*.parquet")))
    text = "".join(f"{parent}/{name} {stat.st_mtime_ns} {stat.st_size}\n" for name, parent, stat in found)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def server(make: Callable[[], Mapping[str, bytes]], now: Callable[[], str], port: int) -> ThreadingHTTPServer:
    """Serves the site on this machine alone; made anew when a page is opened and `now()` says something new.

    Its pages ask for `version` every few seconds and reload on a change. Raises DabenchError where the port is taken.
    """
    types = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    types |= {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}
    lock = threading.Lock()
    held: dict[str, Any] = {"version": None, "files": {}}

    def answer(name: str) -> bytes | None:
        with lock:
            if name == "index.html" and held["version"] != (current := now()):
                held.update(version=current, files=make())
            page = held["files"].get(name)
        return (
            page and page.replace(b"</body>", b'<script src="live.js"></script></body>')
            if name == "index.html"
            else page
        )

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = unquote(urlsplit(self.path).path).lstrip("/") or "index.html"
            if name == "version":
                content: bytes | None = now().encode()
            elif name == "live.js":
                content = (ASSETS / name).read_bytes()
            else:
                content = answer(name)
            self.send_response(200 if content is not None else 404)
            kind = types.get(Path(name).suffix, "text/plain")
            self.send_header("Content-Type", kind if kind.startswith("image/p") else f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content or b"")))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *arguments: Any) -> None:
            """Says nothing: a page that is looked at asks every few seconds."""

    try:
        return ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise DabenchError(f"cannot serve on port {port}: {error.strerror}; choose another with --port") from error
