"""What machines report while they boot and install: made durable before it is acknowledged."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from pxeserver.boot.attempts import Attempt, Stage
from pxeserver.boot.lifecycle import advance
from pxeserver.boot.model import Event, EventKind, FileRef, Node, Promise, PromiseKind
from pxeserver.servers.http_body import Refused, json_answer, read_object, shown
from pxeserver.servers.http_facts import fields_of
from pxeserver.servers.http_message import Request, Response
from pxeserver.servers.http_scripts import Detail
from pxeserver.servers.plane import ControlAway, Plane

log = logging.getLogger(__name__)

REPORTS: Mapping[str, tuple[EventKind, Detail]] = {
    "booted": (EventKind.BOOTED, {}),
    "install-started": (EventKind.INSTALL_STARTED, {}),
    "install-progress": (EventKind.INSTALL_PROGRESS, {}),
    "installed": (EventKind.INSTALLED, {}),
    "install-failed": (EventKind.INSTALL_FAILED, {}),
    "discovered": (EventKind.INVENTORY, {}),
    "not-loaded": (EventKind.FILE_FAILED, {"trigger": "not-loaded"}),
}
"""What a machine may report, and the event it becomes. `not-loaded`: the boot loader could not fetch or start
the files.
"""

MOVING = frozenset({"install-started", "installed", "install-failed", "not-loaded"})
"""Those that may move a node's state: taken from the machine itself only."""

_DETAILS = 16
_RUNNING = frozenset(
    {
        EventKind.BOOTED,
        EventKind.INSTALL_PROGRESS,
        EventKind.INSTALLED,
        EventKind.INSTALL_FAILED,
        EventKind.INVENTORY,
    }
)


class Callbacks:
    """Takes reports, inventories and questions for orders."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    def event(self, attempt: Attempt, kind: EventKind, detail: Mapping[str, str | int | float]) -> Event:
        """An event of this attempt, now."""
        return Event(self._plane.now(), kind, attempt.id, attempt.mac, attempt.node_id, dict(detail))

    def node_of(self, attempt: Attempt) -> Node | None:
        """The node this attempt's machine is known as."""
        return None if attempt.node_id is None else self._plane.nodes().get(attempt.node_id)

    @asynccontextmanager
    async def turn(self, attempt: Attempt) -> AsyncIterator[None]:
        """Wait until nobody else decides or records for this attempt's node; what is looked at meanwhile
        holds until the end.
        """
        if attempt.node_id is None:
            yield
            return
        async with self._turns.setdefault(attempt.node_id, asyncio.Lock()):
            yield

    def has_turn(self, attempt: Attempt) -> bool:
        """Whether somebody decides or records for this attempt's node at the moment."""
        turn = None if attempt.node_id is None else self._turns.get(attempt.node_id)
        return turn is not None and turn.locked()

    async def record(
        self, attempt: Attempt, kind: EventKind, detail: Mapping[str, str | int | float]
    ) -> bool:
        """Take an event, in this node's turn. Returns whether it moved the node's state."""
        async with self.turn(attempt):
            return await self.take(attempt, kind, detail)

    async def take(
        self,
        attempt: Attempt,
        kind: EventKind,
        detail: Mapping[str, str | int | float],
        *,
        only_moves: bool = False,
    ) -> bool:
        """Take an event; the caller has the turn. On disk before this returns where it moves the node's
        state.

        One that moves nothing is progress and only reported, or with `only_moves` not told at all. Refused
        with 503 where the disk fails: the machine comes again, nothing was promised.
        """
        node, event = self.node_of(attempt), self.event(attempt, kind, detail)
        if node is not None and await self._advance(attempt, node, event):
            return True
        if not only_moves:
            self._plane.report(event)
        return False

    async def _advance(self, attempt: Attempt, node: Node, event: Event) -> bool:
        before = self._plane.nodes().state(node.id)
        after = advance(before, node, event)
        if after is None or after == before:
            return False
        await self._promise(attempt, Promise(PromiseKind.STATE, state=after, node_id=node.id, event=event))
        return True

    async def _promise(self, attempt: Attempt, promise: Promise) -> None:
        try:
            await self._plane.record(promise)
        except OSError as exc:
            log.error("mac=%s attempt=%s problem=journal-failed cause=%s", attempt.mac, attempt.id, exc)
            raise Refused.later("the report could not be stored; it was not taken") from None

    async def read_report(self, request: Request, event: str, query: str) -> tuple[Detail, str]:
        """POST or GET report: {"event": ..., "reason": ..., "bytes": ..., ...}: what it tells, and of which
        event.
        """
        told: Mapping[str, Any] = fields_of(query)
        if request.method == "POST" and request.body.expected:
            told = {**told, **(await read_object(request.body))}
        name = event or str(told.get("event", ""))[:40]
        if name not in REPORTS:
            raise Refused(400, f"no such event; one of: {', '.join(REPORTS)}")
        return detail_of(told), name

    async def report(self, attempt: Attempt, event: str, detail: Detail) -> Response:
        """Take a report of an event in REPORTS."""
        kind, fixed = REPORTS[event]
        if event == "not-loaded" and attempt.stage >= Stage.RUNNING:
            fixed = {}  # its system has started and reported: nothing gives that order back
        if kind in _RUNNING:
            self._plane.attempts.reach(attempt, Stage.RUNNING, self._plane.now())
        moved = await self.record(attempt, kind, {**detail, **fixed})
        return json_answer({"ok": True, "moved": moved})

    async def inventory(self, request: Request, attempt: Attempt, detail: Detail) -> Response:
        """POST inventory: handed to the control process, which validates it."""
        inventory = await read_object(request.body)
        body = {
            "attempt": attempt.id,
            "machine": msgspec.to_builtins(attempt.machine),
            "node_id": attempt.node_id,
            "inventory": inventory,
        }
        answer = await self._ask("inventory", body)
        attempt.count("inventories")
        self._plane.attempts.reach(attempt, Stage.RUNNING, self._plane.now())
        self._plane.report(self.event(attempt, EventKind.INVENTORY, detail))
        return json_answer(answer)

    async def orders(self, attempt: Attempt) -> Response:
        """GET orders: what the discovery system shall do next."""
        body = {
            "attempt": attempt.id,
            "mac": attempt.mac,
            "node_id": attempt.node_id,
            "inventory_seen": attempt.counters.get("inventories", 0) > 0,
        }
        attempt.last = self._plane.now()
        return json_answer(await self._ask("orders", body))

    async def install_started(self, attempt: Attempt, file: FileRef, detail: Detail) -> None:
        """An installer's kernel is about to be sent to a running system that starts it by itself: from here
        on its order is used up.
        """
        async with self.turn(attempt):
            await self.take(
                attempt, EventKind.INSTALL_STARTED, {**detail, "file": file.name}, only_moves=True
            )

    async def _ask(self, kind: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return await self._plane.ask(kind, body)
        except ControlAway:
            raise Refused.later("the control process is away; come again") from None


def detail_of(told: Mapping[str, Any]) -> Detail:
    """What a report tells beside its event: a few named texts and numbers, bounded and printable."""
    detail: Detail = {}
    for name, value in list(told.items())[:_DETAILS]:
        if not isinstance(name, str) or not name.isidentifier() or len(name) > 32 or name in _RESERVED:
            continue
        if isinstance(value, bool | str):
            detail[name] = shown(value)
        elif (isinstance(value, int) and abs(value) < 2**53) or (
            isinstance(value, float) and math.isfinite(value)
        ):
            detail[name] = value
    return detail


_RESERVED = frozenset({"event", "trigger", "address", "attempt", "mac", "node_id"})
"""What only the server itself says of an event."""
