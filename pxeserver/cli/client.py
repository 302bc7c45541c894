"""The command line's way to the server: HTTP over the unix socket, with the standard library only."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

PREFIX = "/api/v1"
DEFAULT_SOCKET = Path("/run/pxeserver/api.sock")
_TIMEOUT = 60.0
_PAGE = 2000
"""Items of a long list in one answer: about a megabyte of nodes."""
_STREAM_TIMEOUT = 30.0
"""The server sends a beat every 10 s on a quiet stream."""


@dataclass(slots=True)
class Failure(Exception):  # noqa: N818 - shown to people as it is
    """What went wrong, why, and the next step; `exit_code` is 1, or 3 where the server cannot be reached."""

    what: str
    why: str
    next_step: str
    fields: Mapping[str, str] = field(default_factory=dict)
    exit_code: int = 1
    status: int = 0

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("pxeserver", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except BaseException:
            self.sock.close()
            raise


class Client:
    """Calls of the API. Every failure is a Failure."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: _Connection | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, *path: str, **query: Any) -> Any:
        """GET; arguments that are None are left away."""
        return self._json("GET", path, query=query)

    def every(self, *path: str, **query: Any) -> list[Any]:
        """GET all of a list, page by page: no answer is larger than others, who wait meanwhile, can bear."""
        found: list[Any] = []
        after: str | None = None
        while True:
            with self._request(
                "GET", path, {**query, "limit": _PAGE, "after": after}, body=None, headers={}
            ) as response:
                found += json.loads(response.read())
                link = response.headers.get("Link", "")
            after = parse_qs(urlsplit(link.partition("<")[2].partition(">")[0]).query).get("after", [None])[0]
            if after is None:
                return found

    def post(self, *path: str, body: Any = None) -> Any:
        """POST a JSON body."""
        return self._json("POST", path, body=body)

    def put(self, *path: str, body: Any = None) -> Any:
        """PUT a JSON body."""
        return self._json("PUT", path, body=body)

    def patch(self, *path: str, body: Any = None) -> Any:
        """PATCH with a JSON body."""
        return self._json("PATCH", path, body=body)

    def delete(self, *path: str) -> None:
        """DELETE."""
        self._json("DELETE", path)

    def upload(self, *path: str, blocks: Iterable[bytes], size: int, **query: Any) -> Any:
        """POST a body of `size` bytes as a stream."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        with self._request("POST", path, query, body=blocks, headers=headers) as response:
            return json.loads(response.read() or b"null")

    def download(self, *path: str, **query: Any) -> http.client.HTTPResponse:
        """GET a stream; the caller reads and closes it."""
        return self._request("GET", path, query, body=None, headers={})

    def lines(self, method: str, *path: str, body: Any = None, **query: Any) -> Iterator[dict[str, Any]]:
        """The objects of an NDJSON stream, as they come. ConnectionError where it breaks off."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/x-ndjson", "Content-Type": "application/json"}
        with self._request(
            method, path, query, body=data, headers=headers, timeout=_STREAM_TIMEOUT
        ) as response:
            try:
                while line := response.readline():
                    if line.strip():
                        yield json.loads(line)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise ConnectionError(str(error) or "the stream broke off") from error
            finally:
                self.close()

    def _json(
        self, method: str, path: Iterable[str], *, body: Any = None, query: Mapping[str, Any] | None = None
    ) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        with self._request(method, path, query or {}, body=data, headers=headers) as response:
            return json.loads(response.read() or b"null")

    def _request(
        self,
        method: str,
        path: Iterable[str],
        query: Mapping[str, Any],
        *,
        body: bytes | Iterable[bytes] | None,
        headers: Mapping[str, str],
        timeout: float = _TIMEOUT,
    ) -> http.client.HTTPResponse:
        given = {k: v for k, v in query.items() if v is not None}
        target = "/".join([PREFIX, *(quote(part, safe="") for part in path)])
        if given:
            target += "?" + urlencode(given)
        try:
            connection = self._connected(timeout)
            # A server that refuses a body before its end has said why.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body, dict(headers))
            response = connection.getresponse()
        except OSError as error:
            self.close()
            raise unreachable(self._path, error) from None
        except http.client.HTTPException as error:
            self.close()
            what = "the server broke the connection off"
            raise Failure(
                what, str(error) or type(error).__name__, "Look at its log, then try again"
            ) from None
        if response.status >= 400:
            failure = _failure(response)
            self.close()
            raise failure
        return response

    def _connected(self, timeout: float) -> _Connection:
        if self._connection is None:
            self._connection = _Connection(self._path, timeout)
        return self._connection


def _failure(response: http.client.HTTPResponse) -> Failure:
    data = response.read(1 << 20)
    try:
        view = json.loads(data)
        return Failure(
            view["what"], view["why"], view["next_step"], view.get("fields", {}), 1, response.status
        )
    except (ValueError, KeyError, TypeError):
        what = f"the server answered {response.status} {response.reason}"
        return Failure(what, data[:200].decode(errors="replace"), "Look at its log", {}, 1, response.status)


def unreachable(path: Path, error: OSError) -> Failure:
    """Why the server cannot be reached, and what to do."""
    start = "Start it: `systemctl start pxeserver`, or `sudo pxeserver run` in a terminal"
    if isinstance(error, FileNotFoundError):
        return Failure("the server is not running", f"there is no socket {path}", start, exit_code=3)
    if isinstance(error, ConnectionRefusedError):
        return Failure("the server is not running", f"nobody listens on {path}", start, exit_code=3)
    if isinstance(error, PermissionError):
        user = os.environ.get("USER", "you")
        step = f"Use sudo, or join the socket's group: `sudo usermod -aG pxeserver {user}`, then log in again"
        return Failure("the server cannot be reached", f"{path} may not be used by {user}", step, exit_code=3)
    if isinstance(error, TimeoutError):
        return Failure(
            "the server does not answer", f"nothing came on {path}", "Look at its log", exit_code=3
        )
    return Failure("the server cannot be reached", f"{path}: {error.strerror or error}", start, exit_code=3)
