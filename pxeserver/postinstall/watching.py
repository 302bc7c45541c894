"""Who watches clusters: each is told what has changed since it was told last, however slow it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from pxeserver.postinstall.work import StepKey


@dataclass(slots=True, eq=False)
class Watched:
    """What has changed of a cluster since a watcher was told last."""

    steps: set[StepKey] = field(default_factory=set)
    nodes: set[str] = field(default_factory=set)
    shown: str = ""
    """The cluster in one word, as the watcher was told it last."""
    condition: bool = False
    """Whether that word is another now."""
    ended: bool = False
    """There is no such cluster any more."""
    first: bool = False
    """The watcher was told nothing yet."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Watchers:
    """The watchers of all clusters, by the cluster's name."""

    def __init__(self) -> None:
        self._watchers: dict[str, list[Watched]] = {}

    async def watch(self, name: str, condition: Callable[[], str]) -> AsyncIterator[Watched]:
        """What changes of a cluster, gathered while nobody asks; once at the beginning. Ends with the
        cluster. `condition` tells it in one word.
        """
        watcher = Watched(first=True)
        watcher.wake.set()
        watchers = self._watchers.setdefault(name, [])
        watchers.append(watcher)
        try:
            while True:
                await watcher.wake.wait()
                word = condition()
                told = replace(
                    watcher,
                    steps=set(watcher.steps),
                    nodes=set(watcher.nodes),
                    shown=word,
                    condition=word != watcher.shown,
                )
                watcher.first, watcher.shown = False, word
                watcher.steps.clear()
                watcher.nodes.clear()
                watcher.wake.clear()
                yield told
                if told.ended:
                    return
        finally:
            watchers.remove(watcher)

    def tell(
        self,
        name: str,
        steps: Iterable[StepKey] = (),
        nodes: Collection[str] = (),
        *,
        condition: str | None = None,
        ended: bool = False,
    ) -> None:
        """Something may have changed: of the cluster in one word, whoever was shown another is told.
        Returns at once.
        """
        changed = list(steps)
        for watcher in self._watchers.get(name, ()):
            if changed or nodes or ended or condition not in (None, watcher.shown):
                watcher.steps.update(changed)
                watcher.nodes.update(nodes)
                watcher.ended |= ended
                watcher.wake.set()
