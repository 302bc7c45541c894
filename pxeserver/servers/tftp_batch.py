"""Many datagrams a system call: what the ACKs of one wake-up ask for leaves together.

Python's share of a block's cost is mostly the call into the kernel and the objects around it. Up to 64
datagrams come in by one recvmmsg(2); those that are just the ACK their transfer waits for are dealt with
here, and the blocks that answer them leave by one sendmmsg(2). Everything else is for the server.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from pxeserver.protocols.tftp.transfers import Entry
from pxeserver.servers.tftp_memory import Calls, address_of, find_calls
from pxeserver.servers.tftp_report import Delivery
from pxeserver.servers.tftp_socket import PENDING, Ancillary, Peer, TftpSocket
from pxeserver.servers.tftp_vectors import AT_ONCE, Inbox, Line, Outbox

LINGER_SECONDS = 0.0001
"""The round trip of a quick client."""

Touched = Callable[[Entry[Delivery]], None]


class Batch:
    """The transfers that go over one common socket. What is put leaves with the next `flush`."""

    def __init__(self, sock: TftpSocket, calls: Calls, touched: Touched) -> None:
        self._sock, self._calls, self._touched = sock, calls, touched
        self._inbox = Inbox()
        self._lines: dict[int, Line] = {}
        self._outboxes: dict[str, Outbox] = {}
        self._in_vain = self._pause = 0

    def add(self, entry: Entry[Delivery], local: str) -> None:
        """Send this transfer's blocks from now on, from our address `local`."""
        outbox = self._outboxes.get(local)
        if outbox is None:
            outbox = self._outboxes[local] = Outbox(self._sock, self._calls, local)
        key, content = _key(entry.peer), address_of(entry.transfer.content)
        self._lines[key] = Line(key, entry.transfer, entry, content, outbox)

    def remove(self, entry: Entry[Delivery]) -> None:
        """The transfer has ended; what was put for it before still leaves."""
        key = _key(entry.peer)
        line = self._lines.get(key)
        if line is not None and line.entry is entry:
            del self._lines[key]

    def put(self, entry: Entry[Delivery]) -> bool:
        """Send the transfer's blocks; False where it is none of ours."""
        line = self._lines.get(_key(entry.peer))
        if line is None or line.entry is not entry:
            return False
        line.outbox.put(line)
        return True

    def receive(self) -> int:
        """Read what is there, AT_ONCE at most; how many. Pending ICMP errors stay for the socket's
        `unreachable_peers`. OSError where the socket is broken."""
        inbox = self._inbox
        if inbox.used:
            inbox.prepare()
        for _ in range(8):
            count = self._calls.receive(self._sock.descriptor, inbox.vector, AT_ONCE)
            if count >= 0:
                inbox.used = True
                return count
            if -count in (errno.EAGAIN, errno.EINTR):
                return 0
            if -count not in PENDING:
                raise OSError(-count, "cannot receive")
            self._sock.troubled = True
        return 0

    def linger(self, time: Callable[[], float], until: float) -> int:
        """As `receive`, looking again and again for a moment, and not longer than `until`.

        A client of a fast network answers sooner than a process that sleeps is woken up, so a lone transfer
        is up to twice as quick this way. Where it was in vain it is tried less and less often.
        """
        if self._pause:
            self._pause -= 1
            return 0
        until = min(until, time() + LINGER_SECONDS)
        while time() < until:
            if count := self.receive():
                self._in_vain = 0
                return count
        if self._in_vain:  # the first time may have been chance
            self._pause = 1 << self._in_vain
        self._in_vain = min(self._in_vain + 1, 8)
        return 0

    def go_on(self, count: int, now: float) -> tuple[list[int], list[Entry[Delivery]]]:
        """Answer the plain ACKs among the first `count` datagrams. Which of them are left, by their index,
        and which transfers have ended."""
        left: list[int] = []
        ended: list[Entry[Delivery]] = []
        find = self._lines.get
        for index, (key, word, length) in enumerate(self._inbox.summary(count)):
            line = find(key)
            if line is None:
                left.append(index)
                continue
            _, transfer, entry, _, outbox = line
            if transfer.awaited != word or length != 4:
                left.append(index)
                continue
            transfer.go_on(now)
            if transfer.end is not None:
                ended.append(entry)
                continue
            outbox.put(line)
            if transfer.deadline < entry.due:
                self._touched(entry)
        return left, ended

    def datagram(self, index: int) -> tuple[bytes, Ancillary, Peer]:
        """One that is left."""
        return self._inbox.datagram(index)

    def flush(self) -> list[tuple[Entry[Delivery], int]]:
        """Send what was put. The transfers whose content could not be sent, with the error number."""
        faults: list[tuple[Entry[Delivery], int]] = []
        for outbox in self._outboxes.values():
            outbox.flush()
            if outbox.faults:
                faults += outbox.faults
                outbox.faults = []
        return faults


def open_batch(sock: TftpSocket, touched: Touched) -> Batch | None:
    """A batch over this socket; None where the system calls are missing (the socket's own ways are used
    then). `touched` is called where a transfer's timer comes sooner than before."""
    calls = find_calls()
    if calls is None:
        return None
    # With nothing to do they tell whether they are there: old kernels and sandboxes say ENOSYS or EPERM.
    if calls.receive(sock.descriptor, 0, 0) < 0 or calls.send(sock.descriptor, 0, 0) < 0:
        return None
    return Batch(sock, calls, touched)


def _key(peer: Peer) -> int:
    """The address as the first word of its struct sockaddr_in reads on this machine."""
    raw = socket.AF_INET.to_bytes(2, "little") + peer[1].to_bytes(2, "big") + socket.inet_aton(peer[0])
    return int.from_bytes(raw, "little")
