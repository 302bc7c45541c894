"""Addresses that a real server gives, on disk before a client has them and there after a crash; and a machine
for which there is no loader, as a person sees it."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path

import pytest
from server_under_test import ADDRESS, MAGIC, Machine, Server, eventually, option

pytestmark = [pytest.mark.net, pytest.mark.timeout(120)]
CONFIG = """\
[[subnet]]
network = "10.66.0.0/24"
dhcp = "full"
pools = ["10.66.0.200-10.66.0.203"]
"""
ACK, NAK = 5, 6


def start(server: Server) -> None:
    """Start the server with full DHCP."""
    path: Path = server.folder / "config.toml"
    path.write_text(CONFIG)
    server.start("--config", str(path))


def request(machine: Machine, address: str, *, renewing: bool = False) -> int | None:
    """Ask for an address, by broadcast as after an offer or a reboot; the type of the answer."""
    mac = bytes.fromhex(machine.mac.replace(":", ""))
    machine.xid += 1
    wanted = socket.inet_aton(address)
    head = struct.pack("!BBBBIHH", 1, 1, 6, 0, machine.xid, 0, 0x8000) + bytes(16) + mac.ljust(16, b"\0")
    options = bytes((53, 1, 3, 50, 4)) + wanted
    if not renewing:
        options += bytes((54, 4)) + socket.inet_aton(ADDRESS)
    packet = head + bytes(192) + MAGIC + options + b"\xff"

    def ask() -> int | None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
            sock.bind(("0.0.0.0", 68))
            sock.settimeout(1)
            sock.sendto(packet, ("255.255.255.255", 67))
            while True:
                try:
                    data = sock.recv(2048)
                except TimeoutError:
                    return None
                if data[0] == 2 and data[4:8] == packet[4:8]:
                    return option(data, 53)[0]

    return machine.space.call(ask)


def lease(machine: Machine) -> str:
    """Go through DISCOVER and REQUEST; the address."""
    address = eventually(lambda: machine.addresses(0.7).get(ADDRESS), 10, f"no offer for {machine.mac}")
    assert request(machine, address) == ACK
    return address


def listed(server: Server) -> set[str]:
    """The addresses of the command's list."""
    return {one["address"] for one in json.loads(server.cli("lease", "list", "-o", "json").stdout)}


def test_leases_outlive_the_worker_and_the_whole_server(server: Server) -> None:
    start(server)
    first, second = server.machine(1), server.machine(2)
    given = {lease(first), lease(second)}
    assert given == {"10.66.0.200", "10.66.0.201"}
    server.kill("worker")
    assert lease(server.machine(3)) == "10.66.0.202"
    assert server.process is not None
    server.process.stop()
    start(server)
    assert lease(server.machine(4)) == "10.66.0.203"
    for machine, address in ((first, "10.66.0.200"), (second, "10.66.0.201")):
        assert request(machine, address, renewing=True) == ACK
    assert request(server.machine(5), "10.66.0.200", renewing=True) == NAK
    # The list is the database's, which takes over what the worker has promised.
    everyone = {f"10.66.0.{number}" for number in range(200, 204)}
    eventually(lambda: listed(server) == everyone, 10, "not all are in the list")


def test_a_machine_without_a_loader_is_in_the_list_of_boots(server: Server) -> None:
    server.environ["PXESERVER_BOOTS__AFTER_OFFER"] = "2"
    server.start()
    riscv = server.machine(9, arch=27)
    assert riscv.discover(timeout=0.5) is None

    def row() -> dict[str, str]:
        shown = json.loads(server.cli("boot", "list", "-o", "json").stdout)
        return next((one for one in shown if one["mac"] == riscv.mac), {})

    boot = eventually(row, 5, "not in the list")
    assert boot["stage"] == "ignored"
    assert "no-loader" in server.cli("boot", "show", boot["id"]).stdout
    eventually(lambda: row().get("diagnosis") == "no-loader", 10, "no result")
    assert "no boot loader for architecture 27" in " ".join(server.cli("boot", "list").stdout.split())
