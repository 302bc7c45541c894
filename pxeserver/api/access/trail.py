"""Every change leaves a line in the audit trail with who made it and where from. Handlers that edit records
leave their own; what they leave out (an upload, a restore, an order) is noted here."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from pxeserver.api.access.who import Need, Role, Who
from pxeserver.live import Hall, Refused
from pxeserver.storage.machines import Audit
from pxeserver.storage.origin import ORIGIN, Origin
from pxeserver.storage.records import AuditRecord

log = logging.getLogger(__name__)

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]
_VERBS = {"POST": "order", "PUT": "put", "PATCH": "change", "DELETE": "remove"}


async def noted(hall: Hall, request: web.Request, handler: Next, who: Who, need: Need) -> web.StreamResponse:
    """Carry out a change that is allowed, and note it where it was carried out and has not noted itself."""
    origin = Origin(who.address)
    before = ORIGIN.set(origin)
    try:
        response = await handler(request)
        if response.status < 400 and not origin.noted and need.role >= Role.OPERATOR:
            await _note(hall, request, who)
        return response
    finally:
        ORIGIN.reset(before)


async def _note(hall: Hall, request: web.Request, who: Who) -> None:
    resource = request.match_info.route.resource
    words = [w for w in (resource.canonical if resource else "").split("/") if w and not w.startswith("{")]
    words = [w for w in words if w not in ("api", "v1")] or ["server"]
    record = "/".join(request.match_info.values())
    verb = words[-1] if len(words) > 1 else _VERBS.get(request.method, request.method.lower())
    entry = AuditRecord(time.time(), who.by, verb, words[0], record[:200], 0, {})
    try:
        async with hall.database.write() as connection:
            await Audit(connection).add([entry])
    except Refused as error:
        log.warning("not in the audit trail", extra={"by": who.by, "verb": verb, "why": error.why})
