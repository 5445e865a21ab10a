"""Shows the site on this machine; it follows a sweep that is running."""

from __future__ import annotations

import hashlib
import html
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from dabench.core import DabenchError
from dabench.results import sweeps

_LIVE = Path(__file__).parent / "assets" / "live.js"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}
_WAITING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="1"><title>dabench</title>
<meta name="viewport" content="width=device-width">
<style>body {{ font: 1rem/1.5 system-ui; margin: 3rem }}</style></head>
<body><main><h1>dabench</h1><p role="status">{words}</p></main></body></html>
"""


def version(results: Path) -> str:
    """Changes when a file of the results folder does."""
    found = ((path.name, path.parent.name, path.stat()) for path in sorted(results.glob("*/*.parquet")))
    text = "".join(f"{parent}/{name} {stat.st_mtime_ns} {stat.st_size}\n" for name, parent, stat in found)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def progress(results: Path) -> str:
    """A line for each sweep into the folder that runs; empty for none."""
    lines = []
    for sweep in sweeps.read(results):
        if sweep.state == "running":
            plan, failed = sweep.plan, sweep.ended.get("failed", 0)
            words = f"{sum(sweep.ended.values())} of {len(plan.cells)} cells ended" + (
                f", {failed} failed" * bool(failed)
            )
            if sweep.running:
                words += f"; running: {', '.join(each.label for each in sweep.running[:3])}"
            if sweep.queued:
                words += f"; {sweep.queued} queued"
            if sweep.seconds_left is not None:
                words += f"; done about {datetime.fromtimestamp(sweep.heard + sweep.seconds_left):%H:%M}"
            lines.append(f"{plan.engine} on {plan.host}: {words}")
    return "\n".join(lines)


class Site:
    """The site as `make` built it last; where `now()` says something new, a newer one is built beside it.

    What cannot be built says so on the page, and is tried again when `now()` says something new.
    """

    def __init__(
        self, make: Callable[[], Mapping[str, bytes]], now: Callable[[], str], progress: Callable[[], str]
    ) -> None:
        self._make, self._now, self._progress = make, now, progress
        self._files: Mapping[str, bytes] = {}
        self._words = "Reading the results and drawing the pages …"
        self._built = self._building = ""
        self._lock = threading.Lock()
        self._follow()

    def _follow(self) -> None:
        """Starts to build a newer site where there is one and none is being built."""
        with self._lock:
            newest = self._now()
            if self._building or newest == self._built:
                return
            self._building = newest
        threading.Thread(target=self._build, args=(newest,), daemon=True).start()

    def _build(self, newest: str) -> None:
        files: dict[str, bytes] = {}
        words = "The site could not be drawn; the terminal says why."
        try:
            files = dict(self._make())
        except DabenchError as error:
            words = str(error)
        finally:
            with self._lock:
                self._files, self._words = files, words
                self._built, self._building = newest, ""

    def read(self, name: str) -> bytes | None:
        """A file of the site, None where there is none; `version` is that of the site which is shown."""
        if name == "live.js":
            return _LIVE.read_bytes()
        if name == "progress":
            return self._progress().encode()
        if name in ("index.html", "version"):
            self._follow()
        with self._lock:
            if name == "version":
                return self._built.encode()
            content = self._files.get(name)
            if name != "index.html":
                return content
            if content is None:
                return _WAITING.format(words=html.escape(self._words)).encode()
            return content.replace(b"</body>", b'<script src="live.js"></script></body>')


def server(
    make: Callable[[], Mapping[str, bytes]], now: Callable[[], str], port: int, progress: Callable[[], str] = str
) -> ThreadingHTTPServer:
    """Serves the site on this machine alone, to a browser that asks for it by this machine's own name.

    A page of another name that leads here (DNS rebinding) is answered 421. Pages ask every few seconds for `version`,
    and reload on a change, and for `progress`, and show what it says of sweeps that run. Raises DabenchError where the
    port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(self._answer())

        def do_HEAD(self) -> None:
            self._answer()

        def _answer(self) -> bytes:
            """Sends the head, and gives the body."""
            name = unquote(urlsplit(self.path).path).lstrip("/") or "index.html"
            own = {f"{host}:{self.connection.getsockname()[1]}" for host in ("127.0.0.1", "localhost")}
            content, status = b"This server answers only to its own name.\n", 421
            if self.headers.get("Host", "") in own:
                found = site.read(name)
                content, status = found or b"", 404 if found is None else 200
            kind = _TYPES.get(Path(name).suffix, "text/plain") if status == 200 else "text/plain"
            self.send_response(status)
            self.send_header("Content-Type", _PICTURES.get(Path(name).suffix, f"{kind}; charset=utf-8"))
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            return content

        def log_message(self, format: str, *arguments: Any) -> None:
            """Says nothing: a page that is looked at asks every few seconds."""

    try:
        listening = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise DabenchError(f"cannot serve on port {port}: {error.strerror}; choose another with --port") from error
    site = Site(make, now, progress)
    return listening
