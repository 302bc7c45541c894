"""Attempts that go silent are closed with a reason; old records go; a backup is made each day."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pxeserver.boot.diagnosis import DEFAULT_WINDOWS
from pxeserver.boot.model import EventKind
from pxeserver.live import Hall
from pxeserver.live.keeping import Keeping, Windows


def keeping(hall: Hall, **windows: float) -> Keeping:
    return Keeping(hall._care, hall._feed, hall._clock, Windows(**windows))  # type: ignore[arg-type]


async def test_a_silent_attempt_is_closed_with_its_diagnosis(hall: Hall, event, clock) -> None:
    hall.ingest_event(event(EventKind.DISCOVERED, "a1"))
    hall.ingest_event(event(EventKind.OFFERED, "a1"))
    await hall.settled()
    assert await keeping(hall).close_silent() == []
    clock.now += 300
    (closed,) = await keeping(hall).close_silent()
    assert (closed.kind, closed.attempt) == (EventKind.CLOSED, "a1")
    assert closed.detail["diagnosis"]
    record = await hall.attempt_record("a1")
    assert record is not None
    assert (record.closed, record.diagnosis) == (clock.now, closed.detail["diagnosis"])
    assert record.text
    assert record.next_step
    assert record.timeline[-1] == closed
    assert await keeping(hall).close_silent() == [], "once"
    clock.now += 10
    hall.ingest_event(event(EventKind.BOOTED, "a1"))
    await hall.settled()
    again = await hall.attempt_record("a1")
    assert again is not None
    assert again.closed is None, "a sign of life opens it again"


async def test_why_a_machine_is_ignored_is_to_be_read_at_once(hall: Hall, event, clock) -> None:
    async def shown(*steps: tuple[EventKind, dict[str, str]]) -> tuple[str, str, str]:
        for kind, detail in steps:
            hall.ingest_event(event(kind, "a1", **detail))  # some within one tick of the clock
        await hall.settled()
        (boot,) = await hall.attempts(10)
        assert bool(boot["text"]) == bool(boot["next_step"]) == bool(boot["diagnosis"])
        assert boot["closed"] is None
        return boot["stage"], boot["diagnosis"], boot["text"]

    why = {"reason": "no-loader", "detail": "no boot loader for architecture 27"}
    stage, code, text = await shown((EventKind.DISCOVERED, {}), (EventKind.IGNORED, why))
    assert (stage, code) == ("ignored", "no-loader")
    assert "no boot loader for architecture 27" in text
    clock.now += 1
    given = (EventKind.ADDRESS_GIVEN, {"address": "10.0.0.9"})
    assert await shown(given) == ("address-given", "no-loader", text), "an address is no answer to a boot"
    clock.now += 1
    assert await shown((EventKind.IGNORED, why), given) == ("address-given", "no-loader", text)
    clock.now += 1
    stage, code, text = await shown((EventKind.IGNORED, {"reason": "dry-run"}))
    assert (stage, code) == ("ignored", "ignored")
    assert "dry-run" in text
    clock.now += 1
    assert await shown((EventKind.OFFERED, {})) == ("offered", "", ""), "now it is answered"
    clock.now += 1
    assert await shown(given) == ("address-given", "", "")


async def test_shorter_silences_are_looked_for_in_time(hall: Hall, event, clock) -> None:
    windows = Windows.of(replace(DEFAULT_WINDOWS, after_offer=6.0))
    assert (windows.quiet, windows.look_every) == (6.0, 2.0)
    assert Windows.of(DEFAULT_WINDOWS) == Windows()
    hall.ingest_event(event(EventKind.OFFERED, "a1"))
    await hall.settled()
    clock.now += 7
    assert await keeping(hall).close_silent() == []
    (closed,) = await Keeping(hall._care, hall._feed, hall._clock, windows).close_silent()
    assert closed.detail["diagnosis"] == "no-request-after-offer"


async def test_a_boot_that_went_well_is_closed_without_one(hall: Hall, event, clock) -> None:
    for kind in (EventKind.DISCOVERED, EventKind.SCRIPT_SENT, EventKind.BOOTED):
        clock.now += 1
        hall.ingest_event(event(kind, "a1"))
    await hall.settled()
    clock.now += 60
    assert await keeping(hall).close_silent() == []
    clock.now += 100
    (closed,) = await keeping(hall).close_silent()
    assert closed.detail["diagnosis"] == ""


async def test_a_machine_that_restarts_every_few_seconds_is_in_a_loop(hall: Hall, event, clock) -> None:
    """Each boot is judged by itself and those before it, however many came after."""
    for number in range(8):
        for kind in (EventKind.OFFERED, EventKind.SCRIPT_SENT):
            clock.now += 1.5
            hall.ingest_event(event(kind, f"a{number}"))
    await hall.settled()
    clock.now += 120
    closed = {one.attempt: one.detail["diagnosis"] for one in await keeping(hall).close_silent()}
    assert closed == {"a0": "kernel-not-fetched", "a1": "kernel-not-fetched"} | {
        f"a{number}": "loop" for number in range(2, 8)
    }


async def test_old_attempts_are_forgotten(hall: Hall, event, clock) -> None:
    for i in range(30):
        clock.now += 1
        hall.ingest_event(event(EventKind.BOOTED, f"a{i}"))
    await hall.settled()
    clock.now += 1000
    await keeping(hall).close_silent()
    await keeping(hall, keep_count=10).tidy()
    assert [a["id"] for a in await hall.attempts()] == [f"a{i}" for i in range(29, 19, -1)]
    clock.now += 31 * 86400
    await keeping(hall).tidy()
    assert await hall.attempts() == []


async def test_a_backup_a_day_and_only_some_are_kept(hall: Hall, clock, tmp_path: Path, monkeypatch) -> None:
    import time

    clock.now = time.time()
    keeper = keeping(hall, backups_kept=3)
    first = await keeper.back_up()
    assert first is not None
    assert await keeper.back_up() is None
    for _ in range(4):
        clock.now += 90_000
        assert await keeper.back_up() is not None
    left = sorted((tmp_path / "backups").iterdir())
    assert len(left) == 3
    assert first not in left
