"""What the boot worker tells of itself as a whole: a greeting, and all that it has promised."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

from pxeserver import channel as wire
from pxeserver.boot.model import Lease
from pxeserver.protocols.dhcp.lease import OFFERED
from pxeserver.storage.journal import Journal
from pxeserver.worker import BootWorker


def hello(worker: BootWorker, journal: Journal) -> wire.WorkerHello:
    """Who is here, and what it works from."""
    snapshot, nodes = worker.snapshot, worker.nodes()
    return wire.WorkerHello(
        os.getpid(),
        journal.last_seq,
        snapshot.version,
        acked=journal.acked_seq,
        nodes=len(nodes),
        highest_node=max((node.id for node in nodes), default=0),
        profiles=tuple(snapshot.profiles),
    )


def parts(worker: BootWorker) -> Iterator[wire.Tables]:
    """All states and leases as they are now, in parts that fit into a frame; the last says that it is."""
    states = iter(tuple(worker.nodes().states()))
    leases = iter(
        [
            Lease(e.address, e.mac, e.client_id, e.expires, e.hostname, e.state)
            for e in worker.leases
            if e.state != OFFERED
        ]
    )
    last = False
    while not last:
        part = wire.Tables(
            tuple(itertools.islice(states, wire.CHUNK)), tuple(itertools.islice(leases, wire.CHUNK))
        )
        last = part.last = len(part.states) < wire.CHUNK and len(part.leases) < wire.CHUNK
        yield part
