"""What the steps of clusters said."""

from __future__ import annotations

from pxeserver.api.access.who import look
from pxeserver.api.problems import Problem
from pxeserver.api.routes.cluster_found import cluster_of, orders
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.clusters import LogView, step_fields
from pxeserver.postinstall import views
from pxeserver.postinstall.work import StepKey


async def log(call: Call) -> LogView:
    """One step with its log."""
    return await log_of(call, call.part("node"), call.part("step"))


async def log_of(call: Call, node: str, step: str) -> LogView:
    """The log of this step in the cluster that the path names."""
    cluster, key = await cluster_of(call), StepKey(node, step)
    state = cluster.coordinator.states.get(key)
    if state is None:
        known = sorted(k.step for k in cluster.coordinator.states if k.node == key.node)
        why = f"{key.node} has the steps {', '.join(known)}" if known else f"{key.node} has no steps here"
        mend = f"`pxeserver cluster status {cluster.name}` shows them"
        raise Problem(404, f"no step {key.step} of {key.node}", why, mend)
    shown = views.step(cluster, key, orders(call).clusters.clock())
    return LogView(**step_fields(shown), log=state.log, want=dict(state.params), facts=dict(state.facts))


ROUTES = (
    Route(
        "GET",
        "/clusters/{name}/logs/{node}/{step}",
        log,
        "Show a step's log",
        "cluster",
        LogView,
        need=look("cluster"),
    ),
)
