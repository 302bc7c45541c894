"""What is wrong with a configuration, where, and how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `where` is "file:line", the name of an environment variable, or a command line flag."""

    where: str
    key: str
    what: str
    mend: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.key}: {self.what}" if self.key else f"{self.where}: {self.what}"
        return f"{text}. {self.mend}" if self.mend else text


class ConfigErrors(Exception):  # noqa: N818 - it carries every fault at once, hence the plural
    """The configuration has faults; `faults` holds all of them, in the order of their places."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(str(f) for f in faults))
        self.faults = tuple(faults)
