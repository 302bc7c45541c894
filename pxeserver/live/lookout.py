"""What goes on now and went on in the last hour, kept up to date by the events alone."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pxeserver.boot.diagnosis import Windows
from pxeserver.boot.model import Event, Node, NodeState, Phase
from pxeserver.live.board import STUCK_STAYS, Board, totals_of_boots
from pxeserver.live.care import DatabaseCare
from pxeserver.live.errors import Unavailable
from pxeserver.live.feed import Feed
from pxeserver.live.figures import Figures
from pxeserver.live.frames import Frames
from pxeserver.live.memory import Memory
from pxeserver.storage.attempts import AttemptLog

log = logging.getLogger(__name__)

_RECALLED = 500
"""Newest boots that are looked up at the start."""
_TALLY_SECONDS = 2.0
"""Nodes are not counted more often: there may be tens of thousands, and many who look."""
STATES = ("idle", "ordered", "installing", "installed", "failed", "held")
"""ordered: to be installed at its next boot; failed: an install failed or was cut off; held: by a person."""


class Lookout:
    """The boots on their way, the figures of the last hour, and the stream of both."""

    def __init__(
        self, memory: Memory, feed: Feed, care: DatabaseCare, clock: Callable[[], float], windows: Windows
    ) -> None:
        self._care = care
        self._clock = clock
        self._memory = memory
        self._tally: tuple[float, dict[str, int]] = (0.0, {})
        self.totals = totals_of_boots()
        self.board = Board(windows, memory.role, self.totals)
        self.figures = Figures(clock, self.totals)
        self.frames = Frames(self.board, memory.name, clock)
        feed.listen(self.take)

    def take(self, event: Event) -> None:
        """Take an event that happened. Returns at once; a fault here must not keep it from anybody else."""
        try:
            self.totals.happened(event.kind.value)
            self.board.take(event)
            self.figures.take(event)
        except Exception:
            log.exception("an event is missing on the live page", extra={"mac": event.mac})

    async def recall(self) -> None:
        """Begin with the boots of the last hour, where the database can be read."""
        edge = self._clock() - STUCK_STAYS
        events: list[Event] = []
        try:
            async with self._care.read() as connection:
                attempts = AttemptLog(connection)
                for record in await attempts.newest(_RECALLED):
                    if record.last > edge:
                        events += await attempts.timeline(record.id)
        except Unavailable:
            return
        self.totals.resting = True
        for event in sorted(events, key=lambda e: e.at):
            self.take(event)
        self.board.look(self._clock())
        self.totals.resting = False

    def tally(self) -> dict[str, int]:
        """How many nodes are in each of STATES, as of a moment ago."""
        now = self._clock()
        if not 0 <= now - self._tally[0] < _TALLY_SECONDS:
            counts = dict.fromkeys(STATES, 0)
            nodes = self._memory.nodes
            for node in nodes:
                counts[_state(node, nodes.state(node.id))] += 1
            self._tally = (now, counts)
        return dict(self._tally[1])


def _state(node: Node, state: NodeState) -> str:
    if node.hold:
        return "held"
    if node.order > state.order:
        return "ordered"
    return "failed" if state.phase is Phase.HELD else state.phase.value
