"""Live boots: every machine that boots now."""

from __future__ import annotations

from aiohttp import web

from pxeserver.api.access.who import look
from pxeserver.api.routes import boots
from pxeserver.api.schemas.boots import AttemptQuery
from webadmin.render import render
from webadmin.routing import Nav, Page, call


async def page(request: web.Request) -> web.Response:
    """The machines that boot now, those that are stuck in front."""
    found = await boots.list_attempts(call(request, query=AttemptQuery(limit=200)))
    return render(request, "boots/page.html", boots=found)


PAGES = (Page("GET", "/boots", page, need=look("boot"), nav=Nav("Live boots", "boots", 20, key="b")),)
