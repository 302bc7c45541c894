"""The admin plane on loopback, with cheap password hashes."""

import sys
from pathlib import Path

import pytest

from pxeserver import admin
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
