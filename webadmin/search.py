"""One search over everything that has a name: the search box of every page, and the palette."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from urllib.parse import quote

from aiohttp import web

from pxeserver.api.access.who import look
from pxeserver.api.routes import clusters
from pxeserver.api.routing import Call
from pxeserver.hostlist import fold
from webadmin.render import NAVIGATION, language_of, redirect, render
from webadmin.routing import Page, call

MOST = 12
"""Hits shown of each kind."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing that was found."""

    kind: str
    name: str
    about: str
    url: str


async def found(asked: Call, text: str) -> list[Hit]:
    """What has this text in its name or its addresses; things whose name begins with it first."""
    wanted = text.casefold()
    known = [one for one in await clusters.list_clusters(asked) if wanted in one.name][:MOST]
    hits = [Hit("cluster", one.name, fold(one.members), f"/clusters/{one.name}") for one in known]
    for source in (_nodes, _machines, _things):
        hits.extend(islice(source(asked, wanted), MOST))
    return sorted(hits, key=lambda hit: (not hit.name.casefold().startswith(wanted), hit.kind, hit.name))


def _nodes(asked: Call, wanted: str) -> Iterator[Hit]:
    for node in asked.hall.nodes():
        told = (node.name, *node.macs, node.address or "", node.serial or "")
        if any(wanted in part.casefold() for part in told):
            yield Hit("node", node.name, ", ".join(node.macs), f"/nodes/{quote(node.name, safe='')}")


def _machines(asked: Call, wanted: str) -> Iterator[Hit]:
    for code, machine, _ in asked.hall.machines():
        told = (code, machine.mac, machine.address or "", machine.serial or "")
        if any(wanted in part.casefold() for part in told):
            about = " ".join(filter(None, (machine.mac, machine.vendor, machine.product)))
            yield Hit("machine", code, about, f"/nodes?unknown=1&q={quote(code, safe='')}")


def _things(asked: Call, wanted: str) -> Iterator[Hit]:
    catalog = asked.hall.catalog()
    shelves = (("profile", catalog.profiles), ("image", catalog.images))
    for kind, names in shelves:
        for name in names:
            if wanted in name.casefold():
                yield Hit(kind, name, "", f"/{kind}s/{quote(name, safe='')}")
    for group in catalog.groups:
        if wanted in group.name.casefold():
            yield Hit("group", group.name, "", f"/groups/{quote(group.name, safe='')}")


async def page(request: web.Request) -> web.Response:
    """The list of hits; as JSON for the palette."""
    text = request.query.get("q", "").strip()[:100]
    hits = await found(call(request), text) if text else []
    if "application/json" in request.headers.get("Accept", ""):
        speech = language_of(request)
        rows = [asdict(hit) | {"label": speech.text(hit.kind)} for hit in hits]
        return web.json_response(rows, headers={"Cache-Control": "no-store"})
    if len(hits) == 1 and request.query.get("go"):
        return redirect(hits[0].url)
    return render(request, "search.html", text=text, hits=hits, pages=request.app[NAVIGATION])


PAGES = (Page("GET", "/search", page, need=look("node")),)
