"""What losses have taught about the way to each machine: how large a window and a block it takes.

A reader throws away what comes after a missing block, so that one lost block costs what is left of its window
once more. On a good link large windows are quick and cost nothing; at 5 % loss a window of 64 sends every
block four times, and one of 8 sends 1.4 times as many as there are (simulated). And a network card with room
for few frames loses some of every large window, on any link.

The window is agreed on before the first block, so that what a transfer learns is for the machine's next one.
It is forgotten after a while, or step by step when transfers go well.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from pxeserver.protocols.tftp.negotiation import (
    DEFAULT_BLKSIZE,
    LARGEST_BLKSIZE,
    LARGEST_WINDOWSIZE,
    Agreement,
)
from pxeserver.protocols.tftp.outcome import Progress

LOSSES_A_WINDOW = 0.5
"""Expected losses in one window, at most: then about a third of what is sent is sent in vain."""

ENOUGH_LOSSES = 3
"""Fewer prove nothing."""

ENOUGH_SILENCE = 2.0
"""Seconds. A client may be busy for a moment after it has agreed."""

SMALLER_BLOCKS = (1360, DEFAULT_BLKSIZE)
"""What is tried where blocks never arrive although the answer to the options did: what a tunnel (VXLAN,
WireGuard, IPsec) leaves of a frame, then what every client takes (RFC 1350)."""


@dataclass(frozen=True, slots=True)
class Way:
    """The most that the way to a machine takes, as far as is known."""

    windowsize: int = LARGEST_WINDOWSIZE
    blksize: int = LARGEST_BLKSIZE
    learned: float = 0.0
    """When, on the caller's clock."""


UNKNOWN = Way()


class Experience:
    """Ways by machine. `most` are kept, the latest ones, each for `seconds` after its last lesson."""

    def __init__(self, most: int = 4096, seconds: float = 3600.0) -> None:
        self._most, self._seconds = most, seconds
        self._ways: OrderedDict[str, Way] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ways)

    def way_to(self, machine: str, now: float) -> Way:
        """What to agree on at most; UNKNOWN, which limits nothing, for most machines."""
        way = self._ways.get(machine)
        if way is None:
            return UNKNOWN
        if now - way.learned > self._seconds:
            del self._ways[machine]
            return UNKNOWN
        return way

    def suffers(
        self, machine: str, agreement: Agreement, progress: Progress, silent: float, now: float
    ) -> None:
        """A transfer goes on, or has ended, with this much progress, the last of it `silent` seconds ago. May
        be told again and again."""
        way = self.way_to(machine, now)
        if not progress.blocks_acked:
            if silent >= ENOUGH_SILENCE and progress.blocks_resent >= ENOUGH_LOSSES:
                # Not a single block arrives: too large, rather than too many at once.
                smaller = next((size for size in SMALLER_BLOCKS if size < agreement.blksize), None)
                if smaller is not None and smaller < way.blksize:
                    self._keep(machine, replace(way, blksize=smaller, learned=now))
            return
        fitting = fitting_window(progress)
        if progress.losses >= ENOUGH_LOSSES and fitting < agreement.windowsize:
            self._keep(machine, replace(way, windowsize=min(way.windowsize, fitting), learned=now))

    def succeeded(self, machine: str, agreement: Agreement, progress: Progress, now: float) -> None:
        """A transfer has delivered everything: learn from its losses, or allow more where it had few."""
        self.suffers(machine, agreement, progress, 0.0, now)
        way = self.way_to(machine, now)
        if way.windowsize == agreement.windowsize and fitting_window(progress) > way.windowsize:
            self._keep(machine, replace(way, windowsize=2 * way.windowsize))

    def _keep(self, machine: str, way: Way) -> None:
        if way.windowsize >= LARGEST_WINDOWSIZE and way.blksize >= LARGEST_BLKSIZE:
            self._ways.pop(machine, None)
            return
        self._ways[machine] = way
        self._ways.move_to_end(machine)
        while len(self._ways) > self._most:
            self._ways.popitem(last=False)


def fitting_window(progress: Progress) -> int:
    """The largest window, a power of two, in which not more than LOSSES_A_WINDOW are to be expected."""
    # One more loss than there was, at least: a short transfer without any proves little.
    rate = (progress.losses + 1) / max(1, progress.blocks_acked)
    window = 1
    while window < LARGEST_WINDOWSIZE and 2 * window * rate <= LOSSES_A_WINDOW:
        window *= 2
    return window
