"""Talking to the boot server: small JSON requests that are tried again, and parts of large files."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds without a byte before a connection is given up."""
LONGEST_PAUSE = 15.0
LARGEST_JSON = 64 << 20
"""Bytes; a chunk manifest has about 20 bytes a MiB, so this is a disk image of petabytes."""


class ServerAway(Exception):  # noqa: N818 - a state of the world that the caller waits out
    """No answer, or one that says to come again; `pause` is how many seconds to wait, where it said so."""

    def __init__(self, text: str, pause: float | None = None) -> None:
        super().__init__(text)
        self.pause = pause


class ServerRefused(Exception):  # noqa: N818 - what the server said
    """The server understood and said no; trying again is of no use."""


class Server:
    """One boot attempt's address on the server. `say` tells a person what is waited for."""

    def __init__(
        self, base: str, say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
    ) -> None:
        parts = urlsplit(base)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"not a server address: {base!r}")
        self.host, self.port = parts.hostname, parts.port or 80
        self.path = parts.path.rstrip("/")
        self.origin = f"http://{parts.netloc}"
        self._say, self.sleep = say, sleep
        self._open: http.client.HTTPConnection | None = None

    def ask(self, name: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request below the attempt's address, POST where there is a body. ServerAway, ServerRefused."""
        data = None if body is None else json.dumps(body).encode()
        headers = {} if data is None else {"Content-Type": "application/json"}
        raw = self._exchange(
            "GET" if data is None else "POST", f"{self.path}/{name}", data, headers, LARGEST_JSON
        )
        if not raw.strip():
            return {}
        try:
            answer = json.loads(raw)
        except ValueError as wrong:
            raise ServerAway(f"{name}: the answer is no JSON") from wrong
        if not isinstance(answer, dict):
            raise ServerAway(f"{name}: the answer is no object")
        return answer

    def insist(
        self, name: str, body: Mapping[str, Any] | None = None, *, patience: float = float("inf")
    ) -> dict[str, Any]:
        """Ask until there is an answer, for at most `patience` seconds."""
        return self.patiently(lambda: self.ask(name, body), patience=patience)

    def patiently(self, once: Callable[[], T], *, patience: float = float("inf")) -> T:
        """Try until it works; ServerAway after `patience` seconds, ServerRefused at once."""
        end = time.monotonic() + patience
        pause = 0.5
        while True:
            try:
                return once()
            except ServerAway as away:
                wait = away.pause or pause
                if time.monotonic() + wait > end:
                    raise
                self._say(f"{away}; trying again in {wait:.1f} s")
                self.sleep(wait)
                pause = min(pause * 2, LONGEST_PAUSE)

    def fetch(self, url: str, start: int = 0, length: int | None = None) -> bytes:
        """A file of the server, or `length` bytes of it from `start`; the URL may be a path. ServerAway,
        ServerRefused.
        """
        headers = {} if length is None else {"Range": f"bytes={start}-{start + length - 1}"}
        raw = self._exchange("GET", self.local(url), None, headers, length)
        if length is not None and len(raw) != length:
            raise ServerAway(f"{len(raw)} bytes came instead of {length}")
        return raw

    def local(self, url: str) -> str:
        """The path of a URL on this server; ServerRefused for a URL of another one."""
        parts = urlsplit(url)
        if parts.scheme and (
            parts.scheme != "http" or (parts.hostname, parts.port or 80) != (self.host, self.port)
        ):
            raise ServerRefused(f"{url} is on another server")
        path = parts.path if parts.path.startswith("/") else f"{self.path}/{parts.path}"
        return f"{path}?{parts.query}" if parts.query else path

    def _exchange(
        self, method: str, path: str, data: bytes | None, headers: dict[str, str], most: int | None
    ) -> bytes:
        try:
            connection = self._open or http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
            self._open = None
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            raw = response.read() if most is None else response.read(most + 1)
            status, pause = response.status, response.getheader("Retry-After", "")
            if response.isclosed():
                self._open = connection
            else:
                connection.close()
        except (OSError, http.client.HTTPException) as broken:
            why = getattr(broken, "strerror", None) or str(broken) or type(broken).__name__
            raise ServerAway(f"no answer from {self.host}:{self.port}: {why}") from broken
        if status in {200, 201, 202, 204, 206}:
            if "Range" in headers and status != 206:
                raise ServerRefused(f"{path}: the server sends no parts of files")
            return raw
        words = raw[:300].decode("utf-8", "replace").strip()
        if status in {408, 425, 429} or status >= 500:
            raise ServerAway(
                f"{self.host} cannot answer now: HTTP {status} {words}",
                float(pause) if pause.isdigit() else None,
            )
        raise ServerRefused(f"HTTP {status} {words}")
