"""DHCP for booting machines: the ports 67 and 4011, from datagram to answer.

A request is decoded, classified, placed on a served network, decided, and answered, all in one synchronous
run; only full DHCP (dhcp_full.py) waits, for the journal and for its check that an address is free. Every
silence is an Ignore with its reason, counted and, for machines that boot, on their timeline.

This is the long way, which takes every request apart; dhcp_offers.py is the short one for what comes in
thousands.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from pxeserver.boot.model import DhcpMode, EventKind, Ignore, Reason
from pxeserver.protocols.dhcp.codes import CLIENT_PORT, SERVER_PORT, MessageType, Op
from pxeserver.protocols.dhcp.options import dotted
from pxeserver.protocols.dhcp.packet import NO_ADDRESS, MalformedPacket, Packet, decode
from pxeserver.protocols.dhcp.pxe import NotPxe, PxeRequest, classify
from pxeserver.protocols.dhcp.reply import Boot, boot_reply
from pxeserver.servers.dhcp_choice import Choices, machine_of
from pxeserver.servers.dhcp_client import TO_ALL, Answer, Client, read_client
from pxeserver.servers.dhcp_conflict import AddressCheck
from pxeserver.servers.dhcp_full import FullDhcp
from pxeserver.servers.dhcp_links import Link, Links
from pxeserver.servers.dhcp_offers import Offers, proxied
from pxeserver.servers.udp import MAX_DATAGRAM, Datagram, UdpEndpoint

if TYPE_CHECKING:
    from pxeserver.servers.plane import Plane

log = logging.getLogger(__name__)

_MAC_FIELD: Final = slice(28, 34)  # of the bytes, for logs of messages that could not be read
_NOBODY: Final = "0.0.0.0"
_REQUEST_OP: Final = Op.REQUEST.value
_HAS_ADDRESS: Final = frozenset((MessageType.REQUEST, MessageType.INFORM))


class DhcpSockets(NamedTuple):
    """The two bound sockets: port 67 and port 4011."""

    dhcp: socket.socket
    boot: socket.socket


class DhcpServer:
    """Answers DISCOVERs and boot requests of PXE, HTTP boot and iPXE clients, and gives addresses where
    told to."""

    def __init__(self, plane: Plane, sockets: DhcpSockets, check: AddressCheck | None = None) -> None:
        self._plane = plane
        self._choices = Choices(plane)
        self._dhcp = UdpEndpoint(sockets.dhcp, self._on_dhcp, too_long=self._too_long)
        self._boot = UdpEndpoint(sockets.boot, self._on_boot, too_long=self._too_long)
        self._full = FullDhcp(plane, self._boot_for, self._send, self._address_given, check)
        self._links = Links(plane.site(), plane.catalog().policy)
        self._built_from: tuple[object, object] = (None, None)
        self._contested: frozenset[int] = frozenset()
        self._offers = Offers(plane, self._choices, lambda: (self.links(), self._contested))
        self._dhcp.shorten(self._offers, TO_ALL, self._not_sent)

    def start(self) -> None:
        """Begin to answer, on the running event loop."""
        self._offers.start()
        self._dhcp.start()
        self._boot.start()

    async def stop(self) -> None:
        """Stop answering and close both sockets; leases that wait for the disk are not acknowledged."""
        self._dhcp.stop()
        self._boot.stop()
        self._offers.stop()
        await self._full.stop()

    def set_contested(self, interfaces: Iterable[int]) -> None:
        """Name the interfaces (by index) where another DHCP server gives addresses: full mode is refused
        there, but for subnets with `force`. Their machines get boot information only."""
        self._contested = frozenset(interfaces)

    def links(self) -> Links:
        """The served networks, built anew after a link change or an edit of the policy."""
        site, policy = self._plane.site(), self._plane.catalog().policy
        if self._built_from[0] is not site or self._built_from[1] is not policy:
            self._links = Links(site, policy)
            self._built_from = (site, policy)
        return self._links

    # -------------------------------------------------------------------------------- from datagram to answer

    def _on_dhcp(self, datagram: Datagram) -> None:
        answer = self.answer(datagram)
        if isinstance(answer, Ignore):
            self._stay_silent(answer, datagram)
        elif answer is not None:
            self._send(answer)

    def _on_boot(self, datagram: Datagram) -> None:
        answer = self.answer(datagram, boot_port=True)
        if isinstance(answer, Ignore):
            self._stay_silent(answer, datagram)
        elif answer is not None:
            self._send(answer, self._boot)

    def _stay_silent(self, ignore: Ignore, datagram: Datagram) -> None:
        self._plane.ignored(ignore)
        if log.isEnabledFor(logging.DEBUG):
            mac = datagram.data[_MAC_FIELD].hex(":")
            log.debug("mac=%s event=silent reason=%s source=%s", mac, ignore.reason.name, datagram.source[0])

    def _too_long(self) -> None:
        self._plane.ignored(Ignore(Reason.MALFORMED, f"more than {MAX_DATAGRAM} bytes"))

    def _send(self, answer: Answer, endpoint: UdpEndpoint | None = None) -> None:
        """Send an answer, by default from port 67. Where the kernel refuses it, the client asks again."""
        endpoint = endpoint or self._dhcp
        if not endpoint.send(answer.data, answer.to, ifindex=answer.ifindex, source=answer.source):
            self._not_sent(answer.to[0])

    def _not_sent(self, to: str = TO_ALL[0]) -> None:
        self._plane.ignored(Ignore(Reason.NOT_SENT, to))

    def answer(self, datagram: Datagram, *, boot_port: bool = False) -> Answer | Ignore | None:
        """What to do about one datagram: an answer, a silence, or None where full DHCP took it over."""
        try:
            packet = decode(datagram.data)
        except MalformedPacket as error:
            return Ignore(Reason.MALFORMED, str(error))
        if packet.op != _REQUEST_OP:
            return Ignore(Reason.NOT_A_REQUEST)
        links = self.links()
        if packet.chaddr[:6].hex(":") in links.macs:
            return Ignore(Reason.OWN_PROBE)
        link = _place(links, packet, datagram, boot_port)
        if isinstance(link, Ignore):
            return link
        if link.subnet.mode is DhcpMode.OFF:
            return Ignore(Reason.DHCP_OFF, link.subnet.network)
        request = classify(packet)
        if not boot_port and not proxied(link, self._contested):
            return self._address(packet, request, link, links)
        if isinstance(request, NotPxe):
            return Ignore(Reason.NOT_PXE, request.reason)
        if not boot_port:
            self._offers.learn(datagram.data, request)
        return self._proxy(request, link, datagram, boot_port)

    def _address(
        self, packet: Packet, request: PxeRequest | NotPxe, link: Link, links: Links
    ) -> Answer | Ignore | None:
        """Hand a request to full DHCP."""
        client = read_client(packet, link, request if isinstance(request, PxeRequest) else None, links.own)
        if isinstance(client, Ignore):
            return client
        if self._plane.catalog().policy.dry_run:
            if client.pxe is not None and client.message is MessageType.DISCOVER:
                self._boot_for(client.pxe, link)
            return Ignore(Reason.DRY_RUN, f"would answer {client.message.name} of {client.mac}")
        return self._full.answer(client)

    # -------------------------------------------------------------------------------- ProxyDHCP

    def _proxy(self, request: PxeRequest, link: Link, datagram: Datagram, boot_port: bool) -> Answer | Ignore:
        """The answer of a boot server beside another DHCP server."""
        reply_type = self._proxy_message(request, boot_port)
        if isinstance(reply_type, Ignore):
            self._note_address(request)
            return reply_type
        boot = self._boot_choice(request, link, EventKind.BOOT_REQUESTED if boot_port else EventKind.OFFERED)
        if request.message is not MessageType.DISCOVER:
            self._note_address(request)
        if isinstance(boot, Ignore):
            return boot
        data = boot_reply(request, reply_type, boot)
        return Answer(data, _destination(request, link, datagram, boot_port), link.ifindex, link.server)

    def _proxy_message(self, request: PxeRequest, boot_port: bool) -> MessageType | Ignore:
        """Which message answers this one, if any."""
        message = request.message
        if message is MessageType.DISCOVER:
            return MessageType.OFFER
        if message is MessageType.INFORM:
            # Deviation 3: a PXE client that INFORMs asks for its boot file, on either port.
            return MessageType.ACK
        if message is not MessageType.REQUEST:
            return Ignore(Reason.OTHER_MESSAGE, message.name)
        server = request.server_id
        if boot_port and (server is None or server in self._links.own):
            return MessageType.ACK
        # On port 67 a DHCP server on this host has our identifier too. Who has no address yet asks that one
        # for it.
        if server in self._links.own and request.ciaddr is not None:
            return MessageType.ACK
        return Ignore(Reason.OTHER_SERVER, server or "no server named")

    # ------------------------------------------------------------------- what both ways of serving share

    def _boot_for(self, request: PxeRequest, link: Link) -> Boot | None:
        """For full DHCP: a machine whose decision is silence still gets its address."""
        boot = self._boot_choice(request, link, EventKind.OFFERED)
        if isinstance(boot, Ignore):
            self._plane.ignored(boot)
            return None
        return boot

    def _boot_choice(self, request: PxeRequest, link: Link, step: EventKind) -> Boot | Ignore:
        """What the decision gives this machine to start, on the timeline of its attempt."""
        machine = machine_of(request, link.subnet.network)
        discover = request.message is MessageType.DISCOVER
        attempt = None if discover else self._plane.attempts.by_mac(request.mac)
        attempt = attempt or self._choices.begin(machine)
        chosen = self._choices.choose(machine, attempt, link.server)
        if isinstance(chosen, Ignore) or discover or step is EventKind.BOOT_REQUESTED:
            self._choices.answered(attempt, chosen, step)
        return chosen if isinstance(chosen, Ignore) else Boot(chosen.server, chosen.file.encode())

    def _address_given(self, client: Client, address: str) -> None:
        """A lease was made: the attempt of a booting machine is known by its address from now on."""
        attempt = self._plane.attempts.by_mac(client.mac) if client.pxe is not None else None
        if attempt is not None:
            self._choices.given(attempt, address)

    def _note_address(self, request: PxeRequest) -> None:
        """Bind an attempt to the address its machine has or takes from another server: ciaddr, or option 50
        of a REQUEST."""
        address = request.ciaddr or request.requested_ip
        attempt = self._plane.attempts.by_mac(request.mac) if address else None
        if attempt is not None and address is not None and request.message in _HAS_ADDRESS:
            self._plane.attempts.bind_address(attempt, address)


def _place(links: Links, packet: Packet, datagram: Datagram, boot_port: bool) -> Link | Ignore:
    """The served network of a request: behind its relay, where its address is, or the link it came in on."""
    if packet.giaddr != NO_ADDRESS and not boot_port:
        return links.relayed(dotted(packet.giaddr))
    source = datagram.source[0]
    if source != _NOBODY and (boot_port or datagram.destination in links.own):
        return links.routed(source)  # the answer goes there: nobody outside the served networks gets one
    return links.direct(datagram.ifindex, None if packet.ciaddr == NO_ADDRESS else dotted(packet.ciaddr))


def _destination(request: PxeRequest, link: Link, datagram: Datagram, boot_port: bool) -> tuple[str, int]:
    """Where a boot server's answer goes."""
    if boot_port:
        return datagram.source if datagram.source[0] != _NOBODY else TO_ALL
    if request.giaddr is not None:
        return (request.giaddr, SERVER_PORT)
    if request.message is MessageType.INFORM and request.ciaddr is not None and link.has(request.ciaddr):
        return (request.ciaddr, CLIENT_PORT)
    # Deviation 1: an answer to a client without an address is broadcast whatever its flags say.
    return TO_ALL
