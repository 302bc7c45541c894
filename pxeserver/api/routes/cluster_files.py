"""What cluster files are made with: the nodes that may become members, the file as it was applied, what it
comes to, and stacks and Compose projects put into it or taken out.
"""

from __future__ import annotations

from pxeserver.api.access.who import look, operate
from pxeserver.api.problems import Problem
from pxeserver.api.routes.cluster_found import cluster_of, orders, refused, within_limits
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.cluster_files import (
    CandidateView,
    ClusterFileView,
    Deploy,
    candidate_view,
)
from pxeserver.api.schemas.cluster_outline import OutlineView, outline
from pxeserver.api.schemas.clusters import AppliedView, ClusterFile, PlanView, applied_view, plan_view
from pxeserver.config.faults import ConfigErrors
from pxeserver.postinstall import specedit
from pxeserver.postinstall.orders import Planned
from pxeserver.postinstall.running import RunningCluster

MOST = 200
"""So many nodes without an agent are named."""


async def candidates(call: Call) -> list[CandidateView]:
    """The nodes that have an agent, in the order in which they claimed; then those that have none yet."""
    if call.rooms.clusters is None:
        return []
    found = await orders(call).candidates(MOST)
    return [candidate_view(one, joined=joined) for one, joined in found]


async def outlined(call: Call) -> OutlineView:
    """What a cluster file says, by itself: no node is asked for anything."""
    body: ClusterFile = call.body
    try:
        return outline(await orders(call).read(body.text, body.files, body.name))
    except ConfigErrors as errors:
        raise refused(errors) from None


async def show_file(call: Call) -> ClusterFileView:
    """The cluster file as it was applied last, with the files that it names as they are deployed."""
    cluster = await cluster_of(call)
    return ClusterFileView(text=cluster.record.text, files=_files(cluster))


def _files(cluster: RunningCluster) -> dict[str, str]:
    stacks = {stack.file: stack.text for stack in cluster.spec.stacks}
    return stacks | {project.file: project.text for project in cluster.spec.compose}


# ---------------------------------------------------------------------------------------------- deploying


async def plan_deploy(call: Call) -> PlanView:
    """What deploying a stack or a Compose project, or taking it away, would do. Nothing is touched."""
    return plan_view(await _plan(call))


async def deploy(call: Call) -> AppliedView:
    """Deploy a stack or a Compose project, or take it away: the cluster file gets or loses its entry."""
    body: Deploy = call.body
    planned = await _plan(call)
    await within_limits(call, planned.name, planned.layout.everyone)
    return applied_view(await orders(call).apply(planned, call.by, seen=body.seen))


async def _plan(call: Call) -> Planned:
    cluster, body = await cluster_of(call), call.body
    text, files = _changed(cluster, body)
    try:
        return await orders(call).plan_file(text, files, f"{cluster.name}.toml")
    except ConfigErrors as errors:
        raise refused(errors) from None


def _changed(cluster: RunningCluster, body: Deploy) -> tuple[str, dict[str, str]]:
    files = _files(cluster)
    known = cluster.spec.stacks if body.kind == "stack" else cluster.spec.compose
    old = next((e for e in known if e.name == body.name and getattr(e, "node", "") == body.node), None)
    what = f"{body.kind} {body.name}"
    if body.remove and old is None:
        step = f"`pxeserver cluster show {cluster.name}` shows the file"
        raise Problem(404, f"no {what}", f"the file of {cluster.name} has none", step)
    file = old.file if old is not None else _free_name(body, files)
    env = body.env if body.env is not None else dict(old.env) if old is not None else {}
    entry = specedit.Entry(body.kind, body.name, body.node, file, env)
    try:
        if body.remove:
            return specedit.take(cluster.record.text, entry), files
        return specedit.put(cluster.record.text, entry), files | {file: body.file}
    except specedit.CannotEdit as error:
        raise Problem(409, f"{what} is not changed", str(error), "Change the cluster file itself") from None
    except LookupError:  # the file applied last does not say it: it is the server's own
        raise Problem(409, f"{what} is not changed", "the file does not name it", "Apply the file") from None


def _free_name(body: Deploy, files: dict[str, str]) -> str:
    names = (f"{body.name}.yml", f"{body.name}-{body.node or 'stack'}.yml")
    return next((name for name in names if name not in files), f"{body.kind}-{body.name}-{body.node}.yml")


ROUTES = (
    Route(
        "GET",
        "/cluster-candidates",
        candidates,
        "List nodes that may become members",
        "cluster",
        CandidateView,
        many=True,
        need=look("cluster"),
    ),
    Route(
        "POST",
        "/clusters/outline",
        outlined,
        "Tell what a file says",
        "cluster",
        OutlineView,
        body=ClusterFile,
        need=look("cluster"),
    ),
    Route(
        "GET",
        "/clusters/{name}/file",
        show_file,
        "Show a cluster's file",
        "cluster",
        ClusterFileView,
        need=look("cluster"),
    ),
    Route(
        "POST",
        "/clusters/{name}/deploy/plan",
        plan_deploy,
        "Plan a stack or project",
        "cluster",
        PlanView,
        body=Deploy,
        need=look("cluster"),
    ),
    Route(
        "POST",
        "/clusters/{name}/deploy",
        deploy,
        "Deploy a stack or project",
        "cluster",
        AppliedView,
        body=Deploy,
        need=operate("cluster", within_labels=True),
    ),
)
