"""The way to the boot worker, as the hall sees it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from pxeserver.boot.catalog import Catalog
from pxeserver.boot.model import Node, NodeState

log = logging.getLogger(__name__)

WHOLE_TABLE_ABOVE = 5000
"""A single edit of more nodes than this sends the whole table again: fewer frames, one checkpoint."""

Table = tuple[tuple[Node, ...], tuple[NodeState, ...]]
"""All nodes and their states, as they were at one moment."""


class WorkerLink(Protocol):
    """A connection to the boot worker.

    All but send_nodes return at once; after the connection broke they do nothing.
    """

    def send_catalog(self, catalog: Catalog) -> None:
        """Send a whole new snapshot."""

    async def send_nodes(self, nodes: Iterable[Node], states: Iterable[NodeState]) -> None:
        """Send the whole table, in parts. ConnectionError where the connection breaks."""

    def send_node(self, node: Node) -> None:
        """Send one node that was added or changed."""

    def remove_node(self, node_id: int) -> None:
        """Say that one node was removed."""

    def ack(self, seq: int) -> None:
        """Say that the journal up to `seq` is in the database."""

    def want_tables(self) -> None:
        """Have the worker send all its states and leases, and then what was not acknowledged."""

    def resend(self) -> None:
        """Have the worker send again what was not acknowledged (close the connection; it comes back)."""


class Pusher:
    """Sends what changed to the worker that is connected, if one is.

    While a whole table is on its way its receiver still uses the old one, so single nodes that change
    meanwhile wait until the table has been sent.
    """

    def __init__(self) -> None:
        self._link: WorkerLink | None = None
        self._sending: WorkerLink | None = None
        self._late: dict[int, Node | None] = {}
        self._one_table = asyncio.Lock()

    @property
    def connected(self) -> bool:
        """Whether a worker is there."""
        return self._link is not None

    def use(self, link: WorkerLink) -> None:
        """Use this link from now on."""
        self._link = link
        self._late.clear()

    def disconnect(self, link: WorkerLink) -> None:
        """Forget the link, unless a newer one has taken its place."""
        if self._link is link:
            self._link = None
            self._late.clear()

    def catalog(self, catalog: Catalog) -> None:
        """Send a new snapshot."""
        if self._link is not None:
            self._link.send_catalog(catalog)

    def node(self, node_id: int, node: Node | None) -> None:
        """Send one node; None says that it was removed."""
        if self._link is None:
            return
        if self._sending is self._link:
            self._late[node_id] = node
        elif node is None:
            self._link.remove_node(node_id)
        else:
            self._link.send_node(node)

    def ack(self, seq: int) -> None:
        """Acknowledge the journal up to `seq`."""
        if self._link is not None:
            self._link.ack(seq)

    def want_tables(self) -> None:
        """Ask for all states and leases."""
        if self._link is not None:
            self._link.want_tables()

    def resend(self) -> None:
        """Have the worker send again what was not acknowledged."""
        if self._link is not None:
            self._link.resend()

    async def send_all(self, table: Callable[[], Table]) -> None:
        """Send the whole table, then what changed meanwhile.

        Two tables never travel at the same time, where the parts of one would be taken for the other's; so
        `table` is asked when its turn has come.
        """
        async with self._one_table:
            link = self._link
            if link is None:
                return
            self._sending = link
            try:
                await link.send_nodes(*table())
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                log.warning("worker went away while nodes were sent", extra={"error": error})
            finally:
                self._sending = None
            if self._link is link:
                late, self._late = self._late, {}
                for node_id, node in late.items():
                    self.node(node_id, node)
