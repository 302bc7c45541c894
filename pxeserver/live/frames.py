"""The board for everybody who looks at it: each change is put into words once, however many look.

A frame holds what changed since the one before. Nobody is waited for: whoever is too slow, or comes back
after a while, gets the whole board instead of the frames that are gone.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from pxeserver.live.board import Board, Boot, Stage, Standing

DRAWN = 240
"""Boots in a frame; of the others only how many there are."""
KEPT = 120
"""Newest frames kept: a minute."""
TICK = 0.5
"""Seconds between two frames, while somebody looks."""
_IDLE_TICK = 5.0
_MANY = 300
"""With more boots than this there are half as many frames."""

_A_TURN = 250
"""Boots looked at before others have their turn: two milliseconds."""

Name = Callable[[int | None], str]
"""The name of a node; "" for none."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The whole board ("board"), or what changed ("change"), as JSON."""

    number: int
    kind: str
    body: bytes


class Frames:
    """Makes frames while somebody looks."""

    def __init__(self, board: Board, name: Name, clock: Callable[[], float] = time.time) -> None:
        self._board = board
        self._name = name
        self._clock = clock
        # Who comes back after a restart must not be taken for one who has seen the newest frames.
        self._number = int(clock() * 1000)
        self._kept: deque[Frame] = deque(maxlen=KEPT)
        self._shown: dict[str, int] = {}
        self._drawn: list[Boot] = []
        self._totals: dict[str, Any] = {}
        self._seen = -1
        self._looking = 0
        self._more = asyncio.Event()
        self._come = asyncio.Event()

    @property
    def looking(self) -> int:
        """How many look now."""
        return self._looking

    async def run(self) -> None:
        """Look at the board and make frames, for ever."""
        while True:
            pause = TICK * (1 + (len(self._board.boots) > _MANY)) if self._looking else _IDLE_TICK
            if self._looking:
                await asyncio.sleep(pause)
            else:
                self._come.clear()
                try:
                    async with asyncio.timeout(pause):
                        await self._come.wait()
                except TimeoutError:
                    pass
            await self.look()
            if self._looking:
                self.advance()

    async def look(self) -> None:
        """Have the board looked over, so many boots at a time: others have their turn in between."""
        now = self._clock()
        for number, boot in enumerate(list(self._board.boots.values()), 1):
            self._board.look_at(boot, now)
            if number % _A_TURN == 0:
                await asyncio.sleep(0)

    def advance(self) -> None:
        """Make a frame of what has changed, if anything has."""
        if self._board.changes == self._seen:
            return
        self._seen = self._board.changes
        drawn = heapq.nsmallest(DRAWN, self._board.boots.values(), key=lambda boot: boot.order)
        changed = [boot for boot in drawn if self._shown.get(boot.id) != boot.change]
        now = {boot.id: boot.change for boot in drawn}
        gone = [boot_id for boot_id in self._shown if boot_id not in now]
        totals = self._count()
        if not changed and not gone and totals == self._totals:
            return
        self._shown, self._drawn, self._totals = now, drawn, totals
        self._number += 1
        body = {"rows": [self.row(boot) for boot in changed], "gone": gone, "totals": totals}
        self._kept.append(Frame(self._number, "change", msgspec.json.encode(body)))
        self._more.set()
        self._more = asyncio.Event()

    async def watch(self, since: int | None = None) -> AsyncGenerator[Frame]:
        """The board and then its changes, or only the changes after the frame `since` where all of them are
        kept.
        """
        self._looking += 1
        self._come.set()
        try:
            if self._looking == 1:
                await self.look()
            self.advance()
            at = since
            while True:
                if at is None or self._missed(at):
                    body = msgspec.json.encode(self.whole())
                    at = self._number
                    yield Frame(at, "board", body)
                elif (frame := next((f for f in self._kept if f.number > at), None)) is not None:
                    at = frame.number
                    yield frame
                else:
                    await self._more.wait()
        finally:
            self._looking -= 1
            if self._looking == 0:
                self._kept.clear()

    def _missed(self, at: int) -> bool:
        """Whether frames after this one are gone, or it is none of ours."""
        first = self._kept[0].number if self._kept else self._number + 1
        return not first - 1 <= at <= self._number

    def whole(self) -> dict[str, Any]:
        """Every boot that is drawn, and the totals."""
        self.advance()
        return {"rows": [self.row(boot) for boot in self._drawn], "gone": [], "totals": self._totals}

    def row(self, boot: Boot) -> dict[str, Any]:
        """One boot as the API and the pages show it."""
        trouble = boot.trouble
        return {
            "id": boot.id,
            "mac": boot.mac,
            "node": self._name(boot.node_id) or None,
            "address": boot.address or None,
            "started": boot.started,
            "last": boot.last,
            "stage": boot.stage.name.lower(),
            "step": boot.step,
            "what": boot.what,
            "bytes": boot.bytes,
            "total": boot.total,
            "rate": round(boot.rate),
            "standing": boot.standing.name.lower(),
            "diagnosis": trouble.code if trouble else "",
            "text": trouble.text if trouble else "",
            "next_step": trouble.next_step if trouble else "",
        }

    def _count(self) -> dict[str, Any]:
        stages, standings = self._board.counts()
        return {
            "boots": len(self._board.boots),
            "drawn": min(DRAWN, len(self._board.boots)),
            "stages": {stage.name.lower(): stages[stage] for stage in Stage},
            "standings": {standing.name.lower(): standings[standing] for standing in Standing},
        }
