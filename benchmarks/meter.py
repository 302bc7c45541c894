"""What a server cost: CPU seconds of its whole process tree, memory, and how busy its core was."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.stage import Stage

TICKS = os.sysconf("SC_CLK_TCK")
SATURATED = 0.9
"""Share of the server's core from which on a throughput is the server's and not its client's."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters at one moment; all in seconds."""

    when: float
    cpu: float
    core_busy: float


def tree(pid: int) -> list[psutil.Process]:
    """A process and all its descendants."""
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    return []


def cpu_seconds(pid: int) -> float:
    """User and system time of the tree, of its threads and of its children that have ended and were waited
    for.
    """
    total = 0
    for process in tree(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(text) for text in fields[11:15])
    return total / TICKS


def core_busy(core: int) -> float:
    """Seconds that a core has been at work since the start, for anybody, interrupts included."""
    for line in Path("/proc/stat").read_text().splitlines():
        words = line.split()
        if words[0] == f"cpu{core}":
            user, nice, system, _, _, irq, softirq, steal = (int(text) for text in words[1:9])
            return (user + nice + system + irq + softirq + steal) / TICKS
    raise OSError(f"no core {core}")


def memory_of(pid: int) -> dict[str, int]:
    """Bytes of memory of each process of the tree, by its name: proportional set size, so that what processes
    share counts once.
    """
    found: dict[str, int] = {}
    for process in tree(pid):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            found[process.name()] = found.get(process.name(), 0) + process.memory_full_info().pss
    return found


def memory(pid: int) -> int:
    """Bytes of memory of the tree."""
    return sum(memory_of(pid).values())


def group_seconds(group: Path) -> float:
    """CPU seconds of a control group: of everything that ever ran in it (cgroup v2, cpu.stat)."""
    return int((group / "cpu.stat").read_text().split()[1]) / 1e6


class Meter:
    """Reads a server's counters before and after a run."""

    def __init__(self, stage: Stage, pid: int, core: int) -> None:
        self._group, self._pid, self._core = stage.group, pid, core
        self._from = self._read()

    def _read(self) -> Reading:
        cpu = group_seconds(self._group) if self._group else cpu_seconds(self._pid)
        return Reading(time.monotonic(), cpu, core_busy(self._core))

    def stop(self) -> dict[str, Any]:
        """CPU seconds, wall-clock seconds, how busy the core was, and what share of it was the server's."""
        end, start = self._read(), self._from
        wall = end.when - start.when
        cpu = end.cpu - start.cpu
        busy = min(1.0, (end.core_busy - start.core_busy) / wall)
        return {
            "cpu": round(cpu, 3),
            "wall": round(wall, 3),
            "core_busy": round(busy, 3),
            "core_share": round(cpu / wall, 3),
            "saturated": busy >= SATURATED,
            "memory": memory(self._pid),
        }


def quiet(seconds: float = 2.0, most: float = 0.05) -> tuple[bool, dict[str, float]]:
    """Whether the machine is idle enough for figures to mean anything, and how busy each core was."""
    cores = range(os.cpu_count() or 1)
    before = {core: core_busy(core) for core in cores}
    time.sleep(seconds)
    busy = {f"core{core}": round((core_busy(core) - before[core]) / seconds, 3) for core in cores}
    return all(share <= most for share in busy.values()), busy
