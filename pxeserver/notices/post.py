"""Carries alarms to their targets: one at a time to each, tried again for a while, never waited for.

Each target has a queue of its own, so that one that hangs holds up nobody else. What finds its queue full is
dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from pxeserver.live import Refused
from pxeserver.notices import others, webhook
from pxeserver.notices.alarms import TEST, Alarm
from pxeserver.notices.result import Result
from pxeserver.notices.targets import Target, Targets

log = logging.getLogger(__name__)

QUEUE = 100
"""Alarms that may wait for one target."""
PAUSES = (2.0, 10.0, 60.0, 300.0, 900.0)
"""Seconds before each further try; with the last of them an alarm is given up."""
_KEPT = 10
"""Results of each target that are remembered."""
_LOOK_SECONDS = 20.0

Deliver = Callable[[Target, Alarm, str, Callable[[], float]], Awaitable[Result]]
_DELIVER: Mapping[str, Deliver] = {"webhook": webhook.deliver, "apprise": others.deliver}


@dataclass(slots=True)
class Box:
    """What waits for one target, and what came of the rest."""

    queue: asyncio.Queue[Alarm] = field(default_factory=lambda: asyncio.Queue(QUEUE))
    sent: int = 0
    failed: int = 0
    """Alarms that were given up."""
    dropped: int = 0
    """Alarms that found the queue full."""
    trying: int = 0
    """Tries of the alarm under way that failed."""
    results: deque[Result] = field(default_factory=lambda: deque(maxlen=_KEPT))
    task: asyncio.Task[None] | None = None


class Post:
    """The way out. `run` it for ever; `tell` returns at once."""

    def __init__(
        self,
        targets: Targets,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        deliver: Mapping[str, Deliver] = _DELIVER,
        server: str = "",
    ) -> None:
        self.targets = targets
        self._clock = clock
        self._sleep = sleep
        self._deliver = deliver
        self._server = server or socket.gethostname()
        self._boxes: dict[str, Box] = {}

    def box(self, name: str) -> Box:
        """What waits for the target of this name, and what came of the rest."""
        return self._boxes.setdefault(name, Box())

    def tell(self, alarm: Alarm) -> None:
        """Have every target that wants it told. Returns at once, raises nothing."""
        log.info("alarm", extra={"kind": alarm.kind, "over": alarm.over, "what": alarm.what})
        for target in self.targets.all():
            if target.wants(alarm.kind):
                self._put(target, alarm)

    def _put(self, target: Target, alarm: Alarm) -> None:
        box = self.box(target.name)
        try:
            box.queue.put_nowait(alarm)
        except asyncio.QueueFull:
            box.dropped += 1
            return
        if box.task is None or box.task.done():
            box.task = asyncio.get_running_loop().create_task(self._work(target.name, box))

    async def test(self, name: str) -> Result:
        """Send a test message once, and say what came of it; Missing where there is no such target."""
        target = self.targets.find(name)
        alarm = Alarm(TEST, "This is a test: alarms of this server arrive here.", at=self._clock())
        result = await self._try(target, alarm)
        self.box(name).results.append(result)
        return result

    async def _work(self, name: str, box: Box) -> None:
        """Tell what waits, in its order; ends when nothing does, or the target is gone."""
        while not box.queue.empty():
            alarm = box.queue.get_nowait()
            result = await self._until_told(name, alarm, box)
            if result is None:
                continue
            box.results.append(result)
            if result.ok:
                box.sent += 1
            else:
                box.failed += 1
                told = {"target": name, "kind": alarm.kind, "why": result.text}
                log.warning("notification given up", extra=told)

    async def _until_told(self, name: str, alarm: Alarm, box: Box) -> Result | None:
        """Try until it is told or given up; None where nobody wants it any more."""
        for number in range(len(PAUSES) + 1):
            target = next((t for t in self.targets.all() if t.name == name), None)
            if target is None or not target.wants(alarm.kind):
                box.trying = 0
                return None
            result = await self._try(target, alarm)
            if result.ok or not result.again or number == len(PAUSES):
                box.trying = 0
                return result
            box.trying = number + 1
            # Not all at once, where many servers lost the same receiver.
            await self._sleep(PAUSES[number] * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
        return None

    async def _try(self, target: Target, alarm: Alarm) -> Result:
        began = time.monotonic()
        if not target.url:
            text = "its address cannot be read: the key it was sealed with is gone; enter it again"
            return Result(ok=False, text=text, at=self._clock())
        try:
            result = await self._deliver[target.kind](target, alarm, self._server, self._clock)
        except Exception as error:  # noqa: BLE001 - one target's trouble is nobody else's
            # Without its words: they may hold the address.
            log.error("notification failed", extra={"target": target.name, "error": type(error).__name__})
            result = Result(ok=False, text=f"an error inside the server ({type(error).__name__})")
        return replace(result, at=self._clock(), seconds=time.monotonic() - began)

    async def run(self) -> None:
        """For ever: read the targets of whatever database is open, forget those that are gone."""
        try:
            while True:
                try:
                    await self.targets.load()
                except Refused as error:
                    log.debug("notifications wait for the database", extra={"why": error.why})
                known = {target.name for target in self.targets.all()}
                for name in self._boxes.keys() - known:
                    self._end(self._boxes.pop(name))
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            for box in self._boxes.values():
                self._end(box)

    @staticmethod
    def _end(box: Box) -> None:
        if box.task is not None:
            box.task.cancel()
