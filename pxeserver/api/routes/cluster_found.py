"""What every operation on clusters begins with: the cluster that the path names, and who takes orders."""

from __future__ import annotations

from collections.abc import Iterable

from pxeserver.api.access import limits
from pxeserver.api.problems import Problem, not_found
from pxeserver.api.routing import Call
from pxeserver.config.faults import ConfigErrors
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


def refused(errors: ConfigErrors) -> Problem:
    """422 with every fault of a cluster file."""
    faults = errors.faults
    fields: dict[str, str] = {}
    for fault in faults:
        place = f"{fault.where}: {fault.key}" if fault.key else fault.where
        text = f"{fault.what}. {fault.mend}" if fault.mend else fault.what
        fields[place] = f"{fields[place]}; {text}" if place in fields else text
    count = f"{len(faults)} faults" if len(faults) > 1 else "one fault"
    why = "; ".join(f"{place}: {text}" for place, text in fields.items())
    return Problem(
        422, f"the cluster is refused: {count}", why, "Nothing was touched; mend them", fields=fields
    )
