"""What the boot servers are handed: one object that knows the configuration, takes what happened, and keeps
promises.

The boot worker implements it (worker.py); tests hand in a fake. Nothing here waits for the database, and only
`record` and `ask` wait at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pxeserver.boot.attempts import Attempts
from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.model import Event, FileRef, Ignore, Promise, Site
from pxeserver.protocols.dhcp.lease import LeaseTable


class ControlAway(Exception):  # noqa: N818 - it is a state of the world, the caller answers 503
    """The control process did not answer in time; the caller tells its client to come again."""


class OpenFile(Protocol):
    """A published file, opened: its inode stays valid while it is open, whatever is published meanwhile."""

    fd: int
    size: int
    sha256: str
    mtime: float

    def close(self) -> None:
        """Close the descriptor; closing twice is harmless."""


class Plane(Protocol):
    """The boot servers' view of the boot worker."""

    attempts: Attempts
    leases: LeaseTable

    def now(self) -> float:
        """Seconds since the epoch; tests hand in their own clock."""

    def catalog(self) -> Catalog:
        """The newest snapshot. In memory: it is on the packet path."""

    def nodes(self) -> NodeTable:
        """The nodes and their states. In memory."""

    def site(self) -> Site:
        """The served interfaces as of the last link change. In memory."""

    def open(self, file: FileRef) -> OpenFile:
        """Open a published file by its content; FileNotFoundError where it is not in the store."""

    def report(self, event: Event) -> None:
        """Queue progress for the control process; a crash may lose it."""

    def ignored(self, ignore: Ignore) -> None:
        """Count a silence by its reason."""

    async def record(self, *promises: Promise) -> None:
        """Make promises durable in the journal, then apply them. OSError where they could not be written."""

    async def ask(self, kind: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask the control process something only it may decide; ControlAway where it does not answer."""
