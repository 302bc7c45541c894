"""The appliance itself, started as anybody would start it: `python -m pxeserver run`, with its defaults."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.stage import SERVER, Stage, machine_mac
from pxeserver.cli.client import Client, Failure
from pxeserver.lab.process import LabError, Process

SOURCE = Path(__file__).parents[1]
LOADERS = ("snponly.efi", "undionly.kpxe")
_NODES_AT_ONCE = 2000
_READY_SECONDS = 60.0


class Appliance:
    """A server with a state directory of its own, on a stage of its own."""

    def __init__(
        self,
        folder: Path,
        loader: Path,
        *,
        wire: bool = False,
        event_loop: str = "asyncio",
        unknown: str = "menu",
        admission: bool = True,
    ) -> None:
        self.name = "pxeserver" if event_loop == "asyncio" else f"pxeserver ({event_loop})"
        self.folder = folder
        self.stage = Stage(self.name, folder, wire=wire)
        self._event_loop, self._unknown, self._admission = event_loop, unknown, admission
        own = folder / "state" / "loaders" / "own"
        own.mkdir(parents=True, exist_ok=True)
        for name in LOADERS:
            (own / name).write_bytes(loader.read_bytes())
        self.process: Process | None = None

    @property
    def settings(self) -> str:
        """What the report prints."""
        return f"pxeserver run --event-loop {self._event_loop} --unknown {self._unknown} (dhcp.probe off)"

    processes = "1 boot worker; beside it supervisor and control process"

    @property
    def pid(self) -> int:
        """The supervisor: the root of its process tree."""
        if self.process is None:
            raise LabError("the appliance does not run")
        return self.process.pid

    def worker(self) -> int:
        """The process id of the boot worker."""
        shown = subprocess.run(
            ("pgrep", "-o", "-P", str(self.pid), "-x", "pxe-worker"),
            capture_output=True,
            text=True,
            check=True,
        )
        return int(shown.stdout.split()[0])

    def start(self) -> None:
        """Start it and wait until it serves."""
        places = ("--state-dir", str(self.folder / "state"), "--run-dir", str(self.folder / "run"))
        choices = (
            "--user",
            "root",
            "--event-loop",
            self._event_loop,
            "--unknown",
            self._unknown,
            "-i",
            "eth0",
        )
        environ = {
            "PYTHONPATH": str(SOURCE),
            "PYTHONUNBUFFERED": "1",
            "PXESERVER_LOADERS__FETCH": "false",
            # Nobody else is on the cable, and the look for other servers would only delay the first row.
            "PXESERVER_DHCP__PROBE": "false",
            "PXESERVER_ADMISSION__ENABLED": str(self._admission).lower(),
        }
        self.process = self.stage.serve(
            [sys.executable, "-m", "pxeserver", "run", *places, *choices], environ
        )
        self.process.wait_for_text("  next ", _READY_SECONDS)

    def stop(self) -> None:
        """End it in order; it may be started again."""
        if self.process is not None:
            self.process.stop(20)
            self.process = None

    def close(self) -> None:
        """End it and remove its stage."""
        with suppress(LabError):
            self.stop()
        self.stage.close()

    # ---------------------------------------------------------------------------------------- configuring

    def command(self, *words: str) -> str:
        """Run a pxeserver command; LabError with its words where it fails."""
        environ = {
            **os.environ,
            "PXESERVER_SOCKET": str(self.folder / "run/api.sock"),
            "PYTHONPATH": str(SOURCE),
        }
        line = [sys.executable, "-m", "pxeserver", *words]
        done = subprocess.run(line, env=environ, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def add_image(
        self, name: str, kernel: Path, initrd: Path | None = None, files: Iterable[Path] = ()
    ) -> None:
        """Add an image and a profile of the same name that boots it."""
        words = ["image", "add", name, "--kernel", str(kernel)]
        words += ["--initrd", str(initrd)] if initrd else []
        for file in files:
            words += ["--file", str(file)]
        self.command(*words)
        self.command("profile", "add", name, "--kind", "kernel", "--image", name, "--args", "quiet")

    def add_nodes(self, count: int, profile: str, *, first: int = 0) -> float:
        """Make the machines `first` and on nodes with this profile; the seconds it took."""
        begun = time.monotonic()
        with Client(self.folder / "run/api.sock") as client:
            for start in range(first, first + count, _NODES_AT_ONCE):
                numbers = range(start, min(start + _NODES_AT_ONCE, first + count))
                self._post(client, {"nodes": [_node(number, profile) for number in numbers]})
        return time.monotonic() - begun

    @staticmethod
    def _post(client: Client, body: Mapping[str, Any]) -> None:
        try:
            client.post("nodes", body=body)
        except Failure as failure:
            raise LabError(str(failure)) from failure


def _node(number: int, profile: str) -> dict[str, Any]:
    name, mac = f"bench{number:06d}", machine_mac(number)
    return {"name": name, "macs": [mac], "values": {"profile": profile}, "labels": {}}


def script_query(number: int) -> str:
    """The facts that a machine's iPXE sends with its request for the script."""
    mac = machine_mac(number)
    uuid = f"be000000-0000-0000-0000-{mac.replace(':', '')}"
    return f"uuid={uuid}&serial=&mac={mac}&vendor=QEMU&product=bench&platform=efi&arch=x86_64"


def boot_url(path: str) -> str:
    """The URL of a path on the stage's server."""
    return f"http://{SERVER}{path}"
