"""What every operation on clusters begins with: the cluster that the path names, and who takes orders."""

from __future__ import annotations

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
