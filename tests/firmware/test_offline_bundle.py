"""A server that never had a network gets its loaders from a bundle of another one, and boots a machine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pxeserver.lab.firmware import Firmware
from pxeserver.lab.process import LabError
from pxeserver.lab.server import BootServer, steps_missing

pytestmark = [pytest.mark.firmware, pytest.mark.timeout(300)]

BOOTED = ["discovered", "offered", "loader-started", "loader-sent", "discovered", "offered", "script-sent"]


def test_a_bundle_is_all_that_an_offline_server_needs(make_site: Callable[..., Any], tmp_path: Path) -> None:
    site = make_site()
    lab, bundle = site.lab, tmp_path / "loaders.tar"
    site.server.command("loader", "export", str(bundle))
    there = site.server.ask("loader", "list")
    site.server.stop()
    lab.boot.ip("route", "del", "default")
    with pytest.raises(LabError, match="unreachable"):
        lab.boot.run("ip", "route", "get", "192.0.2.1")
    offline = BootServer(lab, tmp_path / "offline", wait=False)
    log = lab.work / "server.log"
    offline.wait(lambda: "no boot loaders could be fetched" in log.read_text(), 60, "it did not say so")
    said = " ".join(log.read_text().split())
    assert "import a bundle made with `pxeserver loader export` on another machine" in said
    assert offline.ask("loader", "list") == []
    offline.command("loader", "import", str(bundle))
    facts = [
        [(one["arch"], one["file"], one["release"], one["licence"]) for one in listed]
        for listed in (there, offline.ask("loader", "list"))
    ]
    assert facts[0] == facts[1]
    assert len(facts[0]) == 6
    machine = lab.machine(Firmware.OVMF_PXE)
    machine.power_on()
    offline.wait(lambda: not steps_missing(offline.timeline(machine), BOOTED), 90, "it got no script")
    machine.power_off()
    offline.stop()
    again = BootServer(lab, tmp_path / "offline", wait=False)

    def loaders() -> int:
        with suppress(LabError):  # its API is not there at once
            return len(again.ask("loader", "list"))
        return 0

    again.wait(lambda: loaders() == 6, 30, "the loaders did not stay")
