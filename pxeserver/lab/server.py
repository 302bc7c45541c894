"""The real server in the lab, driven by its own command line: started in the boot namespace, asked with -o
json.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from pxeserver.lab.machine import Machine
from pxeserver.lab.network import Lab
from pxeserver.lab.process import LabError, Process

T = TypeVar("T")
SOURCE = Path(__file__).resolve().parents[2]


class BootServer:
    """One server with a state directory of its own; it ends with the lab, or earlier as a context manager."""

    def __init__(
        self,
        lab: Lab,
        state: Path,
        *options: str,
        loaders: Path | None = None,
        config: str = "",
        user: str = "root",
        wait: bool = True,
    ) -> None:
        """`loaders` is a folder with loaders and discovery system to begin with: the lab has no way to a
        mirror. With `wait` off it is only started.
        """
        self.lab, self.state = lab, state
        self.run_dir = lab.work / "run"
        self.log = lab.work / "server.log"
        state.mkdir(parents=True, exist_ok=True)
        if loaders is not None:
            shutil.copytree(loaders, state / "loaders", dirs_exist_ok=True, copy_function=_link)
        words = [
            "--interface",
            "eth0",
            "--state-dir",
            str(state),
            "--run-dir",
            str(self.run_dir),
            "--user",
            user,
        ]
        if config:
            (lab.work / "config.toml").write_text(config)
            words += ["--config", str(lab.work / "config.toml")]
        self._words = [sys.executable, "-m", "pxeserver", "run", *words, *options]
        self._env = {"PYTHONPATH": str(SOURCE), "PXESERVER_SOCKET": str(self.run_dir / "api.sock")}
        self.process: Process = self.start(wait=wait)

    def start(self, *, wait: bool = True) -> Process:
        """Start it (again) and wait until its API answers and it has loaders and the discovery system."""
        self.process = self.lab.start_server(self._words, self._env)
        if wait:
            self.wait(self.ready, 60, "the server is not ready")
        return self.process

    def ready(self) -> bool:
        """Whether machines can be served."""
        if self.process.returncode is not None:
            raise LabError(f"the server ended: {self.process.text()[-2000:]}")
        try:
            counts = self.ask("status")["counts"]
        except LabError:
            return False
        return bool(counts["loaders"] and counts["profiles"])

    def command(self, *words: str) -> str:
        """Run a pxeserver command; LabError with its words where it fails."""
        line = [sys.executable, "-m", "pxeserver", *words]
        done = subprocess.run(
            line, env={**os.environ, **self._env}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LabError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def ask(self, *words: str) -> Any:
        """Run a command with -o json and return what it says."""
        return json.loads(self.command(*words, "-o", "json"))

    def get(self, path: str) -> Any:
        """GET from the API: what is asked again and again costs no new process."""
        connection = http.client.HTTPConnection("pxeserver", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.settimeout(30)
            connection.sock.connect(str(self.run_dir / "api.sock"))
            connection.request("GET", f"/api/v1{path}")
            answer = connection.getresponse()
            body = answer.read()
        except OSError as broken:
            raise LabError(f"GET {path}: {broken}") from broken
        finally:
            connection.close()
        if answer.status != HTTPStatus.OK:
            raise LabError(f"GET {path}: {answer.status} {body[:500].decode(errors='replace')}")
        return json.loads(body)

    def boots(self, machine: Machine) -> list[dict[str, Any]]:
        """The boots of a machine, the newest first."""
        return [boot for boot in self.get("/boots?limit=1000") if boot["mac"] == machine.spec.mac]

    def boot(self, machine: Machine) -> dict[str, Any]:
        """The newest boot of a machine with its timeline; empty before the first."""
        boots = self.boots(machine)
        found: dict[str, Any] = self.get(f"/boots/{boots[0]['id']}") if boots else {}
        return found

    def timeline(self, machine: Machine) -> list[str]:
        """The kinds of events of a machine's newest boot, in their order."""
        return [event["kind"] for event in self.boot(machine).get("timeline", ())]

    def wait(self, seen: Callable[[], T], timeout: float, what: str, pause: float = 0.5) -> T:
        """Return the first true answer; LabError saying `what` after `timeout` seconds."""
        end = time.monotonic() + timeout
        while True:
            found = seen()
            if found:
                return found
            if time.monotonic() > end:
                raise LabError(f"{what} after {timeout:.0f} s; server: {self.process.text()[-3000:]}")
            time.sleep(pause)

    def stop(self) -> None:
        """End it in order."""
        self.process.stop(20)

    def __enter__(self) -> BootServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _link(source: str, target: str) -> str:
    """A hard link where that works: the loaders folder holds 40 MB."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def steps_missing(timeline: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The wanted steps that are not in the timeline in this order."""
    rest = iter(timeline)
    return [step for step in wanted if step not in rest]
