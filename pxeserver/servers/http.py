"""The boot HTTP listener: scripts, files and callbacks for machines that boot.

What a URL gets is decided by a short dispatch (http_target, http_answers), since this is the path that a
thousand machines take at once; the protocol is our own (http_parse, http_connection), and why is told in
docs/decisions/0013. Every answer is exact in length, and everything a client can hold is bounded.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Iterable

from pxeserver.boot.bandwidth import Rules
from pxeserver.servers.http_admission import Gate
from pxeserver.servers.http_answers import Answers
from pxeserver.servers.http_body import Refused
from pxeserver.servers.http_connections import Connections
from pxeserver.servers.http_limits import HttpLimits
from pxeserver.servers.http_message import Request, Response, line
from pxeserver.servers.http_scripts import DecidedScripts, Scripts
from pxeserver.servers.http_sender import Senders
from pxeserver.servers.http_target import route
from pxeserver.servers.plane import OpenFile, Plane

log = logging.getLogger(__name__)


class BootHttp:
    """The listener.

    `open_manifest` opens the chunk manifest of a published file by its sha256 (imagestore's
    Store.open_manifest).
    """

    def __init__(
        self,
        plane: Plane,
        open_manifest: Callable[[str], OpenFile],
        scripts: Scripts | None = None,
        limits: HttpLimits | None = None,
        admission: Rules | None = None,
    ) -> None:
        self.limits = limits or HttpLimits()
        senders = Senders(plane)
        gate = Gate(senders, admission)
        self.answers = Answers(plane, scripts or DecidedScripts(), open_manifest, senders, gate)
        self._connections: Connections | None = None

    async def start(self, sockets: Iterable[socket.socket]) -> None:
        """Serve on these bound TCP sockets, which stay the caller's; each may listen already."""
        self._connections = Connections(self.answer, self.limits, self.answers.gate.tick)
        for sock in sockets:
            # The supervisor's socket must outlive this listener.
            self._connections.listen(sock.dup())

    async def stop(self) -> None:
        """Take no new connections, let transfers end for `limits.shutdown` seconds, then close them."""
        if self._connections is not None:
            connections, self._connections = self._connections, None
            await connections.stop()

    def connections(self) -> int:
        """Open connections."""
        return 0 if self._connections is None else len(self._connections)

    @property
    def counters(self) -> dict[str, int]:
        """What was sent, the requests and the connections that are open; for metrics."""
        requests = 0 if self._connections is None else self._connections.requests
        return self.answers.files.counters | {"requests": requests, "connections": self.connections()}

    def answer(self, request: Request) -> Response | Awaitable[Response]:
        """One request: answered whatever happens, with a reason a person can read."""
        try:
            if "content-encoding" in request.fields:
                raise Refused(415, "request bodies must not be compressed", {"Accept-Encoding": "identity"})
            found = route(request.target)
            if found is None:
                raise Refused(404, "no such file")
            answer = self.answers.answer(request, found)
        except Refused as refused:
            return _refused(refused)
        except Exception:
            log.exception("address=%s target=%r problem=bug", request.peer, request.target[:200])
            return _failed()
        return answer if isinstance(answer, Response) else self._in_time(request, answer)

    async def _in_time(self, request: Request, answer: Awaitable[Response]) -> Response:
        """An answer that has to wait for something."""
        try:
            return await answer
        except Refused as refused:
            return _refused(refused)
        except Exception:
            log.exception("address=%s target=%r problem=bug", request.peer, request.target[:200])
            return _failed()


def _refused(refused: Refused) -> Response:
    ends = refused.status in (408, 413, 415)
    return line(refused.status, refused.text, refused.headers, close=ends)


def _failed() -> Response:
    """Ours: the client learns no more than that; the log has the rest."""
    return line(500, "the server failed; its log says why", close=True)
