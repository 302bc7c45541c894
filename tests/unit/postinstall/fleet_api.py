"""The API and the command line over a fleet, for tests."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fleet import THREE, Fleet

from pxeserver import api
from pxeserver.config import Settings
from pxeserver.imagestore.store import Store


@dataclass
class Server:
    """The API over a fleet."""

    fleet: Fleet
    session: aiohttp.ClientSession
    path: str

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        more = {} if body is None else {"json": body}
        async with self.session.request(method, f"http://pxeserver/api/v1{path}", **more) as answer:
            return answer.status, await answer.json() if answer.status != 204 else None

    async def ok(self, method: str, path: str, body: Any = None) -> Any:
        status, data = await self.call(method, path, body)
        assert status < 300, data
        return data

    async def cli(self, *words: str, code: int = 0) -> tuple[str, str]:
        """stdout and stderr of a command."""
        environ = {"PATH": os.environ["PATH"], "PXESERVER_SOCKET": self.path, "LC_ALL": "C.UTF-8"}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pxeserver", *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environ,
        )
        out, err = await process.communicate()
        assert process.returncode == code, (words, out.decode(), err.decode())
        assert b"Traceback" not in err
        return out.decode(), err.decode()


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr("pxeserver.postinstall.running.AIM_SECONDS", 0.0)
    monkeypatch.setattr("pxeserver.api.routes.clusters._GATHER_SECONDS", 0.0)
    fleet = await Fleet.start(tmp_path / "db.sqlite3")
    store = Store(tmp_path / "images")
    settings = Settings.load(None, {}, {"server.state_dir": str(tmp_path), "server.run_dir": str(tmp_path)})
    path = str(tmp_path / "api.sock")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    shelf: Any = None
    app = api.build(fleet.hall, store, shelf, settings, orders=fleet.orders)
    runner = await api.serve(app, sock)
    session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path))
    (tmp_path / "lab.toml").write_text(THREE)
    try:
        yield Server(fleet, session, path)
    finally:
        await session.close()
        await runner.cleanup()
        await fleet.close()
        store.close()
