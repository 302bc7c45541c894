"""The machines that boot now: one line each with how far it has come, from the events alone, in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from pxeserver.boot.diagnosis import DEFAULT_WINDOWS, Diagnosis, Windows, diagnose, silence
from pxeserver.boot.diagnosis_texts import TEXTS
from pxeserver.boot.model import Event, EventKind, Reason
from pxeserver.live.totals import Totals

MOST = 20_000
"""Boots kept; with more, the one without news for longest goes."""
LINGER = 45.0
"""Seconds for which a boot that has ended stays on the board."""
STUCK_STAYS = 3600.0
"""Seconds for which one that stopped half-way stays there, unless its machine starts anew."""
_EVENTS = 48
"""Steps of a boot that are kept for its diagnosis; a usual one has 20."""
_LOOK_AFTER = 5.0
"""A boot is looked at for what is wrong with it at most this often."""


class Stage(IntEnum):
    """How far a boot has come; the parts of its bar."""

    ASKED = 0
    OFFERED = 1
    LOADER = 2
    SCRIPT = 3
    KERNEL = 4
    RAMDISK = 5
    """RAM disks, root file systems and whatever else the image has."""
    SYSTEM = 6
    """Everything was sent: the system starts or installs."""
    REPORTED = 7
    """It has told that it runs, or starts its own disk."""


class Standing(IntEnum):
    """How a boot is doing; the order in which boots are shown."""

    STUCK = 0
    MOVING = 1
    WAITING = 2
    """A person's turn: a menu, a held node."""
    QUIET = 3
    """Not answered, as the policy says."""
    DONE = 4


_STAGES: Mapping[EventKind, Stage] = {
    EventKind.DISCOVERED: Stage.ASKED,
    EventKind.IGNORED: Stage.ASKED,
    EventKind.OFFERED: Stage.OFFERED,
    EventKind.ADDRESS_GIVEN: Stage.OFFERED,
    EventKind.BOOT_REQUESTED: Stage.OFFERED,
    EventKind.LOADER_STARTED: Stage.LOADER,
    EventKind.LOADER_SENT: Stage.LOADER,
    EventKind.SCRIPT_SENT: Stage.SCRIPT,
    EventKind.WAITING: Stage.SCRIPT,
    EventKind.HELD: Stage.SCRIPT,
    EventKind.INSTALL_STARTED: Stage.SYSTEM,
    EventKind.INSTALL_PROGRESS: Stage.SYSTEM,
    EventKind.INSTALL_FAILED: Stage.SYSTEM,
    EventKind.INVENTORY: Stage.REPORTED,
    EventKind.BOOTED: Stage.REPORTED,
    EventKind.INSTALLED: Stage.REPORTED,
    EventKind.LOCAL_BOOT: Stage.REPORTED,
}
_FILES = frozenset({
    EventKind.FILE_STARTED,
    EventKind.FILE_PROGRESS,
    EventKind.FILE_SENT,
    EventKind.FILE_FAILED,
})  # fmt: skip
_TRANSFERS = _FILES | {EventKind.LOADER_STARTED, EventKind.LOADER_SENT, EventKind.INSTALL_PROGRESS}
_ENDS = frozenset({EventKind.BOOTED, EventKind.INSTALLED, EventKind.LOCAL_BOOT, EventKind.INVENTORY})
_BEGINNINGS = frozenset({EventKind.DISCOVERED, EventKind.OFFERED, EventKind.ADDRESS_GIVEN})
_PASSING = frozenset({EventKind.BOOT_ONCE_USED, EventKind.CLOSED})
_AS_WISHED = frozenset({
    Reason.POLICY_IGNORE.value, Reason.POLICY_OBSERVE.value, Reason.DRY_RUN.value, Reason.OTHER_SERVER.value,
})  # fmt: skip
_PATIENT = frozenset({"menu", "hold"})
"""What a script does that waits for a person."""

Role = Callable[[str], str]
"""The role of a published file by its name: kernel, initrd, root...; "" for an unknown one."""


@dataclass(slots=True)
class Boot:
    """One boot of one machine."""

    id: str
    mac: str
    started: float
    node_id: int | None = None
    address: str = ""
    last: float = 0.0
    stage: Stage = Stage.ASKED
    entered: float = 0.0
    """When it came to this stage."""
    step: str = ""
    """The newest event's kind."""
    what: str = ""
    """The file on its way, or what the script does."""
    bytes: int = 0
    total: int = 0
    rate: float = 0.0
    """Bytes per second of the transfer under way."""
    standing: Standing = Standing.MOVING
    trouble: Diagnosis | None = None
    told: str = ""
    """Code of the newest diagnosis that was counted."""
    change: int = 0
    """Number of the board's change that it was last part of."""
    looked: float = 0.0
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=_EVENTS))
    since: float = 0.0
    """When the transfer under way began."""

    @property
    def order(self) -> tuple[int, float, str]:
        """Its place on the board: the stuck ones first, then by age, so that lines keep their places."""
        return (int(self.standing), self.started, self.id)


class Board:
    """The boots, by the id of their attempt. `take` and `look` return at once."""

    def __init__(
        self,
        windows: Windows = DEFAULT_WINDOWS,
        role: Role = lambda _name: "",
        totals: Totals | None = None,
    ) -> None:
        self._windows = windows
        self._role = role
        self._totals = totals or totals_of_boots()
        self.boots: dict[str, Boot] = {}
        self._by_mac: dict[str, str] = {}
        self.changes = 0
        """Grows with every change of a boot."""

    def put(self, boot: Boot) -> None:
        """Place a boot that is known from elsewhere, as after a restart."""
        self.boots[boot.id] = boot
        self._by_mac[boot.mac] = boot.id
        self._changed(boot)

    def take(self, event: Event) -> None:
        """Bring the board up to date with an event."""
        if not event.attempt:
            return
        boot = self.boots.get(event.attempt)
        if boot is None:
            if event.kind in _PASSING:
                return
            boot = self._begin(event)
        boot.last = max(boot.last, event.at)
        boot.node_id = event.node_id if event.node_id is not None else boot.node_id
        boot.address = str(event.detail.get("address") or boot.address)
        if event.kind is EventKind.CLOSED:
            self._close(boot, event)
        elif event.kind not in _PASSING:
            self._step(boot, event)
        self._changed(boot)

    def look(self, now: float) -> None:
        """Find what has stopped, and clear away what is over."""
        for boot in list(self.boots.values()):
            self.look_at(boot, now)

    def look_at(self, boot: Boot, now: float) -> None:
        """The same of one boot; nothing where it is not on the board any more."""
        if self.boots.get(boot.id) is not boot:
            return
        quiet = now - boot.last
        stays = STUCK_STAYS if boot.standing in (Standing.STUCK, Standing.WAITING) else LINGER
        if quiet > stays and boot.standing is not Standing.MOVING:
            self._remove(boot)
        elif boot.standing is Standing.MOVING and quiet > _LOOK_AFTER and now - boot.looked > _LOOK_AFTER:
            boot.looked = now
            if boot.step == EventKind.FILE_SENT.value and Stage.KERNEL <= boot.stage < Stage.SYSTEM:
                self._enter(boot, Stage.SYSTEM, boot.last)  # it asks for nothing more: it has what it needs
                self._changed(boot)
            found = diagnose(boot.events, now, self._windows)
            if found is not None:
                self._stuck(boot, found)
                self._changed(boot)
            elif quiet > STUCK_STAYS:
                self._remove(boot)

    def ordered(self) -> list[Boot]:
        """All boots, those that are stuck first."""
        return sorted(self.boots.values(), key=lambda boot: boot.order)

    def counts(self) -> tuple[dict[Stage, int], dict[Standing, int]]:
        """How many boots under way are at each stage, and how many stand how."""
        stages, standings = dict.fromkeys(Stage, 0), dict.fromkeys(Standing, 0)
        for boot in self.boots.values():
            standings[boot.standing] += 1
            if boot.standing is Standing.MOVING:
                stages[boot.stage] += 1
        return stages, standings

    # ------------------------------------------------------------------------------------------ inside

    def _begin(self, event: Event) -> Boot:
        older = self.boots.get(self._by_mac.get(event.mac, ""))
        if older is not None:
            self._remove(older)
        while len(self.boots) >= MOST:
            self._remove(min(self.boots.values(), key=lambda b: b.last))
        boot = Boot(event.attempt, event.mac, event.at, entered=event.at)
        self.boots[boot.id] = boot
        self._by_mac[boot.mac] = boot.id
        return boot

    def _step(self, boot: Boot, event: Event) -> None:
        if event.kind is EventKind.IGNORED and boot.stage > Stage.ASKED:
            return  # a boot that goes on is not hidden by a packet that needed no answer
        if boot.events and boot.events[-1].kind is event.kind is EventKind.FILE_PROGRESS:
            boot.events.pop()
        boot.events.append(event)
        boot.step = event.kind.value
        self._enter(boot, self._stage(boot, event), event.at)
        boot.trouble = None
        boot.standing = Standing.DONE if event.kind in _ENDS else Standing.MOVING
        self._transfer(boot, event)
        match event.kind:
            case EventKind.IGNORED:
                boot.trouble = silence([event])
                wished = event.detail.get("reason") in _AS_WISHED
                boot.standing = Standing.QUIET if wished else Standing.STUCK
            case EventKind.HELD | EventKind.INSTALL_FAILED:
                self._stuck(boot, diagnose(boot.events, event.at, self._windows))
            case EventKind.FILE_FAILED if event.detail.get("trigger") == "not-loaded":
                self._stuck(boot, diagnose(boot.events, event.at, self._windows))
            case EventKind.WAITING:
                # Nothing is wrong: its line says why it does not move.
                boot.trouble = Diagnosis("", str(event.detail.get("text", "")), "")
            case EventKind.SCRIPT_SENT:
                boot.what = str(event.detail.get("action", ""))
                if boot.what in _PATIENT:
                    boot.standing = Standing.WAITING

    def _enter(self, boot: Boot, stage: Stage, at: float) -> None:
        if stage is not boot.stage:
            self._totals.left(boot.stage.name.lower(), at - boot.entered)
            boot.stage, boot.entered = stage, at

    def _stuck(self, boot: Boot, found: Diagnosis | None) -> None:
        if found is not None and found.code != boot.told:
            boot.told = found.code
            self._totals.diagnosed(found.code)
        boot.trouble, boot.standing = found, Standing.STUCK

    def _stage(self, boot: Boot, event: Event) -> Stage:
        if event.kind in _FILES:
            if event.kind is EventKind.FILE_FAILED and boot.stage <= Stage.LOADER:
                return Stage.LOADER
            kernel = self._role(str(event.detail.get("file", ""))) in ("kernel", "efi")
            return max(boot.stage, Stage.KERNEL if kernel else Stage.RAMDISK)
        reached = _STAGES.get(event.kind, boot.stage)
        # iPXE asks for an address again, with the same attempt: that is no step back.
        return max(boot.stage, reached) if event.kind in _BEGINNINGS else reached

    def _transfer(self, boot: Boot, event: Event) -> None:
        if event.kind not in _TRANSFERS:
            boot.bytes = boot.total = 0
            boot.rate, boot.what = 0.0, ""
            return
        detail, told = event.detail, str(event.detail.get("file", ""))
        if event.kind in (EventKind.FILE_STARTED, EventKind.LOADER_STARTED) or told != boot.what:
            boot.since, boot.what, boot.rate = event.at, told, 0.0
        boot.bytes, boot.total = _number(detail.get("bytes")), _number(detail.get("total"))
        seconds = detail.get("seconds")
        spent = float(seconds) if isinstance(seconds, (int, float)) else event.at - boot.since
        if boot.bytes and spent > 0:
            boot.rate = boot.bytes / spent

    def _close(self, boot: Boot, event: Event) -> None:
        code, text, step = (str(event.detail.get(k, "")) for k in ("diagnosis", "text", "next_step"))
        if code:
            found = Diagnosis(code, text, step)
            if boot.standing is Standing.QUIET:
                boot.trouble = found
            else:
                self._stuck(boot, found)
        elif boot.standing is not Standing.STUCK:
            boot.standing = Standing.DONE

    def _remove(self, boot: Boot) -> None:
        del self.boots[boot.id]
        if self._by_mac.get(boot.mac) == boot.id:
            del self._by_mac[boot.mac]
        self.changes += 1

    def _changed(self, boot: Boot) -> None:
        self.changes += 1
        boot.change = self.changes


def totals_of_boots() -> Totals:
    """Counts of everything that boots are known to do."""
    return Totals((k.value for k in EventKind), (s.name.lower() for s in Stage), TEXTS)


def _number(value: object) -> int:
    return int(value) if isinstance(value, (int, float)) else 0
