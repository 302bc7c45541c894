"""The versions of a cluster's stack files. Going back to one is a change of the cluster: clusters.py."""

from __future__ import annotations

from pxeserver.api.access.who import look
from pxeserver.api.problems import Problem
from pxeserver.api.routes.cluster_found import cluster_of, orders
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.clusters import StackVersionView
from pxeserver.storage.clusters import ClusterTable


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
)
