"""Full DHCP (RFC 2131): addresses from pools and reservations, for machines that boot and for all others.

The table of leases is boot-plane memory; a lease is in the journal before the client hears of it. Waiting
for the disk and for the check that an address is free happens in a task of that client alone.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from pxeserver.boot.model import Ignore, Lease, Promise, PromiseKind, Reason, Subnet
from pxeserver.protocols.dhcp.codes import MessageType, Option
from pxeserver.protocols.dhcp.grant import Grant, lease_reply, network_options, refusal
from pxeserver.protocols.dhcp.lease import (
    BOUND,
    DECLINE_SECONDS,
    DECLINED,
    OFFER_SECONDS,
    OFFERED,
    RELEASED,
    Entry,
)
from pxeserver.protocols.dhcp.options import read_u32
from pxeserver.protocols.dhcp.pxe import PxeRequest
from pxeserver.protocols.dhcp.reply import Boot
from pxeserver.servers.dhcp_addresses import Addresses
from pxeserver.servers.dhcp_client import TO_ALL, Answer, Client
from pxeserver.servers.dhcp_conflict import AddressCheck
from pxeserver.servers.dhcp_links import Link

if TYPE_CHECKING:
    from pxeserver.servers.plane import Plane

log = logging.getLogger(__name__)

MIN_LEASE: Final = 120
"""Seconds; a client that asks for less would do nothing but renew."""

MAX_PENDING: Final = 4096
"""Clients waiting for the journal or the address check at once; later ones are told nothing and ask again."""

TRIES: Final = 3
"""Addresses tried for one DISCOVER when others are found in use."""

BootFor = Callable[[PxeRequest, Link], Boot | None]
"""What a booting machine is told to start; None where the decision is silence, already counted."""


class FullDhcp:
    """Gives addresses on the subnets whose mode is full or reserved."""

    def __init__(
        self,
        plane: Plane,
        boot_for: BootFor,
        send: Callable[[Answer], None],
        given: Callable[[Client, str], None],
        check: AddressCheck | None = None,
    ) -> None:
        self._plane = plane
        self._boot_for = boot_for
        self._send = send
        self._given = given
        self._addresses = Addresses(plane)
        self._check = check or AddressCheck()
        self._asking: dict[tuple[str, str], Client] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._networks: dict[Subnet, dict[int, bytes]] = {}

    async def stop(self) -> None:
        """Let go of the clients that still wait; they ask again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._check.stop()

    def answer(self, client: Client) -> Answer | Ignore | None:
        """What to do about a request; None where a task took it over or nothing has to be said."""
        match client.message:
            case MessageType.DISCOVER:
                return self._discover(client)
            case MessageType.REQUEST:
                return self._request(client)
            case MessageType.INFORM:
                return self._inform(client)
            case MessageType.RELEASE | MessageType.DECLINE:
                return self._give_back(client)
        return Ignore(Reason.OTHER_MESSAGE, client.message.name)

    # ---------------------------------------------------------------------------------- DISCOVER

    def _discover(self, client: Client) -> Answer | Ignore | None:
        if client.key in self._asking:
            self._asking[client.key] = client  # answered with the newest xid when its check is done
            return None
        address = self._addresses.choose(client)
        if isinstance(address, Ignore):
            return address
        if self._addresses.holds(client, address):
            self._plane.leases.hold(address, client.client_id, client.mac, self._plane.now())
            return self._offer(client, address)
        if self._check.full or len(self._tasks) >= MAX_PENDING:
            return Ignore(Reason.BUSY, "too many address checks at once")
        self._asking[client.key] = client
        self._spawn(self._offer_checked(client, address, self._keep(client, address)))
        return None

    def _keep(self, client: Client, address: str) -> Entry | None:
        """Keep an address for a client while it is checked; what was on record of it before. A lease in force
        is of another card of the same machine, and stays until the check has told that this one is gone."""
        former, now = self._plane.leases.get(address), self._plane.now()
        if former is None or former.is_free(now):
            self._plane.leases.hold(address, client.client_id, client.mac, now)
        return former

    async def _offer_checked(self, client: Client, address: str, former: Entry | None) -> None:
        """Offer the address once it is known to be free, or the next one."""
        used: list[str] = []
        try:
            while not await self._is_free(client, address, former):
                used.append(address)
                chosen = self._addresses.choose(client, used) if len(used) < TRIES else None
                if not isinstance(chosen, str):
                    self._plane.ignored(Ignore(Reason.ADDRESS_IN_USE, " ".join(used)))
                    return
                address, former = chosen, self._keep(client, chosen)
            self._plane.leases.hold(address, client.client_id, client.mac, self._plane.now())
            self._send(self._offer(self._asking[client.key], address))
        finally:
            self._asking.pop(client.key, None)

    async def _is_free(self, client: Client, address: str, former: Entry | None) -> bool:
        """Ask the network; an address that somebody uses is left alone for a while."""
        leases, holder = self._plane.leases, former.mac if former else ""
        in_use = await self._check.in_use(address, client.link.ifindex, client.mac, holder)
        entry = leases.get(address)
        kept = entry is not None and entry.client_id == client.client_id
        if not in_use:
            return kept or entry is former  # otherwise the other card renewed its lease meanwhile
        log.warning("mac=%s address=%s event=address-in-use", client.mac, address)
        if kept:
            leases.quarantine(address, self._plane.now())
        return False

    def _offer(self, client: Client, address: str) -> Answer:
        return self._reply(client, MessageType.OFFER, address)

    # ---------------------------------------------------------------------------------- REQUEST

    def _request(self, client: Client) -> Answer | Ignore | None:
        """The four cases of RFC 2131 section 4.3.2, told apart by server identifier, requested address and
        ciaddr."""
        leases, now = self._plane.leases, self._plane.now()
        if client.server_id is not None and client.server_id not in client.own:
            leases.let_go(client.client_id, now)
            return Ignore(Reason.OTHER_SERVER, client.server_id)
        address = client.ciaddr or client.wanted
        if address is None:
            return Ignore(Reason.OTHER_MESSAGE, "a REQUEST without an address")
        if not client.link.has(address):
            return self._refuse(client, "wrong network")
        if not self._addresses.knows(client, address):
            entry = leases.get(address)
            if client.server_id is None and (entry is None or entry.is_free(now)):
                # No record of it: another server may have one (RFC 2131 section 4.3.2, INIT-REBOOT).
                return Ignore(Reason.OTHER_SERVER, f"no record of {address}")
            return self._refuse(client, "not your address")
        if not self._addresses.allows(client, address):
            return self._refuse(client, "no longer your address")
        if len(self._tasks) >= MAX_PENDING:
            return Ignore(Reason.BUSY, "too many leases waiting for the disk")
        leases.hold(address, client.client_id, client.mac, now)
        self._spawn(self._grant(client, address))
        return None

    async def _grant(self, client: Client, address: str) -> None:
        """Write the lease down, then acknowledge it: in the time for which the address was held, or not at
        all."""
        now = self._plane.now()
        lease = Lease(
            address,
            client.mac,
            client.client_id,
            now + self._seconds(client),
            client.hostname,
            BOUND,
        )
        if await self._record(lease):
            if self._plane.now() - now >= OFFER_SECONDS:
                self._plane.ignored(Ignore(Reason.JOURNAL_FAILED, f"{address} was written too late"))
                return
            log.info("mac=%s address=%s event=leased seconds=%d", client.mac, address, lease.expires - now)
            self._given(client, address)
            self._send(self._reply(client, MessageType.ACK, address))

    def _refuse(self, client: Client, why: str) -> Answer:
        log.info(
            "mac=%s address=%s event=refused why=%s",
            client.mac,
            client.ciaddr or client.wanted,
            why.replace(" ", "-"),
        )
        link = client.link
        to = client.relay or TO_ALL
        return Answer(refusal(client.packet, link.server, why), to, link.ifindex, link.server)

    # ---------------------------------------------------------------------------------- the rest

    def _inform(self, client: Client) -> Answer | Ignore:
        """Everything but an address, to the address the client has (RFC 2131 section 4.3.5)."""
        if client.ciaddr is None or not client.link.has(client.ciaddr):
            return Ignore(Reason.NOT_SERVED_HERE, client.ciaddr or "no address")
        return self._reply(client, MessageType.ACK, None)

    def _give_back(self, client: Client) -> Ignore | None:
        """RELEASE and DECLINE: no answer (RFC 2131 sections 4.3.3 and 4.3.4), but durable."""
        if client.server_id not in client.own:
            return Ignore(Reason.OTHER_SERVER, client.server_id or "no server named")
        declined = client.message is MessageType.DECLINE
        address = client.wanted if declined else client.ciaddr
        entry = self._plane.leases.get(address) if address else None
        if entry is None or entry.client_id != client.client_id or entry.state not in (BOUND, OFFERED):
            return Ignore(Reason.OTHER_MESSAGE, "not the client's address")
        if len(self._tasks) >= MAX_PENDING:
            return Ignore(Reason.BUSY, "too many leases waiting for the disk")
        now = self._plane.now()
        log.info(
            "mac=%s address=%s event=%s", client.mac, entry.address, "declined" if declined else "released"
        )
        if declined:
            self._plane.leases.quarantine(entry.address, now)
            lease = Lease(entry.address, "", "", now + DECLINE_SECONDS, "", DECLINED)
        else:
            lease = Lease(entry.address, client.mac, client.client_id, now, entry.hostname, RELEASED)
        self._spawn(self._recorded(lease))
        return None

    async def _recorded(self, lease: Lease) -> None:
        await self._record(lease)

    async def _record(self, lease: Lease) -> bool:
        try:
            await self._plane.record(Promise(PromiseKind.LEASE, lease=lease))
        except OSError as error:
            log.error("mac=%s address=%s event=lease-not-recorded error=%s", lease.mac, lease.address, error)
            self._plane.ignored(Ignore(Reason.JOURNAL_FAILED, lease.address))
            return False
        self._plane.leases.put(lease)
        return True

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("event=lease-task-failed", exc_info=task.exception())

    # ---------------------------------------------------------------------------------- replies

    def _reply(self, client: Client, message: MessageType, address: str | None) -> Answer:
        link = client.link
        boot = self._boot_for(client.pxe, link) if client.pxe is not None else None
        grant = Grant(link.server, address, self._seconds(client) if address else None, self._network(link))
        data = lease_reply(client.packet, message, grant, request=client.pxe, boot=boot)
        return Answer(data, client.reply_to, link.ifindex, link.server)

    def _seconds(self, client: Client) -> int:
        """The subnet's lease time, or less where the client wishes so."""
        asked = read_u32(client.packet.options.get(Option.LEASE_TIME.value))
        configured = client.link.subnet.lease_seconds
        return configured if asked is None else min(configured, max(asked, MIN_LEASE))

    def _network(self, link: Link) -> dict[int, bytes]:
        subnet = link.subnet
        options = self._networks.get(subnet)
        if options is None:
            network = ipaddress.IPv4Network(subnet.network)
            if len(self._networks) > 1024:
                self._networks.clear()
            options = self._networks[subnet] = network_options(
                mask=str(network.netmask),
                broadcast=str(network.broadcast_address),
                router=subnet.router,
                dns=subnet.dns,
                domain=subnet.domain,
                mtu=subnet.mtu,
                ntp=subnet.ntp,
                routes=subnet.routes,
            )
        return options
