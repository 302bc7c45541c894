"""What came of telling one alarm to one target."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """Whether it arrived, and what is known of that. The text holds nothing of the address."""

    ok: bool
    text: str
    again: bool = False
    """It may arrive later: worth another try."""
    at: float = 0.0
    seconds: float = 0.0
