"""`make demo-cluster`: three machines with empty disks are switched on and become one cluster."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pxeserver.clusternode import NAME as NODE_SYSTEM
from pxeserver.lab.firmware import Firmware
from pxeserver.lab.machine import Machine
from pxeserver.lab.nodesystem import node_machine
from pxeserver.lab.playground import Playground
from pxeserver.lab.process import LabError

NODES = 3
DISK = 4 << 30
SERVICE_ADDRESS = "10.77.0.100"
SPEC = f"""\
# Three managers; an internal switch beside the one with the uplink; one volume on all three.
name = "demo"
[members]
nodes = ["n1", "n2", "n3"]
managers = 3
[[switch]]
name = "switch-1"
uplink = true
[[switch]]
name = "switch-2"
[[vnet]]
name = "web"
switch = "switch-1"
vlan = 10
subnet = "10.10.0.0/24"
gateway = "10.10.0.1"
nat = true
[[vnet]]
name = "data"
switch = "switch-2"
vlan = 20
subnet = "10.20.0.0/24"
[storage]
volume = "shared"
replicas = 3
disk = "loop:512MiB"
[docker]
heartbeat = 20  # emulated machines are slow
[[address]]
name = "front"
address = "{SERVICE_ADDRESS}/24"
"""

Say = Callable[[str], None]


class ClusterPlay:
    """The private network, the server, and machines that are to become a cluster: one for each of `disks`,
    which are their sizes in bytes; 0 is a machine without one. `extra` are further words of a machine's QEMU.
    """

    def __init__(
        self,
        say: Say,
        disks: Sequence[int] = (DISK,) * NODES,
        extra: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self._say = say
        self.ground = Playground(fresh=True, unknown="ignore", node_system=True, say=say)
        self._key = self.ground.work / "root"
        try:
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", self._key], check=True
            )
            self.ground.wait_ready()
            sizes = {f"n{number}": size for number, size in enumerate(disks, 1)}
            self.machines = {n: self._machine(n, size, (extra or {}).get(n, ())) for n, size in sizes.items()}
            if all(image["name"] != NODE_SYSTEM for image in self.ground.ask("image", "list")):
                self.run("image", "build", NODE_SYSTEM)
            for name, machine in self.machines.items():
                self._add(name, machine, sizes[name])
        except BaseException:
            self.close()
            raise

    def _machine(self, name: str, size: int, extra: tuple[str, ...]) -> Machine:
        disks = (self.ground.lab.disk(f"state-{name}", size, serial=f"STATE-{name}"),) if size else ()
        return node_machine(self.ground.lab, name, disks=disks, firmware=Firmware.BIOS_VIRTIO, extra=extra)

    def _add(self, name: str, machine: Machine, disk: int) -> None:
        values = {"console": machine.spec.firmware.console, **({"state_disk": "empty"} if disk else {})}
        words = [word for key, text in values.items() for word in ("--set", f"{key}={text}")]
        self.run("node", "add", name, "--mac", machine.spec.mac, "--profile", NODE_SYSTEM, *words)

    def run(self, *words: str) -> str:
        """Run a pxeserver command; LabError with its words where it fails."""
        done = subprocess.run(
            self.ground.command(*words),
            env=self.ground.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode:
            raise LabError(f"pxeserver {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def apply(self, text: str, files: Mapping[str, str] | None = None) -> None:
        """Make the cluster what the file says; it begins as soon as its members are there. `files` are those
        that it names, by their names.
        """
        key = self._key.with_suffix(".pub").read_text().strip()
        text = text.replace("[members]\n", f'[members]\nssh_keys = ["{key}"]\n', 1)
        with tempfile.TemporaryDirectory(prefix="pxeserver-cluster-") as folder:
            for name, content in {**(files or {}), "cluster.toml": text}.items():
                (Path(folder) / name).write_text(content)
            self._say(self.run("cluster", "apply", f"{folder}/cluster.toml", "--yes").rstrip())

    def on(self, node: str, *words: str) -> str:
        """What a command says on a member, which may be logged in to once its step identity is done."""
        members = self.ground.ask("cluster", "status", "demo")["nodes"]
        address = next(member["address"] for member in members if member["name"] == node)
        login = ["-i", str(self._key), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]
        login += ["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10"]
        return self.ground.lab.boot.run("ssh", *login, f"root@{address}", shlex.join(words))

    def status(self, name: str = "demo") -> dict[str, Any]:
        """Where the cluster stands."""
        found: dict[str, Any] = self.ground.ask("cluster", "show", name)
        return found

    def wait(self, seen: Callable[[], bool], seconds: float, what: str, pause: float = 5.0) -> float:
        """Return the seconds waited until `seen`; LabError saying `what` after so many."""
        begin = time.monotonic()
        while not seen():
            if time.monotonic() - begin > seconds:
                raise LabError(f"{what} after {seconds:.0f} s")
            time.sleep(pause)
        return time.monotonic() - begin

    def close(self) -> None:
        """End everything."""
        self.ground.close()

    def __enter__(self) -> ClusterPlay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ready(play: ClusterPlay, name: str = "demo") -> bool:
    """Whether every step of the cluster is done."""
    try:
        return str(play.ground.ask("cluster", "status", name)["state"]) == "ready"
    except LabError:
        return False  # a step failed and is tried again, or the server is busy


def cluster_demo(console: Console, seconds: float) -> int:
    """Three empty machines become a cluster while `cluster watch` shows it; 1 where that takes longer."""
    with ClusterPlay(console.print) as play:
        play.apply(SPEC)
        console.print(f"{NODES} machines with empty disks are switched on.")
        begin = time.monotonic()
        watcher = subprocess.Popen(
            play.ground.command("cluster", "watch", "demo"), env=play.ground.environment
        )
        try:
            for machine in play.machines.values():
                machine.power_on()
            while not ready(play) and time.monotonic() - begin < seconds:
                time.sleep(3)
        finally:
            watcher.terminate()
            watcher.wait(5)
        took = time.monotonic() - begin
        console.print(play.run("cluster", "status", "demo") if ready(play) else "It does not stand yet.")
        return _summary(console, play, took, list(play.machines))


def _summary(console: Console, play: ClusterPlay, took: float, names: Sequence[str]) -> int:
    if not ready(play):
        for name in names:
            console.print(play.machines[name].since_power_on()[-1500:], markup=False)
        return 1
    table = Table(
        "step", *names, title=f"seconds of each step; the cluster stood {took:.0f} s after power-on"
    )
    nodes = play.ground.ask("cluster", "status", "demo")["nodes"]
    spent = {(n["name"], s["step"]): _seconds(s) for n in nodes for s in n["steps"]}
    for step in dict.fromkeys(step for _, step in spent):
        table.add_row(step, *(spent.get((name, step), "") for name in names))
    console.print(table)
    return 0


def _seconds(step: Mapping[str, Any]) -> str:
    begin, end = (datetime.fromisoformat(step[key]) if step[key] else None for key in ("started", "finished"))
    return f"{(end - begin).total_seconds():.1f}" if begin and end else "-"
