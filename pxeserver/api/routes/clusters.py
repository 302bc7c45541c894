"""Clusters: plan, apply, look, watch, change, destroy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from aiohttp import web

from pxeserver.api.access.who import look, operate
from pxeserver.api.problems import Problem
from pxeserver.api.routes import cluster_files, cluster_logs, cluster_stacks
from pxeserver.api.routes.cluster_found import cluster_of, orders, refused, within_limits
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.cluster_outline import outline
from pxeserver.api.schemas.clusters import (
    AppliedView,
    CheckOrder,
    CheckView,
    ClusterApply,
    ClusterChange,
    ClusterDetail,
    ClusterFile,
    ClusterView,
    PlanView,
    StackView,
    StatusView,
    applied_view,
    healing_view,
    member_view,
    plan_view,
    status_view,
)
from pxeserver.api.streams import lines
from pxeserver.config.faults import ConfigErrors
from pxeserver.postinstall import views
from pxeserver.postinstall.adjustments import Adjustments
from pxeserver.postinstall.orders import Planned
from pxeserver.postinstall.running import RunningCluster
from pxeserver.storage.clusters import ClusterTable

_GATHER_SECONDS = 0.1
"""What changes within so short a time is told at once."""


def view(call: Call, cluster: RunningCluster) -> ClusterView:
    """A cluster in short."""
    return ClusterView(**_fields(call, cluster))


def _fields(call: Call, cluster: RunningCluster) -> dict[str, Any]:
    now = orders(call).clusters.clock()
    status, stamp = views.status(cluster, now), cluster.record.stamp
    return {
        "name": cluster.name,
        "state": status.state,
        "members": tuple(cluster.layout.everyone),
        "managers": cluster.layout.managers,
        "leader": status.leader,
        "done": status.done,
        "wanted": status.wanted,
        "version": stamp.version,
        "updated_by": stamp.updated_by,
        "updated_at": stamp.updated_at,
    }


# ---------------------------------------------------------------------------------------------- looking


async def list_clusters(call: Call) -> list[ClusterView]:
    """All clusters, by name."""
    if call.rooms.clusters is None:
        return []
    clusters = orders(call).clusters
    await clusters.ready()
    return [view(call, clusters.running[name]) for name in sorted(clusters.running)]


async def show(call: Call) -> ClusterDetail:
    """One cluster with its file and layout."""
    cluster = await cluster_of(call)
    async with call.hall.database.read() as connection:
        found = await ClusterTable(connection, orders(call).clusters.box).stacks(cluster.record.id)
    names = ("name", "version", "sha256", "created_by", "created_at")
    return ClusterDetail(
        **_fields(call, cluster),
        text=cluster.record.text,
        outline=outline(cluster.wanted, cluster.layout),
        layout=msgspec.to_builtins(cluster.layout),
        adjusted=msgspec.to_builtins(cluster.adjusted),
        stacks=tuple(StackView(**{n: getattr(stack, n) for n in names}) for stack in found),
        created_by=cluster.record.stamp.created_by,
        created_at=cluster.record.stamp.created_at,
    )


async def status(call: Call) -> StatusView:
    """Each member's steps."""
    cluster = await cluster_of(call)
    return status_view(views.status(cluster, orders(call).clusters.clock()))


async def watch(call: Call) -> web.StreamResponse:
    """First the status, then each member that changes, as NDJSON or server-sent events."""
    cluster = await cluster_of(call)
    sse = "text/event-stream" in call.request.headers.get("Accept", "")
    return await lines(call.request, changes(call, cluster.name), sse=sse)


async def changes(call: Call, name: str) -> AsyncIterator[dict[str, Any]]:
    """What changes of a cluster: its status first, and whenever members come or go."""
    clusters = orders(call).clusters
    number, shown = 0, frozenset[str]()
    async for told in clusters.watch(name):
        cluster = clusters.running.get(name)
        if told.ended or cluster is None:
            yield {"seq": number + 1, "kind": "ended", "cluster": name}
            return
        now = clusters.clock()
        everyone = frozenset(cluster.layout.everyone)
        if everyone != shown or told.first:
            number, shown = number + 1, everyone
            body = status_view(views.status(cluster, now)).model_dump(mode="json")
            yield {"seq": number, "kind": "status", "status": body}
        else:
            short = views.status(cluster, now)
            head = {"state": short.state, "done": short.done, "wanted": short.wanted, "leader": short.leader}
            heals = healing_view(short.healing)
            head["healing"] = heals.model_dump(mode="json") if heals else None
            for node in sorted(told.nodes & everyone):
                number += 1
                body = member_view(views.node(cluster, node, now)).model_dump(mode="json")
                yield {"seq": number, "kind": "node", "node": body, **head}
            if told.condition:
                number += 1
                yield {"seq": number, "kind": "cluster", "cluster": name, **head}
        await asyncio.sleep(_GATHER_SECONDS)


# ---------------------------------------------------------------------------------------------- ordering


async def plan_file(call: Call) -> PlanView:
    """What applying a cluster file would change. Nothing is touched."""
    body: ClusterFile = call.body
    return plan_view(await _plan_file(call, body))


async def _plan_file(call: Call, body: ClusterFile) -> Planned:
    try:
        return await orders(call).plan_file(body.text, body.files, body.name, body.readmit)
    except ConfigErrors as errors:
        raise refused(errors) from None


async def apply_file(call: Call) -> AppliedView:
    """Apply a cluster file."""
    body: ClusterApply = call.body
    planned = await _plan_file(call, body)
    await within_limits(call, planned.name, planned.layout.everyone)
    return applied_view(await orders(call).apply(planned, call.by, seen=body.seen, mend=body.mend))


async def plan_change(call: Call) -> PlanView:
    """What a change of members would do. Nothing is touched."""
    return plan_view(await _plan_change(call))


async def _plan_change(call: Call) -> Planned:
    cluster, body = await cluster_of(call), call.body
    try:
        return await orders(call).plan_change(cluster.name, _adjusted(cluster, body), body.stacks)
    except ConfigErrors as errors:
        raise refused(errors) from None


def _adjusted(cluster: RunningCluster, body: ClusterChange) -> Adjustments:
    members = cluster.layout.everyone
    for name in (*body.drain, *body.undrain, *body.remove, *body.replace):
        if name not in members:
            step = f"`pxeserver cluster status {cluster.name}` shows its members"
            raise Problem(422, f"{name} is refused", f"it is no member of {cluster.name}", step)
    if body.add and not cluster.spec.members.nodes:
        why = f"the file of {cluster.name} does not name its members"
        step = "Change `next` or `select` in the cluster file"
        raise Problem(422, "no member is added", why, step, fields={"add": why})
    adjusted = cluster.adjusted.brought_back(body.readmit).added(body.add)
    adjusted = adjusted.drained(body.drain, back=False).drained(body.undrain, back=True)
    adjusted = adjusted.removed(body.remove, lost=body.lost)
    for old, new in body.replace.items():
        adjusted = adjusted.replaced(old, new, lost=body.lost)
    return adjusted.destroyed() if body.destroy else adjusted


async def change(call: Call) -> AppliedView:
    """Drain, remove, replace, destroy; or apply again."""
    body: ClusterChange = call.body
    planned = await _plan_change(call)
    await within_limits(call, planned.name, planned.layout.everyone)
    return applied_view(await orders(call).apply(planned, call.by, seen=body.seen, mend=body.mend))


async def stop(call: Call) -> StatusView:
    """Begin nothing more until the next apply."""
    await within_limits(call, call.part("name"))
    await orders(call).stop(call.part("name"), call.by)
    return await status(call)


async def check(call: Call) -> CheckView:
    """Look for drift."""
    body: CheckOrder = call.body
    await within_limits(call, call.part("name"))
    return CheckView(steps=await orders(call).check(call.part("name"), body.nodes))


async def forget(call: Call) -> None:
    """Drop a cluster without undoing anything on its members."""
    await cluster_of(call)
    await within_limits(call, call.part("name"))
    await orders(call).forget(call.part("name"), call.by)


_ONE = "/clusters/{name}"
ROUTES = (
    Route(
        "GET",
        "/clusters",
        list_clusters,
        "List clusters",
        "cluster",
        ClusterView,
        many=True,
        need=look("cluster"),
    ),
    Route(
        "POST",
        "/clusters/plan",
        plan_file,
        "Plan a file",
        "cluster",
        PlanView,
        body=ClusterFile,
        need=look("cluster"),
    ),
    Route(
        "POST",
        "/clusters",
        apply_file,
        "Apply a file",
        "cluster",
        AppliedView,
        body=ClusterApply,
        need=operate("cluster", within_labels=True),
    ),
    Route("GET", _ONE, show, "Show a cluster", "cluster", ClusterDetail, need=look("cluster")),
    Route(
        "GET", _ONE + "/status", status, "Where each step stands", "cluster", StatusView, need=look("cluster")
    ),
    Route(
        "GET",
        _ONE + "/watch",
        watch,
        "Watch a cluster",
        "cluster",
        media="application/x-ndjson",
        need=look("cluster"),
    ),
    Route(
        "POST",
        _ONE + "/plan",
        plan_change,
        "Plan a change",
        "cluster",
        PlanView,
        body=ClusterChange,
        need=look("cluster"),
    ),
    Route(
        "POST",
        _ONE + "/change",
        change,
        "Change a cluster",
        "cluster",
        AppliedView,
        body=ClusterChange,
        need=operate("cluster", within_labels=True),
    ),
    Route(
        "POST",
        _ONE + "/check",
        check,
        "Look for drift",
        "cluster",
        CheckView,
        body=CheckOrder,
        need=operate("cluster", within_labels=True),
    ),
    Route(
        "POST",
        _ONE + "/stop",
        stop,
        "Stop work on a cluster",
        "cluster",
        StatusView,
        need=operate("cluster", within_labels=True),
    ),
    Route(
        "DELETE",
        _ONE,
        forget,
        "Forget a cluster",
        "cluster",
        status=204,
        need=operate("cluster", within_labels=True),
    ),
    *cluster_files.ROUTES,
    *cluster_logs.ROUTES,
    *cluster_stacks.ROUTES,
)
