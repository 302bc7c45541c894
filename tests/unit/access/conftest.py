"""The admin plane on loopback, with cheap password hashes."""

import asyncio
import io
import sys
from pathlib import Path

import pytest

from pxeserver import admin, cli
from pxeserver.api.access.passwords import Passwords

sys.path.insert(0, str(Path(__file__).parent))

from admin_plane import running


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch):
    monkeypatch.setattr(admin, "Passwords", lambda: Passwords(memory_kib=8, passes=1))


@pytest.fixture
async def plane(tmp_path):
    async with running(tmp_path) as plane:
        yield plane


@pytest.fixture
def run(plane, monkeypatch, capsys):
    """`await run("user", "list")`: what it printed; `typed` is the standard input."""
    monkeypatch.setenv("PXESERVER_SOCKET", plane.socket)

    async def call(*words, typed="", code=0):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        done = await asyncio.to_thread(cli._run, list(words), False)
        out, err = capsys.readouterr()
        assert done == code, (words, out, err)
        return out + err

    return call
