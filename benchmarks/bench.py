"""One run of the benchmarks: where it works, how long and how often it measures, and the A B A B of a row."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import meter, results
from benchmarks.cast import Cast, Contender
from benchmarks.peers import Unpacked
from benchmarks.stage import FIRST_MACHINE, SERVER, SERVER_CORE

Words = Callable[[Contender], Sequence[str]]
OURS = "pxeserver"


@dataclass(slots=True)
class Bench:
    """What every row needs to know. Seconds are those that one side is measured for in one run."""

    work: Path
    files: Path
    unpacked: Unpacked
    tools: dict[str, str]
    repeats: int
    seconds: float
    quick: bool
    only: str = ""
    done: list[dict[str, Any]] = field(default_factory=list)
    verified: dict[str, dict[str, int]] = field(default_factory=dict)
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    _casts: int = 0

    def wanted(self, key: str) -> bool:
        """Whether this row, or a row of this group, was asked for."""
        return not self.only or key.startswith(self.only) or self.only.startswith(key)

    def cast(self, *, wire: bool = False, unknown: str = "menu") -> Cast:
        """A new cast, in a folder of its own."""
        self._casts += 1
        return Cast(self.work / f"cast{self._casts}", self.files, self.unpacked, wire, unknown)

    def say(self, text: str) -> None:
        """Progress, for the person who waits."""
        print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)

    def machines(self, count: int) -> tuple[str, ...]:
        """The load generators' words for as many source addresses."""
        return ("-a", SERVER, "-s", str(FIRST_MACHINE), "-n", str(count))

    def introduce(self, *sides: Contender) -> None:
        """Keep for the report how each side is configured."""
        for side in sides:
            self.settings[side.name] = {"settings": side.settings, "processes": side.processes}

    def run(
        self, side: Contender, per: str, words: Sequence[str], seconds: float | None = None
    ) -> results.Sample:
        """Measure one side once."""
        measured = meter.Meter(side.stage, side.pid, SERVER_CORE)
        load = side.stage.load(
            [*words, "-t", str(seconds or self.seconds)], timeout=(seconds or self.seconds) + 60
        )
        return results.sample(load, measured.stop(), per)

    def compare(
        self,
        key: str,
        title: str,
        per: str,
        sides: Sequence[Contender],
        words: Words,
        *,
        note: str = "",
        kind: str = "throughput",
        seconds: float | None = None,
        peer_seconds: float | None = None,
        once: Collection[str] = (),
    ) -> None:
        """A row: all sides in turn, A B A B, as often as this run repeats. Those of `once` run only the first
        time, and peers for `peer_seconds`, where given.
        """
        if not self.wanted(key):
            return
        samples: dict[str, list[results.Sample]] = {side.name: [] for side in sides}
        for number in range(self.repeats):
            for side in sides:
                if number and side.name in once:
                    continue
                longest = seconds if side.appliance else peer_seconds or seconds
                samples[side.name].append(self.run(side, per, words(side), longest))
        self.add(results.row(key, title, per, samples, sides[0].name, note=note, kind=kind))

    def add(self, row: dict[str, Any]) -> None:
        """Keep a finished row and tell it in one line."""
        self.done.append(row)
        told = []
        for name, figures in row.get("medians", {}).items():
            rate, busy = figures["rate"] or 0, figures["core_busy"] or 0
            told.append(f"{name} {rate:.4g}/s core {busy:.0%} client {figures['client_core_share'] or 0:.0%}")
        self.say(f"{row['key']}: {'; '.join(told) or row.get('told', '')}")

    def verify(self, side: Contender, what: str, words: Sequence[str], reference: Path) -> None:
        """A pass of its own in which the client compares every byte; the count of what differed is kept."""
        told = side.stage.load([*words, "-V", str(reference), "-t", "60"], timeout=90)
        self.verified[f"{side.name}: {what}"] = {
            "transfers": told["all_requests"],
            "bytes": told["all_bytes"],
            "wrong": told["wrong"],
            "failures": told["failures"],
        }
        if told["wrong"] or told["failures"] or not told["all_bytes"]:
            self.say(f"VERIFY {side.name} {what}: {told['wrong']} wrong, {told['failures']} failed")
