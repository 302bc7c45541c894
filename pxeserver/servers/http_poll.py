"""Many sockets behind one descriptor of the event loop.

A loop's add_reader and add_writer cost more than the small answers that are sent through them, and each
waiting for the other direction changes the registration once more. Here each socket is registered once, for
both directions and edge-triggered (epoll(7)): who is told must go on until the kernel says EAGAIN. Works
alike on asyncio and uvloop, which see one descriptor.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections import deque
from collections.abc import Callable

IN: int = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_EVENTS = 32
"""Events of one turn at most: then the loop's other sockets get theirs."""


class Poller:
    """Tells sockets what they may do."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._told: dict[int, Callable[[int], None]] = {}
        self._again: deque[Callable[[], None]] = deque()
        self._scheduled = False
        loop.add_reader(self._epoll.fileno(), self._turn)

    def add(self, fd: int, told: Callable[[int], None]) -> None:
        """Tell of a connection's edges from now on: `told` is handed the events.

        An event may be old: of another socket that had the same number a moment ago. It says what to try,
        never what will be found.
        """
        self._epoll.register(fd, _EDGES)
        self._told[fd] = told

    def listen(self, fd: int, told: Callable[[int], None]) -> None:
        """Tell as long as there is something to read (level-triggered)."""
        self._epoll.register(fd, select.EPOLLIN)
        self._told[fd] = told

    def remove(self, fd: int) -> None:
        """Tell no more of it; before it is closed."""
        if self._told.pop(fd, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)

    def again(self, call: Callable[[], None]) -> None:
        """Call soon, after the others had their turn: for who stopped though the kernel would go on."""
        self._again.append(call)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._go_on)

    def close(self) -> None:
        """Stop; whatever is still registered is told nothing more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._told.clear()
        self._again.clear()

    def _turn(self) -> None:
        told = self._told
        for fd, events in self._epoll.poll(0, _EVENTS):
            call = told.get(fd)
            if call is not None:
                call(events)

    def _go_on(self) -> None:
        self._scheduled = False
        for _ in range(len(self._again)):
            if self._again:
                self._again.popleft()()
