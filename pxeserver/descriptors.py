"""How many files and sockets a process may hold open, and what the boot worker may promise within that.

A terminal gives programs 1024 descriptors (the soft limit) and lets them ask for far more (the hard limit);
the units give 65536. Only the boot worker and the control process raise theirs: programs that a supervisor
starts may walk all numbers up to the limit.
"""

from __future__ import annotations

import logging
import resource
from dataclasses import dataclass

log = logging.getLogger(__name__)

OWN = 128
"""What the boot worker needs for itself: the sockets handed down, journal, store, loop, log, its link to the
control process, and files that are open for a moment."""

A_CONNECTION = 2
"""Descriptors of an HTTP connection: its socket, and the file that is being sent."""

A_TRANSFER = 2
"""Descriptors of a TFTP transfer with a port of its own: the socket, and what watches it (tftp_socket.py).
From the common port a transfer costs none."""


def raise_limit() -> int:
    """Raise this process's limit as far as it may; returns the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            log.warning("limit of open files stays", extra={"limit": soft, "hard": hard, "error": error})
            return soft
    log.info("limit of open files", extra={"limit": hard, "was": soft})
    return hard


@dataclass(frozen=True, slots=True)
class Room:
    """What one boot worker takes in at the same time."""

    transfers: int
    """TFTP transfers."""
    connections: int
    """HTTP connections that are served."""
    surplus: int
    """HTTP connections beyond them that are told to come again."""


def fitted(asked: Room, limit: int, ports: int | None) -> Room:
    """What of `asked` this limit of open files carries; all numbers are at least 1.

    `ports` is the size of TFTP's port range, None where transfers go from the common port. Where it is too
    much, everything is lowered by the same factor: without a descriptor a transfer would fail in its middle.
    """
    transfers = asked.transfers if ports is None else min(asked.transfers, ports)
    wanted = A_CONNECTION * asked.connections + asked.surplus
    wanted += A_TRANSFER * transfers if ports is not None else 0
    room = max(0, limit - OWN)
    if wanted <= room:
        return asked
    connections, surplus = (max(1, n * room // wanted) for n in (asked.connections, asked.surplus))
    if ports is not None:
        transfers = max(1, transfers * room // wanted)
    fewer = {"http.max_connections": f"{asked.connections}->{connections}"}
    if ports is not None:
        fewer["tftp.max_transfers"] = f"{asked.transfers}->{transfers}"
    log.warning(
        "limit of open files is too low for the settings: less is served at once. Raise LimitNOFILE="
        " of the unit, or `ulimit -Hn` of the shell",
        extra={"limit": limit, "needed": wanted + OWN, **fewer},
    )
    return Room(transfers, connections, surplus)
