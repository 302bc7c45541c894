"""The first start of a server: an empty state folder, Debian's real packages, machines served soon after.

The server is in a namespace without any route: its DHCP reaches nobody's network. Packages come through a
proxy on its loopback (way_out.py), as behind a company's proxy.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from server_under_test import Server, eventually
from way_out import WayOut

pytestmark = [pytest.mark.net, pytest.mark.long, pytest.mark.timeout(900)]

PATIENCE = 300.0
"""Seconds to fetch 110 MB of packages and to build; 60 on a quiet machine with a quick line."""


def test_loaders_and_discovery_system_are_fetched_by_the_server_itself(
    server: Server, tmp_path: Path
) -> None:
    shutil.rmtree(server.state)
    machine = server.machine()
    with WayOut(server.space) as way:
        server.environ |= {**way.environ, "PXESERVER_LOADERS__FETCH": "true"}
        server.start(wait=False)
        eventually(lambda: "machines can boot" in server.log, PATIENCE, "no loaders")
        assert machine.offered().endswith("/snponly.efi")
        assert machine.tftp("snponly.efi", tmp_path / "snponly.efi")[:2] == b"MZ"
        loaders = json.loads(server.cli("loader", "list", "-o", "json").stdout)
        assert len(loaders) == 6
        assert all(one["licence"] and one["release"] for one in loaders)
        eventually(lambda: "the discovery system is there" in server.log, PATIENCE, "no discovery system")
        assert server.process is not None
        server.process.stop()
        fetched = len(way.asked)
        assert fetched > 0
        server.start()
        eventually(lambda: "the discovery system is there" in server.log, 30, "it is built once")
        assert len(way.asked) == fetched, "the second start asks nobody"
        assert machine.offered().endswith("/snponly.efi")
