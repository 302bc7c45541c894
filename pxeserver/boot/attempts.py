"""Attempts: one boot of one machine, from its first DISCOVER on. The table of those that are under way.

An attempt joins the requests of one boot: DHCP, TFTP and HTTP requests carry its id in their path, or are
found by the address the machine was given. The table is bounded; losing an attempt costs a line in the
timeline, never a boot, since every decision can be made anew from the node's state.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum

from pxeserver.boot.identity import valid_uuid
from pxeserver.boot.model import Machine

MAX_ATTEMPTS = 20_000
"""About 2 kB each with their last DHCP answer: 40 MB at most; more machines than boot at once behind one
server.
"""

SILENCE_SECONDS = 90.0
"""edk2 asks for an address for 60 s and iPXE for 16 s before they give up: a firmware DISCOVER after this
is a new boot.
"""

IPXE_SECONDS = 900.0
"""A loader over a slow link may take minutes; after 15 of them an iPXE that asks has been started anew."""

FORGET_SECONDS = 3600.0
"""A finished or dead attempt leaves the table after an hour without a request."""

ATTEMPT_ID = re.compile(r"[a-z2-7]{10}")
"""Ten characters of base32 in lower case: 50 random bits."""


class Stage(IntEnum):
    """How far an attempt has come. It only grows."""

    DHCP = 0
    LOADER = 1
    SCRIPT = 2
    FILES = 3
    RUNNING = 4
    """The started system has reported."""
    CLOSED = 5


@dataclass(slots=True)
class Attempt:
    """One boot of one machine. Mutable: it lives in the worker's memory only."""

    id: str
    mac: str
    machine: Machine
    started: float
    last: float
    address: str | None = None
    node_id: int | None = None
    stage: Stage = Stage.DHCP
    counters: dict[str, int] = field(default_factory=dict)
    """Small counts for the timeline: "discovers", "retries", "files"."""
    answered: object = None
    """What the DHCP server keeps of its last answer; its own, and nobody else's business."""

    def count(self, what: str) -> int:
        """Add one to a counter and return it."""
        self.counters[what] = self.counters.get(what, 0) + 1
        return self.counters[what]


class Attempts:
    """The attempts under way, by id, by MAC address and by IP address."""

    def __init__(self, new_id: Callable[[], str], limit: int = MAX_ATTEMPTS) -> None:
        self._new_id = new_id
        self._limit = limit
        self._by_id: OrderedDict[str, Attempt] = OrderedDict()
        self._by_mac: dict[str, str] = {}
        self._by_address: dict[str, str] = {}
        self.dropped = 0
        """Attempts pushed out by newer ones."""

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Attempt]:
        return iter(tuple(self._by_id.values()))

    def begin(self, machine: Machine, now: float, firmware: bool) -> Attempt:
        """The attempt that a DISCOVER of this machine belongs to: its open one, or a new one.

        `firmware` is true for the PXE or HTTP client of the firmware, false for iPXE. A firmware that asks
        after its attempt has got past DHCP has been started again, and so has an iPXE that asks after it
        was given its script.
        """
        attempt = self.by_mac(machine.mac)
        if attempt is None or not _continues(attempt, now, firmware):
            attempt = self._add(Attempt(self._new_id(), machine.mac, machine, started=now, last=now))
        elif attempt.machine != machine:
            attempt.machine = merged(attempt.machine, machine)
        attempt.last = now
        attempt.count("discovers")
        return attempt

    def goes_on(self, attempt: Attempt, machine: Machine, now: float, firmware: bool) -> bool:
        """Whether the same DISCOVER as before belongs to this attempt, the newest of its machine; it is then
        counted there. `machine` is what was known after the one before: False where more is known since.
        """
        if attempt.machine is not machine or not _continues(attempt, now, firmware):
            return False
        attempt.last = now
        attempt.count("discovers")
        return True

    def by_id(self, attempt_id: str) -> Attempt | None:
        """The attempt with this id."""
        return self._by_id.get(attempt_id)

    def by_mac(self, mac: str) -> Attempt | None:
        """The newest attempt of this MAC address."""
        return self._by_id.get(self._by_mac.get(mac, ""))

    def by_address(self, address: str) -> Attempt | None:
        """The newest attempt bound to this IP address."""
        return self._by_id.get(self._by_address.get(address, ""))

    def bind_address(self, attempt: Attempt, address: str) -> None:
        """Remember which address this attempt's machine uses; the newest attempt of an address owns it."""
        if (
            attempt.address not in (None, address)
            and self._by_address.get(attempt.address or "") == attempt.id
        ):
            del self._by_address[attempt.address or ""]
        attempt.address = address
        self._by_address[address] = attempt.id

    def learn(self, attempt_id: str, machine: Machine) -> Attempt | None:
        """Add what a later request told of the machine; what is already known stays where the new request
        is silent.
        """
        attempt = self._by_id.get(attempt_id)
        if attempt is not None:
            attempt.machine = merged(attempt.machine, machine)
        return attempt

    def reach(self, attempt: Attempt, stage: Stage, now: float) -> None:
        """Note that the attempt has come this far."""
        attempt.stage = max(attempt.stage, stage)
        attempt.last = now

    def adopt(self, attempt_id: str, machine: Machine, now: float) -> Attempt | None:
        """Take up an attempt again whose id a machine brought along and this process does not know: it was
        restarted.

        None where the text is no attempt id.
        """
        if not ATTEMPT_ID.fullmatch(attempt_id):
            return None
        known = self._by_id.get(attempt_id)
        if known is not None:
            return known
        attempt = Attempt(attempt_id, machine.mac, machine, started=now, last=now, stage=Stage.SCRIPT)
        # Its MAC's newest attempt may be known: a late report, or a made-up id, does not take its place.
        return self._add(attempt, newest=self.by_mac(machine.mac) is None)

    def expire(self, now: float) -> list[Attempt]:
        """Forget the attempts that were silent for an hour, and return them."""
        old = [a for a in self._by_id.values() if now - a.last > FORGET_SECONDS]
        for attempt in old:
            self._forget(attempt)
        return old

    def _add(self, attempt: Attempt, *, newest: bool = True) -> Attempt:
        while len(self._by_id) >= self._limit:
            self._forget(next(iter(self._by_id.values())))
            self.dropped += 1
        self._by_id[attempt.id] = attempt
        if attempt.mac and newest:
            self._by_mac[attempt.mac] = attempt.id
        return attempt

    def _forget(self, attempt: Attempt) -> None:
        del self._by_id[attempt.id]
        if self._by_mac.get(attempt.mac) == attempt.id:
            del self._by_mac[attempt.mac]
        if attempt.address and self._by_address.get(attempt.address) == attempt.id:
            del self._by_address[attempt.address]


def _continues(attempt: Attempt, now: float, firmware: bool) -> bool:
    """Whether a DISCOVER at `now` belongs to this attempt."""
    if attempt.stage >= Stage.SCRIPT:
        return False  # our scripts never ask for an address again: the machine was reset
    if firmware:
        return attempt.stage is Stage.DHCP and now - attempt.last <= SILENCE_SECONDS
    return now - attempt.started <= IPXE_SECONDS


def merged(old: Machine, new: Machine) -> Machine:
    """What is known of a machine after another request: the newest word on each fact, and no fact forgotten.

    A placeholder UUID does not replace a valid one; further MAC addresses are collected (16 at most).
    """
    macs = tuple(dict.fromkeys((*old.macs, *new.macs)))[:16]
    return replace(
        old,
        uuid=new.uuid if valid_uuid(new.uuid) or not old.uuid else old.uuid,
        serial=new.serial or old.serial,
        arch=new.arch if new.arch is not None else old.arch,
        kind=new.kind or old.kind,
        vendor=new.vendor or old.vendor,
        product=new.product or old.product,
        address=new.address or old.address,
        subnet=new.subnet or old.subnet,
        platform=new.platform or old.platform,
        macs=macs,
    )
