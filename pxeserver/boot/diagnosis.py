"""Why a boot stopped half-way, in words: what was seen, what it usually means, what to do next.

Pure: the events of a machine's attempts and the time go in. How long each stage may be silent is in
Windows; the defaults are for real firmware and leave room for slow, emulated machines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pxeserver.boot.diagnosis_texts import IGNORED, TEXTS
from pxeserver.boot.model import Event, EventKind


@dataclass(frozen=True, slots=True)
class Windows:
    """Seconds of silence after which a stage counts as stopped."""

    after_offer: float = 45.0
    """edk2 waits 4 s for offers and asks port 4011 within 9 s more; iPXE may wait 16 s for a router first."""
    during_loader: float = 60.0
    """edk2 repeats a TFTP request for 51 s before it gives up."""
    after_loader: float = 90.0
    """The loader starts, finds its card and asks for an address: 2 s on hardware, 30 s emulated; 16 s more
    without a router.
    """
    after_script: float = 60.0
    """iPXE fetches the kernel at once; its three tries with pauses take 53 s."""
    during_file: float = 60.0
    """iPXE gives up a silent transfer after 30 s at the latest and then says so."""
    after_files: float = 600.0
    """Unpacking a large RAM disk and starting its network takes minutes on slow machines."""
    during_install: float = 3600.0
    """Installers report their end, few report progress."""
    loop_attempts: int = 3
    """So many boots in a row without a word from the started system are a loop."""
    loop_seconds: float = 3600.0
    """Boots further apart than this are a person's, not a loop's."""


DEFAULT_WINDOWS = Windows()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong: a code for counters and tests, a sentence on what was seen and why, and what to do."""

    code: str
    text: str
    next_step: str


_REPORTS = frozenset({
    EventKind.BOOTED,
    EventKind.INVENTORY,
    EventKind.INSTALL_PROGRESS,
    EventKind.INSTALLED,
    EventKind.INSTALL_FAILED,
})  # fmt: skip
_ENDED = frozenset({EventKind.BOOTED, EventKind.INSTALLED, EventKind.LOCAL_BOOT})
_PASSING = frozenset({EventKind.CLOSED, EventKind.BOOT_ONCE_USED})
"""Events that say nothing on how far the machine has come."""


def diagnose(events: Iterable[Event], now: float, windows: Windows = DEFAULT_WINDOWS) -> Diagnosis | None:
    """What is wrong with the newest attempt among these events of one machine; None while nothing is, or
    not yet.

    Events of earlier attempts of the same machine may be among them: they make a loop visible.
    """
    attempts = _by_attempt(events)
    if not attempts:
        return None
    newest = attempts[-1]
    found = _of_attempt(newest, now, windows)
    if found is not None and found.code in ("held", "install-failed", "no-loader", "ignored"):
        return found
    return _loop(attempts, windows) or found


def _by_attempt(events: Iterable[Event]) -> list[list[Event]]:
    """The events of each attempt in order of time, the attempts in order of their first event."""
    found: dict[str, list[Event]] = {}
    for event in sorted(events, key=lambda e: e.at):
        found.setdefault(event.attempt, []).append(event)
    return list(found.values())


def _loop(attempts: Sequence[Sequence[Event]], windows: Windows) -> Diagnosis | None:
    """The last attempts all reached their script, none of their systems reported, and the machine came back
    quickly.
    """
    silent = 0
    later: float | None = None
    for attempt in reversed(attempts):
        kinds = {event.kind for event in attempt}
        started = EventKind.SCRIPT_SENT in kinds or EventKind.LOADER_SENT in kinds
        if not started or kinds & (_REPORTS | {EventKind.LOCAL_BOOT, EventKind.HELD}):
            break
        if later is not None and later - attempt[-1].at > windows.loop_seconds:
            break
        silent, later = silent + 1, attempt[0].at
    if silent < windows.loop_attempts:
        return None
    last = _last(attempts[-1])
    stage = _STAGE_WORDS.get(last.kind, last.kind.value) if last else "nothing"
    return _worded("loop", count=silent, stage=stage)


_STAGE_WORDS = {
    EventKind.DISCOVERED: "asking for an address",
    EventKind.OFFERED: "our offer",
    EventKind.LOADER_SENT: "the boot loader",
    EventKind.SCRIPT_SENT: "its script",
    EventKind.FILE_SENT: "its kernel and RAM disks",
    EventKind.FILE_FAILED: "a failed download",
}


def silence(events: Sequence[Event]) -> Diagnosis | None:
    """Why the newest request among these events of one attempt was answered with silence; None where it was
    not.

    Needs no waiting, other than a diagnosis: the server itself knows.
    """
    last = _last(events)
    return _ignored(last) if last is not None and last.kind is EventKind.IGNORED else None


def _last(events: Sequence[Event]) -> Event | None:
    """The newest event that says how far the machine has come.

    The address that a full DHCP server gives to everybody does not, where the boot was answered with silence.
    """
    telling = [event for event in events if event.kind not in _PASSING]
    if not telling:
        return None
    about_boot = next((e for e in reversed(telling) if e.kind is not EventKind.ADDRESS_GIVEN), telling[-1])
    return about_boot if about_boot.kind is EventKind.IGNORED else telling[-1]


def _of_attempt(events: Sequence[Event], now: float, windows: Windows) -> Diagnosis | None:
    """What is wrong with one attempt by its last event and the silence since."""
    last = _last(events)
    if last is None or last.kind in _ENDED:
        return None
    quiet = now - last.at
    file = str(last.detail.get("file", "a file"))
    reason = str(last.detail.get("reason", "")) or "no reason was given"
    kinds = {event.kind for event in events}
    match last.kind:
        case EventKind.IGNORED:
            return _ignored(last)
        case EventKind.HELD:
            return _worded("held", reason=reason)
        case EventKind.FILE_FAILED if last.detail.get("trigger") != "not-loaded":
            # A transfer broke off. A boot loader that still runs tries again, or says that it could not.
            code = "file-stopped" if EventKind.SCRIPT_SENT in kinds else "loader-stopped"
            return _worded(code, seconds=quiet, file=file)
        case EventKind.INSTALL_FAILED | EventKind.FILE_FAILED:
            code = "not-loaded" if last.kind is EventKind.FILE_FAILED else "install-failed"
            return _worded(code, file=file, reason=reason)
        case EventKind.OFFERED | EventKind.ADDRESS_GIVEN | EventKind.BOOT_REQUESTED if (
            quiet > windows.after_offer
        ):
            return _worded("no-request-after-offer", seconds=quiet)
        case EventKind.LOADER_STARTED if quiet > windows.during_loader:
            return _worded("loader-stopped", seconds=quiet, file=file)
        case EventKind.LOADER_SENT | EventKind.DISCOVERED if (
            quiet > windows.after_loader and EventKind.LOADER_SENT in kinds
        ):
            return _worded("loader-silent", seconds=quiet)
        case EventKind.SCRIPT_SENT | EventKind.WAITING if quiet > _script_window(last, windows):
            return _worded("kernel-not-fetched", seconds=quiet)
        case EventKind.FILE_STARTED | EventKind.FILE_PROGRESS if quiet > windows.during_file:
            return _worded("file-stopped", seconds=quiet, file=file)
        case EventKind.FILE_SENT if EventKind.INSTALL_STARTED not in kinds and quiet > windows.after_files:
            return _worded("no-report", seconds=quiet)
        case EventKind.FILE_SENT | EventKind.INSTALL_STARTED | EventKind.INSTALL_PROGRESS if (
            EventKind.INSTALL_STARTED in kinds and quiet > windows.during_install
        ):
            return _worded("install-silent", seconds=quiet)
    return None


def _script_window(event: Event, windows: Windows) -> float:
    """A menu may wait for a person; scripts that only show a reason lead to the local disk; who waits for its
    turn was told how long to sleep.
    """
    if event.detail.get("action") in ("menu", "hold", "refused", "local"):
        return float("inf")
    told = event.detail.get("seconds", 0) if event.kind is EventKind.WAITING else 0
    return windows.after_script + (told if isinstance(told, (int, float)) else 0)


def _ignored(event: Event) -> Diagnosis:
    reason = str(event.detail.get("reason", ""))
    why = str(event.detail.get("text") or event.detail.get("detail") or "")
    if reason == "no-loader":
        return _worded("no-loader", reason=why or "no loader for its architecture")
    step = IGNORED.get(
        reason,
        "See the server's log for this machine's MAC address: every silence is there with its reason.",
    )
    return Diagnosis("ignored", f"The server answered nothing: {reason}{': ' + why if why else ''}.", step)


def _worded(code: str, **facts: str | float) -> Diagnosis:
    """The text of a code with its facts; seconds are whole."""
    shown = {name: round(fact) if isinstance(fact, float) else fact for name, fact in facts.items()}
    text, next_step = TEXTS[code]
    return Diagnosis(code, text.format(**shown), next_step.format(**shown))
