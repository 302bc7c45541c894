"""The boot HTTP listener: scripts, files and callbacks for machines that boot.

aiohttp's low-level server parses requests; what a URL gets is decided by a short dispatch (http_target,
http_answers), since this is the path that a thousand machines take at once. Every answer is exact in length,
and everything a client can hold is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable

from aiohttp import http_parser, web

from pxeserver.servers.http_answers import Answers
from pxeserver.servers.http_body import Refused, line
from pxeserver.servers.http_limits import Connections, HttpLimits
from pxeserver.servers.http_scripts import DecidedScripts, Scripts
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
    ) -> None:
        self.limits = limits or HttpLimits()
        self.answers = Answers(plane, scripts or DecidedScripts(), open_manifest, self.limits)
        self._servers: list[asyncio.Server] = []
        self._connections: Connections | None = None

    async def start(self, sockets: Iterable[socket.socket]) -> None:
        """Serve on these bound TCP sockets, which stay the caller's; each may listen already."""
        if "py" in http_parser.HttpRequestParser.__name__.lower():
            log.warning("component=http problem=aiohttp-without-its-c-parser effect=slower")
        self._connections = Connections(self._handle, self.limits)
        loop = asyncio.get_running_loop()
        for sock in sockets:
            # asyncio closes what it listens on; the supervisor's socket must outlive this listener.
            server = await loop.create_server(self._connections, sock=sock.dup(), backlog=1024)
            self._servers.append(server)

    async def stop(self) -> None:
        """Take no new connections, let transfers end for `limits.shutdown` seconds, then close them."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        if self._connections is not None:
            self._connections.pre_shutdown()
            await self._connections.shutdown(self.limits.shutdown)
            self._connections = None

    def connections(self) -> int:
        """Open connections."""
        return 0 if self._connections is None else self._connections.count()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request: answered whatever happens, with a reason a person can read."""
        connections, protocol = self._connections, request.protocol
        counted = connections is None or connections.begin(protocol)
        try:
            response = await self._answer(request) if counted else _too_many()
            async with asyncio.timeout(self.limits.answer_timeout):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the client did not take the answer") from None
        finally:
            if connections is not None:
                connections.end(protocol)
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            if "Content-Encoding" in request.headers:
                raise Refused(415, "request bodies must not be compressed", {"Accept-Encoding": "identity"})
            found = route(request._message.path)
            if found is None:
                raise Refused(404, "no such file")
            return await self.answers.answer(request, found)
        except Refused as refused:
            response: web.StreamResponse = line(refused.status, refused.text, refused.headers)
            if refused.status in (408, 413, 415):
                response.force_close()
            return response
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            # Ours: the client learns no more than that; the log has the rest.
            log.exception("address=%s target=%r problem=bug", request.remote, request._message.path[:200])
            response = line(500, "the server failed; its log says why")
            response.force_close()
            return response


def _too_many() -> web.StreamResponse:
    response = line(503, "too many connections; come again", {"Retry-After": "3"})
    response.force_close()
    return response
