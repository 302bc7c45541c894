"""The boot worker as the control process knows it: carries between the channel, the hall and the API."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pxeserver.api.rooms import Seen
from pxeserver.boot.model import Event, Promise
from pxeserver.channel import SiteBody, Tables, WorkerHello
from pxeserver.control_link import WorkerConnection
from pxeserver.inventory import BadInventory
from pxeserver.live import Hall, WorkerKnows

log = logging.getLogger(__name__)


class KnownWorker:
    """Implements api.rooms.Worker, and control_link.Receiver on behalf of the hall."""

    def __init__(self, hall: Hall) -> None:
        self._hall = hall
        self._link: WorkerConnection | None = None
        self._site: SiteBody | None = None
        self._silences: Counter[str] = Counter()
        self.counters: dict[str, int | float] = {}
        """The worker's own counters, as it last told them."""

    # -------------------------------------------------------------------------------------- from the worker

    async def worker_connected(self, link: WorkerConnection, hello: WorkerHello) -> None:
        """A worker is there: send it everything."""
        self._link = link
        knows = WorkerKnows(hello.acked, hello.nodes, hello.highest_node, hello.profiles)
        await self._hall.connected(link, hello.last_seq, knows)

    def worker_gone(self, link: WorkerConnection) -> None:
        """The worker went away."""
        if self._link is link:
            self._link = None
        self._hall.disconnected(link)

    def ingest_entry(self, seq: int, promise: Promise) -> None:
        """Take one journal entry."""
        self._hall.ingest_entry(seq, promise)

    def ingest_tables(self, tables: Tables) -> None:
        """Take a part of all states and leases."""
        self._hall.ingest_tables(tables.states, tables.leases, last=tables.last)

    def ingest_event(self, event: Event) -> None:
        """Take one event."""
        self._hall.ingest_event(event)

    async def answer(self, kind: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer a question. A malformed inventory is an answer too: asking again would not mend it."""
        try:
            return await self._hall.answer(kind, body)
        except BadInventory as error:
            log.warning(
                "inventory refused", extra={"mac": body.get("machine", {}).get("mac", ""), "why": error}
            )
            return {"ok": False, "why": str(error)}

    def ignored(self, reason: str, count: int) -> None:
        """Count silences of the boot plane."""
        self._silences[reason] += count

    def site(self, body: SiteBody) -> None:
        """Where the worker serves now."""
        self._site = body

    def stats(self, counters: dict[str, int | float]) -> None:
        """The worker's own counters."""
        self.counters = counters

    # -------------------------------------------------------------------------------------- for the API

    def seen(self) -> Seen:
        """What the worker last told of itself."""
        site = self._site or SiteBody()
        return Seen(
            self._link is not None,
            tuple(f"{i.name} {network}" for i in site.site.interfaces for network in i.networks),
            site.unknown,
            site.why,
            site.others,
            dict(self._silences),
            dict(self.counters),
            site.refused,
        )

    async def release_lease(self, address: str, by: str) -> None:
        """Have the worker, which alone writes leases, free an address. ConnectionError while it is away."""
        if self._link is None:
            raise ConnectionError(f"nobody is there to free {address}")
        self._link.release_lease(address, by)
