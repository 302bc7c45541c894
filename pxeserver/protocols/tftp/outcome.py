"""How a transfer ends, and what it has done until then."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class End(Enum):
    """How a transfer ended."""

    SENT = "sent"
    PROBE = "probe"
    """The client wanted the answer to its options only (the size, mostly) and ended it with ERROR: normal."""
    ABORTED = "aborted"
    """The client sent ERROR in the middle."""
    TIMED_OUT = "timed-out"
    UNANSWERED = "unanswered"
    """The client never reacted to our first packet."""
    UNREACHABLE = "unreachable"
    """The client's port is closed (ICMP)."""
    REPLACED = "replaced"
    """The client began anew from the same port."""
    DROPPED = "dropped"
    """Half-open and the oldest when there was no more room."""
    STOPPED = "stopped"
    """The server stops."""
    FAULT = "fault"
    """The content could not be read."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a transfer did so far."""

    blocks_sent: int = 0
    """DATA packets, resent ones counted each time."""
    blocks_resent: int = 0
    blocks_acked: int = 0
    bytes_acked: int = 0
    losses: int = 0
    """How often something was missing: that blocks were sent again, counted once until more has arrived."""
