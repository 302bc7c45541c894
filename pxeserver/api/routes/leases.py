"""Leases: the addresses promised by DHCP."""

from __future__ import annotations

from ipaddress import IPv4Address

from pxeserver.api.access.who import look, operate
from pxeserver.api.problems import Problem, not_found
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.boots import LeaseView, lease_view


async def list_leases(call: Call) -> list[LeaseView]:
    """All leases, by address."""
    leases = await call.hall.leases()
    return [lease_view(lease) for lease in sorted(leases, key=lambda lease: IPv4Address(lease.address))]


async def release_lease(call: Call) -> None:
    """Free an address at once. The client does not hear of it: do this only for machines that are gone."""
    address = call.part("address")
    if address not in {lease.address for lease in await call.hall.leases()}:
        raise not_found("lease", address)
    try:
        await call.rooms.worker.release_lease(address, call.by)
    except LookupError:
        raise not_found("lease", address) from None
    except ConnectionError as error:
        step = "It is started again by itself; `pxeserver status` shows whether it is there"
        raise Problem(
            503, "the boot worker is away", str(error), step, headers={"Retry-After": "3"}
        ) from None


ROUTES = (
    Route("GET", "/leases", list_leases, "List leases", "lease", LeaseView, many=True, need=look("lease")),
    Route(
        "DELETE",
        "/leases/{address}",
        release_lease,
        "Free an address",
        "lease",
        status=204,
        need=operate("lease"),
    ),
)
