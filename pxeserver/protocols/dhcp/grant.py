"""The answers of a full DHCP server: an address with its terms, and for booting machines the boot file in
the same message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pxeserver.protocols.dhcp.codes import BROADCAST_FLAG, INFINITE_LEASE, MessageType, Op, Option
from pxeserver.protocols.dhcp.options import packed, write_addresses, write_routes, write_u16, write_u32
from pxeserver.protocols.dhcp.packet import NO_ADDRESS, Packet, encode
from pxeserver.protocols.dhcp.pxe import MIN_MESSAGE, PxeRequest
from pxeserver.protocols.dhcp.reply import Boot, boot_options, echo_relay, finish, place_file

_ALWAYS: Final = frozenset((Option.SUBNET_MASK.value, Option.ROUTER.value, Option.DNS.value))
"""Sent also to clients that did not list them: they are of no use without (deviation 4)."""


@dataclass(frozen=True, slots=True)
class Grant:
    """An address for a client: `seconds` is the lease time; `seconds` None answers an INFORM, which has its
    address."""

    server: str
    address: str | None
    seconds: int | None
    network: Mapping[int, bytes]
    """From network_options."""


def network_options(
    *,
    mask: str,
    broadcast: str,
    router: str | None = None,
    dns: Iterable[str] = (),
    domain: str = "",
    mtu: int | None = None,
    ntp: Iterable[str] = (),
    routes: Iterable[tuple[str, str]] = (),
) -> dict[int, bytes]:
    """The options of a network, most needed first: where a client's message size is too small, the last go
    first."""
    options = {Option.SUBNET_MASK.value: packed(mask)}
    if router:
        options[Option.ROUTER.value] = packed(router)
    if names := write_addresses(dns):
        options[Option.DNS.value] = names
    if static := tuple(routes):
        # A client that reads option 121 ignores option 3 (RFC 3442), so the default route goes in here as
        # well.
        default = (("0.0.0.0/0", router),) if router and all(n != "0.0.0.0/0" for n, _ in static) else ()
        options[Option.CLASSLESS_ROUTES.value] = write_routes((*static, *default))
    if mtu is not None:
        options[Option.MTU.value] = write_u16(mtu)
    if domain:
        options[Option.DOMAIN_NAME.value] = domain.encode("ascii")
    if clocks := write_addresses(ntp):
        options[Option.NTP.value] = clocks
    options[Option.BROADCAST_ADDRESS.value] = packed(broadcast)
    return options


def lease_reply(
    packet: Packet,
    message: MessageType,
    grant: Grant,
    *,
    request: PxeRequest | None = None,
    boot: Boot | None = None,
) -> bytes:
    """An OFFER or ACK. With `request` and `boot` it is the one answer a booting machine needs."""
    options: dict[int, bytes] = {
        Option.MESSAGE_TYPE.value: bytes((message,)),
        Option.SERVER_ID.value: packed(grant.server),
    }
    if grant.seconds is not None:
        options |= _times(grant.seconds)
    siaddr, file = NO_ADDRESS, b""
    if request is not None and boot is not None:
        options |= boot_options(request)
        siaddr, file = packed(boot.server), place_file(boot.file, options)
    wanted = packet.options.get(Option.PARAMETER_LIST.value)
    for code, value in grant.network.items():
        if code in _ALWAYS or wanted is None or code in wanted:
            options[code] = value
    size = packet.options.get(Option.MAX_MESSAGE_SIZE.value, b"")
    return _fitted(
        packet,
        options,
        ciaddr=packet.ciaddr if message is MessageType.ACK else NO_ADDRESS,
        yiaddr=packed(grant.address) if grant.address else NO_ADDRESS,
        siaddr=siaddr,
        file=file,
        max_size=max(MIN_MESSAGE, int.from_bytes(size, "big") if len(size) == 2 else 0),
    )


def refusal(packet: Packet, server: str, why: str) -> bytes:
    """A NAK (RFC 2131 table 3); `why` is for people who look at the wire."""
    options = {
        Option.MESSAGE_TYPE.value: bytes((MessageType.NAK,)),
        Option.SERVER_ID.value: packed(server),
        Option.MESSAGE.value: why.encode("ascii", "replace")[:80],
    }
    client_id = packet.options.get(Option.CLIENT_ID.value)
    if client_id is not None and len(client_id) <= 64:
        options[Option.CLIENT_ID.value] = client_id
    echo_relay(packet, options)
    # A relay broadcasts the refusal to a client whose address is wrong for its network (RFC 2131 section
    # 4.1).
    flags = BROADCAST_FLAG if packet.giaddr != NO_ADDRESS else packet.flags & BROADCAST_FLAG
    reply = Packet(
        op=Op.REPLY.value,
        xid=packet.xid,
        chaddr=packet.chaddr,
        htype=packet.htype,
        hlen=packet.hlen,
        flags=flags,
        giaddr=packet.giaddr,
        options=options,
    )
    return encode(reply)


def _times(seconds: int) -> dict[int, bytes]:
    """Lease time, renewal at half and rebinding at seven eighths of it (RFC 2131 section 4.4.5)."""
    if seconds >= INFINITE_LEASE:
        return {Option.LEASE_TIME.value: write_u32(INFINITE_LEASE)}
    return {
        Option.LEASE_TIME.value: write_u32(seconds),
        Option.RENEWAL_TIME.value: write_u32(seconds // 2),
        Option.REBINDING_TIME.value: write_u32(seconds * 7 // 8),
    }


def _fitted(packet: Packet, options: dict[int, bytes], *, max_size: int, **fields: bytes) -> bytes:
    """The reply, without as many of the last options as do not fit the client's message size."""
    while True:
        try:
            return finish(packet, dict(options), max_size=max_size, **fields)
        except ValueError:
            if len(options) <= 2:
                raise
            options.popitem()
