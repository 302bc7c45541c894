"""The pages over a real hall and store, without a socket: `get` and `post` ask them as a browser would."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from pxeserver.api.access.headers import harden
from pxeserver.api.access.local import local
from pxeserver.api.application import problems
from pxeserver.api.rooms import NoWorker
from pxeserver.api.routing import Rooms
from pxeserver.config import Settings
from pxeserver.imagestore.store import Store
from pxeserver.live import Hall
from pxeserver.postinstall.clusters import Clusters
from pxeserver.postinstall.orders import ClusterOrders
from pxeserver.storage.secretbox import SecretBox
from webadmin import add_pages

sys.path.insert(0, str(Path(__file__).parents[1] / "postinstall"))  # fleet: nodes whose agents do as told


class NoLoaders:
    """A loaders' shelf that is empty."""

    def kept(self):
        return []


@dataclass
class Site:
    """The web admin under test."""

    client: TestClient
    rooms: Rooms
    app: web.Application

    async def get(self, path: str, **headers: str) -> str:
        """The text of a page that has to be there."""
        async with self.client.get(path, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == 200, text
            return text


@pytest.fixture
async def site(tmp_path):
    """The pages on an application of their own."""
    flags = {"server.state_dir": str(tmp_path), "server.run_dir": str(tmp_path)}
    settings = Settings.load(None, {}, flags)
    hall, store = Hall(tmp_path / "db.sqlite3", policy=settings.policy_model()), Store(tmp_path / "images")
    await hall.start()
    app = web.Application(middlewares=[problems, local(hall)])
    app.on_response_prepare.append(harden)
    orders = ClusterOrders(Clusters(hall, SecretBox()))
    rooms = Rooms(hall, store, NoLoaders(), NoWorker(), settings, 0.0, clusters=orders)
    add_pages(app, rooms)
    client = TestClient(TestServer(app))
    await client.start_server()
    try:
        yield Site(client, rooms, app)
    finally:
        await client.close()
        await hall.close()
        store.close()
