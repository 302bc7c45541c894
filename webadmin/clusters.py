"""Clusters: the list with their health, one cluster with the live steps of each member, what a step said."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from pxeserver.api.access.who import look
from pxeserver.api.problems import Problem
from pxeserver.api.routes import cluster_logs, clusters
from pxeserver.api.schemas.clusters import MemberView, StatusView, StepView
from pxeserver.api.streams import event_bytes, events
from pxeserver.hostlist import fold
from webadmin.cluster_drawing import draw
from webadmin.render import language_of, render
from webadmin.routing import Nav, Page, call, wants_fragment

TONES = {
    "ready": "ok",
    "done": "ok",
    "working": "work",
    "checking": "work",
    "destroying": "work",
    "undoing": "work",
    "running": "work",
    "failed": "fail",
    "frozen": "fail",
    "away": "wait",
    "drifted": "wait",
    "stopped": "wait",
    "drained": "wait",
    "leaving": "wait",
    "lost": "fail",
}
"""Of clusters, members and steps; idle for the others."""
WHOLE = 12
"""So many members are drawn with all their steps; of more, those that need a look come first."""
QUIET = frozenset({"done", "gone"})
_URGENCY = {"failed": 0, "frozen": 0, "away": 1, "working": 2, "undoing": 2, "waiting": 3}

ABOUT = {
    "identity": "Name, hosts file, keys that may log in",
    "packages": "Debian packages that the cluster needs",
    "network": "Switches, vNets, tunnels and the packet filter",
    "routers": "Gateways and service addresses",
    "brick": "This member's part of the volume",
    "mount": "The shared volume, mounted",
    "docker": "Docker's engine",
    "networks": "Docker networks on the vNets",
    "images": "Container images of the server's store",
    "compose": "Compose projects on this member",
    "gate": "Everything else was looked at: it may have containers",
    "swarm-init": "The founding of the Swarm",
    "swarm-join": "Its way into the Swarm",
    "pool": "The volume as a whole, done by the leader",
    "swarm-members": "Roles and labels in the Swarm, done by the leader",
    "swarm-networks": "The Swarm's own networks, done by the leader",
    "stacks": "Stacks, done by the leader",
}
"""What each step is for, in a few words."""


async def page(request: web.Request) -> web.Response:
    """All clusters; for htmx only the list."""
    template = "clusters/list.html" if wants_fragment(request) else "clusters/page.html"
    found = await clusters.list_clusters(call(request))
    return render(request, template, clusters=found, tones=TONES, fold=fold)


# --------------------------------------------------------------------------------------------- one cluster


async def cluster(request: web.Request) -> web.Response:
    """One cluster; for htmx only the part that changes."""
    asked, fragment = call(request), wants_fragment(request)
    try:
        status = await clusters.status(asked)
    except Problem as problem:
        if problem.status != 404 or not fragment:
            raise
        return web.Response(headers={"HX-Redirect": "/clusters"})  # it is no more
    about = _about(status, request.query.get("member", ""))
    if fragment:
        return render(request, "cluster/live.html", **about)
    shown = await clusters.show(asked)
    drawing = draw(shown.outline, language_of(request))
    return render(request, "cluster/page.html", cluster=shown, fold=fold, drawing=drawing, **about)


def _about(status: StatusView, member: str) -> dict[str, Any]:
    nodes = sorted(status.nodes, key=lambda node: (node.name != member, _urgency(node)))
    many = len(nodes) > WHOLE
    drawn = {node.name for node in (nodes[:WHOLE] if many else nodes)}
    return {
        "standing": status,
        "members": [node for node in (nodes if many else status.nodes) if node.name in drawn],
        "others": [node for node in status.nodes if node.name not in drawn],
        "drifted": sum(len(node.drift) for node in status.nodes),
        "settled": settled,
        "took": took,
        "tones": TONES,
        "abouts": ABOUT,
    }


def _urgency(node: MemberView) -> int:
    return _URGENCY.get(node.state, 4)


def settled(node: MemberView) -> int:
    """How many of a member's steps are done."""
    return sum(step.status in QUIET for step in node.steps)


def took(step: StepView, now: float | None = None) -> float | None:
    """Seconds that a step took, or has been running; None where it has not begun."""
    if step.started is None or step.status == "waiting":
        return None
    if step.status == "running":
        ended = now if now is not None else time.time()
    elif step.finished is not None:
        ended = step.finished
    else:
        return None
    return max(ended - step.started, 0.0)


async def stream(request: web.Request) -> web.StreamResponse:
    """That something of the cluster has changed, as server-sent events: the page asks for its part anew."""
    asked = call(request)
    shown = await clusters.show(asked)

    async def changes() -> AsyncIterator[bytes]:
        yield event_bytes("hello", b"{}")
        watch = clusters.changes(asked, shown.name)
        try:
            async for event in watch:
                yield event_bytes("changed", b'{"kind":"%s"}' % str(event["kind"]).encode())
        finally:
            await watch.aclose()  # type: ignore[attr-defined]

    return await events(request, changes())


async def step(request: web.Request) -> web.Response:
    """What a step said when it ended last, what it wanted, what it told."""
    asked = call(request)
    shown = await clusters.show(asked)
    found = await cluster_logs.log(asked)
    told = {
        name: json.dumps(getattr(found, name), indent=1, ensure_ascii=False) for name in ("want", "facts")
    }
    about: dict[str, Any] = {"took": took, "tones": TONES, "about": ABOUT}
    return render(request, "cluster/step.html", cluster=shown, step=found, told=told, **about)


_ONE = "/clusters/{name}"
PAGES = (
    Page(
        "GET",
        "/clusters",
        page,
        look("cluster"),
        Nav("Clusters", "clusters", 40, section="Machines", key="c"),
    ),
    Page("GET", _ONE, cluster, look("cluster")),
    Page("GET", _ONE + "/stream", stream, look("cluster")),
    Page("GET", _ONE + "/steps/{node}/{step}", step, look("cluster")),
)
