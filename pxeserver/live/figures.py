"""What happened in the last hour, counted in short spans: boots, bytes, and how long boots took."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pxeserver.boot.model import Event, EventKind
from pxeserver.live.totals import Totals

SPAN = 5.0
"""Seconds of one span."""
SPANS = 720
"""Spans kept: an hour."""
_SAMPLES = 200
"""Durations kept of one span and kind; of more, the newest."""
_ATTEMPTS = 20_000

_LAST = {
    EventKind.BOOTED: "finished",
    EventKind.INSTALLED: "finished",
    EventKind.LOCAL_BOOT: "finished",
    EventKind.INSTALL_FAILED: "failed",
    EventKind.HELD: "failed",
}
_BYTES = frozenset({
    EventKind.FILE_PROGRESS, EventKind.FILE_SENT, EventKind.FILE_FAILED, EventKind.LOADER_SENT,
})  # fmt: skip


@dataclass(slots=True)
class Span:
    """One span of time."""

    number: int
    """Of the spans since the epoch."""
    started: int = 0
    finished: int = 0
    failed: int = 0
    bytes: int = 0
    to_offer: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    """Seconds from a machine's first request to our offer."""
    to_script: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    to_end: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    """Seconds to the word of the started system."""


@dataclass(slots=True)
class _Attempt:
    began: float
    told: set[str] = field(default_factory=set)
    files: dict[str, int] = field(default_factory=dict)
    """Bytes counted of each file."""


@dataclass(frozen=True, slots=True)
class Point:
    """One span as rates: boots per minute, bytes per second, seconds (median, and 95 of 100 took less)."""

    at: float
    """The end of the span, seconds since the epoch."""
    started: float
    finished: float
    failed: float
    bytes: float
    offer: tuple[float, float] | None
    script: tuple[float, float] | None
    end: tuple[float, float] | None


class Figures:
    """Counts events as they come; bounded in memory whatever comes."""

    def __init__(self, clock: Callable[[], float], totals: Totals) -> None:
        self._clock = clock
        self._totals = totals
        self._spans: deque[Span] = deque(maxlen=SPANS)
        self._attempts: OrderedDict[str, _Attempt] = OrderedDict()

    def take(self, event: Event) -> None:
        """Count an event. One that comes late counts where it happened."""
        if not event.attempt:
            return
        span = self._span(min(event.at, self._clock()))
        attempt = self._attempts.get(event.attempt)
        if attempt is None:
            if event.kind is EventKind.CLOSED:
                return
            attempt = self._attempts[event.attempt] = _Attempt(event.at)
            if len(self._attempts) > _ATTEMPTS:
                self._attempts.popitem(last=False)
            if span is not None and event.kind is not EventKind.IGNORED:
                self._begin(span, attempt)
        elif span is not None and event.kind is EventKind.OFFERED and "started" not in attempt.told:
            self._begin(span, attempt)
        if span is not None:
            self._count(span, attempt, event)

    def _count(self, span: Span, attempt: _Attempt, event: Event) -> None:
        took = event.at - attempt.began
        kind = event.kind
        if kind is EventKind.OFFERED and self._first(attempt, "offer"):
            span.to_offer.append(took)
            self._totals.reached("offer", took)
        elif kind is EventKind.SCRIPT_SENT and self._first(attempt, "script"):
            span.to_script.append(took)
            self._totals.reached("script", took)
        elif kind in _BYTES:
            name, sent = str(event.detail.get("file", "")), event.detail.get("bytes", 0)
            if isinstance(sent, (int, float)):
                before = attempt.files.get(name, 0)
                # A file that is fetched once more counts from nothing.
                new = int(sent - before if sent >= before else sent)
                span.bytes += new
                self._totals.sent(new)
                attempt.files[name] = 0 if kind in (EventKind.FILE_SENT, EventKind.LOADER_SENT) else int(sent)
                if len(attempt.files) > 64:
                    attempt.files.clear()
        end = _LAST.get(kind)
        if kind is EventKind.CLOSED and event.detail.get("diagnosis"):
            end = "failed"
        if end is not None and self._first(attempt, "end"):
            setattr(span, end, getattr(span, end) + 1)
            self._totals.end("stuck" if kind is EventKind.CLOSED else kind.value)
            if end == "finished":
                span.to_end.append(took)
                self._totals.reached("end", took)

    def _begin(self, span: Span, attempt: _Attempt) -> None:
        attempt.told.add("started")
        span.started += 1
        self._totals.begin()

    def points(self, count: int = SPANS, merge: int = 1) -> list[Point]:
        """The newest `count` spans that are over, oldest first, `merge` of them in one point; those in which
        nothing happened are there too.
        """
        now = int(self._clock() // SPAN)
        newest = now - now % merge - 1
        first = newest - count + 1
        by_number = {span.number: span for span in self._spans if span.number >= first}
        found = []
        for start in range(first, newest + 1, merge):
            part = [by_number[n] for n in range(start, start + merge) if n in by_number]
            found.append(_point(part, (start + merge) * SPAN, merge * SPAN))
        return found

    @staticmethod
    def _first(attempt: _Attempt, what: str) -> bool:
        if what in attempt.told:
            return False
        attempt.told.add(what)
        return True

    def _span(self, at: float) -> Span | None:
        number = int(at // SPAN)
        if not self._spans or number > self._spans[-1].number:
            self._spans.append(Span(number))
            return self._spans[-1]
        later = None
        for span in reversed(self._spans):
            if span.number == number:
                return span
            if span.number < number:
                return later
            later = span
        return None


def _point(spans: Sequence[Span], at: float, seconds: float) -> Point:
    a_minute = 60.0 / seconds
    return Point(
        at,
        sum(s.started for s in spans) * a_minute,
        sum(s.finished for s in spans) * a_minute,
        sum(s.failed for s in spans) * a_minute,
        sum(s.bytes for s in spans) / seconds,
        spread([t for s in spans for t in s.to_offer]),
        spread([t for s in spans for t in s.to_script]),
        spread([t for s in spans for t in s.to_end]),
    )


def spread(times: Sequence[float]) -> tuple[float, float] | None:
    """The median, and what 95 of 100 stay below; None where there are none."""
    if not times:
        return None
    ordered = sorted(times)
    return ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
