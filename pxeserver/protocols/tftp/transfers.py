"""All transfers of one server: who has one, who may begin one, whose timer is next. No socket, no clock.

A transfer is found by its client's address and port, whichever of the server's ports it goes over.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import count
from typing import Generic, TypeVar

from pxeserver.protocols.tftp.outcome import End
from pxeserver.protocols.tftp.transfer import NEVER, Transfer

T = TypeVar("T")

Peer = tuple[str, int]
"""A client's address and port."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Protection against floods of requests."""

    transfers: int = 1000
    """At once, in all."""
    per_source: int = 64
    """At once of one address: more than any machine needs, few enough to leave room for the others."""
    half_open_per_source: int = 8
    """Transfers of one address whose client has not answered yet (forged requests never get further)."""
    remembered: int = 1024
    """Ended transfers whose late packets are ignored rather than answered."""
    memory: float = 5.0
    """Seconds for which they are remembered."""
    echo: float = 0.1
    """Seconds after the end in which the same request from the same port is a late copy, not a new wish."""


class Admission(Enum):
    """What to do with a request."""

    NEW = "new"
    REPEATED = "repeated"
    """It belongs to a transfer that goes on; send what that transfer now has to send."""
    LATE_COPY = "late-copy"
    """Of a request that was served already: nothing to do."""
    TOO_MANY = "too-many"
    """No room for this source, or for anybody: stay silent, the client asks again."""


@dataclass(slots=True, eq=False)
class Entry(Generic[T]):
    """A transfer with what its owner keeps beside it."""

    peer: Peer
    transfer: Transfer
    request: bytes
    owner: T
    due: float = NEVER
    """When the heap wakes it; not later than the transfer's own timer."""
    half_open: bool = True


class Transfers(Generic[T]):
    """The table of running transfers, and one heap for all their timers."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._running: dict[Peer, Entry[T]] = {}
        self._half_open: OrderedDict[Peer, Entry[T]] = OrderedDict()
        self._half_open_of: Counter[str] = Counter()
        self._running_of: Counter[str] = Counter()
        self._ended: OrderedDict[Peer, tuple[float, bytes]] = OrderedDict()
        self._heap: list[tuple[float, int, Peer]] = []
        self._order = count()
        self.find = self._running.get

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[Entry[T]]:
        return iter(list(self._running.values()))

    def admit(self, peer: Peer, request: bytes, now: float) -> tuple[Admission, Entry[T] | None]:
        """Judge a request. The entry is the transfer to go on with, or for NEW one that it replaces or
        displaces.

        For NEW the caller ends that entry (End.REPLACED where the peer is the same, End.DROPPED otherwise)
        and removes it.
        """
        entry = self._running.get(peer)
        if entry is not None:
            if entry.request == request and entry.transfer.request_repeated(now):
                return Admission.REPEATED, entry
            return Admission.NEW, entry
        ended = self._ended.get(peer)
        if ended is not None and ended[1] == request and now - ended[0] < self._limits.echo:
            return Admission.LATE_COPY, None
        source, limits = peer[0], self._limits
        if (
            self._half_open_of[source] >= limits.half_open_per_source
            or self._running_of[source] >= limits.per_source
        ):
            return Admission.TOO_MANY, None
        if len(self._running) >= self._limits.transfers:
            oldest = next(iter(self._half_open.values()), None)
            # A flood must not push out requests as fast as honest clients can answer them.
            if oldest is None or oldest.transfer.age(now) < 1.0:
                return Admission.TOO_MANY, None
            return Admission.NEW, oldest
        return Admission.NEW, None

    def add(self, peer: Peer, transfer: Transfer, request: bytes, owner: T) -> Entry[T]:
        """Take a new transfer in."""
        entry = Entry(peer, transfer, request, owner)
        self._running[peer] = self._half_open[peer] = entry
        self._half_open_of[peer[0]] += 1
        self._running_of[peer[0]] += 1
        self._ended.pop(peer, None)
        self.schedule(entry)
        return entry

    def touched(self, entry: Entry[T]) -> None:
        """A datagram or a timer went into the transfer: keep half-open counts and the heap right."""
        transfer = entry.transfer
        if entry.half_open and transfer.proven:
            self._opened(entry)
        if transfer.deadline < entry.due:
            self.schedule(entry)

    def remove(self, entry: Entry[T], now: float) -> None:
        """Take an ended transfer out, and remember its client for a while."""
        if self._running.get(entry.peer) is not entry:
            return
        del self._running[entry.peer]
        _count_down(self._running_of, entry.peer[0])
        if entry.half_open:
            self._opened(entry)
        # Whoever asks from a port that was closed a moment ago is somebody new.
        request = b"" if entry.transfer.end is End.UNREACHABLE else entry.request
        self._ended[entry.peer] = (now, request)
        self._ended.move_to_end(entry.peer)
        while len(self._ended) > self._limits.remembered:
            self._ended.popitem(last=False)

    def ended_lately(self, peer: Peer, now: float) -> bool:
        """Whether this client's packets are the tail of a transfer that has just ended."""
        ended = self._ended.get(peer)
        return ended is not None and now - ended[0] < self._limits.memory

    def next_timer(self) -> float | None:
        """When `due` wants to be called; None while nothing runs."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[Entry[T]]:
        """The transfers whose timer has come. Call handle_timer on each, then `touched`."""
        ready = []
        heap = self._heap
        while heap and heap[0][0] <= now:
            when, _, peer = heapq.heappop(heap)
            entry = self._running.get(peer)
            if entry is None or entry.due != when:
                continue  # ended, or scheduled anew for an earlier time
            entry.due = NEVER
            deadline = entry.transfer.deadline
            if deadline <= now:
                ready.append(entry)
            elif deadline < NEVER:
                # ACKs moved the deadline on; the heap is told only now, once for many ACKs.
                self.schedule(entry)
        return ready

    def schedule(self, entry: Entry[T]) -> None:
        """Put the transfer's deadline into the heap."""
        entry.due = entry.transfer.deadline
        if entry.due < NEVER:
            heapq.heappush(self._heap, (entry.due, next(self._order), entry.peer))

    def end_all(self, end: End, message: str) -> list[Entry[T]]:
        """End every transfer from our side; the entries still have their ERROR to send and are to be
        removed."""
        entries = list(self)
        for entry in entries:
            entry.transfer.stop(end, message)
        return entries

    def _opened(self, entry: Entry[T]) -> None:
        entry.half_open = False
        self._half_open.pop(entry.peer, None)
        _count_down(self._half_open_of, entry.peer[0])


def _count_down(counter: Counter[str], source: str) -> None:
    counter[source] -= 1
    if not counter[source]:
        del counter[source]
