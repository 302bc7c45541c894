"""Who is at the other end of the unix socket: whoever may open it is an administrator."""

from __future__ import annotations

import os
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from pxeserver.api.access import trail
from pxeserver.api.access.origin import SAFE
from pxeserver.api.access.who import WHO, Role, Who, need_of
from pxeserver.live import Hall

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def caller(request: web.BaseRequest) -> str:
    """The user at the other end, e.g. "cli:alice", as the kernel says (SO_PEERCRED in unix(7))."""
    sock = request.transport.get_extra_info("socket") if request.transport else None
    if sock is None or sock.family != socket.AF_UNIX:
        return "api"
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    try:
        return f"cli:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"cli:{uid if uid >= 0 else os.getuid()}"


def local(hall: Hall) -> Middleware:
    """The middleware of the unix socket, whose mode and group decide who may open it."""

    @web.middleware
    async def known(request: web.Request, handler: Next) -> web.StreamResponse:
        who = Who(caller(request), Role.ADMIN, kind="local", loopback=True, address="unix")
        request[WHO] = who
        if request.method in SAFE:
            return await handler(request)
        return await trail.noted(hall, request, handler, who, need_of(request.match_info.handler))

    return known
