"""Who else answers DHCP on a link: asked at start and when a link comes up.

The probe is what a machine would send: broadcast DISCOVERs of a PXE client, an HTTP boot client and a plain
client, with the host's own MAC address and the broadcast flag, so that the answers are the ones that
machines get. It listens on port 68 with SO_REUSEADDR on the wildcard address, which works beside the host's
own DHCP client: dhclient reads a packet socket, systemd-networkd and NetworkManager bind the host's
address, and a broadcast reaches all of them. Asking as a relay (giaddr, answers to port 67) would need no
second port, but servers treat relays differently, other boot servers drop them, and a DHCP server on this
host would keep the unicast answers.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from pxeserver.boot.model import Interface
from pxeserver.protocols.dhcp.codes import (
    BROADCAST_FLAG,
    CLIENT_PORT,
    SERVER_PORT,
    Architecture,
    MessageType,
    Op,
    Option,
)
from pxeserver.protocols.dhcp.options import dotted, read_address, write_u16
from pxeserver.protocols.dhcp.packet import NO_ADDRESS, MalformedPacket, Packet, decode, encode
from pxeserver.protocols.dhcp.pxe import HTTP_CLIENT, PXE_CLIENT
from pxeserver.servers.udp import Datagram, UdpEndpoint, open_udp

log = logging.getLogger(__name__)

TIMEOUT: Final = 4.5
"""Seconds to wait for offers: dnsmasq and home routers ping an address for three seconds before they offer
it for the first time, and the offer has to arrive after that."""

_ASK_AGAIN: Final = 1.0
_TO_ALL: Final = ("255.255.255.255", SERVER_PORT)
_WANTED: Final = bytes((1, 3, 6, 15, 28, 43, 51, 54, 60, 66, 67, 97))
_MAX_SIZE: Final = 1472
_BOOT: Final = (Option.VENDOR_CLASS, Option.TFTP_SERVER_NAME, Option.BOOT_FILE_NAME)


@dataclass(frozen=True, slots=True)
class Seen:
    """One other DHCP server on a link."""

    server: str
    """Its identifier (option 54), else the address it sent from."""
    interface: str
    gives_addresses: bool
    boot: tuple[str, ...] = ()
    """What of its offers concerns booting: "option 60", "option 66", "option 67", "file"."""

    @property
    def boots(self) -> bool:
        """Whether it tells machines what to boot: two boot servers on one link confuse each other's
        clients."""
        return bool(self.boot)


def probe_packets(mac: str, first_xid: int) -> list[bytes]:
    """DISCOVERs of a PXE, an HTTP boot and a plain client; their transaction ids count up from
    `first_xid`."""
    hardware = bytes.fromhex(mac.replace(":", ""))
    kinds = (
        (PXE_CLIENT + b":Arch:00007:UNDI:003000", Architecture.X64_UEFI),
        (HTTP_CLIENT + b":Arch:00016:UNDI:003000", Architecture.X64_UEFI_HTTP),
        (None, None),
    )
    packets = []
    for number, (vendor_class, arch) in enumerate(kinds):
        options = {
            Option.MESSAGE_TYPE.value: bytes((MessageType.DISCOVER,)),
            Option.MAX_MESSAGE_SIZE.value: write_u16(_MAX_SIZE),
            Option.PARAMETER_LIST.value: _WANTED,
        }
        if vendor_class is not None and arch is not None:
            options[Option.VENDOR_CLASS.value] = vendor_class
            options[Option.CLIENT_ARCH.value] = write_u16(arch)
            options[Option.CLIENT_NDI.value] = b"\x01\x03\x00"
            options[Option.CLIENT_UUID.value] = b"\0" + hardware.rjust(16, b"\0")
        packet = Packet(
            op=Op.REQUEST.value,
            xid=(first_xid + number) & 0xFFFFFFFF,
            chaddr=hardware.ljust(16, b"\0"),
            flags=BROADCAST_FLAG,
            options=options,
        )
        packets.append(encode(packet))
    return packets


def read_offer(data: bytes, source: str, interface: str, own: Collection[str] = ()) -> Seen | None:
    """What an answer says of its server; None where it is no OFFER.

    A server that sends machines to us (its siaddr is one of our `own` addresses) counts as telling them
    nothing.
    """
    try:
        packet = decode(data)
    except MalformedPacket:
        return None
    if packet.op != Op.REPLY or packet.message_type != MessageType.OFFER:
        return None
    server = read_address(packet.options.get(Option.SERVER_ID.value)) or source
    boot = [f"option {code.value}" for code in _BOOT if code.value in packet.options]
    if packet.file:
        boot.append("file")
    if server not in own and dotted(packet.siaddr) in own:
        boot.clear()
    return Seen(server, interface, packet.yiaddr != NO_ADDRESS, tuple(boot))


def merged(seen: Iterable[Seen]) -> list[Seen]:
    """One entry for each server, with all that its several offers told, in the order of first sight."""
    found: dict[str, Seen] = {}
    for one in seen:
        old = found.get(one.server, one)
        boot = tuple(dict.fromkeys((*old.boot, *one.boot)))
        found[one.server] = Seen(one.server, one.interface, old.gives_addresses or one.gives_addresses, boot)
    return list(found.values())


async def probe_servers(
    interface: Interface,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - it always waits so long: nobody announces the last offer
    sock: socket.socket | None = None,
) -> list[Seen]:
    """The other DHCP servers on a link, asked for `timeout` seconds (twice, where that is more than one
    second).

    `sock` is a socket bound to port 68 (udp.open_udp), for processes that may not bind it themselves; it is
    closed at the end. Without one it is opened here: OSError where that is not allowed or another program
    holds the port for itself. A link without address or MAC is not asked. A server with one of our own
    addresses is another program on this host: our own server does not answer its host's MAC.
    """
    own = {network.partition("/")[0] for network in interface.networks}
    source = next((a for a in own if ":" not in a), None)
    if not interface.mac or source is None:
        if sock is not None:
            sock.close()
        return []
    first = secrets.randbits(32)
    packets = probe_packets(interface.mac, first)
    answers: list[Seen] = []

    def heard(datagram: Datagram) -> None:
        xid = int.from_bytes(datagram.data[4:8], "big")
        if datagram.ifindex != interface.index or (xid - first) & 0xFFFFFFFF >= len(packets):
            return
        seen = read_offer(datagram.data, datagram.source[0], interface.name, own)
        if seen is not None:
            answers.append(seen)

    endpoint = UdpEndpoint(sock or open_udp(CLIENT_PORT), heard)
    endpoint.start()
    pauses = (_ASK_AGAIN, timeout - _ASK_AGAIN) if timeout > _ASK_AGAIN else (timeout,)
    try:
        for pause in pauses:
            for packet in packets:
                endpoint.send(packet, _TO_ALL, ifindex=interface.index, source=source)
            await asyncio.sleep(pause)
    finally:
        endpoint.stop()
    found = merged(answers)
    _tell(found)
    return found


def _tell(found: Iterable[Seen]) -> None:
    for one in found:
        what = "+".join(one.boot).replace(" ", "-") or "none"
        log.info("server=%s interface=%s event=other-dhcp-server addresses=%s boot=%s",
                 one.server, one.interface, one.gives_addresses, what)  # fmt: skip
