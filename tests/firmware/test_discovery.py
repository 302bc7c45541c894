"""Every firmware of the lab comes up in the discovery system, its inventory is stored, its timeline has no
hole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pxeserver.lab.firmware import Firmware
from pxeserver.lab.server import steps_missing

pytestmark = [pytest.mark.firmware, pytest.mark.timeout(600)]

FILES = ["file-started", "file-sent", "file-started", "file-sent", "inventory"]
FROM_ROM = ["discovered", "offered", "script-sent", *FILES]
CHAINED = [
    "discovered",
    "offered",
    "loader-started",
    "loader-sent",
    "discovered",
    "offered",
    "script-sent",
    *FILES,
]
KINDS = {
    Firmware.BIOS_VIRTIO: FROM_ROM,
    Firmware.BIOS_E1000: FROM_ROM,
    Firmware.BIOS_PLAIN: CHAINED,
    Firmware.OVMF_PXE: CHAINED,
    # iPXE over HTTP boot asks for its script by its loader's folder before any DHCP of its own.
    Firmware.OVMF_HTTP: ["discovered", "offered", "loader-started", "loader-sent", "script-sent", *FILES],
}
FULL = """
[[subnet]]
network = "10.77.0.0/24"
dhcp = "full"
pools = ["10.77.0.100-10.77.0.199"]
router = "10.77.0.3"
"""
RELAYED = """
[dhcp]
relays = ["10.77.1.1"]

[[subnet]]
network = "10.77.1.0/24"
dhcp = "full"
pools = ["10.77.1.100-10.77.1.199"]
router = "10.77.1.1"
server = "10.77.0.2"
"""


def check(site: Any, boot: Any, wanted: list[str]) -> dict[str, Any]:
    """The boot arrived, its timeline has the wanted steps, its inventory is stored. Returns the inventory."""
    assert not boot.error
    missing = steps_missing(boot.timeline, wanted)
    assert not missing, (missing, site.server.boot(boot.machine), site.server.process.text()[-3000:])
    mac = boot.machine.spec.mac
    unknown = {one["mac"]: one["code"] for one in site.server.ask("node", "list", "--unknown")}
    name = boot.machine.spec.name
    site.server.command("node", "approve", unknown[mac], name)
    node = site.server.ask("node", "show", name)
    inventory: dict[str, Any] = node["inventory"]
    assert inventory["machine"]["uuid"] == boot.machine.spec.uuid == node["uuid"]
    assert inventory["machine"]["serial"] == boot.machine.spec.serial
    assert inventory["firmware"]["kind"] == ("bios" if boot.machine.spec.firmware.bios else "uefi")
    assert [(nic["mac"], nic["link"]) for nic in inventory["nics"]] == [(mac, True)]
    return inventory


@pytest.fixture(scope="module")
def plain(make_site: Callable[..., Any]) -> tuple[Any, dict[Firmware, Any]]:
    """All kinds behind the plain DHCP server."""
    site = make_site("--unknown", "discover")
    disk = site.lab.disk("empty", 64 << 20, serial="EMPTY1")
    machines = [site.lab.machine(kind, disks=(disk,) if kind is Firmware.OVMF_PXE else ()) for kind in KINDS]
    return site, site.boot_all(machines)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
def test_behind_a_plain_dhcp_server(plain: tuple[Any, dict[Firmware, Any]], kind: Firmware) -> None:
    site, boots = plain
    inventory = check(site, boots[kind], KINDS[kind])
    assert inventory["nics"][0]["driver"] == ("e1000" if kind is Firmware.BIOS_E1000 else "virtio_net")
    if kind is Firmware.OVMF_PXE:
        assert [(d["serial"], d["size"], d["signatures"]) for d in inventory["disks"]] == [
            ("EMPTY1", 64 << 20, [])
        ]


def test_where_this_server_gives_the_addresses(make_site: Callable[..., Any]) -> None:
    site = make_site("--unknown", "discover", dhcp=False, config=FULL)
    kinds = (Firmware.BIOS_VIRTIO, Firmware.OVMF_PXE)
    boots = site.boot_all([site.lab.machine(kind) for kind in kinds])
    for kind in kinds:
        check(site, boots[kind], [*KINDS[kind][:2], "address-given", *KINDS[kind][2:]])
        assert site.server.boots(boots[kind].machine)[0]["address"].startswith("10.77.0.1")


def test_behind_a_relay_on_a_routed_network(make_site: Callable[..., Any]) -> None:
    site = make_site("--unknown", "discover", config=RELAYED, far=True)
    site.lab.relay("10.77.0.2")
    kinds = (Firmware.BIOS_VIRTIO, Firmware.OVMF_PXE)
    boots = site.boot_all([site.lab.machine(kind, far=True) for kind in kinds])
    for kind in kinds:
        check(site, boots[kind], [*KINDS[kind][:2], "address-given", *KINDS[kind][2:]])
        assert site.server.boots(boots[kind].machine)[0]["address"].startswith("10.77.1.1")
