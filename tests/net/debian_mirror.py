"""A way to Debian's archive from inside a network namespace that has none: a small HTTP proxy."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from pxeserver.lab.netns import Namespace

PORT = 3142
CONFIG = 'Acquire::http::Proxy "http://{address}:3142";\n'


class _Forward(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
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
        self.send_response(answer.status)
        for name in ("Last-Modified", "Content-Type", "Location", "Content-Range", "ETag"):
            if value := answer.getheader(name):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Nothing."""


class Mirror:
    """Listens in `space`, fetches from where this process is."""

    def __init__(self, space: Namespace, address: str) -> None:
        self._server = space.call(lambda: ThreadingHTTPServer((address, PORT), _Forward))
        self.config = CONFIG.format(address=address)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
