"""How a node boots: what goes on now, and the script that it would get."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from functools import cache

from pxeserver.api import checks
from pxeserver.api.routes.node_detail import machine_of
from pxeserver.api.routing import Call
from pxeserver.api.schemas.fields import Body, Name, View
from pxeserver.api.schemas.live import LiveBootView
from pxeserver.boot import compose
from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.compose import attempt_url
from pxeserver.boot.decision import base_url, boot_script
from pxeserver.boot.model import Consent, Event, Ignore, Machine, Node, Policy, Profile
from pxeserver.boot.plan import plan
from pxeserver.boot.script import Menu
from pxeserver.bootmenu import Menus

_ATTEMPT = "x" * 10
"""Stands in a preview where a boot's own id will be."""
_SOMEWHERE = "192.0.2.1"
"""Stands for the server's address where no served link is known (RFC 5737)."""

_SOME_MAC = "02:00:00:00:00:01"
_NO_NODE = -1
"""No node of the database has this number."""


class PreviewQuery(Body):
    """What the preview supposes."""

    profile: Name | None = None
    """As if the node had this profile."""


class ScriptPreview(View):
    """The script that a machine would get if it booted now. Looking at it changes nothing."""

    action: str
    why: str
    text: str
    """iPXE; empty where it would get none."""


async def preview(call: Call) -> ScriptPreview:
    """The script that the node would get now."""
    query: PreviewQuery = call.query
    node = checks.node(call)
    return script_for(call, node, query.profile)


def script_for(call: Call, node: Node, profile: str | None = None) -> ScriptPreview:
    """The same for a node that need not be as it is stored: one that is being edited."""
    if profile is not None:
        checks.profile(call, profile)
        node = replace(node, values={**node.values, "profile": profile})
    hall = call.hall
    nodes, stored = hall.nodes(), hall.nodes().get(node.id)
    if not (node.macs or node.uuid or node.serial):
        node = replace(node, macs=(_SOME_MAC,))  # a place: as if its machine had come
    if node != stored:
        nodes = NodeTable([node], [nodes.state(node.id)])
    return _script(call, machine_of(node), hall.catalog(), nodes)


def script_with(call: Call, node: Node | None, profile: Profile) -> ScriptPreview:
    """The script that a node would get if it booted this profile, which need not be stored: as if nothing
    held it, and an install were ordered with a consent. Without a node: an example with UEFI
    firmware.
    """
    node = node or Node(_NO_NODE, "example", hardware={"arch": "7"})
    macs = node.macs or (_SOME_MAC,)
    values = {**node.values, "profile": profile.name}
    node = replace(node, macs=macs, values=values, hold="", boot_once=None, order=1)
    node = replace(node, consents=(Consent(1, "", ()),))
    catalog = call.hall.catalog()
    catalog = replace(catalog, profiles={**catalog.profiles, profile.name: profile})
    return _script(call, machine_of(node), catalog, NodeTable([node]))


def menu_with(call: Call, node: Node | None, policy: Policy) -> Menu:
    """The menu on the screen of a node, or of an unknown machine with UEFI firmware, under this policy, which
    need not be stored.
    """
    catalog = replace(call.hall.catalog(), policy=policy)
    machine = Machine(mac=_SOME_MAC, arch=7, vendor="Example", product="Server", address="192.0.2.50")
    machine = machine if node is None else machine_of(node)
    found = plan(machine, node, catalog, NodeTable([node] if node else []))
    own = attempt_url(base_url(_address(call), policy.http_port), _ATTEMPT)
    return _menus().arrange(compose.menu(machine, found, own, catalog))


def _script(call: Call, machine: Machine, catalog: Catalog, nodes: NodeTable) -> ScriptPreview:
    base = base_url(_address(call), catalog.policy.http_port)
    found = boot_script(machine, _ATTEMPT, base, catalog, nodes, arrange=_menus().arrange)
    if isinstance(found, Ignore):
        return ScriptPreview(action="silent", why=found.detail or found.reason.value, text="")
    return ScriptPreview(action=found.plan.action.value, why=found.plan.why, text=found.text)


@cache
def _menus() -> Menus:
    return Menus()


def _address(call: Call) -> str:
    """The server's address on the first served link."""
    links = [text.split() for text in call.rooms.worker.seen().interfaces]
    own = [words[1].partition("/")[0] for words in links if len(words) > 1]
    return own[0] if own else _SOMEWHERE


def live_boots(call: Call, node_ids: Iterable[int]) -> dict[int, LiveBootView]:
    """The boots under way of these nodes, by the node's number. In memory."""
    wanted = frozenset(node_ids)
    lookout = call.hall.lookout
    boots = sorted((b for b in lookout.board.boots.values() if b.node_id in wanted), key=lambda b: b.started)
    return {
        boot.node_id: LiveBootView.model_validate(lookout.frames.row(boot))
        for boot in boots
        if boot.node_id is not None
    }


async def events_of(call: Call, node: Node, since: int | None = None) -> AsyncIterator[tuple[int, Event]]:
    """What happens to this node from now on, or after the event `since`, each with its number."""
    watch = call.hall.watch(since)
    try:
        async for number, event in watch:
            now = call.hall.nodes().get(node.id)
            if now is None:
                return
            if event.node_id == node.id or event.mac in now.macs or not event.attempt:
                yield number, event
    finally:
        await watch.aclose()  # type: ignore[attr-defined]
