"""Boots broken at eight places: for each `boot list` and `boot show` say what was seen, what it usually
means, and what to do next.

The breaks are made beside the product: packets dropped on the machine's cable, loaders and kernels that hang
or panic, the power cut. The times of silence are shortened by the setting [boots].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pxeserver.lab.firmware import Firmware
from pxeserver.lab.machine import Machine
from pxeserver.lab.netboot import debian_installer

pytestmark = [pytest.mark.firmware, pytest.mark.timeout(900)]

CONFIG = """\
[boots]
after_offer = 15
during_loader = 15
after_loader = 25
after_script = 12
during_file = 15
after_files = 20
"""
PATIENCE = 400.0
"""Seconds until a machine is diagnosed; 25 to 75 on a busy 2-core machine."""
AT_ONCE = 4
HANG = b"\xfb\xf4\xeb\xfd"
"""A BIOS boot program: sti, hlt, jump back to the hlt."""
TIMESTAMPED, URL_FILE = 32, len("GET /a/0123456789")
IMAGE_FILES = f"tcp dport 80 @th,{(TIMESTAMPED + URL_FILE) * 8},24 {int.from_bytes(b'/f/'):#x}"
"""nftables: a request for a file of an image, and not one for a script or a report."""
Break = Callable[[Any, Machine], None]


def offer_unheeded(site: Any, machine: Machine) -> None:
    """A firewall between machine and server lets DHCP through, and TFTP not."""
    site.lab.drop(machine, "udp dport 69")
    machine.power_on()


def loader_stuck(site: Any, machine: Machine) -> None:
    """A path with a small MTU swallows the large packets of the loader's transfer."""
    site.lab.drop(machine, "udp length > 1000", towards=True)
    machine.power_on()


def loader_hangs(site: Any, machine: Machine) -> None:
    """The loader arrives, is started, and does nothing."""
    (site.lab.work / "hang").write_bytes(HANG)
    site.server.command("image", "add", "hang", "--file", str(site.lab.work / "hang"))
    node(site, machine, "--set", "loader=hang/hang")
    machine.power_on()


def kernel_unreachable(site: Any, machine: Machine) -> None:
    """A filter on the way lets scripts pass, and kernels not."""
    site.lab.drop(machine, IMAGE_FILES)
    profile(site, machine, "")
    machine.power_on()


def power_lost(site: Any, machine: Machine) -> None:
    """The machine goes dark in the middle of its kernel."""
    site.lab.drop(machine, "tcp sport 80 quota over 3 mbytes", towards=True)
    profile(site, machine, "")
    machine.power_on()
    machine.wait_for_console("/linux...", timeout=PATIENCE)
    site.server.wait(lambda: "file-started" in site.server.timeline(machine), 20, "no kernel asked for")
    machine.power_off()


def no_kernel(site: Any, machine: Machine) -> None:
    """What should be a kernel is none. A smaller file iPXE would start as a BIOS boot program."""
    junk = site.lab.work / "junk"
    junk.write_bytes(b"this is no kernel\n" * 65536)
    site.server.command("image", "add", "junk", "--kernel", str(junk))
    profile(site, machine, "", image="junk")
    machine.power_on()


def kernel_panics(site: Any, machine: Machine) -> None:
    """The kernel starts, finds nothing to run, and stops."""
    profile(site, machine, "console=ttyS0,115200n8")
    machine.power_on()
    machine.wait_for_console("Kernel panic", timeout=PATIENCE)
    machine.power_off()  # in its panic it does no more than keep the processor busy


def kernel_restarts(site: Any, machine: Machine) -> None:
    """The kernel panics and starts the machine again, which boots from the network again."""
    profile(site, machine, "console=ttyS0,115200n8 panic=1")
    machine.power_on()


def profile(site: Any, machine: Machine, args: str, image: str = "linux") -> None:
    """A profile of this machine alone, with its node."""
    name = machine.spec.name
    site.server.command("profile", "add", name, "--image", image, f"--args={args}")
    node(site, machine, "--profile", name)


def node(site: Any, machine: Machine, *words: str) -> None:
    """A node for the machine."""
    site.server.command("node", "add", machine.spec.name, "--mac", machine.spec.mac, *words)


BREAKS: dict[str, tuple[Firmware, Break]] = {
    "loop": (Firmware.BIOS_VIRTIO, kernel_restarts),
    "no-request-after-offer": (Firmware.OVMF_PXE, offer_unheeded),
    "loader-silent": (Firmware.BIOS_PLAIN, loader_hangs),
    "kernel-not-fetched": (Firmware.BIOS_VIRTIO, kernel_unreachable),
    "no-report": (Firmware.BIOS_VIRTIO, kernel_panics),
    "loader-stopped": (Firmware.OVMF_PXE, loader_stuck),
    "not-loaded": (Firmware.BIOS_E1000, no_kernel),
    "file-stopped": (Firmware.BIOS_VIRTIO, power_lost),
}


@pytest.fixture(scope="module")
def told(make_site: Callable[..., Any], loaders: Path) -> Iterator[dict[str, Future[dict[str, Any]]]]:
    """For each break the boot that got this diagnosis, as soon as there is one; several go on at once."""
    site = make_site("--unknown", "discover", config=CONFIG)
    site.server.command("image", "add", "linux", "--kernel", str(debian_installer(loaders.parent).kernel))
    machines = {code: site.lab.machine(kind, code) for code, (kind, _) in BREAKS.items()}

    def broken(code: str) -> dict[str, Any]:
        machine = machines[code]
        try:
            BREAKS[code][1](site, machine)
            found = site.server.wait(lambda: diagnosed(site, machine, code), PATIENCE, f"no {code}", pause=2)
        finally:
            machine.power_off()
        return dict(
            site.server.ask("boot", "show", found["id"]),
            shown=site.server.command("boot", "show", found["id"]),
        )

    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            yield {code: pool.submit(broken, code) for code in BREAKS}
        finally:  # where a run is broken off, nobody waits for the other diagnoses
            pool.shutdown(wait=False, cancel_futures=True)
            site.server.stop()
            for machine in machines.values():
                machine.power_off()


def diagnosed(site: Any, machine: Machine, code: str) -> dict[str, Any] | None:
    """The machine's closed boot with this diagnosis, from `boot list`."""
    boots = (boot for boot in site.server.ask("boot", "list") if boot["mac"] == machine.spec.mac)
    return next((boot for boot in boots if boot["closed"] and boot["diagnosis"] == code), None)


@pytest.mark.parametrize("code", BREAKS)
def test_a_broken_boot_is_explained(told: dict[str, Future[dict[str, Any]]], code: str) -> None:
    boot = told[code].result()
    assert boot["timeline"][-1]["kind"] == "closed"
    assert boot["timeline"][-1]["detail"]["diagnosis"] == code
    shown = " ".join(boot["shown"].split())
    for sentence in (boot["text"], boot["next_step"]):
        assert sentence
        assert sentence in shown
