"""Notices what somebody should know of: in events as they happen, and in what is looked at now and then."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pxeserver.boot.model import Event, EventKind, Reason
from pxeserver.live import Hall
from pxeserver.notices.alarms import Alarm

log = logging.getLogger(__name__)

GATHER_SECONDS = 5.0
"""Alike troubles of machines are gathered for so long and told as one: a rack fails together."""
AGAIN_SECONDS = 3600.0
"""The same trouble of the same machine is not told twice within this."""
LOOK_SECONDS = 15.0
_AWAY_LOOKS = 2
"""The worker is away when so many looks in a row say so: restarts are none."""
_REMEMBERED = 20_000
_FULL_SHARE, _FULL_BYTES = 0.05, 1 << 30
_TOLD_OTHERWISE = frozenset({"", "ignored", "held", "install-failed"})
"""Diagnoses that are no alarm of a stuck boot: as wished, or told by their own event."""


class SeenWorker(Protocol):
    """What the boot worker last told of itself."""

    @property
    def connected(self) -> bool: ...
    @property
    def others(self) -> tuple[str, ...]: ...
    @property
    def refused(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that holds now and is wrong; it is told when it begins and when it ends."""

    kind: str
    key: str
    """What distinguishes it from others of its kind."""
    what: str
    next_step: str = ""


@dataclass(slots=True)
class _Gathered:
    what: str
    next_step: str
    about: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Sources:
    """Where to look."""

    hall: Hall
    state_dir: Path
    seen: Callable[[], SeenWorker]
    frozen: Callable[[], Mapping[str, str]] = dict
    """Names of frozen nodes, and why they are."""
    clusters: Callable[[], Mapping[str, str]] = dict
    """Names of clusters and how they stand."""
    disk: Callable[[Path], tuple[int, int]] = lambda path: shutil.disk_usage(path)[::2]
    """Total and free bytes of a folder's file system."""


class Watch:
    """Tells what it notices. `run` it for ever."""

    def __init__(
        self, sources: Sources, tell: Callable[[Alarm], None], clock: Callable[[], float] = time.time
    ) -> None:
        self._sources = sources
        self._tell = tell
        self._clock = clock
        self._gathered: OrderedDict[tuple[str, str], _Gathered] = OrderedDict()
        self._told: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._holds: dict[tuple[str, str], Condition] = {}
        self._away = 0

    async def run(self) -> None:
        """Listen and look, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._every(GATHER_SECONDS, self.flush))
            group.create_task(self._every(LOOK_SECONDS, self.look))

    async def _listen(self) -> None:
        while True:
            async for _, event in self._sources.hall.watch():
                try:
                    self.take(event)
                except Exception:
                    log.exception("an alarm is missing", extra={"mac": event.mac})

    async def _every(self, seconds: float, work: Callable[[], object]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                found = work()
                if asyncio.iscoroutine(found):
                    await found
            except Exception:
                log.exception("alarms could not be looked for")

    # ------------------------------------------------------------------------------------------ events

    def take(self, event: Event) -> None:
        """Look at an event. Returns at once."""
        text, step = (str(event.detail.get(name, "")) for name in ("text", "next_step"))
        match event.kind:
            case EventKind.INSTALL_FAILED:
                why = str(event.detail.get("reason", "")) or "its installer does not say why"
                step = "Mend the cause, then order the install anew"
                self._gather("install-failed", why, f"The install failed: {why}", step, event)
            case EventKind.CLOSED if (code := str(event.detail.get("diagnosis", ""))) not in _TOLD_OTHERWISE:
                self._gather("boot-stuck", code, text or code, step, event)
            case EventKind.IGNORED if str(event.detail.get("reason", "")) == Reason.NO_LOADER.value:
                why = "A machine asks for a boot loader that this server does not have"
                step = "Put a loader for its architecture into the server: `pxeserver loader add`"
                self._gather("boot-stuck", "no-loader", why, step, event)

    def _gather(self, kind: str, code: str, what: str, step: str, event: Event) -> None:
        now = self._clock()
        node = self._sources.hall.nodes().get(event.node_id) if event.node_id is not None else None
        name = node.name if node is not None else event.mac
        key = (f"{kind} {code}", name)
        if now - self._told.get(key, -AGAIN_SECONDS) < AGAIN_SECONDS:
            return
        self._told[key] = now
        self._told.move_to_end(key)
        while len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        self._gathered.setdefault((kind, code), _Gathered(what, step)).about.append(name)

    def flush(self) -> None:
        """Tell what was gathered."""
        gathered, self._gathered = self._gathered, OrderedDict()
        for (kind, _), found in gathered.items():
            count = len(found.about)
            what = found.what if count == 1 else f"{count} machines alike. The first: {found.what}"
            self._tell(Alarm(kind, what, found.next_step, tuple(found.about), self._clock()))

    # ------------------------------------------------------------------------------------------ conditions

    async def look(self) -> None:
        """Tell what began and what ended since the last look."""
        total, free = await asyncio.to_thread(self._sources.disk, self._sources.state_dir)
        now = {(c.kind, c.key): c for c in (*self._conditions(), *_disk(total, free))}
        for key in now.keys() - self._holds.keys():
            self._say(now[key])
        for key in self._holds.keys() - now.keys():
            self._say(self._holds[key], over=True)
        self._holds = now

    def _say(self, found: Condition, *, over: bool = False) -> None:
        about = (found.key,) if found.key and found.kind in ("node-frozen", "cluster-failed") else ()
        self._tell(Alarm(found.kind, found.what, found.next_step, about, self._clock(), over))

    def _conditions(self) -> Iterable[Condition]:
        trouble = self._sources.hall.trouble
        if trouble is not None:
            yield Condition("database-away", trouble.reason, trouble.text, trouble.next_step)
        yield from self._worker()
        for name, why in self._sources.frozen().items():
            step = f"`pxeserver node show {name}` says more; thaw it once its machine is known to be yours"
            yield Condition("node-frozen", name, f"Node {name} is frozen: {why}", step)
        for name, state in self._sources.clusters().items():
            if state == "failed":
                step = f"`pxeserver cluster show {name}` names the step and its reason"
                yield Condition("cluster-failed", name, f"A step of cluster {name} failed", step)

    def _worker(self) -> Sequence[Condition]:
        seen = self._sources.seen()
        self._away = 0 if seen.connected else self._away + 1
        if self._away >= _AWAY_LOOKS:
            step = "Look at the server's log and at `systemctl status pxeserver`"
            return [Condition("worker-away", "", "The boot worker does not answer", step)]
        step = "Find it and switch it off, or leave these networks to it"
        found = [
            Condition("second-dhcp", other, f"Another server answers: {other}", step) for other in seen.others
        ]
        return found + [Condition("second-dhcp", text, text, step) for text in seen.refused]


def _disk(total: int, free: int) -> Iterable[Condition]:
    if free < min(total * _FULL_SHARE, _FULL_BYTES):
        what = f"The file system of the state folder has {free / 1e6:.0f} MB left of {total / 1e9:.1f} GB"
        yield Condition("disk-full", "", what, "Remove images that nobody boots, or give it room")
