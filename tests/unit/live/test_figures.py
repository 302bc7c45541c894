"""The last hour in spans of five seconds."""

from pxeserver.boot.model import Event, EventKind
from pxeserver.live.board import totals_of_boots
from pxeserver.live.figures import SPAN, SPANS, Figures, spread


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def figures():
    clock = Clock()
    return Figures(clock, totals_of_boots()), clock


def told(kind, at, attempt="a", **detail):
    return Event(at, kind, attempt, "52:54:00:00:00:01", detail=detail)


def test_a_boot_is_counted_once_with_its_times():
    found, clock = figures()
    for at, kind, detail in (
        (1000.0, EventKind.DISCOVERED, {}),
        (1000.5, EventKind.OFFERED, {}),
        (1001.0, EventKind.OFFERED, {}),
        (1003.0, EventKind.SCRIPT_SENT, {}),
        (1004.0, EventKind.BOOTED, {}),
        (1004.5, EventKind.BOOTED, {}),
    ):
        clock.now = at
        found.take(told(kind, at, **detail))
    clock.now = 1005.0
    point = found.points(1)[0]
    assert (point.started, point.finished, point.failed) == (12.0, 12.0, 0.0)
    assert (point.offer, point.script, point.end) == ((0.5, 0.5), (3.0, 3.0), (4.0, 4.0))


def test_bytes_are_counted_once_however_they_are_told():
    found, clock = figures()
    clock.now = 1004.0
    for kind, done in (
        ("FILE_STARTED", 0),
        ("FILE_PROGRESS", 300),
        ("FILE_PROGRESS", 700),
        ("FILE_SENT", 1000),
    ):
        found.take(told(EventKind[kind], 1002.0, file="initrd", bytes=done, total=1000))
    found.take(told(EventKind.FILE_SENT, 1003.0, file="initrd", bytes=1000, total=1000))
    clock.now = 1005.0
    assert found.points(1)[0].bytes * SPAN == 2000


def test_a_late_event_counts_where_it_happened():
    found, clock = figures()
    found.take(told(EventKind.DISCOVERED, 1000.0))
    clock.now = 1012.0
    found.take(told(EventKind.DISCOVERED, 1011.0, attempt="b"))
    found.take(told(EventKind.DISCOVERED, 1001.0, attempt="c"))
    clock.now = 1015.0
    assert [p.started for p in found.points(3)] == [24.0, 0.0, 12.0]


def test_an_event_from_before_all_spans_counts_nowhere_too_early():
    found, _ = figures()
    found.take(told(EventKind.DISCOVERED, 1000.0))
    found.take(told(EventKind.DISCOVERED, 900.0, attempt="b"))
    assert len(found._spans) == 1


def test_memory_is_bounded():
    found, clock = figures()
    for number in range(SPANS + 50):
        clock.now += SPAN
        found.take(told(EventKind.DISCOVERED, clock.now, attempt=str(number)))
    assert len(found._spans) == SPANS
    assert len(found.points()) == SPANS


def test_merged_points_cover_whole_minutes():
    found, clock = figures()
    clock.now = 1199.0
    found.take(told(EventKind.DISCOVERED, 1150.0))
    clock.now = 1203.0
    points = found.points(24, merge=12)
    assert [(p.at, p.started) for p in points] == [(1140.0, 0.0), (1200.0, 1.0)]


def test_spread():
    assert spread([]) is None
    assert spread(list(range(100))) == (50, 95)
