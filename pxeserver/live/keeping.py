"""What is done from time to time: attempts that have gone silent are closed, old records go, a backup is
made.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pxeserver.boot.diagnosis import DEFAULT_WINDOWS, diagnose
from pxeserver.boot.diagnosis import Windows as Silences
from pxeserver.boot.model import Event, EventKind
from pxeserver.live.care import DatabaseCare
from pxeserver.live.errors import Refused
from pxeserver.live.feed import Feed
from pxeserver.storage.attempts import AttemptLog
from pxeserver.storage.machines import Machines
from pxeserver.storage.promises import Promises
from pxeserver.storage.records import AttemptRecord

log = logging.getLogger(__name__)

_DAY = 86_400.0
_ENDS = {EventKind.BOOTED.value, EventKind.LOCAL_BOOT.value, EventKind.INSTALLED.value}
_RECENT = 4
"""Earlier attempts of a machine that a diagnosis looks at: enough to see a loop."""


@dataclass(frozen=True, slots=True)
class Windows:
    """How long things are waited for and kept, in seconds where nothing else is said."""

    silences: Silences = DEFAULT_WINDOWS
    look_every: float = 15.0
    """Between two looks for attempts that have gone silent."""
    quiet: float = 45.0
    """Attempts with an event more recent than this are not looked at; at most the shortest silence."""
    settled: float = 120.0
    """After the end of a boot was told, its attempt is closed after this."""
    forget: float = 3 * 3600.0
    """An attempt without any event for so long is over, also where nothing is wrong with it."""
    keep_attempts: float = 30 * _DAY
    keep_count: int = 100_000
    """Attempts kept at most."""
    keep_leases: float = _DAY
    """How long an ended lease is remembered."""
    backup_every: float = _DAY
    backups_kept: int = 7

    @classmethod
    def of(cls, silences: Silences) -> Windows:
        """The usual windows with other silences: looked for as often as the shortest of them needs."""
        shortest = min(
            silences.after_offer, silences.during_loader, silences.after_loader, silences.after_script,
            silences.during_file, silences.after_files, silences.during_install,
        )  # fmt: skip
        usual = cls()
        quiet = min(usual.quiet, shortest)
        return cls(silences, look_every=min(usual.look_every, quiet / 3), quiet=quiet)


class Keeping:
    """Closes attempts, forgets old records, makes backups; `run` does so for ever."""

    def __init__(self, care: DatabaseCare, feed: Feed, clock: Callable[[], float], windows: Windows) -> None:
        self._care = care
        self._feed = feed
        self._clock = clock
        self._windows = windows
        self._tidied = 0.0

    async def run(self) -> None:
        """Look for ever; a database that is away is waited for."""
        while True:
            await asyncio.sleep(self._windows.look_every)
            try:
                await self.close_silent()
                if self._clock() - self._tidied >= _DAY / 24:
                    await self.tidy()
                    await self.back_up()
                    self._tidied = self._clock()
            except Refused as error:
                log.debug("keeping waits", extra={"why": error.why})

    async def close_silent(self) -> list[Event]:
        """Close the attempts that are over, each with what is wrong with it; returns what was told."""
        now = self._clock()
        async with self._care.read() as connection:
            attempts = AttemptLog(connection)
            silent = await attempts.stale(now - self._windows.quiet)
            told = []
            for attempt in silent:
                closed = await self._judge(attempts, attempt, now)
                if closed is not None:
                    told.append(closed)
        if told:
            async with self._care.write() as connection:
                attempts = AttemptLog(connection)
                await attempts.add_events(told)
                for event in told:
                    texts = (str(event.detail[name]) for name in ("diagnosis", "text", "next_step"))
                    await attempts.close(event.attempt, now, *texts)
            for event in told:
                self._feed.publish(event)
        return told

    async def _judge(self, attempts: AttemptLog, attempt: AttemptRecord, now: float) -> Event | None:
        """The event that closes this attempt, or None where it may still go on."""
        earlier = await attempts.newest(_RECENT, mac=attempt.mac, before=attempt.started)
        events = [e for a in (*reversed(earlier), attempt) for e in await attempts.timeline(a.id)]
        found = diagnose(events, now, self._windows.silences)
        limit = self._windows.settled if attempt.stage in _ENDS else self._windows.forget
        newest = await attempts.newest(1, mac=attempt.mac)
        replaced = any(a.started > attempt.started for a in newest)
        if found is None and now - attempt.last < limit and not replaced:
            return None
        detail = {
            "diagnosis": found.code if found else "",
            "text": found.text if found else "",
            "next_step": found.next_step if found else "",
        }
        return Event(now, EventKind.CLOSED, attempt.id, attempt.mac, attempt.node_id, detail)

    async def tidy(self) -> None:
        """Forget what is too old or too much."""
        now = self._clock()
        async with self._care.write() as connection:
            gone = await AttemptLog(connection).forget(
                now - self._windows.keep_attempts, self._windows.keep_count
            )
            await Machines(connection).trim()
            await Promises(connection).forget_leases(now - self._windows.keep_leases)
        if gone:
            log.info("attempts forgotten", extra={"count": gone})

    async def back_up(self) -> Path | None:
        """Make the daily backup where it is due, and remove the oldest ones; returns its path."""
        folder = self._care.backups
        made = sorted(folder.glob("daily-*.sqlite3")) if folder.is_dir() else []
        if made and self._clock() - made[-1].stat().st_mtime < self._windows.backup_every:
            return None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        target = folder / f"daily-{stamp}.sqlite3"
        await self._care.backup(target)
        for old in [*made, target][: -self._windows.backups_kept]:
            old.unlink(missing_ok=True)
        return target
