"""A whole TFTP server on a virtual clock and a virtual network, with clients written from the RFCs.

Nothing of pxeserver.protocols.tftp is used by the clients: a mistake in the codec must not be repeated by its
witness.
"""

from __future__ import annotations

import errno
import heapq
import random
import socket
import struct
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from pxeserver.servers.tftp import TftpServer
from pxeserver.servers.tftp_requests import TftpOptions

SERVER = "10.0.0.1"


class Handle:
    def __init__(self, when: float) -> None:
        self._when = when
        self.cancelled = False

    def when(self) -> float:
        return self._when

    def cancel(self) -> None:
        self.cancelled = True


class VirtualLoop:
    """The five methods of an event loop that the server uses, on a clock that jumps to the next thing to
    do."""

    def __init__(self) -> None:
        self.now = 100.0
        self._heap: list = []
        self._order = count()
        self.readers: dict[int, tuple] = {}

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback, *args) -> Handle:
        handle = Handle(when)
        heapq.heappush(self._heap, (when, next(self._order), handle, callback, args))
        return handle

    def call_later(self, delay: float, callback, *args) -> Handle:
        return self.call_at(self.now + delay, callback, *args)

    def add_reader(self, fd: int, callback, *args) -> None:
        self.readers[fd] = (callback, args)

    def remove_reader(self, fd: int) -> None:
        self.readers.pop(fd, None)

    def run(self, until: float | None = None, stop=lambda: False) -> None:
        """Until nothing is left to do, `stop()` is true, or `until` seconds from now have passed."""
        end = self.now + until if until is not None else float("inf")
        while self._heap and not stop():
            if self._heap[0][0] > end:
                break
            when, _, handle, callback, args = heapq.heappop(self._heap)
            if handle.cancelled:
                continue
            self.now = max(self.now, when)
            callback(*args)
        if until is not None and not stop():
            self.now = max(self.now, end)


@dataclass
class Faults:
    """Shares of packets in each direction (0 to 1), and times in seconds."""

    delay: float = 0.0001
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_delay: float = 0.004
    late: float = 0.0
    """A second copy that comes long afterwards."""
    largest: int = 65536
    """Bytes; of larger datagrams none arrives."""


class VirtualSocket:
    """The server's socket; sends through a bad link to clients by address."""

    descriptor = -1
    """The kernel knows nothing of it, so nothing is sent in batches."""

    def __init__(self, loop: VirtualLoop, faults: Faults, seed: int = 0) -> None:
        self.loop, self.faults, self.random = loop, faults, random.Random(seed)
        self.clients: dict[tuple[str, int], object] = {}
        self.inbox: list = []
        self.closed_ports: list = []
        self.sent: list[tuple[float, tuple[str, int], bytes]] = []
        self.unsendable = 0
        """So many sends that follow fail."""

    def fileno(self) -> int:
        return 3

    def close(self) -> None:
        pass

    def receive(self):
        return self.inbox.pop(0) if self.inbox else None

    def unreachable_peers(self):
        gone, self.closed_ports = self.closed_ports, []
        return gone

    def send(self, packets, peer, ancillary) -> bool:
        if peer[1] == 0 or self.unsendable:
            self.unsendable = max(0, self.unsendable - 1)
            raise OSError(errno.EINVAL, "invalid argument")  # as the kernel does
        for header, payload in packets:
            datagram = header + bytes(payload)
            self.sent.append((self.loop.now, peer, datagram))
            if len(datagram) <= self.faults.largest:
                self._carry(lambda d=datagram: self._arrive(peer, d))
        return True

    def to_server(self, datagram: bytes, peer, *, interface: int = 7, to: str = SERVER) -> None:
        """A client sends."""
        self._carry(lambda: self.deliver(datagram, peer, interface=interface, to=to))

    def deliver(
        self, datagram: bytes, peer, *, interface: int = 7, local: str = SERVER, to: str = SERVER
    ) -> None:
        """A datagram arrives at the server now."""
        value = struct.pack("@i4s4s", interface, socket.inet_aton(local), socket.inet_aton(to))
        self.inbox.append((datagram, [(socket.IPPROTO_IP, 8, value)], peer))
        self.wake()

    def wake(self) -> None:
        callback, args = self.loop.readers[self.fileno()]
        callback(*args)

    def _arrive(self, peer, datagram: bytes) -> None:
        client = self.clients.get(peer)
        if client is not None:
            client.receive(datagram)

    def _carry(self, action) -> None:
        faults, chance = self.faults, self.random.random
        if chance() < faults.loss:
            return
        delay = faults.delay
        if chance() < faults.reorder:
            delay += faults.reorder_delay
        self.loop.call_later(delay, action)
        if chance() < faults.duplicate:
            self.loop.call_later(delay + 0.00001, action)
        if chance() < faults.late:
            self.loop.call_later(delay + self.random.uniform(0.2, 3.0), action)


class RfcClient:
    """Reads one file. Timers and duplicate ACKs as simple clients have them.

    `gap_acks`: "once" a gap, or for "each" packet after it (RFC 7440 leaves it open). `again`: repeats its
    ACK when a block comes twice, as RFC 1350 receivers do.
    """

    def __init__(
        self, wire: VirtualSocket, port: int, name: str, *, options=(), address="10.0.0.9", gap_acks="once",
        again=True, timer=1.0, patience=60.0, first=1, wrap=0,
    ) -> None:  # fmt: skip
        self.wire, self.peer, self.name = wire, (address, port), name
        self.options = list(options)
        self.gap_acks, self.again, self.wrap = gap_acks, again, wrap
        self.timer, self.patience = timer, patience
        self.blksize, self.window = 512, 1
        self.content = bytearray()
        self.expected = 1
        self.done = False
        self.error: tuple[int, str] | None = None
        self.gave_up = False
        self.agreed: dict[str, str] | None = None
        self.data_seen = 0
        self.finished_at: float | None = None
        self._in_window = 0
        self._gap_told = False
        self._last_sent = b""
        self._tick = None
        self._started = wire.loop.now
        wire.clients[self.peer] = self

    def request(self) -> bytes:
        words = [self.name, "octet"]
        for key, value in self.options:
            words += [key, str(value)]
        return b"\0\1" + b"".join(w.encode() + b"\0" for w in words)

    def start(self) -> None:
        self._send(self.request(), 0.25)

    @property
    def over(self) -> bool:
        return self.done or self.error is not None or self.gave_up

    def receive(self, datagram: bytes) -> None:
        kind = datagram[1]
        if self.error is not None or self.gave_up:
            return
        if kind == 5:
            if not self.done:
                self.error = (int.from_bytes(datagram[2:4], "big"), datagram[4:-1].decode())
                self._quiet()
        elif kind == 6:
            self._on_oack(datagram)
        elif kind == 3:
            self._on_data(int.from_bytes(datagram[2:4], "big"), datagram[4:])

    def _on_oack(self, datagram: bytes) -> None:
        if self.expected > 1:
            return
        words = datagram[2:].split(b"\0")
        self.agreed = {words[i].decode().lower(): words[i + 1].decode() for i in range(0, len(words) - 2, 2)}
        self.blksize = int(self.agreed.get("blksize", 512))
        self.window = int(self.agreed.get("windowsize", 1))
        self._ack(0)

    def _on_data(self, number: int, payload: bytes) -> None:
        if self.options and self.agreed is None:
            return  # the OACK is still to come
        self.data_seen += 1
        if number != self._number(self.expected) or self.done:
            distance = (self._number(self.expected) - number) % 65536
            old = 0 < distance < 32768
            if old and not self.again:
                return
            if old or self.gap_acks == "each" or not self._gap_told:
                self._gap_told = True
                self._in_window = 0
                self._ack(self._number(self.expected - 1))
            return
        self.content += payload
        self.expected += 1
        self._in_window += 1
        self._gap_told = False
        if len(payload) < self.blksize:
            self.done = True
            self.finished_at = self.wire.loop.now
        if self.done or self._in_window >= self.window:
            self._in_window = 0
            self._ack(number)
        else:
            self._arm(self.timer)
        if self.done:
            self._quiet()

    def _number(self, block: int) -> int:
        if block == 0:
            return 0
        return block % 65536 if self.wrap == 0 else (block - 1) % 65535 + 1

    def _ack(self, number: int) -> None:
        self._send(b"\0\4" + number.to_bytes(2, "big"), self.timer)

    def _send(self, datagram: bytes, again_after: float) -> None:
        self._last_sent = datagram
        self.wire.to_server(datagram, self.peer)
        self._arm(again_after)

    def _arm(self, delay: float) -> None:
        self._quiet()
        if not self.done:
            self._tick = self.wire.loop.call_later(delay, self._timeout, delay)

    def _quiet(self) -> None:
        if self._tick is not None:
            self._tick.cancel()

    def _timeout(self, delay: float) -> None:
        if self.over:
            return
        if self.wire.loop.now - self._started > self.patience:
            self.gave_up = True
            return
        self._in_window = 0
        if self.expected > 1:
            self._send(b"\0\4" + self._number(self.expected - 1).to_bytes(2, "big"), min(delay * 2, 4.0))
        else:
            self._send(self._last_sent, min(delay * 2, 4.0))


@dataclass
class World:
    """One server, one link, one clock."""

    plane: Any
    loop: VirtualLoop
    wire: VirtualSocket
    server: TftpServer
    ports: count = field(default_factory=lambda: count(2070))

    def client(self, name: str, **kwargs) -> RfcClient:
        return RfcClient(self.wire, next(self.ports), name, **kwargs)

    def fetch(self, name: str, limit: float = 300.0, **kwargs) -> RfcClient:
        """Run one client to its end."""
        client = self.client(name, **kwargs)
        client.start()
        self.loop.run(limit, stop=lambda: client.over)
        return client

    def exchange(self, datagram: bytes, port: int = 1234, address: str = "10.0.0.9", **kwargs) -> list[bytes]:
        """What the server answers at once to one datagram."""
        before = len(self.wire.sent)
        self.wire.deliver(datagram, (address, port), **kwargs)
        return [d for _, peer, d in self.wire.sent[before:] if peer == (address, port)]


@pytest.fixture
def make_world(fake_plane):
    """Build a world: faults, seed, and the server's options."""

    def make(
        faults: Faults | None = None, seed: int = 0, options: TftpOptions | None = None, **plane
    ) -> World:
        loop = VirtualLoop()
        fake = fake_plane(loop.time, **plane)
        wire = VirtualSocket(loop, faults or Faults(), seed)
        server = TftpServer(fake, fake.resolve, options)
        server.start(wire, loop)
        return World(fake, loop, wire, server)

    return make


@pytest.fixture
def world(make_world) -> World:
    """A server on a perfect link."""
    return make_world()


@pytest.fixture
def faulty():
    """The class of link faults."""
    return Faults
