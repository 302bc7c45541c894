"""A cluster's stacks: the versions of their files, and their services. Going back to a version is a change of
the cluster: clusters.py.
"""

from __future__ import annotations

from pxeserver.api.access.who import look
from pxeserver.api.problems import Problem
from pxeserver.api.routes.cluster_found import cluster_of, orders
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.clusters import StackServiceView, StackVersionView
from pxeserver.postinstall.work import StepKey
from pxeserver.storage.clusters import ClusterTable

_STACKS = "stacks"
"""The leader's step that deploys them."""
_TASKS = "tasks of "
"""Before a service's name in what the step finds."""


async def versions(call: Call) -> list[StackVersionView]:
    """Every version of a stack's file, the newest first."""
    cluster, name = await cluster_of(call), call.part("stack")
    async with call.hall.database.read() as connection:
        found = await ClusterTable(connection, orders(call).clusters.box).versions(cluster.record.id, name)
    if not found:
        step = f"`pxeserver cluster show {cluster.name}` names its stacks"
        raise Problem(404, f"no stack {name}", f"{cluster.name} has kept no version of it", step)
    text = next((stack.text for stack in cluster.spec.stacks if stack.name == name), None)
    current = next((version.version for version in found if version.file == text), 0)
    return [
        StackVersionView(
            name=version.name,
            version=version.version,
            sha256=version.sha256,
            created_by=version.created_by,
            created_at=version.created_at,
            file=version.file,
            current=version.version == current,
        )
        for version in found
    ]


async def services(call: Call) -> list[StackServiceView]:
    """The services of a stack: what ran when it was deployed, and what was found to be wrong since."""
    cluster, name = await cluster_of(call), call.part("stack")
    key = StepKey(cluster.leader or "", _STACKS)
    state, member = cluster.coordinator.states.get(key), cluster.members.get(key.node)
    told = (state.facts if state else {}).get("stacks", {}).get(name, {}).get("services", {})
    drift = member.drift if member else ()
    found = {
        line["what"].removeprefix(_TASKS): f"{line['have']}, wanted: {line['want']}"
        for line in drift
        if line["step"] == _STACKS
    }
    return [
        StackServiceView(
            name=service.removeprefix(f"{name}_"),
            running=running,
            as_of=(state.finished or None) if state else None,
            trouble=found.get(service, ""),
        )
        for service, running in sorted(told.items())
    ]


ROUTES = (
    Route(
        "GET",
        "/clusters/{name}/stacks/{stack}",
        versions,
        "Show the versions of a stack",
        "cluster",
        StackVersionView,
        many=True,
        need=look("cluster"),
    ),
    Route(
        "GET",
        "/clusters/{name}/stacks/{stack}/services",
        services,
        "Show the services of a stack",
        "cluster",
        StackServiceView,
        many=True,
        need=look("cluster"),
    ),
)
