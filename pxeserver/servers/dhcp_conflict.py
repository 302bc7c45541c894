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
import contextlib
import errno
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
        self._waiting: dict[str, asyncio.Event] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin to listen for ICMP errors, on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock.fileno(), self._read_errors)

    def stop(self) -> None:
        """Close the sockets; checks under way end with "not in use"."""
        if self._loop is not None:
            self._loop.remove_reader(self._sock.fileno())
            self._loop = None
        self._sock.close()
        self._neighbours.close()

    @property
    def full(self) -> bool:
        """Whether there are as many checks under way as there may be."""
        return len(self._waiting) >= MAX_PROBES

    async def in_use(self, address: str, ifindex: int, mac: str, former: str = "") -> bool:
        """Whether a machine other than `mac` answers on `address`.

        `ifindex` is the link, 0 for a network behind a relay. `former` is the MAC whose lease on it has
        ended: that it still answers ARP does not count, since the kernel may remember it from before.
        """
        answered = self._waiting.setdefault(address, asyncio.Event())
        control = [(socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO.pack(ifindex, bytes(4), bytes(4)))]
        try:
            with contextlib.suppress(OSError):  # a pending ICMP error of another check may come back here
                self._sock.sendmsg([b""], control, 0, (address, _DISCARD_PORT))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(answered.wait(), self._wait)
        finally:
            self._waiting.pop(address, None)
        if self._loop is None:
            return False
        holder = self._neighbours.confirmed(ifindex, address) if ifindex else None
        if answered.is_set():
            return holder != mac
        return holder is not None and holder not in (mac, former)

    def _read_errors(self) -> None:
        while True:
            try:
                _, control, _, target = self._sock.recvmsg(64, 512, socket.MSG_ERRQUEUE)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if error.errno not in (errno.ECONNREFUSED, errno.EHOSTUNREACH):
                    log.debug("event=error-queue error=%s", error)
                break
            for level, kind, data in control:
                if level == socket.IPPROTO_IP and kind == _IP_RECVERR and _comes_from(data, target[0]):
                    event = self._waiting.get(target[0])
                    if event is not None:
                        event.set()
        with contextlib.suppress(OSError):  # nothing is expected here but the error that woke us
            self._sock.recv(64)


def _comes_from(data: bytes, address: str) -> bool:
    """Whether an ICMP "unreachable" was sent by `address` itself, rather than by a router on the way to
    it."""
    if len(data) < _EXTENDED_ERROR.size + 8:
        return False
    _, origin, kind, _, _, _, _ = _EXTENDED_ERROR.unpack_from(data)
    offender = data[_EXTENDED_ERROR.size + 4 : _EXTENDED_ERROR.size + 8]
    return origin == _ICMP and kind == _UNREACHABLE and offender == socket.inet_aton(address)
