"""What goes on now: the boots on their way with their stream, and the figures of the last hour."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from pxeserver.api.access.who import look
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.boots import WatchQuery
from pxeserver.api.schemas.live import FiguresQuery, FiguresView, LiveBoots, NodeTally, figures_view
from pxeserver.api.streams import event_bytes, events
from pxeserver.live.figures import SPAN


async def show_boots(call: Call) -> LiveBoots:
    """The boots on their way; of very many, the first ones and how many there are."""
    return LiveBoots.model_validate(call.hall.lookout.frames.whole())


async def stream_boots(call: Call) -> web.StreamResponse:
    """The boots on their way as server-sent events: first "board" with all that is drawn, then "change" with
    what changed. Last-Event-ID, or `since`, takes up where a stream broke off.
    """
    query: WatchQuery = call.query
    since = query.since
    last = call.request.headers.get("Last-Event-ID", "")
    if last.isascii() and last.isdigit() and len(last) < 20:
        since = int(last)
    return await events(call.request, _frames(call, since))


async def _frames(call: Call, since: int | None) -> AsyncIterator[bytes]:
    watch = call.hall.lookout.frames.watch(since)
    try:
        async for frame in watch:
            yield event_bytes(frame.kind, frame.body, frame.number)
    finally:
        await watch.aclose()


async def show_nodes(call: Call) -> NodeTally:
    """How many nodes are in which state, as of a moment ago."""
    return NodeTally(**call.hall.lookout.tally())


async def show_figures(call: Call) -> FiguresView:
    """Boots a minute, bytes a second, and how long boots took."""
    query: FiguresQuery = call.query
    merge = max(1, int(query.step // SPAN))
    count = max(merge, int(query.seconds // SPAN) // merge * merge)
    return figures_view(call.hall.lookout.figures.points(count, merge))


ROUTES = (
    Route("GET", "/live/boots", show_boots, "Boots on their way", "boot", LiveBoots, need=look("boot")),
    Route(
        "GET",
        "/live/boots/stream",
        stream_boots,
        "Follow the boots on their way",
        "boot",
        query=WatchQuery,
        media="text/event-stream",
        need=look("boot"),
    ),
    Route("GET", "/live/nodes", show_nodes, "Nodes by state", "server", NodeTally, need=look("server")),
    Route(
        "GET",
        "/live/figures",
        show_figures,
        "Figures of the last hour",
        "server",
        FiguresView,
        query=FiguresQuery,
        need=look("server"),
    ),
)
