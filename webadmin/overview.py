"""The first page: how the server and everything that it boots are doing."""

from __future__ import annotations

from aiohttp import web

from pxeserver.api.access.who import look
from pxeserver.api.routes import server
from webadmin.render import render
from webadmin.routing import Nav, Page, call


async def page(request: web.Request) -> web.Response:
    """The overview."""
    return render(request, "overview/page.html", server=await server.status(call(request)))


PAGES = (Page("GET", "/", page, need=look("server"), nav=Nav("Overview", "overview", 10, key="o")),)
