"""Beside a real DHCP server that gives addresses: the full mode refuses, says so, and is told what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_under_test import ADDRESS, Machine, Server, eventually

from pxeserver.lab.process import Process

pytestmark = [pytest.mark.net, pytest.mark.timeout(120)]
OTHER = "10.66.0.50"
NONE = "0.0.0.0"
FULL = """\
[dhcp]
probe = true
probe_seconds = 5
{dhcp}
[[subnet]]
network = "10.66.0.0/24"
dhcp = "full"
pools = ["10.66.0.200-10.66.0.220"]
{subnet}
"""


@pytest.fixture
def full(server: Server) -> Server:
    """A server that is to give addresses, and looks for others."""
    del server.environ["PXESERVER_DHCP__PROBE"]
    return server


@pytest.fixture
def other(server: Server) -> Iterator[Process]:
    """dnsmasq as it comes: it pings an address for three seconds before it offers it."""
    words = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--port=0"]
    words += ["--interface=eth0", "--bind-dynamic", "--dhcp-range=10.66.0.100,10.66.0.150"]
    words += [f"--dhcp-leasefile={server.folder}/leases", f"--pid-file={server.folder}/pid"]
    with server.machines.start([*words, "--log-facility=-"], server.folder / "dnsmasq.log") as process:
        process.wait_for_text("DHCP, IP range")
        yield process


def start(server: Server, dhcp: str = "", subnet: str = "") -> None:
    """Start the server with full DHCP, and these lines in the sections."""
    path: Path = server.folder / "config.toml"
    path.write_text(FULL.format(dhcp=dhcp, subnet=subnet))
    server.start("--config", str(path))


def given(machine: Machine) -> str:
    """The address that our server offers."""
    return eventually(lambda: machine.addresses().get(ADDRESS), 5, "no offer of ours")


def test_where_nobody_else_answers_addresses_are_given(full: Server) -> None:
    start(full)
    assert "10.66.0.0/24 addresses" in full.log
    assert given(full.machine()).startswith("10.66.0.2")


def test_beside_a_dhcp_server_no_addresses_until_it_is_gone(full: Server, other: Process) -> None:
    start(full)
    line = rf"DHCP +10\.66\.0\.0/24: no addresses, because the DHCP server {re.escape(OTHER)} answers on eth0"
    assert re.search(line + r".*dhcp\.force = true", full.log), full.log
    assert given(full.machine()) == NONE
    told = full.cli("status", check=False)
    assert told.returncode == 1
    assert f"the DHCP server {OTHER} answers on eth0" in " ".join((told.stdout + told.stderr).split())
    full.kill("worker")
    assert given(full.machine(2)) == NONE
    other.stop()
    eventually(lambda: given(full.machine(3)) != NONE, 30, "not lifted")
    eventually(lambda: full.cli("status", check=False).returncode == 0, 5, "still said to be refused")


@pytest.mark.parametrize("where", ["dhcp", "subnet"])
def test_beside_a_dhcp_server_where_it_is_told_to(full: Server, other: Process, where: str) -> None:
    assert other.pid
    force = {where: "force = true"}
    start(full, **force)
    assert "10.66.0.0/24 addresses" in full.log
    assert given(full.machine()) != NONE


def test_proxy_dhcp_names_the_server_that_gives_the_addresses(full: Server, other: Process) -> None:
    assert other.pid
    full.start()
    assert f"addresses come from {OTHER}" in full.log
