"""Who watches clusters: each is told what has changed since it was told last, however slow it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import dataclass, field, replace

from pxeserver.postinstall.work import StepKey


@dataclass(slots=True, eq=False)
class Watched:
    """What has changed of a cluster since a watcher was told last."""

    steps: set[StepKey] = field(default_factory=set)
    nodes: set[str] = field(default_factory=set)
    condition: bool = False
    """Whether the cluster in one word is another."""
    ended: bool = False
    """There is no such cluster any more."""
    first: bool = False
    """The watcher was told nothing yet."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Watchers:
    """The watchers of all clusters, by the cluster's name."""

    def __init__(self) -> None:
        self._watchers: dict[str, list[Watched]] = {}

    async def watch(self, name: str) -> AsyncIterator[Watched]:
        """What changes of a cluster, gathered while nobody asks; once at the beginning. Ends with the
        cluster.
        """
        watcher = Watched(first=True)
        watcher.wake.set()
        watchers = self._watchers.setdefault(name, [])
        watchers.append(watcher)
        try:
            while not watcher.ended:
                await watcher.wake.wait()
                told = replace(watcher, steps=set(watcher.steps), nodes=set(watcher.nodes))
                watcher.first = watcher.condition = False
                watcher.steps.clear()
                watcher.nodes.clear()
                watcher.wake.clear()
                yield told
        finally:
            watchers.remove(watcher)

    def tell(
        self,
        name: str,
        steps: Iterable[StepKey] = (),
        nodes: Collection[str] = (),
        *,
        condition: bool = False,
        ended: bool = False,
    ) -> None:
        """Something has changed. Returns at once."""
        changed = list(steps)
        if not (changed or nodes or condition or ended):
            return
        for watcher in self._watchers.get(name, ()):
            watcher.steps.update(changed)
            watcher.nodes.update(nodes)
            watcher.condition |= condition
            watcher.ended |= ended
            watcher.wake.set()
