"""The node system on an emulated machine: from power-on to systemd and the agent, without a disk and with a
state disk that survives a restart. It is never started when it is not what was promised.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pxeserver.lab.machine import Machine
from pxeserver.lab.nodesystem import build_node_system, lend_node_system, node_machine

pytestmark = [pytest.mark.firmware, pytest.mark.long, pytest.mark.timeout(1500)]

UP = 400.0
"""Seconds from power-on to systemd on a busy 2-core machine; 50 on a quiet one."""
DISK = 4 << 30
CONFIG = """
[node_image]
compression = "fast"
"""


@pytest.fixture(scope="module")
def site(make_site: Callable[..., Any]) -> Any:
    folder = build_node_system()
    site = make_site("--unknown", "ignore", config=CONFIG)
    lend_node_system(site.server.state, folder=folder)
    site.server.command("image", "build", "cluster-node")
    return site


def add(site: Any, machine: Machine, **values: str) -> None:
    words = [word for key, text in values.items() for word in ("--set", f"{key}={text}")]
    words += ["--set", f"console={machine.spec.firmware.console}", "--profile", "cluster-node"]
    site.server.command("node", "add", machine.spec.name, "--mac", machine.spec.mac, *words)


def up(site: Any, machine: Machine) -> dict[str, str]:
    """Power on, wait for the line that the started system writes; what that line tells."""
    machine.power_on()
    seconds = machine.wait_for_console("node system up", timeout=UP)
    site.server.wait(lambda: "booted" in site.server.timeline(machine), 30, "no report of the start")
    machine.wait_for_console("agent=", timeout=5)
    line = re.findall(r"node system up: (.*)", machine.since_power_on())[-1]
    told = dict(word.split("=", 1) for word in line.split() if "=" in word)
    return {**told, "seconds": f"{seconds:.0f}"}


def blob(site: Any, name: str) -> Path:
    files = {
        file["name"]: file["sha256"] for file in site.server.ask("image", "show", "cluster-node")["files"]
    }
    found: Path = site.server.state / "images" / "blobs" / files[name][:2] / files[name]
    return found


def test_it_runs_from_memory_and_never_as_something_else(site: Any) -> None:
    machine = node_machine(site.lab, "plain")
    add(site, machine)
    path = blob(site, "root.squashfs")
    whole = path.read_bytes()[1000:1001]
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(bytes([whole[0] ^ 1]))
    machine.power_on()
    machine.wait_for_console("is not the one that was promised, and is not used", timeout=UP)
    assert "starting systemd" not in machine.since_power_on()
    machine.power_off()
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(whole)

    told = up(site, machine)
    assert (told["name"], told["state"], told["agent"]) == ("plain", "memory", told["agent"])
    assert told["agent"] in ("active", "activating")
    assert "failed" not in told
    assert re.fullmatch("[0-9a-f]{32}", told["machine-id"])
    wanted = ["script-sent", "file-sent", "booted"]
    timeline = site.server.timeline(machine)
    assert [kind for kind in wanted if kind in timeline] == wanted
    machine.power_off()


def test_a_state_disk_is_made_of_an_empty_one_only_and_outlives_the_power(site: Any) -> None:
    data = site.lab.disk("data", DISK, serial="DATA1")
    with data.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"somebody's")
    machine = node_machine(site.lab, "kept", disks=(data, site.lab.disk("state", DISK, serial="STATE1")))
    add(site, machine, state_disk="empty")

    first = up(site, machine)
    text = machine.since_power_on()
    assert "/dev/vda is not empty and is left alone: unknown content" in text
    assert "formatting the empty disk /dev/vdb as state disk" in text
    machine.power_off()

    second = up(site, machine)
    assert "formatting" not in machine.since_power_on()
    machine.power_off()
    # Without a disk the machine-id would be the same too, but never the SSH key.
    for key in ("state", "machine-id", "ssh", "name"):
        assert first[key] == second[key] != ""
    assert first["state"] == "disk"
    with data.path.open("rb") as file:
        head = file.read(1 << 20)
    expected = bytearray(1 << 20)
    expected[4096 : 4096 + 10] = b"somebody's"
    assert hashlib.sha256(head).digest() == hashlib.sha256(expected).digest()
