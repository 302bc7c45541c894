"""Admission at the boot HTTP listener: which link a machine is on, and what really arrives there.

The rules are in boot/admission.py. Bytes are counted when the machine's TCP has acknowledged them, since what
waits in a socket's buffer has not been on the wire.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable

from pxeserver.boot.admission import Admission, Turn
from pxeserver.boot.attempts import Attempt
from pxeserver.boot.bandwidth import Rules
from pxeserver.boot.model import FileRef
from pxeserver.servers.http_files import Watch
from pxeserver.servers.http_sender import Senders

log = logging.getLogger(__name__)


class Gate:
    """The admission of all links. `clock` goes evenly forward; `chance` is random.random, or a test's."""

    def __init__(
        self,
        senders: Senders,
        rules: Rules | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.rules = rules or Rules()
        self._senders, self._clock, self._chance = senders, clock, chance
        self._links: dict[str, Admission] = {}
        self._busy: set[str] = set()

    def ask(self, attempt: Attempt, peer: str, size: int) -> Turn | None:
        """None where this machine may fetch `size` bytes now; else its turn."""
        if not self.rules.enabled or size < self.rules.small:
            return None
        return self._link(peer).ask(_key(attempt, peer), size, self._clock())

    def watch(self, attempt: Attempt | None, peer: str, file: FileRef, inner: Watch) -> Watch:
        """`inner`, and beside it the bytes counted for the machine's link."""
        if not self.rules.enabled or file.size < self.rules.small:
            return inner
        return _Counted(inner, self._link(peer), _key(attempt, peer), self._clock)

    def ended(self, attempt: Attempt, peer: str) -> None:
        """The machine's system runs: it needs no turn any more."""
        link = self._links.get(self._senders.link(peer))
        if link is not None:
            link.ended(_key(attempt, peer))

    def tick(self) -> None:
        """About once a second."""
        now = self._clock()
        for name, link in self._links.items():
            link.tick(now)
            if bool(link.waiting) != (name in self._busy):
                self._busy ^= {name}
                log.info(
                    "link=%s event=%s waiting=%d loading=%d allowed=%d bytes_per_second=%.0f",
                    name, "machines-wait" if link.waiting else "nobody-waits", link.waiting, link.running,
                    link.bandwidth.allowed, link.bandwidth.rate,
                )  # fmt: skip

    def _link(self, peer: str) -> Admission:
        name = self._senders.link(peer)
        link = self._links.get(name)
        if link is None:
            link = self._links[name] = Admission(self.rules, self._clock(), self._chance)
        return link


def _key(attempt: Attempt | None, peer: str) -> str:
    """A machine that is started anew has another attempt and the same place."""
    return (attempt.mac or attempt.id) if attempt is not None else peer


class _Counted(Watch):
    """A file on its way, counted for its link."""

    def __init__(self, inner: Watch, link: Admission, key: str, clock: Callable[[], float]) -> None:
        self._inner, self._link, self._key, self._clock = inner, link, key, clock
        self._told = 0

    def started(self, total: int, whole: bool) -> None:
        self._link.began(self._key, total, self._clock())
        self._inner.started(total, whole)

    def moved(self, total: int, arrived: int) -> None:
        self._count(arrived)
        self._inner.moved(total, arrived)

    def sent(self, total: int, arrived: int) -> None:
        self._count(arrived)
        self._inner.sent(total, arrived)

    def failed(self, total: int, arrived: int, reason: str) -> None:
        self._count(arrived)
        self._inner.failed(total, arrived, reason)

    def _count(self, arrived: int) -> None:
        if arrived > self._told:
            self._link.arrived(self._key, arrived - self._told, self._clock())
            self._told = arrived
