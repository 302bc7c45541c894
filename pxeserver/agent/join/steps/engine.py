"""The Docker engine of this node, over its socket: HTTP with JSON, without the cost of the command line.

Version 1.41 of the engine's API: Debian 12's newest, and understood by later engines.
https://docs.docker.com/reference/api/engine/version/v1.41/
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlencode

from pxeserver.agent.join.step import StepFailed

SOCKET = Path("/run/docker.sock")
VERSION = "v1.41"
OURS = "pxeserver"
"""Label of what the agent made in an engine or a Swarm; its value says which step it belongs to."""
PATIENCE = 60.0
"""Seconds for one answer. A manager without a leader takes 20 to say so."""
Query = Mapping[str, str | int | bool]
_NO_LEADER = ("does not have a leader", "no elected primary", "too few managers", "lost leader status")


class EngineRefused(StepFailed):
    """The engine answered that it will not; `status` is HTTP's."""

    def __init__(self, status: int, message: str, retry: bool = True) -> None:
        super().__init__(message, retry)
        self.status = status


class QuorumLost(StepFailed):
    """The managers that are left cannot decide anything."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Engine:
    """One connection a request. Every call raises EngineRefused, QuorumLost or, where nothing answers,
    StepFailed.
    """

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = path

    def get(self, path: str, query: Query | None = None, timeout: float = PATIENCE) -> Any:
        """What there is at `path`."""
        return self._ask("GET", path, query, timeout=timeout)

    def find(self, path: str, query: Query | None = None) -> dict[str, Any] | None:
        """What there is at `path`, or None where there is nothing."""
        try:
            return cast("dict[str, Any]", self.get(path, query))
        except EngineRefused as why:
            if why.status == http.client.NOT_FOUND:
                return None
            raise

    def listed(self, path: str, query: Query | None = None, **filters: str) -> list[dict[str, Any]]:
        """The things at `path` that pass the filters."""
        chosen = {key: [value] for key, value in filters.items()}
        whole = {**(query or {}), **({"filters": json.dumps(chosen)} if chosen else {})}
        return cast("list[dict[str, Any]]", self.get(path, whole) or [])

    def post(self, path: str, body: Any = None, query: Query | None = None, timeout: float = PATIENCE) -> Any:
        """Send `body` as JSON."""
        data = None if body is None else json.dumps(body).encode()
        return self._ask("POST", path, query, data, kind="application/json", timeout=timeout)

    def send(self, path: str, archive: Iterable[bytes], timeout: float) -> Any:
        """Send a tar archive in parts."""
        return self._ask("POST", path, {"quiet": True}, archive, kind="application/x-tar", timeout=timeout)

    def delete(self, path: str, query: Query | None = None) -> bool:
        """Remove what there is at `path`; whether there was something."""
        try:
            self._ask("DELETE", path, query)
        except EngineRefused as why:
            if why.status == http.client.NOT_FOUND:
                return False
            raise
        return True

    def info(self) -> dict[str, Any]:
        """The engine's own account of itself; "Swarm" in it is always a mapping."""
        found = cast("dict[str, Any]", self.get("/info"))
        found["Swarm"] = found.get("Swarm") or {}
        return found

    def answers(self) -> bool:
        """Whether the engine is there."""
        try:
            self.get("/_ping", timeout=5)
        except StepFailed:
            return False
        return True

    def _ask(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: bytes | Iterable[bytes] | None = None,
        *,
        kind: str = "",
        timeout: float = PATIENCE,
    ) -> Any:
        words = {
            key: str(value).lower() if isinstance(value, bool) else value
            for key, value in (query or {}).items()
        }
        target = f"/{VERSION}{quote(path)}" + (f"?{urlencode(words)}" if words else "")
        connection = _Connection(self._path, timeout)
        try:
            # An engine that refuses an archive may say so before it has read all of it.
            with contextlib.suppress(BrokenPipeError):
                connection.request(method, target, body, {"Content-Type": kind} if kind else {})
            answer = connection.getresponse()
            text = answer.read()
        except TimeoutError:
            raise StepFailed(
                f"the Docker engine did not answer {method} {path} within {timeout:.0f} s"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise StepFailed(
                f"the Docker engine does not answer: {error}; see `systemctl status docker`"
            ) from error
        finally:
            connection.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise _refused(answer.status, _message(text))
        return _parsed(text)


def _refused(status: int, message: str) -> StepFailed:
    if any(words in message for words in _NO_LEADER):
        return QuorumLost(message)
    return EngineRefused(status, message)


def _message(text: bytes) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.decode("utf-8", "replace").strip() or "no reason given"


def _parsed(text: bytes) -> Any:
    """The JSON of an answer; of a stream of objects the last one, as an error comes last."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return None
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        last = json.loads(lines[-1])
    except ValueError:
        return text.decode("utf-8", "replace")
    if isinstance(last, dict) and "error" in last:
        raise EngineRefused(http.client.OK, str(last["error"]))
    return last
