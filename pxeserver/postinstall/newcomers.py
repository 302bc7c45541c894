"""Nodes that appear and that clusters wait for become members."""

from __future__ import annotations

import asyncio

from pxeserver.config.faults import ConfigErrors
from pxeserver.live import Refused, Unavailable
from pxeserver.postinstall.clusters import BY
from pxeserver.postinstall.layout import Layout
from pxeserver.postinstall.orders import ClusterOrders, Planned

STATE_PATIENCE = 180.0
"""Seconds that members with a state disk are waited for, before one without begins as a manager."""


class Newcomers:
    """Takes them up, as a person's apply would."""

    def __init__(self, orders: ClusterOrders) -> None:
        self._orders, self._clusters = orders, orders.clusters
        self._held: dict[str, float] = {}
        """Clusters that would begin with managers which keep nothing, and since when they wait."""

    async def admit(self) -> None:
        """Look whenever there is news of a node, for ever."""
        news = self._clusters.news
        while True:
            await news.wait()
            news.clear()
            await asyncio.sleep(1)  # their claims are written just now
            for name in list(self._clusters.running):
                try:
                    await self._admit(name)
                except Unavailable:
                    continue
                except Refused:
                    news.set()  # a person was at it at the same time: look once more
                except ConfigErrors as error:
                    if (cluster := self._clusters.running.get(name)) is not None:
                        cluster.notes = tuple(str(error).splitlines())

    async def _admit(self, name: str) -> None:
        cluster = self._clusters.running[name]
        waits = cluster.notes or cluster.spec.members.select
        if not waits or cluster.wanted.destroy or cluster.record.state == "stopped":
            return
        planned = await self._orders.plan_change(name, cluster.adjusted)
        if hold := self._hold(planned, cluster.layout):
            cluster.notes = (*planned.plan.waiting, hold)
        elif planned.layout.places.keys() > cluster.layout.places.keys():
            await self._orders.apply(planned, BY)  # which notes who is still waited for
        else:
            cluster.notes = planned.plan.waiting

    def _hold(self, planned: Planned, former: Layout) -> str:
        """Why these members do not begin yet; "" where they do. Who is a manager once stays one: machines
        with a disk are longer at their start, and would come too late.
        """
        places = planned.layout.places
        hasty = [n for n in planned.layout.managers if places[n].diskless and n not in former.managers]
        if not hasty or not planned.plan.waiting:
            self._held.pop(planned.name, None)
            return ""
        loop = asyncio.get_running_loop()
        since = self._held.setdefault(planned.name, loop.time())
        left = since + STATE_PATIENCE - loop.time()
        if left <= 0:
            return ""
        loop.call_later(left, self._clusters.news.set)
        return (
            f"{', '.join(hasty)} would be a manager and keeps nothing over a restart: the others are waited "
            f"for first, {STATE_PATIENCE / 60:.0f} minutes at most"
        )
