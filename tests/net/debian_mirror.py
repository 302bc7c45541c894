"""A way to Debian's archive from inside a network namespace that has none: a small HTTP proxy, which fetches
each package once where it has a folder to keep it in.
"""

from __future__ import annotations

import hashlib
import http.client
import threading
from collections import defaultdict
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from pxeserver.lab.netns import Namespace

PORT = 3142
CONFIG = 'Acquire::http::Proxy "http://{address}:3142";\n'


class _Forward(BaseHTTPRequestHandler):
    server: _Listening

    def do_GET(self) -> None:
        if self.server.keep is None or not self.path.endswith(".deb") or "Range" in self.headers:
            self._pass_on(None)
            return
        file = self.server.keep / hashlib.sha256(self.path.encode()).hexdigest()
        with self.server.locks[file.name]:
            if not file.exists():
                self._pass_on(file)
                return
        self._answer(200, {"Content-Type": "application/octet-stream"}, file.read_bytes())

    def _pass_on(self, keep: Path | None) -> None:
        parts = urlsplit(self.path)
        there = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=60)
        passed = {
            k: v for k, v in self.headers.items() if k.lower() in ("range", "if-modified-since", "if-range")
        }
        try:
            there.request("GET", parts.path, headers=passed)
            answer = there.getresponse()
            body = answer.read()
        except OSError as error:
            self.send_error(502, str(error))
            return
        finally:
            there.close()
        if keep is not None and answer.status == 200:
            keep.write_bytes(body)
        names = ("Last-Modified", "Content-Type", "Location", "Content-Range", "ETag")
        self._answer(answer.status, {n: v for n in names if (v := answer.getheader(n))}, body)

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Nothing."""


class _Listening(ThreadingHTTPServer):
    keep: Path | None = None

    def __init__(self, address: str) -> None:
        super().__init__((address, PORT), _Forward)
        self.locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


class Mirror:
    """Listens in `space`, fetches from where this process is; `keep` is a folder for packages."""

    def __init__(self, space: Namespace, address: str, keep: Path | None = None) -> None:
        self._server = space.call(lambda: _Listening(address))
        self._server.keep = keep
        self.config = CONFIG.format(address=address)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
