"""Scripts that were handed out, for machines that ask again.

A machine asks again where it waited too long for the answer, which is when the server has the most to do. The
same request then gets the same bytes, as long as nothing that they were decided from has changed. What
changes a node's state when it is handed out is never kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from pxeserver.boot.attempts import MAX_ATTEMPTS, Attempt
from pxeserver.boot.catalog import Catalog
from pxeserver.boot.identity import Conflict, Identity, Known, identify
from pxeserver.boot.model import Machine, Node, NodeState
from pxeserver.servers.http_message import Response
from pxeserver.servers.plane import Plane

Asked = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Basis:
    """What a script is decided from, beside the request itself. Compared by identity where that is enough:
    these are replaced, never changed.
    """

    machine: Machine
    catalog: Catalog
    node: Node | None
    state: NodeState | None

    @classmethod
    def of(cls, plane: Plane, attempt: Attempt, who: Identity) -> Basis | None:
        """For this attempt, now; None where several nodes claim its machine."""
        if isinstance(who, Conflict):
            return None
        node = who.node if isinstance(who, Known) else None
        state = None if node is None else plane.nodes().state(node.id)
        return cls(attempt.machine, plane.catalog(), node, state)

    def holds(self, before: Basis) -> bool:
        """Whether it is the same as before."""
        return (
            self.machine is before.machine
            and self.catalog is before.catalog
            and self.node is before.node
            and self.state == before.state
        )


@dataclass(frozen=True, slots=True)
class Kept:
    """One script, and what is told of it."""

    asked: Asked
    basis: Basis
    response: Response
    told: Mapping[str, str | int | float]
    size: int = 0
    """Bytes that it makes the machine fetch."""


class KeptScripts:
    """The last script of each attempt, as many as there may be attempts."""

    def __init__(self, limit: int = MAX_ATTEMPTS) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def find(self, plane: Plane, attempt: Attempt, asked: Asked) -> Kept | None:
        """The script that this request had before, where it would be the same now."""
        kept = self._kept.get(attempt.id)
        if kept is None or kept.asked != asked:
            return None
        basis = Basis.of(plane, attempt, identify(attempt.machine, plane.nodes()))
        return kept if basis is not None and basis.holds(kept.basis) else None

    def keep(self, attempt: Attempt, kept: Kept) -> None:
        """Remember it in the place of the attempt's last one."""
        self._kept[attempt.id] = kept
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)
