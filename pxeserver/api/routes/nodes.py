"""Nodes: add, list, show, change, remove, approve."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from pxeserver.api import checks, cursor
from pxeserver.api.access import limits
from pxeserver.api.access.who import look, operate
from pxeserver.api.node_list import NodeFilter, Row, States, key_of, select
from pxeserver.api.problems import not_found
from pxeserver.api.routes.node_detail import detail
from pxeserver.api.routing import Call, Part, Route
from pxeserver.api.schemas.fields import merged
from pxeserver.api.schemas.nodes import (
    Approval,
    MachineView,
    NodeChange,
    NodeDetail,
    NodeNew,
    NodesNew,
    NodeView,
    machine_view,
    node_view,
)
from pxeserver.boot.identity import normal_code
from pxeserver.boot.model import Node


class NodeQuery(NodeFilter):
    """Which nodes to list, and which part of them."""

    phase: States | None = None
    """The same as `state`."""
    limit: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """So many at most; left away: all. `Link` names the next page, `X-Total-Count` has how many fit."""
    offset: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Without so many from the beginning, or from `after`."""
    after: Annotated[str, Field(max_length=2000)] | None = None
    """Where the page before ended, as its `Link` has it: no node is missed or told twice where others come
    or go meanwhile."""


def view(call: Call, node: Node) -> NodeView:
    """A node with its state."""
    return node_view(node, call.hall.nodes().state(node.id))


async def list_nodes(call: Call) -> Part:
    """All nodes, or those that the query selects, in its order."""
    query: NodeQuery = call.query
    query = query.model_copy(update={"state": query.state or query.phase})
    rows, key, link = await select(call, query), key_of(query), ""
    order = (query.sort, query.down)
    start = query.offset
    if query.after is not None:
        edge = cursor.read(query.after, order)
        with cursor.checked():
            start += _up_to(rows, edge, key, down=query.down)
    end = len(rows) if query.limit is None else start + query.limit
    if end < len(rows):
        after = cursor.written(key(rows[end - 1]), order)
        link = str(call.request.rel_url.without_query_params("offset").update_query(after=after))
    return Part((node_view(row.node, row.state) for row in rows[start:end]), link, len(rows))


def _up_to(
    rows: list[Row], edge: tuple[Any, ...], key: Callable[[Row], tuple[Any, ...]], *, down: bool
) -> int:
    """How many of the sorted rows come before the edge, or are it."""
    if down:
        return len(rows) - bisect_left(rows[::-1], edge, key=key)
    return bisect_right(rows, edge, key=key)


async def show_node(call: Call) -> NodeDetail:
    """One node, with what it would get now and why."""
    return await detail(call, checks.node(call))


async def add_nodes(call: Call) -> list[NodeView]:
    """Add nodes in one transaction."""
    body: NodesNew = call.body
    for new in body.nodes:
        limits.touch(call, f"node {new.name}", new.labels)
        checks.values(call, new.values)
    async with call.hall.edit(call.by) as edit:
        added = await edit.add_nodes([_new_node(new) for new in body.nodes])
    return [view(call, node) for node in added]


def _new_node(new: NodeNew) -> Node:
    return Node(
        id=0,
        name=new.name,
        uuid=new.uuid,
        serial=new.serial,
        macs=new.macs,
        values=dict(new.values),
        labels=dict(new.labels),
        address=new.address,
    )


async def change_node(call: Call) -> NodeView:
    """Change what the body names; the rest stays."""
    body: NodeChange = call.body
    node = checks.node(call)
    seen = call.version(body.version)
    checks.values(call, body.values or {})
    changes: dict[str, Any] = {}
    for name in ("name", "macs"):
        if (value := getattr(body, name)) is not None:
            changes[name] = value
    for name in ("uuid", "serial", "address"):
        if (value := getattr(body, name)) is not None:
            changes[name] = value or None
    if body.values is not None:
        changes["values"] = merged(node.values, body.values)
    if body.labels is not None:
        changes["labels"] = merged(node.labels, body.labels)
        limits.touch(call, f"node {node.name} then", changes["labels"])
    async with call.hall.edit(call.by) as edit:
        changed = await edit.change_node(replace(node, **changes), seen)
    return view(call, changed)


async def remove_node(call: Call) -> None:
    """Forget a node: its machine is unknown again."""
    node = checks.node(call)
    async with call.hall.edit(call.by) as edit:
        await edit.remove_node(node.name)


async def list_machines(call: Call) -> list[MachineView]:
    """Unknown machines, last seen first."""
    return [machine_view(*seen) for seen in call.hall.machines()]


async def approve(call: Call) -> NodeView:
    """Make an unknown machine a node."""
    body: Approval = call.body
    code = normal_code(body.code)
    if body.profile is not None:
        checks.profile(call, body.profile)
    if code not in {known for known, _, _ in call.hall.machines()}:
        raise not_found("machine", code)
    if call.who.labels:
        limits.nodes(call, [body.name or "of a new name"])
    async with call.hall.edit(call.by) as edit:
        node = await edit.approve(code, body.name)
        if body.profile is not None:
            node = await edit.change_node(replace(node, values={**node.values, "profile": body.profile}))
    return view(call, node)


ROUTES = (
    Route(
        "GET",
        "/nodes",
        list_nodes,
        "List nodes",
        "node",
        answer=NodeView,
        many=True,
        query=NodeQuery,
        need=look("node"),
    ),
    Route(
        "POST",
        "/nodes",
        add_nodes,
        "Add nodes",
        "node",
        answer=NodeView,
        many=True,
        body=NodesNew,
        status=201,
        need=operate("node", within_labels=True),
    ),
    Route("GET", "/nodes/{name}", show_node, "Show a node", "node", answer=NodeDetail, need=look("node")),
    Route(
        "PATCH",
        "/nodes/{name}",
        change_node,
        "Change a node",
        "node",
        answer=NodeView,
        body=NodeChange,
        need=operate("node", within_labels=True),
    ),
    Route(
        "DELETE",
        "/nodes/{name}",
        remove_node,
        "Remove a node",
        "node",
        status=204,
        need=operate("node", within_labels=True),
    ),
    Route(
        "GET",
        "/machines",
        list_machines,
        "List unknown machines",
        "node",
        answer=MachineView,
        many=True,
        need=look("node"),
    ),
    Route(
        "POST",
        "/approvals",
        approve,
        "Make a machine a node",
        "node",
        answer=NodeView,
        body=Approval,
        status=201,
        need=operate("node", within_labels=True),
    ),
)
