"""UDP sockets of the boot plane: on which interface a datagram came in, and out of which the answer goes.

One wildcard socket hears every interface; IP_PKTINFO tells the interface and the address that a datagram
was sent to, and sends the answer out of the same interface with that source address, so broadcasts need no
route (ip(7)).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

from pxeserver.servers.udp_vectors import Received, Sent, pktinfo

log = logging.getLogger(__name__)

RECEIVE_BUFFER: Final = 4 * 1024 * 1024
"""Bytes of kernel buffer asked for: DISCOVERs of a few thousand machines that are switched on together."""

BATCH: Final = 64
"""Datagrams read in one turn of the event loop, before transfers and HTTP get theirs."""

MAX_DATAGRAM: Final = 9216
"""Bytes read of one datagram: a jumbo frame. No request comes near it; longer ones are dropped."""

_IP_PKTINFO: Final = 8  # linux/in.h; the socket module of Python 3.11 does not name it
_ERRORS: Final = 16
"""ICMP errors passed over in one turn; each is told once by the kernel, before the datagrams."""

_FULL: Final = frozenset((errno.EAGAIN, errno.ENOBUFS))


class Datagram(NamedTuple):
    """One datagram as it came in. Addresses are dotted."""

    data: bytes
    source: tuple[str, int]
    ifindex: int
    destination: str
    """The address the client sent to: ours, or a broadcast."""


MAX_ANSWER: Final = 1024
"""Room for an answer of the short way; a boot server's offers have 300 bytes."""

Handler = Callable[[Datagram], None]


def open_udp(port: int, *, address: str = "0.0.0.0", receive_buffer: int = RECEIVE_BUFFER) -> socket.socket:
    """A bound IPv4 socket that can broadcast; OSError where the port is taken or may not be bound.

    SO_REUSEADDR and the wildcard address let it share port 67 with a DHCP server on the same host that does
    the same: both hear broadcasts, unicast stays with the other. SO_REUSEPORT and SO_BINDTODEVICE would
    take the other's renewals.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        prepare(sock)
        _grow_buffer(sock, receive_buffer)
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def prepare(sock: socket.socket) -> None:
    """Make a bound socket fit for an endpoint, also one that another process bound; OSError where it is no
    IPv4 datagram socket.
    """
    if sock.family != socket.AF_INET or sock.type != socket.SOCK_DGRAM:
        raise OSError(errno.EINVAL, "an IPv4 datagram socket is needed")
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def _grow_buffer(sock: socket.socket, size: int) -> None:
    force = 33  # SO_RCVBUFFORCE: beyond net.core.rmem_max, for a process that may
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, size)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


class Short(Protocol):
    """A short way from the bytes of a datagram to those of its answer, for what comes in thousands."""

    @property
    def infos(self) -> Mapping[int, bytes]:
        """For each interface what its answers leave with (udp_vectors.pktinfo)."""

    def begin(self) -> None:
        """Datagrams follow, all of one moment."""

    def answer(self, data: bytes, ifindex: int) -> bytes | None:
        """The answer to a datagram that was sent to everybody on the link, or by somebody without an address;
        b"" for silence, None where the handler has to look at it."""


class UdpEndpoint:
    """A socket on the event loop: reads in batches, hands each datagram to a handler, sends by interface.

    The handler runs on the packet path and must not wait. An exception in it is our fault and is logged;
    the next datagram is served all the same. `too_long` hears of each datagram beyond MAX_DATAGRAM.
    """

    def __init__(
        self,
        sock: socket.socket,
        handler: Handler,
        *,
        too_long: Callable[[], None] = lambda: None,
        batch: int = BATCH,
    ) -> None:
        prepare(sock)
        self._sock = sock
        self._handler = handler
        self._too_long = too_long
        self._received = Received(batch, MAX_DATAGRAM)
        self._answers = Sent(0, MAX_ANSWER, ("0.0.0.0", 0))
        self._short: Short | None = None
        self._refused: Callable[[], None] = lambda: None
        self._loop: asyncio.AbstractEventLoop | None = None

    def shorten(self, short: Short, to: tuple[str, int], refused: Callable[[], None]) -> None:
        """Ask `short` first about what machines on the link send to everybody. Its answers go out together,
        to the address `to`; `refused` hears of each that the kernel did not take.
        """
        self._short, self._refused = short, refused
        self._answers = Sent(self._received.count, MAX_ANSWER, to)

    @property
    def port(self) -> int:
        """The local port."""
        return int(self._sock.getsockname()[1])

    def start(self) -> None:
        """Begin to read, on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock.fileno(), self.read)

    def stop(self) -> None:
        """Stop reading and close the socket; stopping twice is harmless."""
        if self._loop is not None:
            self._loop.remove_reader(self._sock.fileno())
            self._loop = None
        self._sock.close()

    def read(self) -> int:
        """Read and handle one batch of datagrams; how many there were."""
        received = self._received
        for _ in range(_ERRORS):
            try:
                count = received.receive(self._sock.fileno())
            except OSError as error:  # an ICMP error for an earlier answer; the socket goes on
                log.debug("socket=%d event=receive-failed error=%s", self.port, error)
                continue
            if count:
                self._handle(received, count)
            return count
        return 0

    def _handle(self, received: Received, count: int) -> None:
        short = self._short
        if short is not None:
            short.begin()
        for i in range(count):
            data, ifindex, at_large = received.take(i)
            if data is None:
                self._too_long()
                continue
            try:
                if short is not None and at_large:
                    answer = short.answer(data, ifindex)
                    if answer is not None:
                        if answer:
                            self._answers.add(answer, short.infos[ifindex])
                        continue
                self._handler(Datagram(data, received.source(i), ifindex, received.destination(i)))
            except Exception:
                log.exception("port=%d source=%s event=handler-failed", self.port, received.source(i)[0])
        if self._answers.waiting:
            for fault in self._answers.send(self._sock.fileno()):
                self._tell_refusal(fault, "everybody", 0)
                self._refused()

    def _tell_refusal(self, fault: OSError, to: str, ifindex: int) -> None:
        if fault.errno not in _FULL:
            log.warning("to=%s ifindex=%d event=send-failed error=%s", to, ifindex, fault)

    def send(self, data: bytes, to: tuple[str, int], *, ifindex: int = 0, source: str | None = None) -> bool:
        """Send a datagram, out of the interface `ifindex` (0: by route) and from our address `source`.

        False where the kernel did not take it: UDP answers are lost, never queued, and the client asks again.
        """
        control = [(socket.IPPROTO_IP, _IP_PKTINFO, pktinfo(ifindex, source))]
        try:
            self._sock.sendmsg([data], control, 0, to)
        except OSError as error:
            self._tell_refusal(error, f"{to[0]}:{to[1]}", ifindex)
            return False
        return True
