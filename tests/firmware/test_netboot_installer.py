"""Debian's own network installer, added as an image by the command line, is reached on BIOS and on UEFI: as
a plain kernel on BIOS, on UEFI as an installer that runs once for its order and with a person's consent.

It fetches its answers (preseed.cfg) from the same image, and the answers report the boot: so kernel, RAM
disk, command line with the attempt's URL, and the installer's own network and DHCP have all worked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pxeserver.lab.firmware import Firmware
from pxeserver.lab.machine import Machine
from pxeserver.lab.netboot import debian_installer
from pxeserver.lab.playground import step_times
from pxeserver.lab.server import steps_missing

pytestmark = [pytest.mark.firmware, pytest.mark.timeout(900)]

KINDS = (Firmware.BIOS_VIRTIO, Firmware.OVMF_PXE)
REACHED = "INSTALLER-HAS-ITS-ANSWERS"
SERIAL = "TO-BE-INSTALLED"
PATIENCE = 600.0
"""Seconds; 70 on a quiet machine."""
TOLD = ("script-sent", "file-sent", "booted")
ARGS = (
    "auto=true priority=critical url={url}/f/debian12/preseed.cfg interface=auto"
    " console=ttyS0,115200n8 DEBIAN_FRONTEND=text"
)
PRESEED = f"""\
d-i preseed/early_command string \\
  url=$(sed 's|.* url=\\([^ ]*\\)/f/.*|\\1|' /proc/cmdline); \\
  wget -q -O /dev/null "$url/report/booted"; \\
  echo {REACHED} > /dev/console; \\
  sleep 3600
"""


@pytest.fixture(scope="module")
def site(make_site: Callable[..., Any], loaders: Path) -> Any:
    """A server with the installer as an image, and a profile of it."""
    found = make_site()
    files = debian_installer(loaders.parent)
    preseed = found.lab.work / "preseed.cfg"
    preseed.write_text(PRESEED)
    words = ["--kernel", str(files.kernel), "--initrd", str(files.initrd), "--file", str(preseed)]
    found.server.command("image", "add", "debian12", *words)
    found.server.command("profile", "add", "plain", "--image", "debian12", "--args", ARGS)
    found.server.command("profile", "add", "once", "--image", "debian12", "--args", ARGS, "--install")
    return found


@pytest.fixture(scope="module")
def machines(site: Any) -> dict[Firmware, Machine]:
    """One machine of each kind, known by its MAC address, both switched on."""
    disk = site.lab.disk("disk", 64 << 20, serial=SERIAL)
    made = {kind: site.lab.machine(kind, disks=() if kind.bios else (disk,)) for kind in KINDS}
    for kind, machine in made.items():
        profile = "plain" if kind.bios else "once"
        site.server.command("node", "add", kind.value, "--mac", machine.spec.mac, "--profile", profile)
    _order_install(site, made[Firmware.OVMF_PXE])
    for machine in made.values():
        if not machine.running:
            machine.power_on()
    return made


def _order_install(site: Any, machine: Machine) -> None:
    """Look at the machine's disk, order the install and consent to it; the machine then restarts."""
    server, name = site.server, machine.spec.firmware.value
    server.command("node", "boot-once", name, "--profile", "discovery")
    machine.power_on()
    machine.wait_for_console("inventory sent", timeout=PATIENCE)
    server.command("node", "install", name)
    assert "needs a consent" in server.command("node", "show", name)
    server.command("node", "consent", name, SERIAL, "--yes")
    assert "needs a consent" not in server.command("node", "show", name)
    server.command("node", "order", "reboot", name, "--yes")


@pytest.fixture(autouse=True)
def switched_off(machines: dict[Firmware, Machine], kind: Firmware) -> Iterator[None]:
    """A machine is off when its test ends: emulated ones take the processor from the others."""
    yield
    machines[kind].power_off()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
def test_the_installer_is_reached(
    site: Any,
    machines: dict[Firmware, Machine],
    kind: Firmware,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    machine, server = machines[kind], site.server
    machine.wait_for_console(REACHED, timeout=PATIENCE)
    boots = server.boots(machine)
    assert len(boots) == (1 if kind.bios else 2)
    steps = server.ask("boot", "show", boots[0]["id"])["timeline"]
    told = [step["detail"].get("file", step["kind"]) for step in steps if step["kind"] in TOLD]
    assert steps_missing(told, ["script-sent", "linux", "initrd.gz", "preseed.cfg", "booted"]) == []
    loader = [step["detail"]["file"] for step in steps if step["kind"] == "loader-sent"]
    assert [path.rpartition("/")[2] for path in loader] == ([] if kind.bios else ["snponly.efi"])
    phase = server.ask("node", "show", kind.value)["state"]["phase"]
    assert phase == ("idle" if kind.bios else "installing"), "the order is used up, on disk"
    record_testsuite_property(f"installer_seconds_{kind.value}", round(step_times(steps)["booted"], 1))
