"""A discovery system with firmware that is not free starts a card that does not work without it.

QEMU's i82551 is such a card: Linux' e100 driver refuses to switch on that revision of it before it has
loaded e100/d102e_ucode.bin, which Debian has in firmware-intel-misc.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pxeserver.discovery import LARGEST, build_discovery
from pxeserver.lab import standins
from pxeserver.lab.firmware import Firmware

pytestmark = [pytest.mark.firmware, pytest.mark.long, pytest.mark.timeout(900)]

PACKAGES = ("firmware-intel-misc", "firmware-bnx2x", "firmware-qlogic")
INSIDE = ("e100/d102e_ucode.bin", "bnx2x/bnx2x-e2-7.13.21.0.fw", "ql2500_fw.bin")
SECOND = "52:54:00:99:00:01"


@pytest.fixture(scope="module")
def shelf(loaders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The loaders with a discovery system that has the firmware."""
    folder = tmp_path_factory.mktemp("nonfree") / "loaders"
    shutil.copytree(loaders, folder, ignore=shutil.ignore_patterns("discovery"))
    work = folder.parent / "work"
    shutil.copytree(loaders.parent / "work", work)
    build_discovery(work, folder / "discovery", print, firmware=PACKAGES)
    shutil.rmtree(work)
    return folder


def test_the_files_are_inside_and_the_image_is_small_enough(
    shelf: Path, loaders: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    with subprocess.Popen(
        ["zstd", "-dc", str(shelf / "discovery/initrd.img")], stdout=subprocess.PIPE
    ) as packed:
        listed = subprocess.run(
            ["cpio", "-t", "--quiet"], stdin=packed.stdout, capture_output=True, text=True, check=True
        ).stdout.splitlines()
    wanted = [f"usr/lib/firmware/{name}" for name in INSIDE]
    wanted += [f"usr/share/doc/{package}/copyright" for package in PACKAGES]
    assert sorted(set(wanted) - set(listed)) == []
    sizes = {}
    for name, folder in (("with", shelf), ("without", loaders)):
        files = (folder / "discovery" / file for file in ("vmlinuz", "initrd.img"))
        sizes[name] = sum(file.stat().st_size for file in files)
        record_testsuite_property(f"discovery_bytes_{name}_firmware", sizes[name])
    assert sizes["without"] < sizes["with"] < LARGEST


@pytest.mark.parametrize("firmware", [True, False], ids=["with", "without"])
def test_a_card_that_needs_firmware(make_site: Callable[..., Any], shelf: Path, firmware: bool) -> None:
    site = (
        make_site("--unknown", "discover", shelf=shelf, config=f"[loaders]\nfirmware = {list(PACKAGES)!r}\n")
        if firmware
        else make_site("--unknown", "discover")
    )
    extra = standins.card(site.lab, "second", SECOND, "i82551")
    machine = site.lab.machine(Firmware.OVMF_PXE, extra=extra)
    boot = site.boot(machine)
    machine.power_off()
    assert not boot.error
    code = {one["mac"]: one["code"] for one in site.server.ask("node", "list", "--unknown")}[machine.spec.mac]
    site.server.command("node", "approve", code, "n")
    cards = {card["mac"]: card for card in site.server.ask("node", "show", "n")["inventory"]["nics"]}
    assert (cards[SECOND]["driver"], cards[SECOND]["link"]) == ("e100", firmware)
    assert cards[machine.spec.mac]["link"]
