"""What has happened since this process started, in counts that only grow, for monitoring systems."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate

MOST_VALUES = 64
"""Different values of one label; what comes after them counts as OTHER."""
OTHER = "other"
STAGE_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 600.0)
"""Seconds: an offer takes milliseconds, a firmware's pause seconds, an install minutes."""
BOOT_BOUNDS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 900.0, 3600.0)


class Histogram:
    """Durations, counted by upper bounds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one; clocks that were set back count as no time at all."""
        seconds = max(0.0, seconds)
        self._counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def cumulative(self) -> list[int]:
        """How many took up to each bound; the last one is how many there were."""
        return list(accumulate(self._counts))


class Counts:
    """Counts by one label whose values cannot grow without end, whatever is told."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._counts: Counter[str] = Counter(dict.fromkeys(known, 0))

    def add(self, value: str, count: int = 1) -> None:
        """Count `value`."""
        fits = value in self._counts or len(self._counts) < MOST_VALUES
        self._counts[value if fits else OTHER] += count

    def items(self) -> list[tuple[str, int]]:
        """Each value with its count, in order."""
        return sorted(self._counts.items())


class Totals:
    """Counts of boots. While it is `resting` nothing is counted: what is read again from the database was."""

    def __init__(self, events: Iterable[str], stages: Iterable[str], diagnoses: Iterable[str]) -> None:
        self.resting = False
        self.events = Counts(events)
        self.started = 0
        self.ended = Counts(("booted", "held", "install-failed", "installed", "local-boot", "stuck"))
        """Boots by how they ended; stuck: what was last heard of it is too long ago."""
        self.diagnoses = Counts(diagnoses)
        self.bytes = 0
        self.stages = {stage: Histogram(STAGE_BOUNDS) for stage in stages}
        """How long boots stayed at each stage that they have left."""
        self.until = {point: Histogram(BOOT_BOUNDS) for point in ("offer", "script", "end")}
        """Seconds from a machine's first request."""

    def happened(self, kind: str) -> None:
        """An event came."""
        if not self.resting:
            self.events.add(kind)

    def begin(self) -> None:
        """A machine that is answered begins to boot."""
        if not self.resting:
            self.started += 1

    def left(self, stage: str, seconds: float) -> None:
        """A boot was at this stage for so long and goes on to another."""
        if not self.resting and stage in self.stages:
            self.stages[stage].observe(seconds)

    def reached(self, point: str, seconds: float) -> None:
        """A boot has come to one of the points of `until`."""
        if not self.resting:
            self.until[point].observe(seconds)

    def end(self, result: str) -> None:
        """A boot has ended, once for each."""
        if not self.resting:
            self.ended.add(result)

    def diagnosed(self, code: str) -> None:
        """Something is wrong with a boot that was not wrong with it before."""
        if not self.resting:
            self.diagnoses.add(code)

    def sent(self, count: int) -> None:
        """Bytes went to machines."""
        if not self.resting:
            self.bytes += max(0, count)
