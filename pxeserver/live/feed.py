"""Events for everybody who watches, without ever waiting for one of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from pxeserver.boot.model import Event, EventKind

KEPT = 2000
"""Newest events kept for watchers that come back with the number they had: a rack's boot."""
QUEUE = 1000
"""Events that may wait for one watcher; with more it is cut off, told so, and may come back."""

Numbered = tuple[int, Event]


class _Watcher:
    def __init__(self, first: list[Numbered]) -> None:
        self.queue: deque[Numbered] = deque(first)
        self.wake = asyncio.Event()
        self.cut_off = False
        if first:
            self.wake.set()

    def put(self, item: Numbered) -> None:
        if self.cut_off:
            return
        if len(self.queue) >= QUEUE:
            self.cut_off = True
        else:
            self.queue.append(item)
        self.wake.set()


class Feed:
    """Numbers events and hands each watcher its own bounded queue. Numbers grow, also over restarts."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # A watcher that comes back after a restart must not be given numbers it has already had.
        self._number = int(clock() * 1000)
        self._kept: deque[Numbered] = deque(maxlen=KEPT)
        self._watchers: set[_Watcher] = set()
        self._listeners: list[Callable[[Event], None]] = []
        self.cut_off = 0
        """Watchers that were too slow so far."""

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with every event from now on; it returns at once and raises nothing."""
        self._listeners.append(listener)

    def publish(self, event: Event) -> None:
        """Give an event to every watcher. Returns at once."""
        self._number += 1
        item = (self._number, event)
        self._kept.append(item)
        for watcher in self._watchers:
            watcher.put(item)
        for listener in self._listeners:
            listener(event)

    async def watch(self, since: int | None = None) -> AsyncIterator[Numbered]:
        """Events as they happen; with `since`, first the kept ones with a higher number.

        Ends only for a watcher that is too slow: its last item is then a CLOSED event without an attempt
        whose detail says "watch-cut-off". Where events after `since` are no longer kept, the first item
        says so likewise.
        """
        first = [] if since is None else [item for item in self._kept if item[0] > since]
        if since is not None and self._kept and since + 1 < self._kept[0][0]:
            first.insert(0, self._marker("watch-gap", "earlier events are no longer kept here"))
        watcher = _Watcher(first)
        self._watchers.add(watcher)
        try:
            while True:
                while watcher.queue:
                    yield watcher.queue.popleft()
                if watcher.cut_off:
                    self.cut_off += 1
                    yield self._marker("watch-cut-off", f"more than {QUEUE} events waited for this watcher")
                    return
                watcher.wake.clear()
                await watcher.wake.wait()
        finally:
            self._watchers.discard(watcher)

    @property
    def watchers(self) -> int:
        """How many watch now."""
        return len(self._watchers)

    def _marker(self, code: str, text: str) -> Numbered:
        event = Event(self._clock(), EventKind.CLOSED, "", "", detail={"diagnosis": code, "text": text})
        return (self._number, event)
