"""What the firmware tests share: loaders, discovery system and a bootable disk built once, and a lab with
the server.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pxeserver.discovery import build_discovery
from pxeserver.lab.firmware import Firmware
from pxeserver.lab.machine import Machine
from pxeserver.lab.netboot import debian_installer
from pxeserver.lab.network import Lab
from pxeserver.lab.process import LabError
from pxeserver.lab.rawdisk import boot_disk
from pxeserver.lab.server import BootServer
from pxeserver.loaders import fetch_loaders, read_manifest

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "firmware"
AT_ONCE = 2
"""Machines that start at the same time: an emulated one takes a core."""
ONLINE = 150.0
"""Seconds from power-on to the inventory on a busy 2-core machine; 25 on a quiet one."""


TIMES: list[tuple[str, str, float]] = []
"""Machine, what was waited for on its console, and seconds from power-on; printed at the end of a run."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The times go to the process that prints them: tests/conftest.py."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["machine_times"] = TIMES
    else:
        session.config.machine_times = TIMES  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def loaders() -> Path:
    """A loaders folder with the discovery system, as a server has it after its first start with a network."""
    folder = CACHE / "loaders"
    with _alone():
        folder.mkdir(parents=True, exist_ok=True)
        if not read_manifest(folder):
            fetch_loaders(folder, print)
        (CACHE / "work").mkdir(exist_ok=True)
        build_discovery(CACHE / "work", folder / "discovery", print)
        debian_installer(CACHE)
    return folder


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the cache: the tests run in two processes, and what they share is made by one of them."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def raw_disk(loaders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bootable disk image."""
    with _alone():
        return boot_disk(tmp_path_factory.mktemp("raw"), loaders / "discovery" / "vmlinuz", CACHE)


@dataclass(frozen=True)
class Boot:
    """How one machine's boot went."""

    machine: Machine
    error: str
    timeline: list[str]
    seconds: float


@dataclass(frozen=True)
class Site:
    """A lab and the server in it."""

    lab: Lab
    server: BootServer

    def boot(self, machine: Machine, mark: str = "inventory sent", timeout: float = ONLINE) -> Boot:
        """Power a machine on and wait until `mark` is on its console and the timeline has caught up."""
        machine.power_on()
        try:
            seconds = machine.wait_for_console(mark, timeout=timeout)
            self.server.wait(lambda: "inventory" in self.server.timeline(machine), 15, "no inventory")
        except LabError as why:
            return Boot(machine, str(why), self.server.timeline(machine), 0)
        TIMES.append((machine.spec.name, mark, seconds))
        return Boot(machine, "", self.server.timeline(machine), seconds)

    def boot_all(self, machines: list[Machine], **words: object) -> dict[Firmware, Boot]:
        """Boot machines, some at a time, each switched off when it has arrived."""

        def one(machine: Machine) -> Boot:
            try:
                return self.boot(machine, **words)  # type: ignore[arg-type]
            finally:
                machine.power_off()

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return {boot.machine.spec.firmware: boot for boot in pool.map(one, machines)}


MakeSite = Callable[..., Site]


@pytest.fixture(scope="module")
def make_site(loaders: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeSite]:
    """Labs with a server; all of them end with the module."""
    labs: list[Lab] = []

    def make(
        *options: str, dhcp: bool = True, config: str = "", shelf: Path | None = None, **lab_words: object
    ) -> Site:
        work = tmp_path_factory.mktemp("lab")
        lab = Lab(work, **lab_words)  # type: ignore[arg-type]
        labs.append(lab)
        lab.plain_dhcp(leases=dhcp)
        return Site(lab, BootServer(lab, work / "state", *options, loaders=shelf or loaders, config=config))

    yield make
    for lab in labs:
        lab.close()
        shutil.rmtree(lab.work / "state", ignore_errors=True)
