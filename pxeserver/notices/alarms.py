"""What may be told: the kinds of alarms, and one alarm in words."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

KINDS: Mapping[str, str] = {
    "boot-stuck": "A boot has stopped half-way",
    "install-failed": "An install has failed",
    "node-frozen": "A node is frozen: its agent is not believed any more",
    "cluster-failed": "A step of a cluster has failed",
    "disk-full": "The disk of the server is nearly full",
    "second-dhcp": "Another DHCP or boot server answers on the network",
    "database-away": "The database cannot be used",
    "worker-away": "The boot worker is away: no machine can boot",
}
"""The kinds of alarms with what each says. Logs, payloads, filters and tests use these names."""
TEST = "test"
"""The kind of a message that somebody sends to see whether it arrives."""
_SHOWN = 20
"""Machines that a message names; of more it says how many."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing that somebody should know."""

    kind: str
    what: str
    """A sentence."""
    next_step: str = ""
    about: tuple[str, ...] = ()
    """Names of nodes, MAC addresses, or of a cluster."""
    at: float = 0.0
    over: bool = False
    """It is well again."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def title(self) -> str:
        """In a few words."""
        if self.kind == TEST:
            return "Test message"
        return f"{'Over: ' if self.over else ''}{KINDS.get(self.kind, self.kind)}"

    @property
    def text(self) -> str:
        """For people, in a few lines."""
        lines = [self.what]
        if self.about:
            rest = len(self.about) - _SHOWN
            lines.append(", ".join(self.about[:_SHOWN]) + (f" and {rest} more" if rest > 0 else ""))
        if self.next_step and not self.over:
            lines.append(f"Next step: {self.next_step}")
        return "\n".join(lines)

    def body(self, server: str) -> dict[str, Any]:
        """For programs: the payload of webhooks."""
        moment = datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds")
        return {
            "version": 1,
            "id": self.id,
            "at": moment.replace("+00:00", "Z"),
            "server": server,
            "kind": self.kind,
            "state": "test" if self.kind == TEST else "over" if self.over else "new",
            "title": self.title,
            "what": self.what,
            "next_step": self.next_step,
            "about": list(self.about),
        }
