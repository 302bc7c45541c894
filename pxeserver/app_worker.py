"""The parts of the boot worker, and how they fit together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Self

from pxeserver import sockets
from pxeserver.answers import tftp_names
from pxeserver.bootmenu import Menus
from pxeserver.config import Settings
from pxeserver.descriptors import Room, fitted
from pxeserver.hostlimits import check_buffers
from pxeserver.imagestore.store import Store
from pxeserver.ownprocess import own_usage
from pxeserver.protocols.tftp.transfers import Limits
from pxeserver.servers.dhcp import DhcpServer, DhcpSockets
from pxeserver.servers.dhcp_probe import probe_servers
from pxeserver.servers.http import BootHttp
from pxeserver.servers.http_limits import HttpLimits
from pxeserver.servers.http_scripts import DecidedScripts
from pxeserver.servers.tftp import TftpServer
from pxeserver.servers.tftp_requests import TftpOptions
from pxeserver.servers.tftp_socket import TftpSocket
from pxeserver.storage.journal import Journal
from pxeserver.worker import BootWorker
from pxeserver.worker_link import ControlLink
from pxeserver.worker_others import Probe
from pxeserver.worker_site import SiteKeeper

log = logging.getLogger(__name__)

STOP_SECONDS = 0.8
"""For transfers that are under way when the process is told to end."""
_NEEDED = ("dhcp", "proxydhcp", "tftp", "http", "worker")


@dataclass(slots=True)
class WorkerParts:
    """Everything of the boot worker."""

    journal: Journal
    store: Store
    worker: BootWorker
    link: ControlLink
    site: SiteKeeper
    dhcp: DhcpServer
    tftp: TftpServer
    http: BootHttp
    bound: Mapping[str, socket.socket]

    @classmethod
    async def build(cls, settings: Settings, open_files: int) -> Self:
        """Open the journal and the store, and take the sockets over; OSError where one of them is not
        there. `open_files` is how many descriptors this process may have.
        """
        bound = sockets.inherited(os.environ)
        missing = [name for name in _NEEDED if name not in bound]
        if missing:
            raise OSError(f"started without the sockets {', '.join(missing)}: use `pxeserver run` or systemd")
        check_buffers(bound)
        state = settings.server.state_dir
        journal = await _open_journal(settings)
        store = Store(state / "images", writes=False)
        worker = BootWorker(journal, store, settings.policy_model())
        worker.restore()
        dhcp = DhcpServer(worker, DhcpSockets(bound["dhcp"], bound["proxydhcp"]))
        site = SiteKeeper(
            worker, settings, _probe(settings), lambda body: link.put("site", body), dhcp.set_contested
        )
        link = ControlLink(worker, journal, site.body, site.announce)
        worker.control = link
        await site.look()
        site.recall()
        room = _room(settings, open_files)
        tftp, http = _tftp(worker, settings, room), _http(worker, store, settings, room)
        link.measure = lambda: _measured(worker, tftp, http)
        return cls(journal, store, worker, link, site, dhcp, tftp, http, bound)

    async def start(self) -> None:
        """Begin to serve."""
        self.dhcp.start()
        self.tftp.start(TftpSocket(self.bound["tftp"]))
        await self.http.start([self.bound["http"]])

    def endless(self) -> list[Awaitable[None]]:
        """What runs until the end."""
        return [
            self.link.serve(self.bound["worker"]),
            self.link.keep(),
            self.link.tick(),
            self.site.keep(),
            self.site.look_again(),
            self._forget_old(),
        ]

    async def _forget_old(self) -> None:
        while True:
            await asyncio.sleep(60)
            self.worker.attempts.expire(self.worker.now())

    async def stop(self) -> None:
        """Let transfers end, then close everything."""
        await self.dhcp.stop()
        await asyncio.gather(self.tftp.stop(STOP_SECONDS), self.http.stop(), return_exceptions=True)
        await self.journal.close()
        self.store.close()


def _measured(worker: BootWorker, tftp: TftpServer, http: BootHttp) -> dict[str, int | float]:
    """What the servers have done so far, for the control process's metrics."""
    counters: dict[str, int | float] = {"leases": len(worker.leases), "tftp_active": tftp.active}
    counters |= {f"tftp_{name}": count for name, count in tftp.counters.items()}
    counters |= {f"http_{name}": count for name, count in http.counters.items()}
    return counters | own_usage()


def _room(settings: Settings, open_files: int) -> Room:
    tftp = settings.tftp
    ports = tftp.port_range[1] - tftp.port_range[0] + 1 if tftp.port_range else None
    asked = Room(tftp.max_transfers, settings.http.max_connections, HttpLimits().surplus)
    return fitted(asked, open_files, ports)


def _tftp(worker: BootWorker, settings: Settings, room: Room) -> TftpServer:
    tftp = settings.tftp
    options = TftpOptions(
        Limits(room.transfers, tftp.max_transfers_per_address),
        port_range=tftp.port_range,
        windowsize=tftp.max_window,
        blksize=tftp.max_block_size,
    )
    return TftpServer(worker, tftp_names(worker), options)


def _http(worker: BootWorker, store: Store, settings: Settings, room: Room) -> BootHttp:
    http = settings.http
    limits = HttpLimits(
        idle_timeout=http.idle_seconds,
        per_address=http.max_connections_per_address,
        connections=room.connections,
        surplus=room.surplus,
        body_bytes=http.max_body_bytes,
        shutdown=STOP_SECONDS,
    )
    scripts, rules = DecidedScripts(Menus().arrange), settings.admission.rules()
    return BootHttp(worker, store.blobs.open_manifest, scripts, limits, rules)


def _probe(settings: Settings) -> Probe | None:
    """How to look for other boot servers; never in a dry run, which sends nothing."""
    return probe_servers if settings.dhcp.probe and not settings.policy.dry_run else None


async def _open_journal(settings: Settings) -> Journal:
    """Open the journal; the worker before us may need a moment to be gone."""
    for _ in range(30):
        with contextlib.suppress(BlockingIOError):
            return Journal.open(settings.server.state_dir / "journal")
        await asyncio.sleep(0.1)
    return Journal.open(settings.server.state_dir / "journal")
