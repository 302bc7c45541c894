"""Who may load and who waits: the rules one by one, then whole storms on a clock of their own."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import pytest

from pxeserver.boot.admission import IDLE_SECONDS, Admission, Turn
from pxeserver.boot.bandwidth import FIRST, LEAST, Bandwidth, Rules

MB = 1_000_000
GIGABIT = 119 * MB
"""Bytes a second of payload that 1 Gbit/s Ethernet carries."""


def full() -> Admission:
    """A link on which as many load as may."""
    link = Admission(Rules(), 0.0, lambda: 0.5)
    for number in range(FIRST):
        assert link.ask(f"m{number}", 12 * MB, 0.0) is None
    return link


def test_machines_wait_in_the_order_they_asked() -> None:
    link = full()
    first, second = link.ask("a", 12 * MB, 1.0), link.ask("b", 12 * MB, 1.0)
    assert isinstance(first, Turn) and isinstance(second, Turn)
    assert (first.place, second.place, second.of) == (1, 2, 2)
    link.ended("m0")
    assert link.ask("b", 12 * MB, 3.0) is not None, "the one before it has not come yet"
    assert link.ask("a", 12 * MB, 3.0) is None
    link.ended("m1")
    assert link.ask("b", 12 * MB, 4.0) is None


def test_a_turn_is_not_held_for_a_sleeper_for_long() -> None:
    link = full()
    link.bandwidth.rate = 16 * 12 * MB  # a download takes a second
    assert link.ask("sleeps", 12 * MB, 1.0) is not None
    assert link.ask("b", 12 * MB, 1.0) is not None
    link.ended("m0")
    assert link.ask("b", 12 * MB, 2.0) is not None, "it has just become free"
    assert link.ask("c", 12 * MB, 2.05) is not None
    assert link.ask("b", 12 * MB, 2.1) is None
    assert link.ask("c", 12 * MB, 2.2) is not None, "there is no other"
    turn = link.ask("sleeps", 12 * MB, 9.0)
    assert turn is not None and turn.place == 1


def test_asking_again_keeps_the_place_and_the_turn() -> None:
    link = full()
    for _ in range(3):
        turn = link.ask("a", 12 * MB, 1.0)
        assert turn is not None and (turn.place, turn.of) == (1, 1)
    assert link.ask("m3", 12 * MB, 2.0) is None, "who may load may ask again"
    assert link.running == FIRST


def test_who_does_not_come_back_loses_its_place() -> None:
    link = full()
    gone, late = link.ask("gone", 12 * MB, 1.0), link.ask("late", 12 * MB, 1.0)
    assert gone is not None and late is not None
    link.tick(2.0)
    assert link.waiting == 2
    back = 1.0 + late.seconds
    again = link.ask("late", 12 * MB, back)
    assert again is not None and again.place == 2
    for number in range(FIRST):
        link.began(f"m{number}", 0, 20.0)
    link.tick(1.0 + gone.seconds + 15.1)
    after = link.ask("late", 12 * MB, 20.0)
    assert after is not None and (after.place, after.of) == (1, 1)


def test_a_turn_ends_with_the_bytes_a_report_or_silence() -> None:
    link = full()
    link.arrived("m0", 11 * MB, 1.0)
    assert link.running == FIRST
    link.arrived("m0", 1 * MB, 2.0)
    assert link.running == FIRST - 1
    link.ended("m1")
    assert link.running == FIRST - 2
    link.arrived("m2", 1, IDLE_SECONDS)
    link.tick(IDLE_SECONDS + 1)
    assert link.running == 1, "only m2 has moved"


def test_who_loads_without_leave_is_counted_and_never_stopped() -> None:
    link = full()
    link.began("other", 500 * MB, 1.0)
    assert link.running == FIRST + 1
    link.ended("m0")
    assert link.ask("a", 12 * MB, 2.0) is not None


def test_the_wait_grows_with_the_queue_and_is_never_in_step() -> None:
    chance = random.Random(1)
    link = Admission(Rules(), 0.0, chance.random)
    link.bandwidth.rate = GIGABIT
    turns = [link.ask(f"m{number}", 12 * MB, 0.0) for number in range(5000)]
    waits = [turn.seconds for turn in turns if turn is not None]
    assert len(waits) == 5000 - FIRST
    assert waits[0] == 1
    assert max(waits[:100]) <= 10
    assert 15 < max(waits) <= 50
    assert len(set(waits[-100:])) > 5
    assert sum(1 / wait for wait in waits[1000:]) < 300, "questions a second"


def test_slow_links_and_large_images_get_fewer_at_once() -> None:
    rules = Rules()
    assert rules.useful(12 * MB) == 1.2 * MB
    assert rules.useful(4 * MB) == MB
    assert rules.useful(3000 * MB) == 10 * MB


def settled(link: float, machine: float, size: int) -> Bandwidth:
    """Measurements of a link of this rate to machines that take this rate each."""
    found = Bandwidth(Rules())
    for _ in range(60):
        found.measure(1.0, int(min(link, found.allowed * machine)), size, full=True)
    return found


@pytest.mark.parametrize(
    ("link", "machine", "size", "least", "most"),
    [
        (GIGABIT, GIGABIT, 12 * MB, 99, 125),
        (GIGABIT, GIGABIT, 560 * MB, 12, 16),
        (GIGABIT, 2 * MB, 560 * MB, 55, 90),  # 60 slow ones fill it
        (10 * GIGABIT, GIGABIT, 560 * MB, 119, 150),
        (GIGABIT / 10, GIGABIT, 12 * MB, 10, 16),
        (GIGABIT / 100, GIGABIT, 12 * MB, LEAST, 11),
    ],
)
def test_the_number_at_once_fills_the_link_and_no_more(
    link: float, machine: float, size: int, least: int, most: int
) -> None:
    found = settled(link, machine, size)
    assert least <= found.allowed <= most
    assert found.rate > 0.9 * link


def test_a_link_that_few_leave_idle_opens_at_once() -> None:
    found = Bandwidth(Rules())
    found.measure(1.0, 10 * GIGABIT, 12 * MB, full=False)
    assert found.allowed == 992
    found.measure(1.0, GIGABIT, 12 * MB, full=False)
    assert found.allowed == 992


def test_less_than_was_there_before_says_nothing_of_the_link() -> None:
    found = settled(GIGABIT, GIGABIT, 12 * MB)
    before = found.allowed
    for _ in range(100):
        found.measure(1.0, 5 * MB, 12 * MB, full=False)
    assert found.allowed == before
    found.measure(0.0, 5 * MB, 12 * MB, full=True)


# ------------------------------------------------------------------------------------------------ storms


@dataclass
class Storm:
    """Machines that power on at once behind one link, shared evenly by those that load."""

    machines: int
    link: float = GIGABIT
    machine: float = GIGABIT
    size: int = 12 * MB
    gap: float = 0.3
    """Seconds that a machine needs from its script to its first byte."""
    lost: int = 0
    """So many never come back after they were told to wait."""
    ended: dict[int, float] = field(default_factory=dict)
    waits: int = 0
    most: int = 0
    slowest: float = 0.0

    def run(self, *, steps: float = 0.1) -> float:
        """Seconds until the last machine has its bytes."""
        chance = random.Random(5)
        link = Admission(Rules(), 0.0, chance.random)
        asks = [(chance.uniform(0, 3), number) for number in range(self.machines)]
        heapq.heapify(asks)
        loading: dict[int, tuple[float, float]] = {}
        now, ticked, lost = 0.0, 0.0, set(range(0, self.lost * 3, 3))
        while len(self.ended) + len(lost) < self.machines:
            now += steps
            assert now < 3600, f"{len(self.ended)} of {self.machines}"
            while asks and asks[0][0] <= now:
                _, number = heapq.heappop(asks)
                turn = link.ask(str(number), self.size, now)
                if turn is None:
                    lost.discard(number)
                    loading[number] = (now + self.gap, 0.0)
                elif number not in lost:
                    self.waits += 1
                    heapq.heappush(asks, (now + turn.seconds + 0.05, number))
            self._move(link, loading, now, steps)
            if now - ticked >= 1:
                ticked = now
                link.tick(now)
        return now

    def _move(
        self, link: Admission, loading: dict[int, tuple[float, float]], now: float, steps: float
    ) -> None:
        active = [number for number, (begins, _) in loading.items() if begins <= now]
        self.most = max(self.most, len(loading))
        each = min(self.machine, self.link / len(active)) * steps if active else 0.0
        for number in active:
            begins, done = loading[number]
            link.arrived(str(number), int(min(each, self.size - done) + 0.999), now)
            loading[number] = (begins, done + each)
            if done + each >= self.size:
                self.ended[number] = now
                self.slowest = max(self.slowest, now - begins)
                del loading[number]


def test_a_thousand_machines_fill_the_wire_and_all_finish() -> None:
    storm = Storm(1000)
    seconds = storm.run()
    assert seconds < 1000 * 12 * MB / GIGABIT / 0.92
    assert storm.most <= 125
    assert storm.slowest < 20, "each gets a useful rate"
    assert storm.waits < 1000 * 15


def test_slow_machines_fill_the_wire_as_well() -> None:
    storm = Storm(600, machine=1.5 * MB, size=30 * MB)
    alone = 30 / 1.5  # seconds that the last one takes however much is free
    assert storm.run() < 600 * 30 * MB / GIGABIT / 0.85 + alone


def test_a_slow_link_serves_few_at_a_time() -> None:
    storm = Storm(200, link=GIGABIT / 10)
    assert storm.run() < 200 * 12 * MB / (GIGABIT / 10) / 0.92
    assert storm.most <= 24, "the first trial, then fewer"


def test_machines_that_are_gone_hold_nobody_up_for_long() -> None:
    storm = Storm(500, lost=100)
    assert storm.run() < 400 * 12 * MB / GIGABIT / 0.8 + 40
