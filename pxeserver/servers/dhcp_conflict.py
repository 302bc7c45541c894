"""Is an address that we are about to offer already used by somebody (RFC 2131 section 3.1, step 2)?

The worker has no rights for ARP packets, and ICMP echo sockets depend on net.ipv4.ping_group_range. So it
sends an empty UDP datagram to the address, on the discard port, and looks at what this made the kernel
learn:

* a neighbour on the link that answered the kernel's own ARP request, also one that answers nothing else;
* an ICMP error that came from the address itself: "nobody listens on this port" means somebody is there.

A stale neighbour entry says nothing: it may be the address's holder of an hour ago. Waiting costs one
client its own time only, and a client whose address is already known to be its own is never checked.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import Final

log = logging.getLogger(__name__)

WAIT_SECONDS: Final = 0.4
"""A neighbour answers ARP within milliseconds; half a second still leaves time in the 2 s that iPXE waits
for offers."""

MAX_PROBES: Final = 512
"""Checks at once. Each makes an entry in the kernel's neighbour table, which holds 1024 by default."""

_LOOKS: Final = 8
_TRIES: Final = 3
_DISCARD_PORT: Final = 9
_IP_PKTINFO: Final = 8
_IP_RECVERR: Final = 11
_PKTINFO: Final = struct.Struct("=i4s4s")
_EXTENDED_ERROR: Final = struct.Struct(
    "=IBBBBII"
)  # linux/errqueue.h: struct sock_extended_err, the offender after it
_ICMP: Final = 2
_UNREACHABLE: Final = 3

_NETLINK_ROUTE: Final = 0
_RTM_NEWNEIGH: Final = 28
_RTM_GETNEIGH: Final = 30
_REQUEST_FLAG: Final = 1
_NDA_DST: Final = 1
_NDA_LLADDR: Final = 2
_CONFIRMED: Final = 0x02 | 0x80  # NUD_REACHABLE, NUD_PERMANENT
_MESSAGE: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_NEIGHBOUR: Final = struct.Struct("=BBHiHBB")  # struct ndmsg
_ATTRIBUTE: Final = struct.Struct("=HH")


class Neighbours:
    """The kernel's neighbour table, asked for one address at a time (rtnetlink(7); no rights needed, Linux
    5.0)."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
        self._sock.settimeout(1.0)
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def confirmed(self, ifindex: int, address: str) -> str | None:
        """The MAC of a neighbour that was reachable a moment ago; None where there is none."""
        self._sequence += 1
        destination = _ATTRIBUTE.pack(8, _NDA_DST) + socket.inet_aton(address)
        body = _NEIGHBOUR.pack(socket.AF_INET, 0, 0, ifindex, 0, 0, 0) + destination
        head = _MESSAGE.pack(_MESSAGE.size + len(body), _RTM_GETNEIGH, _REQUEST_FLAG, self._sequence, 0)
        try:
            self._sock.send(head + body)
            while True:
                answer = self._sock.recv(4096)
                _, kind, _, sequence, _ = _MESSAGE.unpack_from(answer)
                if sequence == self._sequence:
                    return _confirmed_mac(answer) if kind == _RTM_NEWNEIGH else None
        except OSError as error:
            log.warning("address=%s event=neighbour-lookup-failed error=%s", address, error)
            return None


def _confirmed_mac(answer: bytes) -> str | None:
    """The link address in a neighbour message, if its state is a confirmed one."""
    state = _NEIGHBOUR.unpack_from(answer, _MESSAGE.size)[4]
    if not state & _CONFIRMED:
        return None
    at = _MESSAGE.size + _NEIGHBOUR.size
    while at + _ATTRIBUTE.size <= len(answer):
        length, kind = _ATTRIBUTE.unpack_from(answer, at)
        if kind == _NDA_LLADDR:
            return answer[at + _ATTRIBUTE.size : at + length].hex(":")
        at += max(_ATTRIBUTE.size, (length + 3) & ~3)
    return None


class AddressCheck:
    """Checks addresses, many at once, without holding up anything else."""

    def __init__(self, wait: float = WAIT_SECONDS) -> None:
        self._wait = wait
        self._sock = socket.socket(
            socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        )
        self._sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        self._neighbours = Neighbours()
        self._under_way: set[str] = set()
        self._answered: set[str] = set()
        self._open = True

    def stop(self) -> None:
        """Close the sockets; checks under way end with "not in use"."""
        self._open = False
        self._sock.close()
        self._neighbours.close()

    @property
    def full(self) -> bool:
        """Whether there are as many checks under way as there may be."""
        return len(self._under_way) >= MAX_PROBES

    async def in_use(self, address: str, ifindex: int, mac: str, former: str = "") -> bool:
        """Whether a machine other than `mac` answers on `address`.

        `ifindex` is the link, 0 for a network behind a relay. `former` is the MAC whose lease on it has
        ended: that it still answers ARP does not count, since the kernel may remember it from before.
        """
        self._under_way.add(address)
        try:
            self._poke(address, ifindex)
            # The error queue is looked at now and then, and not watched: libuv takes a socket with an error
            # off its list.
            for _ in range(_LOOKS):
                await asyncio.sleep(self._wait / _LOOKS)
                if not self._open:
                    return False
                self._read_errors()
                if address in self._answered:
                    break
            answered = address in self._answered
        finally:
            self._under_way.discard(address)
            self._answered.discard(address)
        holder = self._neighbours.confirmed(ifindex, address) if ifindex else None
        if answered:
            return holder != mac
        return holder is not None and holder not in (mac, former)

    def _poke(self, address: str, ifindex: int) -> None:
        control = [(socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO.pack(ifindex, bytes(4), bytes(4)))]
        for _ in range(_TRIES):
            try:
                self._sock.sendmsg([b""], control, 0, (address, _DISCARD_PORT))
            except OSError as error:
                # A send reports the ICMP error of another check first, and has then sent nothing.
                log.debug("address=%s event=poke-failed error=%s", address, error)
                self._read_errors()
            else:
                return

    def _read_errors(self) -> None:
        """Take note of the addresses that ICMP errors came from."""
        while True:
            try:
                _, control, _, target = self._sock.recvmsg(64, 512, socket.MSG_ERRQUEUE)
            except OSError:  # the queue is empty
                return
            for level, kind, data in control:
                ours = level == socket.IPPROTO_IP and kind == _IP_RECVERR and target[0] in self._under_way
                if ours and _comes_from(data, target[0]):
                    self._answered.add(target[0])


def _comes_from(data: bytes, address: str) -> bool:
    """Whether an ICMP "unreachable" was sent by `address` itself, rather than by a router on the way to
    it."""
    if len(data) < _EXTENDED_ERROR.size + 8:
        return False
    _, origin, kind, _, _, _, _ = _EXTENDED_ERROR.unpack_from(data)
    offender = data[_EXTENDED_ERROR.size + 4 : _EXTENDED_ERROR.size + 8]
    return origin == _ICMP and kind == _UNREACHABLE and offender == socket.inet_aton(address)
