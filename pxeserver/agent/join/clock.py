"""This machine's clock: read it, step it before there is trust, and slew it afterwards."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

TOLERANCE = 2.0
"""Seconds by which the clock may be off before it is stepped at the start."""
SLEW_FROM = 0.25
"""Seconds below which a difference may be the network's and is left alone."""
_ADJ_OFFSET_SINGLESHOT = 0x8001
_STA_UNSYNC = 0x0040


class _Timex(ctypes.Structure):
    """struct timex, adjtimex(2), on 64-bit Linux."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("sec", ctypes.c_long),
        ("usec", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("rest", ctypes.c_long * 18),
    )


class Clock:
    """The kernel's clock. What it refuses (a container has no clock of its own) is False, not an error."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def step(self, by: float) -> bool:
        """Set it at once; whether that worked."""
        if in_container():
            return False
        try:
            time.clock_settime(time.CLOCK_REALTIME, time.time() + by)
        except OSError:
            return False
        return True

    def slew(self, by: float) -> bool:
        """Have the kernel make up for `by` seconds little by little, 0.5 ms a second; whether it will."""
        if self.kept():
            return True
        micro = max(-2_000_000, min(2_000_000, round(by * 1e6)))
        return self._adjust(_Timex(modes=_ADJ_OFFSET_SINGLESHOT, offset=micro)) >= 0

    def kept(self) -> bool:
        """Whether it is kept already, by a time service or by the host of a container: two masters would
        fight.
        """
        if in_container():
            return True
        state = _Timex(modes=0)
        return self._adjust(state) >= 0 and not state.status & _STA_UNSYNC

    @staticmethod
    def _adjust(request: _Timex) -> int:
        return int(ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(request)))


def in_container() -> bool:
    """Whether the clock belongs to a host and to others on it: then it is never touched."""
    try:
        return (
            Path("/run/systemd/container").exists() or b"container=" in Path("/proc/1/environ").read_bytes()
        )
    except OSError:
        return False


def boot_id(proc: Path = Path("/proc")) -> str:
    """Names this start of the machine: the kernel's random id, and when its first process began. A container
    has the kernel of its host, whose id stays the same when the container is started again.
    """
    try:
        kernel = (proc / "sys/kernel/random/boot_id").read_text("ascii").strip()
        # proc(5): the 22nd field; the second may hold blanks, and ends with a bracket.
        began = (proc / "1/stat").read_text("ascii", "replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return f"pid-{os.getpid()}"
    return f"{kernel}-{began}"
