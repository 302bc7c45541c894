"""One act on many nodes at once, in one transaction, and how it is taken back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from pydantic import Field

from pxeserver.api import checks
from pxeserver.api.access.limits import touch
from pxeserver.api.node_list import named, profiles
from pxeserver.api.problems import Problem
from pxeserver.api.routing import Call
from pxeserver.api.schemas.fields import Body, LabelChanges, Name, NodeName, Text, View, merged
from pxeserver.boot.model import Node
from pxeserver.boot.plan import installs
from pxeserver.live import Refused
from pxeserver.live.edit import Edit

MOST = 4096
"""Nodes of one act: the others wait while it is written."""

Act = Literal["profile", "label", "hold", "release", "boot-once", "not-once", "install", "remove"]
UNDOABLE: frozenset[str] = frozenset({"profile", "label", "hold", "release", "boot-once", "not-once"})
"""Acts that `put_back` takes back; the others cannot be, and are confirmed instead."""


class NodesAct(Body):
    """What to do with these nodes."""

    nodes: Annotated[tuple[NodeName, ...], Field(min_length=1, max_length=MOST)]
    act: Act
    profile: Name | None = None
    """For profile (none: takes it away), boot-once, and install (none: each node's own)."""
    labels: LabelChanges = Field(default_factory=dict)
    """For label; null takes one away."""
    reason: Text = ""
    """For hold."""


class NodesActed(View):
    """What was done."""

    done: tuple[str, ...]
    refused: dict[str, str]
    """The others: why not."""


@dataclass(slots=True)
class Acted:
    """What was done, with what is needed to take it back."""

    act: Act
    before: list[Node] = field(default_factory=list)
    after: dict[int, Node] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def view(self) -> NodesActed:
        """As the API tells it."""
        return NodesActed(done=tuple(node.name for node in self.before), refused=self.refused)


async def act_on_nodes(call: Call) -> NodesActed:
    """Carry out one act on many nodes, all in one transaction; nodes that refuse it stay as they are and say
    why."""
    return (await act(call, call.body)).view


async def act(call: Call, body: NodesAct) -> Acted:
    """The same, with what is needed to take it back. 422 where the act itself is wrong."""
    _check(call, body)
    nodes = named(call, body.nodes)
    acted = Acted(body.act)
    async with call.hall.edit(call.by) as edit:
        verb = _verb(call, edit, body)
        for node in nodes:
            try:
                _touch(call, node, body)
                changed = await verb(node)
            except Refused as refusal:
                acted.refused[node.name] = refusal.why
            except Problem as problem:
                acted.refused[node.name] = problem.view.why
            else:
                acted.before.append(node)
                if changed is not None:
                    acted.after[node.id] = changed
    return acted


def _check(call: Call, body: NodesAct) -> None:
    if body.profile is not None:
        checks.profile(call, body.profile)
    elif body.act == "boot-once":
        why = "it takes a profile"
        raise Problem(422, "nothing to boot", why, "Name a profile", fields={"profile": why})
    if body.act == "label" and not body.labels:
        why = "no label is named"
        raise Problem(422, "nothing to change", why, "Name a label as key=value", fields={"labels": why})
    if body.act == "hold" and not body.reason:
        why = "say why, for whoever stands before the machine"
        raise Problem(422, "no reason is given", why, "Give one", fields={"reason": why})


def _touch(call: Call, node: Node, body: NodesAct) -> None:
    """Refuse what whoever asks may not touch, before and after the change."""
    touch(call, f"node {node.name}", node.labels)
    if body.act == "label":
        touch(call, f"node {node.name} then", merged(node.labels, body.labels))


def _verb(call: Call, edit: Edit, body: NodesAct) -> Callable[[Node], Awaitable[Node | None]]:
    async def profile(node: Node) -> Node:
        values = merged(node.values, {"profile": body.profile})
        return await edit.change_node(replace(node, values=values))

    async def label(node: Node) -> Node:
        return await edit.change_node(replace(node, labels=merged(node.labels, body.labels)))

    async def install(node: Node) -> Node:
        name = body.profile or _profile_of(call, node)
        found = call.hall.catalog().profiles.get(name)
        if found is None or not installs(found):
            why = f"profile {name} does not install" if name else "no profile is assigned to it"
            raise Problem(422, f"node {node.name} cannot be installed", why, "Name a profile that installs")
        if body.profile:
            await edit.change_node(replace(node, values={**node.values, "profile": body.profile}))
        return await edit.order_install(node.name)

    verbs: dict[Act, Callable[[Node], Awaitable[Node | None]]] = {
        "profile": profile,
        "label": label,
        "install": install,
        "hold": lambda node: edit.hold(node.name, body.reason),
        "release": lambda node: edit.release(node.name),
        "boot-once": lambda node: edit.boot_once(node.name, body.profile),
        "not-once": lambda node: edit.boot_once(node.name, None),
        "remove": lambda node: edit.remove_node(node.name),
    }
    return verbs[body.act]


def _profile_of(call: Call, node: Node) -> str:
    return profiles(call.hall.catalog())(node)[0]


async def put_back(call: Call, acted: Acted) -> tuple[int, int]:
    """Take an act back; how many nodes are as they were before, and how many are not, because they were
    changed again or are gone."""
    back = 0
    async with call.hall.edit(call.by) as edit:
        for old in acted.before:
            now = call.hall.nodes().get(old.id)
            after = acted.after.get(old.id)
            if now is None or after is None or not _same(acted.act, now, after):
                continue
            try:
                await _restore(edit, acted.act, now, old)
            except Refused:
                continue
            back += 1
    return back, len(acted.before) - back


def _same(what: Act, now: Node, after: Node) -> bool:
    match what:
        case "profile":
            return now.values.get("profile") == after.values.get("profile")
        case "label":
            return now.labels == after.labels
        case "hold" | "release":
            return now.hold == after.hold
    return now.boot_once == after.boot_once


async def _restore(edit: Edit, what: Act, now: Node, old: Node) -> None:
    match what:
        case "profile":
            values = merged(now.values, {"profile": old.values.get("profile")})
            await edit.change_node(replace(now, values=values))
        case "label":
            await edit.change_node(replace(now, labels=old.labels))
        case "hold" | "release":
            await (edit.hold(now.name, old.hold) if old.hold else edit.release(now.name))
        case _:
            await edit.boot_once(now.name, old.boot_once.profile if old.boot_once else None)


async def remove_added(call: Call, added: Sequence[Node]) -> tuple[int, int]:
    """Take back that nodes were added or approved, as far as nobody changed them since."""
    gone = 0
    async with call.hall.edit(call.by) as edit:
        for node in added:
            now = call.hall.nodes().get(node.id)
            if now is None or now.version != node.version:
                continue
            try:
                await edit.remove_node(now.name)
            except Refused:
                continue
            gone += 1
    return gone, len(added) - gone
