"""One node: what it gets and why, how it boots, what it is, and what can be done with it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from pxeserver.api import checks
from pxeserver.api.access.who import look, operate
from pxeserver.api.node_boot import PreviewQuery, events_of, live_boots, preview
from pxeserver.api.node_list import condition
from pxeserver.api.problems import Problem
from pxeserver.api.routes import boots, node_orders, nodes
from pxeserver.api.routes.node_detail import machine_of
from pxeserver.api.routing import Call
from pxeserver.api.schemas.boots import AttemptDetail, AttemptQuery, event_view
from pxeserver.api.schemas.nodes import ConsentGiven, LiveOrder, NodeDetail
from pxeserver.api.streams import event_bytes, events
from pxeserver.boot.architectures import arch_name
from pxeserver.boot.values import KEYS, resolve
from webadmin import timeline
from webadmin.fields import Fields
from webadmin.nodes import TONES
from webadmin.render import language_of, redirect, render
from webadmin.routing import Page, call, checked, query, wants_fragment

HISTORY = 25
"""Boots in the history of a node."""


async def page(request: web.Request) -> web.Response:
    """The page; for htmx only the part of it that changes while the node boots."""
    asked = call(request)
    node = await nodes.show_node(asked)
    about = await _about(asked, node, request.query.get("boot", ""))
    if wants_fragment(request):
        return render(request, "node/live.html", node=node, **about)
    return render(request, "node/page.html", node=node, **about, **await _rest(asked, node))


async def _about(asked: Call, node: NodeDetail, wanted: str) -> dict[str, Any]:
    """What changes while the node boots."""
    history = await boots.list_attempts(
        Call(asked.request, asked.rooms, asked.by, query=AttemptQuery(limit=HISTORY, node=node.name))
    )
    shown = wanted if any(boot.id == wanted for boot in history) else history[0].id if history else ""
    boot = await _boot(asked, shown) if shown else None
    live = live_boots(asked, [node.id]).get(node.id)
    live = live if boot is not None and live is not None and live.id == boot.id else None
    stored = asked.hall.nodes().get(node.id)
    state = condition(stored, asked.hall.nodes().state(node.id)) if stored is not None else "idle"
    return {
        "history": history,
        "boot": boot,
        "live": live,
        "picture": timeline.draw(boot, time.time(), live) if boot else None,
        "said": timeline.decode(boot.timeline, float(boot.started)) if boot else [],
        "condition": state,
        "tones": TONES,
        "failed": bool(boot and (boot.diagnosis or boot.text)) or bool(live and live.standing == "stuck"),
    }


async def _boot(asked: Call, attempt: str) -> AttemptDetail | None:
    record = await asked.hall.attempt_record(attempt)
    if record is None:
        return None
    told = {
        name: getattr(record, name) for name in AttemptDetail.model_fields if name not in ("node", "timeline")
    }
    steps = tuple(event_view(e, boots.node_name(asked, e.node_id)) for e in record.timeline)
    return AttemptDetail(**told, node=boots.node_name(asked, record.node_id), timeline=steps)


async def _rest(asked: Call, node: NodeDetail) -> dict[str, Any]:
    """What stays as it is while the node boots."""
    stored = asked.hall.nodes().get(node.id)
    values = resolve(machine_of(stored), stored, asked.hall.catalog()) if stored is not None else None
    leases = [lease for lease in await asked.hall.leases() if lease.mac in node.macs]
    return {
        "it": Fields(node.inventory or {}),
        "hardware": Fields(node.hardware),
        "shown_boot": asked.request.query.get("boot", ""),
        "trails": {key: values.trail(key)[:-1] for key in KEYS} if values else {},
        "helps": {key: KEYS[key].help for key in KEYS},
        "leases": leases,
        "arch": arch_name(int(node.hardware["arch"])) if node.hardware.get("arch", "").isdigit() else "",
        "may": asked.who.may_touch(node.labels),
        "discovered": bool(node.attempts and node.attempts[0].stage in ("inventory", "install-progress")),
    }


async def script(request: web.Request) -> web.Response:
    """The script that it would get now."""
    asked = query(request, PreviewQuery)
    found = await preview(call(request, query=asked))
    node = checks.node(call(request))
    catalog = call(request).hall.catalog()
    template = "node/script-part.html" if wants_fragment(request) else "node/script.html"
    return render(request, template, node=node, script=found, asked=asked, profiles=sorted(catalog.profiles))


async def stream(request: web.Request) -> web.StreamResponse:
    """That something has happened to the node, as server-sent events: the page asks for its part anew."""
    asked = call(request)
    node = checks.node(asked)
    given = request.headers.get("Last-Event-ID") or request.query.get("since", "")
    since = int(given) if given.isascii() and given.isdigit() and len(given) < 20 else None

    async def changes() -> AsyncIterator[bytes]:
        yield event_bytes("hello", b"{}")
        watch = events_of(asked, node, since)
        try:
            async for number, event in watch:
                yield event_bytes("changed", b'{"kind":"%s"}' % event.kind.value.encode(), number)
        finally:
            await watch.aclose()  # type: ignore[attr-defined]

    return await events(request, changes())


async def order(request: web.Request) -> web.Response:
    """An order for the discovery system that runs on the machine."""
    form = await request.post()
    body = checked(LiveOrder, {"order": form.get("order", "")})
    node = await node_orders.live_order(call(request, body=body))
    said = language_of(request).text(
        "{name}: the order is given when the machine asks for it", name=node.name
    )
    return redirect(f"/nodes/{node.name}", said)


async def consent(request: web.Request) -> web.Response:
    """Allow an install to overwrite a disk: asked for first, with what is on it."""
    form = await request.post()
    fields = {name: str(value) for name, value in form.items()}
    signatures = tuple(str(text) for text in form.getall("signature", []))
    shown = await nodes.show_node(call(request))
    disk = next((d for d in shown.disks if d.serial == fields.get("disk")), None)
    if disk is None:
        why = f"the inventory of {shown.name} shows no such disk now"
        raise Problem(422, "the consent is refused", why, "Look at the node again")
    if not fields.get("go"):
        return render(request, "node/consent.html", node=shown, disk=disk)
    body = checked(ConsentGiven, {"disk": disk.serial, "signatures": signatures})
    await node_orders.consent(call(request, body=body))
    said = language_of(request).text(
        "{name}: the next install may overwrite {disk}", name=shown.name, disk=disk.path
    )
    return redirect(f"/nodes/{shown.name}", said)


PAGES = (
    Page("GET", "/nodes/{name}", page, look("node")),
    Page("GET", "/nodes/{name}/script", script, look("node")),
    Page("GET", "/nodes/{name}/stream", stream, look("boot")),
    Page("POST", "/nodes/{name}/order", order, operate("node", within_labels=True)),
    Page("POST", "/nodes/{name}/consent", consent, operate("node", within_labels=True)),
)
