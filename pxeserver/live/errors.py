"""Why the hall did not do what it was asked.

Each says what, why, and what to do next, for a person to read.
"""

from __future__ import annotations

from pxeserver.storage.records import AuditRecord


class Refused(Exception):  # noqa: N818 - an answer, not an accident
    """The request cannot be done as it is."""

    def __init__(self, what: str, why: str, next_step: str) -> None:
        super().__init__(f"{what}: {why}")
        self.what = what
        self.why = why
        self.next_step = next_step


class Missing(Refused):
    """A record that was named is not there."""

    def __init__(self, noun: str, name: str | int) -> None:
        super().__init__(
            f"no {noun} {name}", f"there is no {noun} of this name", f"`pxeserver {noun} list` shows them"
        )
        self.noun = noun
        self.name = name


class Conflict(Refused):
    """The record was changed since the caller saw it; `changed` is by whom and how, oldest first."""

    def __init__(
        self, noun: str, name: str, seen: int, stored: int, changed: tuple[AuditRecord, ...]
    ) -> None:
        told = "; ".join(
            f"{entry.by} did {entry.verb} ({', '.join(entry.changes) or 'no field'})" for entry in changed
        )
        super().__init__(
            f"{noun} {name} has been changed meanwhile",
            f"you saw version {seen}, the newest is {stored}" + (f": {told}" if told else ""),
            "look at it again, then repeat the change",
        )
        self.seen = seen
        self.stored = stored
        self.changed = changed


class Unavailable(Refused):
    """The database cannot be used now; machines still boot."""

    def __init__(self, why: str, next_step: str) -> None:
        super().__init__("the database cannot be used at the moment", why, next_step)
