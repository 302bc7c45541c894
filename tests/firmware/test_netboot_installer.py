"""Debian's own network installer, added as an image by the command line, is reached on BIOS and on UEFI.

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
    found.server.command("profile", "add", "installer", "--image", "debian12", "--args", ARGS)
    return found


@pytest.fixture(scope="module")
def machines(site: Any) -> dict[Firmware, Machine]:
    """One machine of each kind, known by its MAC address, both switched on."""
    made = {kind: site.lab.machine(kind) for kind in KINDS}
    for number, machine in enumerate(made.values()):
        mac = machine.spec.mac
        site.server.command("node", "add", f"n{number}", "--mac", mac, "--profile", "installer")
    for machine in made.values():
        machine.power_on()
    return made


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
    (boot,) = server.boots(machine)
    steps = server.ask("boot", "show", boot["id"])["timeline"]
    told = [step["detail"].get("file", step["kind"]) for step in steps if step["kind"] in TOLD]
    assert steps_missing(told, ["script-sent", "linux", "initrd.gz", "preseed.cfg", "booted"]) == []
    loader = [step["detail"]["file"] for step in steps if step["kind"] == "loader-sent"]
    assert [path.rpartition("/")[2] for path in loader] == ([] if kind.bios else ["snponly.efi"])
    record_testsuite_property(f"installer_seconds_{kind.value}", round(step_times(steps)["booted"], 1))
