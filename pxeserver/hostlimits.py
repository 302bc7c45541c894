"""What this host's kernel allows, held against the number of machines that are to boot from it.

The sockets' own buffers and queues are set where they are bound, open files in descriptors.py. What is here
belongs to the whole host: it is read and told, with the command that changes it, and never changed by us.
A service of systemd does not see these settings (ProcSubset=pid), so `pxeserver status` looks at them too.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

BACKLOG = 1024
"""Connections that may wait to be accepted; the units say the same."""
RECEIVE_BUFFER = 4 << 20
"""Bytes of datagrams that may wait: a rack that powers on at once sends thousands within a second, and what
does not fit is lost."""
_OTHERS = 128
"""Neighbours that are no machines of ours: routers, management, other servers."""
_FLOWS = 8
"""Entries of a boot in the table of connections: DHCP, TFTP and HTTP, each for some minutes."""
_SYS = Path("/proc/sys/net")


@dataclass(frozen=True, slots=True)
class Allowed:
    """Settings of the kernel; None where this process cannot see one, or the kernel has none."""

    neighbours: int | None = None
    """Most entries of the ARP table, of all links together (arp(7), gc_thresh3)."""
    backlog: int | None = None
    """Most connections that may wait in any listening socket (listen(2), somaxconn)."""
    flows: int | None = None
    """Most connections that the packet filter follows (nf_conntrack_max)."""


def read(top: Path = _SYS) -> Allowed:
    """The settings as they are now."""
    return Allowed(
        _number(top / "ipv4/neigh/default/gc_thresh3"),
        _number(top / "core/somaxconn"),
        _number(top / "netfilter/nf_conntrack_max"),
    )


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def wanting(allowed: Allowed, machines: int) -> list[str]:
    """What is too small for so many machines at once: a sentence each, with what to do."""
    found = []
    needed = machines + _OTHERS
    if allowed.neighbours is not None and allowed.neighbours < needed:
        found.append(
            f"the kernel's ARP table holds {allowed.neighbours} entries, and there are {machines} machines:"
            " beyond that none of them can be answered. "
            + _sysctl("net.ipv4.neigh.default.gc_thresh3", _rounded(2 * needed))
        )
    if allowed.backlog is not None and allowed.backlog < min(BACKLOG, machines):
        found.append(
            f"{allowed.backlog} connections may wait to be accepted, fewer than come when {machines} machines"
            " start at once. " + _sysctl("net.core.somaxconn", 4096)
        )
    if allowed.flows is not None and allowed.flows < _FLOWS * machines:
        found.append(
            f"the packet filter follows {allowed.flows} connections, fewer than {machines} machines make when"
            " they boot at once. "
            + _sysctl("net.netfilter.nf_conntrack_max", _rounded(2 * _FLOWS * machines))
        )
    return found


def _sysctl(name: str, value: int) -> str:
    return f"Raise it: `sysctl -w {name}={value}`, and the same line in /etc/sysctl.d/ for restarts"


def _rounded(number: int) -> int:
    """The next power of two."""
    return 1 << (number - 1).bit_length()


class HostLimits:
    """Tells the log what is wanting as the machines become more, each thing once."""

    def __init__(self, top: Path = _SYS) -> None:
        self._top = top
        self._most = 0
        self._told: set[str] = set()

    def look(self, machines: int) -> None:
        """So many machines are known now."""
        if machines <= self._most:
            return
        self._most = machines
        for sentence in wanting(read(self._top), machines):
            what = sentence.rpartition("sysctl -w ")[2].partition("=")[0]
            if what not in self._told:
                self._told.add(what)
                log.warning("a limit of this host is too low", extra={"machines": machines, "why": sentence})


def check_buffers(bound: Mapping[str, socket.socket]) -> None:
    """Log which datagram sockets got less room than they were to have: without root they may have no more
    than net.core.rmem_max.
    """
    for name, sock in bound.items():
        if sock.type == socket.SOCK_DGRAM:
            # The kernel tells twice what was asked for: its own book-keeping counts (socket(7)).
            given = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
            if given < RECEIVE_BUFFER:
                log.warning(
                    "receive buffer is small: requests of many machines at once are lost. "
                    + _sysctl("net.core.rmem_max", RECEIVE_BUFFER),
                    extra={"socket": name, "bytes": given, "wanted": RECEIVE_BUFFER},
                )
