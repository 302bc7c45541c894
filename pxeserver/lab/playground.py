"""A private network with the real server and virtual machines: what `make try` and `make demo` show.

Nothing here touches the machine's own network: the server runs at 10.77.0.2 in a namespace, beside a DHCP
server that knows nothing of booting. Loaders and the discovery system stay in the state folder, so that only
the first start takes long.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from pxeserver.claim import InUse, claim
from pxeserver.clusternode import NAME as NODE_SYSTEM
from pxeserver.discovery import BuildFailed
from pxeserver.discoveryshelf import NAME, DiscoveryShelf
from pxeserver.imagestore.store import Store
from pxeserver.lab.firmware import Firmware
from pxeserver.lab.machine import Machine
from pxeserver.lab.network import Lab
from pxeserver.lab.nodesystem import FAST, build_node_system
from pxeserver.lab.process import LabError, Process
from pxeserver.loaderbundle import LoaderShelf
from pxeserver.loaders import LoadersUnavailable

STATE = Path("/var/tmp/pxeserver-lab")
"""Kept between runs: loaders and the discovery system take a minute to make."""
READY_SECONDS = 60.0

Say = Callable[[str], None]


class Playground:
    """The lab's network with the server in it. `fresh` forgets the nodes and boots of earlier runs; with
    `node_system` the server has that image too, the profile cluster-node.
    """

    def __init__(
        self,
        *,
        state: Path = STATE,
        fresh: bool = False,
        unknown: str = "discover",
        node_system: bool = False,
        say: Say = print,
    ) -> None:
        self.work = Path(tempfile.mkdtemp(prefix="pxeserver-lab-"))
        # The server gives up root and still has to reach its sockets in here.
        self.work.chmod(0o755)
        self._say = say
        self._state = state
        try:
            self._claimed = _claim(state)
        except BaseException:
            shutil.rmtree(self.work, ignore_errors=True)
            raise
        try:
            prepare(state, say, node_system=node_system)
        except BaseException:
            os.close(self._claimed)
            shutil.rmtree(self.work, ignore_errors=True)
            raise
        if fresh:
            _forget(state)
        self.lab = Lab(self.work)
        self.socket = self.work / "run" / "api.sock"
        own = {"PXESERVER_SOCKET": str(self.socket), "PXESERVER_NODE_IMAGE__COMPRESSION": FAST.compression}
        self.environment = {**os.environ, **own}
        try:
            self.lab.plain_dhcp()
            self.server = self._start(unknown)
        except BaseException:
            self.close()
            raise

    def _start(self, unknown: str) -> Process:
        words = [sys.executable, "-m", "pxeserver", "run", "--unknown", unknown]
        words += ["--state-dir", str(self._state), "--run-dir", str(self.work / "run")]
        return self.lab.start_server(words, self.environment)

    def wait_ready(self, timeout: float = READY_SECONDS) -> None:
        """Return once loaders and discovery system are there; what the server says meanwhile is passed on."""
        end = time.monotonic() + timeout
        shown = 0
        while True:
            text = self.server.text()
            if len(text) > shown:
                self._say(text[shown:].rstrip())
                shown = len(text)
            if self.server.returncode is not None:
                raise LabError(f"the server ended: {text[-2000:]}")
            if self.socket.exists() and self._bootable():
                return
            if time.monotonic() > end:
                raise LabError(
                    f"the server has no discovery system after {timeout:.0f} s: see {self.server.log}"
                )
            time.sleep(0.5)

    def _bootable(self) -> bool:
        try:
            images, loaders = self.ask("image", "list"), self.ask("loader", "list")
        except LabError:
            return False
        return bool(loaders) and any(image["name"] == "discovery" for image in images)

    def command(self, *words: str) -> list[str]:
        """The command line of `pxeserver WORDS` that speaks with this server."""
        return [sys.executable, "-m", "pxeserver", *words]

    def ask(self, *words: str) -> Any:
        """What `pxeserver WORDS -o json` answers; LabError with its own words where it refuses."""
        done = subprocess.run(
            self.command(*words, "-o", "json"),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise LabError(done.stderr.strip() or done.stdout.strip())
        return json.loads(done.stdout)

    def boots_of(self, machine: Machine) -> list[dict[str, Any]]:
        """The machine's boots with their timelines, the newest first."""
        found = [b for b in self.ask("boot", "list", "--limit", "200") if b["mac"] == machine.spec.mac]
        return [self.ask("boot", "show", str(boot["id"])) for boot in found]

    def add(self, firmware: Firmware, *, disk: int = 0) -> Machine:
        """A machine, powered off, with an empty disk of `disk` MiB where wanted."""
        number = len(self.lab.machines) + 1
        disks = (self.lab.disk(f"disk{number}", disk << 20),) if disk else ()
        return self.lab.machine(firmware, disks=disks)

    def close(self) -> None:
        """End everything, and remove what this run wrote."""
        self.lab.close()
        os.close(self._claimed)
        shutil.rmtree(self.work, ignore_errors=True)

    def __enter__(self) -> Playground:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def prepare(state: Path, say: Say, *, node_system: bool = False) -> None:
    """Have loaders and the discovery system, with `node_system` that too, in a state folder, by this
    machine's own network: the lab's namespaces have no way out. LabError where they cannot be had.
    """
    folder = state / "loaders"
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(state / "images")
    try:
        LoaderShelf(store, folder).ensure(say)
        DiscoveryShelf(store, folder / NAME).ensure(say)
        if node_system:
            build_node_system(say, folder=folder / NODE_SYSTEM)
    except (LoadersUnavailable, BuildFailed) as error:
        raise LabError(str(error)) from error
    finally:
        store.close()
        # The server gives a folder of another user's to its own user at start, everything in it too.
        os.chown(state, os.getuid(), os.getgid())


def _claim(state: Path) -> int:
    """Keep other playgrounds off the state folder: they would forget what is in use here."""
    folder = state / "loaders"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return claim(folder)
    except InUse:
        raise LabError(f"another `make try` or demo is running with {state}: end it first") from None


def _forget(state: Path) -> None:
    for path in (*state.glob("db.sqlite3*"), state / "journal"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def step_times(timeline: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Seconds from the first step of a timeline to the first of each kind."""
    clock = [(step["kind"], datetime.fromisoformat(step["at"]).timestamp()) for step in timeline]
    times: dict[str, float] = {}
    for kind, at in clock:
        times.setdefault(kind, at - clock[0][1])
    return times
