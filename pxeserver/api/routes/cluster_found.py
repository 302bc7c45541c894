"""What every operation on clusters begins with: the cluster that the path names, and who takes orders."""

from __future__ import annotations

from collections.abc import Iterable

from pxeserver.api.access import limits
from pxeserver.api.problems import Problem, not_found
from pxeserver.api.routing import Call
from pxeserver.postinstall.orders import ClusterOrders
from pxeserver.postinstall.running import RunningCluster


def orders(call: Call) -> ClusterOrders:
    """The orders of clusters; 503 where the API runs without them."""
    found = call.rooms.clusters
    if found is None:
        raise Problem(503, "there are no clusters here", "the API runs alone", "Start the server")
    return found


async def cluster_of(call: Call) -> RunningCluster:
    """The cluster that the path names; 404 where there is none."""
    clusters = orders(call).clusters
    await clusters.ready()
    cluster = clusters.running.get(call.part("name"))
    if cluster is None:
        raise not_found("cluster", call.part("name"))
    return cluster


async def within_limits(call: Call, name: str, planned: Iterable[str] = ()) -> None:
    """403 where the caller is limited to labels that a member of this cluster, as it is or as it is to be,
    does not carry."""
    if not call.who.labels:
        return
    clusters = orders(call).clusters
    await clusters.ready()
    known = clusters.running.get(name)
    limits.nodes(call, {*planned, *(known.layout.everyone if known is not None else ())})
