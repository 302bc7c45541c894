"""A boot's events as a picture: lanes on an axis of time, with durations, bytes, retries; and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pxeserver.api.schemas.boots import AttemptDetail, EventView
from pxeserver.api.schemas.live import LiveBootView
from pxeserver.boot.architectures import arch_name

_ASKING = ("discovered", "offered", "address-given", "boot-requested")
_CLIENTS = {
    "firmware-pxe": "Firmware asks (PXE)",
    "firmware-http": "Firmware asks (HTTP)",
    "ipxe": "iPXE asks for an address",
}
_ASKS = (*_CLIENTS.values(), "Asks for an address")
TITLES = (
    *_ASKS, "Boot loader", "Script", "File", "System starts", "Install",
    "Starts its own disk", "Held", "Not answered", "No word",
)  # fmt: skip
"""Of the lanes; looked up in the catalogues."""
_SHORTEST = 0.004
"""Of the picture's width: what is drawn of a moment."""


@dataclass(slots=True)
class Lane:
    """One bar. Times are seconds since the boot began."""

    title: str
    start: float
    end: float | None = None
    """None: it goes on."""
    note: str = ""
    tone: str = "ok"
    bytes: int | None = None
    total: int | None = None
    rate: float | None = None
    retries: int = 0
    protocol: str = ""
    x: float = 0.0
    width: float = 0.0
    """Its place in the picture, in thousandths."""

    @property
    def seconds(self) -> float | None:
        """How long it took; None for a moment."""
        return None if self.end is None or self.end == self.start else self.end - self.start


@dataclass(frozen=True, slots=True)
class Picture:
    """The lanes of a boot."""

    lanes: tuple[Lane, ...]
    seconds: float
    """Of the whole axis."""
    ticks: tuple[float, ...]
    bytes: int
    retries: int


@dataclass(frozen=True, slots=True)
class Said:
    """One message or step, decoded."""

    at: float
    kind: str
    tone: str
    facts: tuple[tuple[str, str], ...] = field(default=())


def draw(boot: AttemptDetail, now: float, live: LiveBootView | None = None) -> Picture:
    """The picture of a boot; while it goes on, up to `now` (seconds since the epoch)."""
    lanes: list[Lane] = []
    start = float(boot.started)
    for event in boot.timeline:
        _take(lanes, event, max(0.0, float(event.at) - start))
    last = max([float(event.at) - start for event in boot.timeline if event.kind != "closed"], default=0.0)
    going = boot.closed is None and live is not None and live.standing in ("moving", "waiting")
    end = max(last, now - start) if going else last
    for lane in lanes:
        if lane.end is None:
            lane.end, lane.tone = (end, "work") if going else (last, "fail")
    if going and live is not None:
        _running(lanes, live, end)
    elif boot.diagnosis and boot.closed is not None and (quiet := float(boot.closed) - start) > last + 1:
        lanes.append(Lane("No word", last, min(quiet, last + max(last, 60.0)), tone="fail"))
    return _placed(lanes)


def _running(lanes: list[Lane], live: LiveBootView, end: float) -> None:
    """What the live board knows beyond the timeline: how far the transfer under way is."""
    lane = next((lane for lane in reversed(lanes) if lane.end == end and lane.tone == "work"), None)
    if lane is not None and live.total:
        lane.bytes, lane.total, lane.rate = live.bytes, live.total, live.rate
    elif lane is None and live.stage == "system":
        lanes.append(Lane("System starts", max(x.end or x.start for x in lanes), end, tone="work"))


def _placed(lanes: list[Lane]) -> Picture:
    seconds = max([lane.end or lane.start for lane in lanes] + [0.1])
    for lane in lanes:
        lane.x = round(min(lane.start / seconds, 1 - _SHORTEST) * 1000, 1)
        width = ((lane.end or lane.start) - lane.start) / seconds
        lane.width = round(min(max(width, _SHORTEST) * 1000, 1000 - lane.x), 1)
    return Picture(
        lanes=tuple(lanes),
        seconds=seconds,
        ticks=tuple(seconds * part / 4 for part in range(5)),
        bytes=sum(lane.bytes or 0 for lane in lanes),
        retries=sum(lane.retries for lane in lanes),
    )


def _take(lanes: list[Lane], event: EventView, at: float) -> None:
    detail, kind = event.detail, event.kind
    file = str(detail.get("file", ""))
    match kind:
        case _ if kind in _ASKING:
            _asking(lanes, event, at)
        case "loader-started" | "file-started":
            _started(lanes, "Boot loader" if kind == "loader-started" else "File", file, event, at)
        case "loader-sent" | "file-sent" | "file-failed":
            _ended(lanes, "Boot loader" if kind == "loader-sent" else "File", file, event, at)
        case "script-sent":
            note = " ".join(filter(None, (str(detail.get("profile", "")), _action(detail))))
            before = lanes[-1] if lanes else None
            if before is not None and before.title == "Script" and before.note == note:
                before.retries += 1
            else:
                lanes.append(Lane("Script", at, at, note))
        case "install-started" | "installed" | "install-failed":
            _install(lanes, event, at)
        case "inventory" | "booted":
            began = max((lane.end or lane.start for lane in lanes), default=at)
            if not any(lane.title == "System starts" for lane in lanes):
                lanes.append(Lane("System starts", min(began, at), at, str(detail.get("system", ""))))
        case "local-boot":
            lanes.append(Lane("Starts its own disk", at, at, str(detail.get("method", ""))))
        case "held":
            lanes.append(Lane("Held", at, at, str(detail.get("reason", "")), "fail"))
        case "ignored":
            _ignored(lanes, event, at)


def _asking(lanes: list[Lane], event: EventView, at: float) -> None:
    lane = lanes[-1] if lanes and lanes[-1].title in _ASKS else None
    asked = event.kind == "discovered"
    title = _CLIENTS.get(str(event.detail.get("kind", "")), "Asks for an address")
    if lane is None or (asked and lane.title != title):
        lane = _add(lanes, Lane(title if asked else "Asks for an address", at, at))
    elif asked:
        lane.retries += 1
    lane.end = at
    if asked:
        lane.retries += max(0, int(_number(event.detail.get("times")) or 1) - 1)
    elif event.kind == "address-given":
        lane.note = str(event.detail.get("address", "")) or lane.note
    else:
        lane.note = lane.note or str(event.detail.get("file", "")).rpartition("/")[2]


def _started(lanes: list[Lane], title: str, file: str, event: EventView, at: float) -> None:
    before = next((lane for lane in lanes if lane.title == title and lane.note == file), None)
    if before is not None:
        before.retries += 1
        before.end, before.tone = None, "ok"
    else:
        total, protocol = _whole(event.detail.get("total")), str(event.detail.get("protocol", "http"))
        lanes.append(Lane(title, at, None, file, total=total, protocol=protocol))


def _ended(lanes: list[Lane], title: str, file: str, event: EventView, at: float) -> None:
    detail, seconds = event.detail, _number(event.detail.get("seconds"))
    lane = next((x for x in reversed(lanes) if x.note == file and x.title in (title, "Boot loader")), None)
    if lane is None:
        protocol = str(detail.get("protocol", "http"))
        lane = _add(lanes, Lane(title, max(0.0, at - (seconds or 0.0)), None, file, protocol=protocol))
    lane.end = at
    lane.bytes, lane.total = _whole(detail.get("bytes")), _whole(detail.get("total")) or lane.total
    lane.retries += int(_number(detail.get("resent")) or 0)
    spent = seconds or at - lane.start
    lane.rate = lane.bytes / spent if lane.bytes and spent > 0.0005 else None
    lane.tone = "fail" if event.kind == "file-failed" else "ok"


def _install(lanes: list[Lane], event: EventView, at: float) -> None:
    detail, seconds = event.detail, _number(event.detail.get("seconds"))
    note = str(detail.get("file") or detail.get("profile") or "")
    if event.kind == "install-started":
        lanes.append(Lane("Install", at, None, note))
        return
    lane = _open(lanes, "Install") or _add(lanes, Lane("Install", at - (seconds or 0.0), None, note))
    lane.end, lane.tone = at, "ok" if event.kind == "installed" else "fail"
    lane.note = str(detail.get("reason") or lane.note)
    lane.bytes = _whole(detail.get("bytes")) or lane.bytes


def _ignored(lanes: list[Lane], event: EventView, at: float) -> None:
    note = str(event.detail.get("reason", ""))
    times = int(_number(event.detail.get("times")) or 1)
    if lanes and lanes[-1].title == "Not answered" and lanes[-1].note == note:
        lanes[-1].retries += times
        lanes[-1].end = at
    else:
        lanes.append(Lane("Not answered", at, at, note, "wait", retries=times - 1))


def _open(lanes: list[Lane], title: str) -> Lane | None:
    return next((lane for lane in reversed(lanes) if lane.title == title and lane.end is None), None)


def _add(lanes: list[Lane], lane: Lane) -> Lane:
    lanes.append(lane)
    return lane


def _action(detail: object) -> str:
    told = detail.get("action", "") if isinstance(detail, dict) else ""
    return f"({told})" if told else ""


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, (int, float)) else None


# ------------------------------------------------------------------------------------------- what was said

_TONES = {
    "ignored": "wait",
    "held": "fail",
    "file-failed": "fail",
    "install-failed": "fail",
    "closed": "idle",
}
_FACTS = (
    "kind", "arch", "uuid", "subnet", "address", "file", "server", "protocol", "bytes", "total", "seconds",
    "blksize", "windowsize", "resent", "times", "profile", "action", "why", "reason", "detail", "text",
    "trigger", "method", "code", "serial", "vendor", "product", "platform", "system", "diagnosis",
)  # fmt: skip
"""What is shown of a step, in this order; the rest follows."""
_MOST = 200


def decode(timeline: Sequence[EventView], started: float) -> list[Said]:
    """The steps of a boot with what was asked and answered in each, newest last; of very many the newest."""
    return [
        Said(
            max(0.0, float(event.at) - started),
            event.kind,
            _TONES.get(event.kind, ""),
            facts(event),
        )
        for event in timeline[-_MOST:]
    ]


def facts(event: EventView) -> tuple[tuple[str, str], ...]:
    """What is told of a step, as pairs of words, the weightiest first."""
    return tuple((key, _shown(key, event.detail[key])) for key in _ordered(event))


def _ordered(event: EventView) -> list[str]:
    told = [key for key, value in event.detail.items() if value != "" and key != "sha256"]
    if event.kind == "closed":
        return [key for key in told if key == "diagnosis"]  # the page has its text above
    return [key for key in _FACTS if key in told] + sorted(key for key in told if key not in _FACTS)


def _shown(key: str, value: object) -> str:
    if key == "arch" and isinstance(value, int):
        name = arch_name(value)
        return f"{value} ({name})" if name else str(value)
    return str(value)[:500]
