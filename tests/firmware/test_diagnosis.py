"""Boots broken at five places: for each the server says what was seen, what it means, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pxeserver.lab.firmware import Firmware

pytestmark = [pytest.mark.firmware, pytest.mark.timeout(600)]

WINDOWS = """
[boots]
after_offer = 15
during_loader = 12
after_loader = 30
after_script = 20
during_file = 20
"""
"""Shorter than the usual ones, which have room for slow machines: here every silence is known to be one."""
SILENT = 150.0
"""Seconds until the machine has come to where it breaks and the server has called it silent."""


@pytest.fixture(scope="module")
def site(make_site: Callable[..., Any]) -> Any:
    return make_site("--unknown", "discover", config=WINDOWS)


def offer_unheeded(site: Any, machine: Any) -> None:
    """A firewall between machine and server lets DHCP through and TFTP not."""
    site.lab.drop(machine, "udp dport 69")
    machine.power_on()


def loader_stuck(site: Any, machine: Any) -> None:
    """A path with a small MTU swallows the large packets of the loader's transfer."""
    site.lab.drop(machine, "udp length > 1000", towards=True)
    machine.power_on()


def loader_refused(site: Any, machine: Any) -> None:
    """The loader arrives and does nothing: the firmware cannot start it, as where Secure Boot refuses it."""
    junk = site.lab.work / "junk.efi"
    junk.write_bytes(b"this is no program\n" * 4096)
    site.server.command("image", "add", "junk-loader", "--efi", str(junk))
    words = ("--mac", machine.spec.mac, "--set", "loader=junk-loader/junk.efi", "--profile", "discovery")
    site.server.command("node", "add", "refused", *words)
    machine.power_on()


def other_server_away(site: Any, machine: Any) -> None:
    """A profile leads to another server, where nothing listens."""
    site.server.command("profile", "add", "away", "--kind", "chain", "--url", "http://10.77.0.1:81/boot.ipxe")
    site.server.command("node", "add", "away", "--mac", machine.spec.mac, "--profile", "away")
    machine.power_on()


def power_lost(site: Any, machine: Any) -> None:
    """The machine goes dark while it loads its initial RAM disk."""
    site.lab.slow(machine, 10)
    machine.power_on()
    site.server.wait(
        lambda: site.server.timeline(machine).count("file-started") == 2, 120, "no initrd", pause=0.2
    )
    machine.power_off()


BREAKS = {
    "no-request-after-offer": (Firmware.OVMF_PXE, offer_unheeded),
    "loader-stopped": (Firmware.OVMF_PXE, loader_stuck),
    "loader-silent": (Firmware.OVMF_PXE, loader_refused),
    "not-loaded": (Firmware.BIOS_VIRTIO, other_server_away),
    "file-stopped": (Firmware.BIOS_VIRTIO, power_lost),
}


def test_each_broken_boot_is_explained(site: Any) -> None:
    machines = {code: site.lab.machine(kind, code) for code, (kind, _) in BREAKS.items()}

    def broken(code: str) -> dict[str, Any]:
        machine = machines[code]
        BREAKS[code][1](site, machine)
        try:
            site.server.wait(lambda: diagnosed(site, machine), SILENT, f"no diagnosis of {code}", pause=2)
        finally:
            machine.power_off()
        return diagnosed(site, machine)

    with ThreadPoolExecutor(len(BREAKS)) as pool:
        told = dict(zip(BREAKS, pool.map(broken, BREAKS), strict=True))
    assert {code: boot["diagnosis"] for code, boot in told.items()} == {code: code for code in BREAKS}
    for boot in told.values():
        assert boot["text"]
        assert boot["next_step"]


def diagnosed(site: Any, machine: Any) -> dict[str, Any]:
    """The machine's first boot that has a diagnosis."""
    boots = site.server.boots(machine)
    return next((boot for boot in reversed(boots) if boot["diagnosis"]), {})


def codes(site: Any, machine: Any) -> list[str]:
    """The diagnoses of all boots of a machine."""
    return [boot["diagnosis"] for boot in site.server.boots(machine)]


def test_a_machine_that_starts_again_and_again_is_called_a_loop(site: Any, tmp_path: Path) -> None:
    script = tmp_path / "again.ipxe"
    script.write_text("#!ipxe\nsleep 6\nreboot\n")
    site.server.command("profile", "add", "again", "--kind", "script", "--script", str(script))
    machine = site.lab.machine(Firmware.BIOS_VIRTIO, "again")
    site.server.command("node", "add", "again", "--mac", machine.spec.mac, "--profile", "again")
    machine.power_on()
    try:
        site.server.wait(lambda: "loop" in codes(site, machine), 120, "no loop seen", pause=2)
    finally:
        machine.power_off()
