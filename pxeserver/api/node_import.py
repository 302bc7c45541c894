"""Many nodes from one file: looked through whole, then taken whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from pxeserver.api import node_files
from pxeserver.api.access.limits import touch
from pxeserver.api.node_files import Fault, ReadNodes
from pxeserver.api.problems import Problem
from pxeserver.api.routing import Call
from pxeserver.api.schemas.fields import Body, View
from pxeserver.api.schemas.nodes import NodeNew
from pxeserver.boot.model import Node


class NodesFile(Body):
    """A file of nodes."""

    text: Annotated[str, Field(min_length=1, max_length=4 << 20)]
    """CSV with a line of column names, or JSON."""
    change: bool = False
    """Nodes that are there already get what the file says; without this they are faults."""
    try_only: bool = False
    """Only say what would be done."""


class FaultView(View):
    """What is wrong with a file, and where."""

    line: int
    field: str
    text: str


class NodesTaken(View):
    """What was taken from a file, or would be; nothing is while there are faults."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    same: int
    """Nodes that are as the file says already."""
    faults: tuple[FaultView, ...]


@dataclass(slots=True)
class Import:
    """What a file asks for."""

    added: list[NodeNew]
    changed: list[tuple[Node, Node]]
    """As they are, and as they are to be."""
    same: int
    faults: list[Fault]

    def view(self) -> NodesTaken:
        """As the API tells it."""
        return NodesTaken(
            added=tuple(new.name for new in self.added),
            changed=tuple(new.name for _, new in self.changed),
            same=self.same,
            faults=tuple(FaultView(line=f.line, field=f.field, text=f.text) for f in self.faults),
        )


async def import_nodes(call: Call) -> NodesTaken:
    """Take a file of nodes. 422 with all its faults, unless it is only tried."""
    body: NodesFile = call.body
    asked = look_through(call, body)
    if asked.faults and not body.try_only:
        raise _faulty(asked.faults)
    if not body.try_only:
        await take(call, asked)
    return asked.view()


def look_through(call: Call, body: NodesFile) -> Import:
    """What a file asks for, with its faults; nothing is changed."""
    found = node_files.read(body.text)
    hall = call.hall
    by_name = {new.name: node for _, new in found.nodes if (node := hall.node(new.name)) is not None}
    node_files.check(found, hall.catalog(), hall.nodes(), by_name)
    asked = Import([], [], 0, found.faults)
    for line, new in found.nodes:
        old = by_name.get(new.name)
        try:
            touch(call, f"node {new.name}", new.labels)
            if old is not None:
                touch(call, f"node {new.name}", old.labels)
        except Problem as problem:
            found.fault(line, "labels", problem.view.why)
            continue
        if old is None:
            asked.added.append(new)
        elif (changed := _changed(old, new)) == old:
            asked.same += 1
        elif body.change:
            asked.changed.append((old, changed))
        else:
            found.fault(line, "name", f"node {new.name} is there already")
    return asked


def _changed(old: Node, new: NodeNew) -> Node:
    """What the file names is as it says; what it leaves out stays."""
    return replace(
        old,
        macs=new.macs or old.macs,
        uuid=new.uuid or old.uuid,
        serial=new.serial or old.serial,
        address=new.address or old.address,
        values={**old.values, **new.values},
        labels={**old.labels, **new.labels},
    )


async def take(call: Call, asked: Import) -> list[Node]:
    """Add and change the nodes in one transaction; the added ones."""
    async with call.hall.edit(call.by) as edit:
        for _, changed in asked.changed:
            await edit.change_node(changed)
        return await edit.add_nodes([_node(new) for new in asked.added]) if asked.added else []


def _node(new: NodeNew) -> Node:
    given: dict[str, Any] = {
        name: getattr(new, name) for name in ("name", "uuid", "serial", "macs", "address")
    }
    return Node(id=0, values=dict(new.values), labels=dict(new.labels), **given)


def _faulty(faults: list[Fault]) -> Problem:
    fields = {f"line {f.line}{': ' if f.field else ''}{f.field}": f.text for f in reversed(faults)}
    why = f"{len(faults)} faults; the first one: line {faults[0].line}: {faults[0].text}"
    return Problem(422, "the file is refused", why, "Correct the lines that are named", fields=fields)


__all__ = ["Import", "NodesFile", "NodesTaken", "ReadNodes", "import_nodes", "look_through", "take"]
