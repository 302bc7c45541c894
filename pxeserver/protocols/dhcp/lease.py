"""Which client holds which address: the table behind full DHCP (RFC 2131 section 4.3).

Pure: time comes in as `now` (seconds since the epoch), nothing is sent or stored. The server makes a lease
durable first and then puts it here, so that after a restart the table is filled from the journal by the
same `put`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pxeserver.protocols.dhcp.options import dotted, packed

OFFERED: Final = "offered"
BOUND: Final = "bound"
RELEASED: Final = "released"
DECLINED: Final = "declined"

OFFER_SECONDS: Final = 30.0
"""How long an offered address is kept for its client: edk2 takes an offer after 4 s, iPXE within 2 s."""

DECLINE_SECONDS: Final = 600.0
"""How long an address that somebody else uses is left alone."""

_RESCAN_SECONDS: Final = 60.0
"""How often a full pool is looked through from its start for addresses whose reservation was taken away."""

Pools = Sequence[tuple[str, str]]
"""Inclusive ranges of addresses."""


class LeaseRecord(Protocol):
    """What the table takes: boot.model.Lease, or anything of the same shape."""

    @property
    def address(self) -> str: ...
    @property
    def mac(self) -> str: ...
    @property
    def client_id(self) -> str: ...
    @property
    def expires(self) -> float: ...
    @property
    def hostname(self) -> str: ...
    @property
    def state(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """What the table knows of one address. `state` is offered, bound, released or declined."""

    address: str
    mac: str
    client_id: str
    expires: float
    hostname: str = ""
    state: str = BOUND

    def is_free(self, now: float) -> bool:
        """Whether another client may have the address."""
        return self.expires <= now


class _Pool:
    """One range: the next address never used, and the used ones by the time they come free."""

    __slots__ = ("first", "freed", "last", "next", "scanned")

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last, self.next = first, last, first
        self.freed: list[tuple[float, int]] = []
        self.scanned = 0.0

    def __contains__(self, number: int) -> bool:
        return self.first <= number <= self.last


class LeaseTable:
    """Addresses and their clients. Choosing an address takes constant time, also in a full /16."""

    def __init__(self, leases: Iterable[LeaseRecord] = ()) -> None:
        self._entries: dict[int, Entry] = {}
        self._by_client: dict[str, tuple[int, ...]] = {}
        self._pools: dict[tuple[str, str], _Pool] = {}
        for lease in leases:
            self.put(lease)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def get(self, address: str) -> Entry | None:
        """What is known of an address."""
        return self._entries.get(_number(address))

    def bound(self, now: float) -> Iterator[Entry]:
        """The leases in force."""
        return (e for e in self._entries.values() if e.state == BOUND and e.expires > now)

    def put(self, lease: LeaseRecord) -> None:
        """Take over a lease that is durable; putting it twice changes nothing."""
        self._set(
            Entry(lease.address, lease.mac, lease.client_id, lease.expires, lease.hostname, lease.state)
        )

    def hold(self, address: str, client_id: str, mac: str, now: float) -> None:
        """Keep an address for a client that it is offered to. A lease in force stays as it is."""
        entry = self.get(address)
        if (
            entry is not None
            and entry.client_id == client_id
            and entry.state == BOUND
            and not entry.is_free(now)
        ):
            return
        self._set(Entry(address, mac, client_id, now + OFFER_SECONDS, state=OFFERED))

    def let_go(self, client_id: str, now: float) -> None:
        """Give up what was offered to a client: it has chosen another server."""
        for number in self._by_client.get(client_id, ()):
            entry = self._entries[number]
            if entry.state == OFFERED:
                self._set(Entry(entry.address, entry.mac, client_id, now, state=OFFERED))

    def quarantine(self, address: str, now: float) -> None:
        """Leave an address alone for a while that somebody else was seen to use."""
        self._set(Entry(address, "", "", now + DECLINE_SECONDS, state=DECLINED))

    def choose(
        self,
        client_id: str,
        pools: Pools,
        now: float,
        *,
        wanted: str | None = None,
        barred: Callable[[str], bool] = lambda address: False,
    ) -> str | None:
        """An address for a client, in the order of RFC 2131 section 4.3.1; None where the pools are used up.

        Its own, also when it has run out; the one it wishes for; one never used; the one longest free.
        `barred` tells which addresses are reserved for others.
        """
        ranges = [self._pool(pool) for pool in pools]
        for number in self._by_client.get(client_id, ()):
            if any(number in pool for pool in ranges) and not barred(dotted_number(number)):
                return dotted_number(number)
        if wanted is not None:
            number = _number(wanted)
            entry = self._entries.get(number)
            free = entry is None or entry.is_free(now)
            if free and any(number in pool for pool in ranges) and not barred(wanted):
                return wanted
        for pool in ranges:
            address = self._never_used(pool, barred) or self._longest_free(pool, now, barred)
            if address is not None:
                return address
        return self._rescan(ranges, now, barred)

    # ---------------------------------------------------------------------------------------- inside

    def _set(self, entry: Entry) -> None:
        number = _number(entry.address)
        old = self._entries.get(number)
        if old is not None and old.client_id != entry.client_id:
            rest = tuple(n for n in self._by_client.get(old.client_id, ()) if n != number)
            if rest:
                self._by_client[old.client_id] = rest
            else:
                self._by_client.pop(old.client_id, None)
        self._entries[number] = entry
        if entry.client_id:
            mine = self._by_client.get(entry.client_id, ())
            self._by_client[entry.client_id] = (number, *(n for n in mine if n != number))
        for pool in self._pools.values():
            if number in pool:
                self._note_end(pool, entry.expires, number)

    def _note_end(self, pool: _Pool, expires: float, number: int) -> None:
        """Renewals leave outdated ends in the heap; it is built anew before they outnumber the addresses."""
        heapq.heappush(pool.freed, (expires, number))
        if len(pool.freed) > 2 * (pool.last - pool.first + 1) + 64:
            pool.freed = [(e.expires, n) for n, e in self._entries.items() if n in pool]
            heapq.heapify(pool.freed)

    def _pool(self, key: tuple[str, str]) -> _Pool:
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = _Pool(_number(key[0]), _number(key[1]))
            pool.freed = [(e.expires, n) for n, e in self._entries.items() if n in pool]
            heapq.heapify(pool.freed)
        return pool

    def _never_used(self, pool: _Pool, barred: Callable[[str], bool]) -> str | None:
        while pool.next <= pool.last:
            number = pool.next
            if number not in self._entries and not barred(dotted_number(number)):
                return dotted_number(number)
            pool.next += 1
        return None

    def _longest_free(self, pool: _Pool, now: float, barred: Callable[[str], bool]) -> str | None:
        while pool.freed and pool.freed[0][0] <= now:
            expires, number = pool.freed[0]
            entry = self._entries.get(number)
            address = dotted_number(number)
            if entry is not None and entry.expires == expires and not barred(address):
                return address  # stays in the heap: holding it for the client makes this end outdated
            heapq.heappop(pool.freed)
        return None

    def _rescan(self, ranges: list[_Pool], now: float, barred: Callable[[str], bool]) -> str | None:
        for pool in ranges:
            if 0 <= now - pool.scanned < _RESCAN_SECONDS:  # a clock that was set back does not stop it
                continue
            pool.scanned, pool.next = now, pool.first
            pool.freed = [(e.expires, n) for n, e in self._entries.items() if n in pool]
            heapq.heapify(pool.freed)
            address = self._never_used(pool, barred) or self._longest_free(pool, now, barred)
            if address is not None:
                return address
        return None


def _number(address: str) -> int:
    return int.from_bytes(packed(address), "big")


def dotted_number(number: int) -> str:
    """A number as an IPv4 address."""
    return dotted(number.to_bytes(4, "big"))
