"""Which address a client of full DHCP may have: reservations of nodes first, then the pools of the subnet."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from pxeserver.boot.identity import Known, identify
from pxeserver.boot.model import DhcpMode, Ignore, Machine, Node, Reason
from pxeserver.protocols.dhcp.lease import BOUND, DECLINED, OFFERED
from pxeserver.servers.dhcp_client import Client

if TYPE_CHECKING:
    from pxeserver.servers.plane import Plane

log = logging.getLogger(__name__)


class Addresses:
    """Answers from the configuration and the table of leases; changes neither."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def choose(self, client: Client, used: Collection[str] = ()) -> str | Ignore:
        """The address to offer, or why there is none. `used` are addresses that somebody was just seen to
        use."""
        subnet, leases, now = client.link.subnet, self._plane.leases, self._plane.now()
        node = self._node(client)
        reserved = reservation(node, client)
        if reserved is not None:
            if reserved not in used and (self._open(reserved, client) or self._left(reserved, node)):
                return reserved
            log.warning("mac=%s address=%s event=reservation-in-use", client.mac, reserved)
            if subnet.mode is DhcpMode.RESERVED:
                return Ignore(Reason.ADDRESS_IN_USE, reserved)
        elif subnet.mode is DhcpMode.RESERVED:
            return Ignore(Reason.NOT_RESERVED, client.mac)
        chosen = leases.choose(
            client.client_id,
            subnet.pools,
            now,
            wanted=client.wanted,
            barred=lambda address: address in used or self._barred(address, client, node),
        )
        return chosen or Ignore(Reason.NO_FREE_ADDRESS, subnet.network)

    def holds(self, client: Client, address: str) -> bool:
        """Whether the client has this address now, by lease or offer: then nobody is asked whether it is
        free."""
        entry = self._plane.leases.get(address)
        return (
            entry is not None
            and entry.client_id == client.client_id
            and entry.state in (BOUND, OFFERED)
            and not entry.is_free(self._plane.now())
        )

    def knows(self, client: Client, address: str) -> bool:
        """Whether a REQUEST for this address can be answered from what is on record.

        That is its lease or offer, also one that has run out; its node's reservation; or, where the client
        names this server, an offer that was forgotten in a restart and that nobody else has had since
        (deviation 6).
        """
        entry = self._plane.leases.get(address)
        if entry is not None and entry.client_id == client.client_id and entry.state != DECLINED:
            return True
        reserved = reservation(self._node(client), client) == address
        if entry is None or entry.is_free(self._plane.now()):
            return reserved or client.server_id is not None
        return reserved and self._open(address, client)

    def allows(self, client: Client, address: str) -> bool:
        """Whether the configuration gives this client this address: it may have changed since the lease was
        made. A node whose reservation another holds may have one of the pool meanwhile."""
        node = self._node(client)
        reserved = reservation(node, client)
        if address == reserved:
            return True
        if reserved is not None and self._open(reserved, client):
            return False  # it moves to its reservation
        if client.link.subnet.mode is DhcpMode.RESERVED or self._barred(address, client, node):
            return False
        number = int(ipaddress.IPv4Address(address))
        return any(
            int(ipaddress.IPv4Address(low)) <= number <= int(ipaddress.IPv4Address(high))
            for low, high in client.link.subnet.pools
        )

    def _node(self, client: Client) -> Node | None:
        uuid = client.pxe.uuid if client.pxe else None
        who = identify(Machine(client.mac, uuid=uuid), self._plane.nodes())
        return who.node if isinstance(who, Known) else None

    def _open(self, address: str, client: Client) -> bool:
        """Whether nobody holds this address but the client's own card, under whatever name: firmware, loaders
        and systems call themselves differently."""
        entry = self._plane.leases.get(address)
        if entry is None or entry.is_free(self._plane.now()):
            return True
        return client.client_id == entry.client_id or client.mac == entry.mac

    def _left(self, address: str, node: Node | None) -> bool:
        """Whether another card of the node has it on lease: the check tells if that card is still there. One
        that it was only just offered to is about to take it."""
        entry = self._plane.leases.get(address)
        return entry is not None and entry.state == BOUND and node is not None and entry.mac in node.macs

    def _barred(self, address: str, client: Client, node: Node | None) -> bool:
        """Whether an address in a pool is ours, the router's, or another node's."""
        if address in client.own or address == client.link.subnet.router:
            return True
        return any(n is not node for n in self._plane.nodes().with_address(address))


def reservation(node: Node | None, client: Client) -> str | None:
    """The node's address, where it lies on the client's network."""
    return node.address if node is not None and node.address and client.link.has(node.address) else None
