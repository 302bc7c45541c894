"""A UDP socket as TFTP needs it: answers leave from the address that was asked, whole windows go out in one
call.

Nothing here waits: what the kernel does not take at once counts as lost on the wire, and the transfer's own
timer sends it again.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from pxeserver.protocols.tftp.blocks import Outgoing

Peer = tuple[str, int]
Ancillary = list[tuple[int, int, bytes]]

# From linux/in.h, linux/udp.h and linux/errqueue.h; the socket module does not name them.
_IP_PKTINFO = 8
_IP_MTU_DISCOVER = 10
_IP_PMTUDISC_DONT = 0
_IP_RECVERR = 11
_UDP_SEGMENT = 103
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33

_PKTINFO = struct.Struct("@i4s4s")
_EXTENDED_ERROR = struct.Struct("@IBBBBII")
_ORIGIN_ICMP = 2
_ANY_ADDRESS = b"\0\0\0\0"

LARGEST_DATAGRAM = 2048
"""Bytes read of one datagram. Clients send requests and ACKs; anything longer is cut, and then malformed."""

BUFFER_BYTES = 4 * 1024 * 1024
"""Asked for in both directions: a boot storm's ACKs and windows arrive in bursts."""

LARGEST_BATCH = 65000
"""Bytes of one segmented send; the kernel takes less than 64 KiB (udp(7), UDP_SEGMENT)."""

MOST_SEGMENTS = 64

_ANCILLARY_ROOM = socket.CMSG_SPACE(_PKTINFO.size)

PENDING = {
    errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENONET,
    errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EPROTO,
}  # fmt: skip
"""Errors that may be about an earlier packet to somebody else: one socket serves everybody.

What the kernel makes of ICMP messages (icmp_err_convert in net/ipv4/icmp.c), which any host may send.
"""

LOST = {errno.EAGAIN, errno.EINTR, errno.ENOBUFS, errno.EPERM}
"""Errors of a packet that did not go out: no room, or the host's own firewall dropped it."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a datagram was sent to."""

    interface: int
    local: str
    """Our address on the link it came over."""
    broadcast: bool
    """It was not sent to `local` itself."""


class TftpSocket:
    """A bound IPv4 datagram socket. It is this object's from now on, and closed by it."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.descriptor = sock.fileno()
        self.segmenting = True
        """The kernel cuts windows into frames for us."""
        self.blocked = 0
        """Sends the kernel did not take at once."""
        self.troubled = True
        """`unreachable_peers` may have something to tell: an ICMP error was met in place of a datagram, or
        the socket was readable without one."""
        # ICMP errors make the socket itself look broken to its watcher, and uvloop stops watching at the
        # first. An epoll object is readable whenever its socket is, and never broken.
        self._watched = select.epoll()
        self._watched.register(sock, select.EPOLLIN)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        # Blocks fit into our link's frames, but a router may lead into a narrower one: firmware cannot lower
        # its block size in the middle of a transfer, so let the router cut instead of refuse.
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)
        for forced, plain in ((_SO_SNDBUFFORCE, socket.SO_SNDBUF), (_SO_RCVBUFFORCE, socket.SO_RCVBUF)):
            try:
                sock.setsockopt(socket.SOL_SOCKET, forced, BUFFER_BYTES)
            except PermissionError:
                sock.setsockopt(socket.SOL_SOCKET, plain, BUFFER_BYTES)

    @property
    def port(self) -> int:
        """The local port."""
        return int(self._socket.getsockname()[1])

    def fileno(self) -> int:
        """For the event loop to watch, and for nothing else; -1 when closed."""
        return -1 if self._watched.closed else self._watched.fileno()

    def close(self) -> None:
        """Close; closing twice is harmless."""
        self._watched.close()
        self._socket.close()
        self.descriptor = -1

    def receive(self) -> tuple[bytes, Ancillary, Peer] | None:
        """The next datagram, None when there is none. Pending ICMP errors stay for `unreachable_peers`."""
        for _ in range(8):
            try:
                data, ancillary, _, peer = self._socket.recvmsg(LARGEST_DATAGRAM, _ANCILLARY_ROOM)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError as fault:
                if fault.errno not in PENDING:
                    raise
                self.troubled = True
                continue
            return data, ancillary, peer
        return None

    def send(self, packets: Sequence[Outgoing], peer: Peer, ancillary: Ancillary) -> bool:
        """Send in order; False when some were not taken. More than one go out in one call, all but the last
        equally long."""
        if len(packets) == 1:
            return self._send(packets[0], peer, ancillary)
        if not packets:
            return True
        if self.segmenting:
            return self._send_segmented(packets, peer, ancillary)
        return all(self._send(p, peer, ancillary) for p in packets)

    def unreachable_peers(self) -> list[Peer]:
        """Clients whose ports are closed, as ICMP told since the last call. Empties the socket's error
        queue; asks the kernel only where there was trouble."""
        closed: list[Peer] = []
        if not self.troubled:
            return closed
        self.troubled = False
        while True:
            try:
                _, ancillary, _, peer = self._socket.recvmsg(0, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return closed
            for level, kind, value in ancillary:
                if (level, kind) == (socket.IPPROTO_IP, _IP_RECVERR) and len(value) >= _EXTENDED_ERROR.size:
                    number, origin, *_ = _EXTENDED_ERROR.unpack_from(value)
                    # Only "port unreachable": hosts and networks come back, a closed port means the client is
                    # gone.
                    if origin == _ORIGIN_ICMP and number == errno.ECONNREFUSED:
                        closed.append(peer)

    def _send_segmented(self, packets: Sequence[Outgoing], peer: Peer, ancillary: Ancillary) -> bool:
        segment = len(packets[0][0]) + len(packets[0][1])
        step = max(1, min(MOST_SEGMENTS, LARGEST_BATCH // segment))
        option = (socket.IPPROTO_UDP, _UDP_SEGMENT, struct.pack("@H", segment))
        for start in range(0, len(packets), step):
            batch = packets[start : start + step]
            pieces = [piece for both in batch for piece in both]
            try:
                taken = self._sendmsg(pieces, peer, [*ancillary, option])
            except OSError as fault:
                if fault.errno not in (errno.EIO, errno.EINVAL, errno.EMSGSIZE):
                    raise
                # The device does not cut for us (EIO), or the frames of the way to this peer are too small.
                self.segmenting = fault.errno != errno.EIO
                return all(self._send(p, peer, ancillary) for p in packets[start:])
            if not taken:
                return False
        return True

    def _send(self, outgoing: Outgoing, peer: Peer, ancillary: Ancillary) -> bool:
        return self._sendmsg(outgoing, peer, ancillary)

    def _sendmsg(self, pieces: Sequence[bytes | memoryview], peer: Peer, ancillary: Ancillary) -> bool:
        for _ in range(3):
            try:
                self._socket.sendmsg(pieces, ancillary, 0, peer)
            except OSError as fault:
                if fault.errno in LOST:
                    break
                if fault.errno not in PENDING:
                    raise
                self.troubled = True
                continue  # the error of an earlier packet is reported once, instead of sending this one
            return True
        self.blocked += 1
        return False


def destination(ancillary: Ancillary) -> Destination | None:
    """Where the datagram came in, from its ancillary data; None where the kernel did not tell."""
    for level, kind, value in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO) and len(value) >= _PKTINFO.size:
            index, local, addressed = _PKTINFO.unpack_from(value)
            return Destination(index, socket.inet_ntoa(local), local != addressed)
    return None


def leave_from(local: str) -> Ancillary:
    """Ancillary data that makes a packet leave from our address `local`, over whatever link routing
    chooses."""
    return [(socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO.pack(0, socket.inet_aton(local), _ANY_ADDRESS))]


def bind(address: str, port: int, *, shared: bool = True) -> TftpSocket:
    """A new bound socket. `shared` lets further boot workers bind the same port. OSError where the port is
    taken."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((address, port))
        bound = TftpSocket(sock)
        undo.pop_all()
    return bound
