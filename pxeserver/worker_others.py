"""Which other DHCP servers the probes have found, interface by interface, kept on disk for restarts."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pxeserver.boot.model import Interface
from pxeserver.servers.dhcp_probe import Seen

log = logging.getLogger(__name__)

Probe = Callable[[Interface], Awaitable[Sequence[Seen]]]
"""Asks on one interface for other DHCP servers. OSError where it may not ask."""

TRUSTED_SECONDS = 180.0
"""For so long after the last look, a restarted process takes "nobody else is here" from the memory. What was
found holds for longer: until a probe does not find it any more.
"""
_Key = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found on one interface."""

    boots: tuple[str, ...] = ()
    """Other boot servers, each in a few words."""
    addresses: tuple[str, ...] = ()
    """DHCP servers that give addresses."""


class Others:
    """The findings of the probes. `probe` is None where nobody is to be asked, and `why_not` says why."""

    def __init__(self, probe: Probe | None, memory: Path, why_not: str = "") -> None:
        self._probe = probe
        self._memory = memory
        self._found: dict[_Key, Found] = {}
        self._asked: set[_Key] = set()
        self.remembers = False
        """Whether anything is known from before this process started."""
        self.note = "the probe for other boot servers is still running"
        if probe is None:
            self.note = f"other boot servers were not looked for: {why_not}"

    @property
    def asks(self) -> bool:
        """Whether there is a probe."""
        return self._probe is not None

    def recall(self) -> None:
        """Go by what was found before the restart, until the probe has ended."""
        try:
            age = time.time() - self._memory.stat().st_mtime
            told = json.loads(self._memory.read_text())
            found = {
                (str(name), tuple(map(str, networks))): Found(
                    tuple(map(str, boots)), tuple(map(str, addresses))
                )
                for name, networks, boots, addresses in told
            }
        except (OSError, ValueError, TypeError):
            return
        recent = age < TRUSTED_SECONDS
        self._found = {key: one for key, one in found.items() if recent or one.boots or one.addresses}
        self.remembers = bool(self._found)

    def forget(self, interfaces: Iterable[Interface]) -> None:
        """These links were away: who is there now is not known."""
        for interface in interfaces:
            self._found.pop(_key(interface), None)
            self._asked.discard(_key(interface))

    async def ask(self, interfaces: Sequence[Interface]) -> None:
        """Probe these interfaces at the same time. What cannot be asked stays as it was known before."""
        if self._probe is None:
            return
        answers = await asyncio.gather(*(self._probe(i) for i in interfaces), return_exceptions=True)
        for interface, seen in zip(interfaces, answers, strict=True):
            key = _key(interface)
            self._asked.add(key)
            if isinstance(seen, OSError):
                log.warning("cannot probe for other boot servers", extra={"error": seen})
                self.note = f"other boot servers could not be looked for: {seen.strerror}"
                self._found.setdefault(key, Found())
            elif isinstance(seen, BaseException):
                raise seen
            else:
                self.note = "no other boot server answered"
                self._found[key] = found = _found(seen)
                for other in found.boots:
                    log.warning("another boot server answers on this network", extra={"server": other})
        await asyncio.to_thread(self._remember)

    def done(self, interfaces: Iterable[Interface]) -> bool:
        """Whether all of these were probed, or never will be."""
        return self._probe is None or all(_key(i) in self._asked for i in interfaces)

    def boots(self, interfaces: Iterable[Interface]) -> tuple[str, ...]:
        """The other boot servers on these interfaces."""
        return tuple(one for i in interfaces for one in self._found.get(_key(i), Found()).boots)

    def addresses(self, interface: Interface) -> tuple[str, ...] | None:
        """The DHCP servers that give addresses on this interface; None while nobody knows."""
        found = self._found.get(_key(interface))
        if found is None:
            return () if self._probe is None else None
        return found.addresses

    def still_so(self) -> None:
        """Nothing has changed since: a restart in the next minutes may rely on the memory."""
        with suppress(OSError):
            os.utime(self._memory)

    def _remember(self) -> None:
        told = [[name, networks, f.boots, f.addresses] for (name, networks), f in self._found.items()]
        with suppress(OSError):
            self._memory.write_text(json.dumps(told))


def _key(interface: Interface) -> _Key:
    return interface.name, interface.networks


def _found(seen: Sequence[Seen]) -> Found:
    boots = tuple(f"{one.server} on {one.interface} with {', '.join(one.boot)}" for one in seen if one.boots)
    return Found(boots, tuple(one.server for one in seen if one.gives_addresses))
