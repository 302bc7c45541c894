"""Whether this database is the one that the boot worker's nodes came from.

A new or older file in the database's place must not take the worker's nodes away without a word: the worker
has everything it boots machines from, and only a person knows which of the two is right.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from pxeserver.live.care import DatabaseCare
from pxeserver.live.memory import Memory
from pxeserver.storage.nodes import Nodes
from pxeserver.storage.promises import Promises

_BUILT_IN = frozenset({"discovery"})
"""Profiles that the server makes itself."""


@dataclass(frozen=True, slots=True)
class WorkerKnows:
    """What a worker says of itself when it connects."""

    acked: int = 0
    """The newest journal entry that a control process has taken over."""
    nodes: int = 0
    highest_node: int = 0
    profiles: Collection[str] = ()


NOTHING = WorkerKnows()


def loss(memory: Memory, knows: WorkerKnows) -> str:
    """What the database has lost of what the worker knows; empty where it has lost nothing."""
    if knows.highest_node > memory.given_out:
        return (
            f"it does not know all of the {knows.nodes} nodes that the boot worker serves:"
            " it is new, or older than they are"
        )
    if memory.position == 0 and knows.acked and knows.nodes:
        return f"it is not the one that the {knows.nodes} nodes of the boot worker came from"
    empty = not (memory.position or memory.given_out or set(memory.catalog.profiles) - _BUILT_IN)
    own = sorted(set(knows.profiles) - _BUILT_IN)
    if empty and own:
        some = ", ".join(own[:3]) + (", ..." if len(own) > 3 else "")
        return f"it is empty, and the boot worker serves the profiles {some}"
    return ""


class Guard:
    """Holds a database that has lost what the worker knows, until a person has decided."""

    def __init__(self, memory: Memory, care: DatabaseCare) -> None:
        self._memory = memory
        self._care = care
        self._knows = NOTHING
        self._decided = False

    def compare(self, knows: WorkerKnows) -> None:
        """A worker connected."""
        self._knows = knows
        self._check()

    async def recover(self) -> bool:
        """Look after the file; whether one was opened anew whose content the worker may be sent."""
        table = self._memory.nodes
        nodes, highest = len(table), self._memory.highest_id()
        if not await self._care.recover():
            return False
        if highest > self._knows.highest_node:
            self._knows = replace(self._knows, highest_node=highest, nodes=nodes)
        self._decided = False
        self._check()
        return self._memory.loaded

    async def restore(self, path: Path) -> None:
        """See Hall.restore."""
        memory = self._memory
        states, position, highest = tuple(memory.nodes.states()), memory.position, memory.highest_id()
        await self._care.restore(path)
        self._decided = True
        async with self._care.write() as connection:
            promises = Promises(connection)
            await promises.put_states(states)
            await promises.move_to(max(position, memory.position))
            await Nodes(connection).never_give_out(max(highest, self._knows.highest_node))
        async with self._care.read() as connection:
            await memory.load(connection)

    async def start_empty(self) -> None:
        """See Hall.start_empty."""
        await self._care.start_empty()
        self._decided = True
        async with self._care.write() as connection:
            await Nodes(connection).never_give_out(self._knows.highest_node)
        self._memory.given_out = max(self._memory.given_out, self._knows.highest_node)

    def _check(self) -> None:
        lost = loss(self._memory, self._knows) if self._memory.loaded and not self._decided else ""
        if lost:
            self._memory.loaded = False
            self._care.hold(lost)
