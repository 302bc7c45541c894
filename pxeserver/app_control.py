"""The parts of the control process, and how they fit together."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import socket
import time
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import Self

from aiohttp import web

from pxeserver import clusternode, forked, sockets
from pxeserver.admin import AdminStage
from pxeserver.api import application
from pxeserver.api.routing import Rooms
from pxeserver.clusternodeshelf import ClusterNodeShelf
from pxeserver.config import Settings
from pxeserver.control import KnownWorker
from pxeserver.control_link import WorkerDialer
from pxeserver.discovery import BuildFailed
from pxeserver.discoveryshelf import NAME, PROFILE, DiscoveryShelf
from pxeserver.imagebuilds import ImageBuilds
from pxeserver.imagestore.store import Store
from pxeserver.inventory import parse_inventory
from pxeserver.live import SERVER, Hall, Refused
from pxeserver.live.keeping import Windows
from pxeserver.loaderbundle import LoaderShelf
from pxeserver.loaders import LoadersUnavailable
from pxeserver.notices.stage import NoticesStage, sources
from pxeserver.notify import REPORT, notify
from pxeserver.postinstall.agents import AgentsStage
from pxeserver.postinstall.authority import Authority
from pxeserver.postinstall.neighbours import own_addresses
from pxeserver.postinstall.stage import ClustersStage

log = logging.getLogger(__name__)

_LOADERS_AGAIN = 60.0
"""Seconds until loaders that could not be had are tried again: the network may have been slower than we
were.
"""
_SETTLED = 5.0
"""Seconds after which the memory that the start took in passing (10 MB) is given back."""
_DISCOVERY_AGAIN = 900.0
"""Seconds at most until a build that failed is tried again."""


@dataclass(slots=True)
class ControlParts:
    """Everything of the control process."""

    settings: Settings
    hall: Hall
    worker: KnownWorker
    store: Store
    shelf: LoaderShelf
    dialer: WorkerDialer
    listening: socket.socket
    agents: AgentsStage
    clusters: ClustersStage
    builds: ImageBuilds
    admin: AdminStage
    notices: NoticesStage
    runner: web.AppRunner | None = None

    @classmethod
    async def build(cls, settings: Settings) -> Self:
        """Make the parts; OSError where the API's socket was not handed down."""
        bound = sockets.inherited(os.environ)
        if "api" not in bound:
            raise OSError("started without its socket: use `pxeserver run` or systemd")
        state = settings.server.state_dir
        store = Store(state / "images")
        authority = Authority.open(state / "agents", time.time())
        policy = settings.policy_model()
        if "agents" in bound:
            policy = replace(policy, agents_port=settings.agents.port, agents_ca=authority.pin)
        hall = Hall(
            state / "db.sqlite3",
            policy=policy,
            backups=state / "backups",
            windows=Windows.of(settings.boots.windows()),
            check_inventory=lambda told: parse_inventory(told).model_dump(mode="json"),
        )
        loaders = settings.loaders
        shelf = LoaderShelf(store, settings.loaders_dir, fetch=loaders.fetch, mirror=loaders.mirror)
        worker = KnownWorker(hall)
        dialer = WorkerDialer(settings.server.run_dir / "worker.sock", worker)
        stage = ClustersStage.build(hall, state, lambda: _boot_url(settings))
        agents = AgentsStage.build(
            authority,
            hall,
            bound.get("agents"),
            port=settings.agents.port,
            address=settings.server.address,
            clusters=stage.clusters,
        )
        stage.clusters.frozen = agents.roll.frozen_name
        stage.orders.arms = agents.arming.arm_members
        node_system = ClusterNodeShelf(
            store,
            settings.loaders_dir / clusternode.NAME,
            clusternode.NodeSystem(**settings.node_image.model_dump(), mirror=loaders.mirror),
            builder=settings.server.run_dir / "builder.sock",
        )
        builds = ImageBuilds(hall, {clusternode.NAME: node_system})
        admin = AdminStage.build(
            settings.admin,
            hall,
            authority,
            state / "access",
            over_tls=bound.get("admin"),
            on_loopback=bound.get("pages"),
            address=settings.server.address,
        )
        notices = NoticesStage.build(hall, sources(hall, state, worker, agents, stage.clusters))
        return cls(
            settings, hall, worker, store, shelf, dialer, bound["api"], agents, stage, builds, admin, notices
        )

    async def start(self) -> None:
        """Open the database, then answer."""
        await self.hall.start()
        await self.agents.start()
        rooms = Rooms(
            self.hall,
            self.store,
            self.shelf,
            self.worker,
            self.settings,
            time.time(),
            agents=self.agents,
            builds=self.builds,
            clusters=self.clusters.orders,
            access=self.admin.access,
            certificate=self.admin.certificate,
            notices=self.notices.post,
        )
        self.runner = await application.serve(application.on_socket(rooms), self.listening)
        await self._open_admin(rooms)
        asyncio.get_running_loop().call_later(_SETTLED, forked.give_back)

    async def _open_admin(self, rooms: Rooms) -> None:
        try:
            await self.admin.start(rooms)
        except Exception:
            # Whatever it is: machines boot, and the unix socket answers.
            log.exception("the admin plane could not be opened")

    def endless(self) -> list[Awaitable[None]]:
        """What runs until the end."""
        return [
            self.dialer.run(),
            self._have_loaders(),
            self._have_discovery(),
            self._have_built(),
            self._tell_status(),
            *self.agents.endless(),
            *self.clusters.endless(),
            *self.admin.endless(),
            *self.notices.endless(),
        ]

    async def _have_loaders(self) -> None:
        """Put the loaders into the store and the database, and try again for as long as there are none."""
        self._report("being fetched or read; machines that need one stay silent until then")
        while True:
            opened = self.hall.opened
            try:
                loaders = await asyncio.to_thread(self.shelf.ensure, log.info)
                async with self.hall.edit(SERVER) as edit:
                    for loader in loaders:
                        await edit.put_loader(loader, standard=True)
                self._report("")
                log.info("loaders are there: machines can boot", extra={"architectures": len(loaders)})
                await self._another_database(opened)
                continue
            except (LoadersUnavailable, OSError, ValueError, Refused) as error:
                log.warning("no loaders yet", extra={"error": error})
                self._report(f"none: {error}")
            await self._another_database(opened, _LOADERS_AGAIN)

    async def _have_discovery(self) -> None:
        """Build the discovery system where it is not there, and publish it with the profile that boots it."""
        loaders = self.settings.loaders
        shelf = DiscoveryShelf(
            self.store,
            self.settings.loaders_dir / NAME,
            build=loaders.fetch,
            builder=self.settings.server.run_dir / "builder.sock",
            firmware=loaders.firmware,
            mirror=loaders.mirror,
        )
        pause = _LOADERS_AGAIN
        while True:
            opened = self.hall.opened
            try:
                image = await asyncio.to_thread(shelf.ensure, log.info)
                async with self.hall.edit(SERVER) as edit:
                    if self.hall.catalog().images.get(NAME) != image:
                        await edit.put_image(image)
                    if NAME not in self.hall.catalog().profiles:
                        await edit.put_profile(PROFILE)
                log.info("the discovery system is there", extra={"profile": NAME})
                pause = _LOADERS_AGAIN
                await self._another_database(opened)
                continue
            except (BuildFailed, OSError, ValueError, Refused) as error:
                log.warning(
                    "no discovery system yet", extra={"error": error, "again_in": f"{pause / 60:.0f}min"}
                )
            await self._another_database(opened, pause)
            pause = min(pause * 2, _DISCOVERY_AGAIN)  # each build takes a minute of a processor

    async def _have_built(self) -> None:
        """Publish what was built on order, also into a database that was restored."""
        while True:
            opened = self.hall.opened
            await self.builds.restore()
            await self._another_database(opened)

    async def _another_database(self, opened: int, seconds: float = math.inf) -> None:
        """Return when a database was opened after the `opened`th, as by a restore, or after these seconds."""
        end = time.monotonic() + seconds
        while self.hall.opened == opened and time.monotonic() < end:  # noqa: ASYNC110 - a person's act, now and then
            await asyncio.sleep(1)

    def _report(self, loaders: str) -> None:
        """Tell the start-up lines what keeps the loaders away; an empty text: nothing does."""
        told = {"loaders": loaders, "settled": not loaders.startswith("being"), "admin": self.admin.told()}
        notify(**{REPORT: json.dumps(told)})

    async def _tell_status(self) -> None:
        told = ""
        while True:
            trouble = self.hall.trouble
            status = f"database {trouble.reason}: {trouble.text}" if trouble else "database open"
            if status != told:
                notify(STATUS=status)
                told = status
            await asyncio.sleep(1)

    async def stop(self) -> None:
        """Answer no more, write what waits, close."""
        await self.agents.stop()
        await self.admin.stop()
        if self.runner is not None:
            await self.runner.cleanup()
        await self.hall.close()
        self.store.close()


def _boot_url(settings: Settings) -> str:
    """Where nodes reach the boot plane: the address they are told, else one of this host's own."""
    address = settings.server.address
    if address is None:
        own = sorted(a for a in own_addresses() if not a.startswith("127."))
        address = own[0] if own else "127.0.0.1"
    return f"http://{address}:{settings.http.port}"
