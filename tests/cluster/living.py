"""A living cluster: the real server, and real agents on containers that joined it by a join command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
from nodes_under_test import HERE, LENT, SOURCE, Nodes
from swarm_wants import small_image

from pxeserver.lab.process import LabError
from pxeserver.lab.server import BootServer

NAME = "lab"
CONFIG = "[loaders]\nfetch = false\n[dhcp]\nprobe = false\n"
UNIT = "pxeserver-agent"
DROP_IN = f"/etc/systemd/system/{UNIT}.service.d/test.conf"
SERVICE = "10.77.0.100"
FILE = f"""
name = "{NAME}"
[members]
nodes = [NODES]
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
subnet = "10.30.0.0/24"
[[overlay]]
name = "back"
subnet = "10.20.0.0/24"
[storage]
volume = "shared"
driver = "glusterfs"
replicas = 3
disk = "loop:300MiB"
[[address]]
name = "front"
address = "{SERVICE}/24"
[[image]]
name = "small"
[[compose]]
name = "mon"
node = "n1"
file = "mon.yml"
[[stack]]
name = "shop"
file = "shop.yml"
"""
COMPOSE = """
services:
  one:
    image: small:1
    command: ["sleep", "100000"]
    stop_grace_period: 1s
"""
# No IPVS in this kernel: no routing mesh and no virtual addresses.
STACK = """
version: "3.8"
services:
  web:
    image: small:1
    command: ["httpd", "-f", "-h", "/www", "-p", "80"]
    stop_grace_period: 1s
    ports: [{target: 80, published: 8088, mode: host}]
    networks: [inside]
    deploy: {mode: global, endpoint_mode: dnsrr}
networks:
  inside: {driver: overlay}
"""
STEPS = (
    "identity",
    "packages",
    "network",
    "routers",
    "brick",
    "docker",
    "pool",
    "mount",
    "swarm-init",
    "swarm-join",
    "swarm-members",
    "networks",
    "swarm-networks",
    "images",
    "compose",
    "stacks",
    "gate",
)
"""Every step of this cluster."""

_LISTING = """
echo == links; ip -o link | sed -e 's/@.*//' -e 's/^[0-9]*: //' -e 's/:.*//' | sort
echo == addresses; ip -o -4 address | sed 's/^[0-9]*: //' | awk '{print $1, $3}' | sort
echo == routes; ip route | sort
echo == mounts; findmnt -rno TARGET,SOURCE | grep -v '^/run\\|^/dev\\|^/proc\\|^/sys' | sort
echo == running; systemctl list-units -q --plain --no-legend --state=running --type=service \
  | awk '{print $1}' | grep -v 'user@\\|getty' | sort
echo == enabled; systemctl list-unit-files -q --no-legend --state=enabled | awk '{print $1}' | sort
echo == files; find /etc /usr/local /opt /var/spool -xdev \\( -type f -o -type l \\) \
  -not -name '*-' -not -name ld.so.cache -not -name .pwd.lock | sort
echo == disk; find /srv /var/lib/pxeserver-agent /var/lib/glusterd /var/lib/openvswitch -xdev -type f | sort
echo == rules; nft list ruleset
"""


class Living(Nodes):
    """Nodes with a server in the boot namespace. Nothing is joined yet. `plain` ones have no package that
    Debian does not have of itself, and see no folder of ours. `loaders` are files that machines which start
    from the network are given.
    """

    def __init__(
        self,
        work: Path,
        count: int = 3,
        *,
        plain: bool = False,
        suite: str = "bookworm",
        loaders: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        work.chmod(0o755)
        super().__init__(work, count, plain=plain, suite=suite, lent={} if plain else LENT)
        self.files = work / "files"
        self.files.mkdir()
        try:
            for name, content in loaders.items():
                (work / "loaders" / "own").mkdir(parents=True, exist_ok=True)
                (work / "loaders" / "own" / name).write_bytes(content)
            self.server = BootServer(
                self,  # type: ignore[arg-type]
                work / "state",
                "--unknown",
                "ignore",
                wait=False,
                config=CONFIG,
                loaders=work / "loaders" if loaders else None,
            )
            self.wait_for_server()
            small_image(self.files)
            self.server.command("image", "add", "small", "--file", str(self.files / "small-1.tar.gz"))
            (self.files / "mon.yml").write_text(COMPOSE)
            (self.files / "shop.yml").write_text(STACK)
        except BaseException:
            self.close()
            raise

    # ------------------------------------------------------------------------------------------ the server

    def wait_for_server(self, seconds: float = 180) -> None:
        """Until its API answers."""

        def answers() -> bool:
            with suppress(LabError):
                return bool(self.server.get("/clusters") is not None)
            return False

        self.server.wait(answers, seconds, "the API does not answer", 0.1)

    def kill_control(self) -> None:
        """SIGKILL for the process that holds the clusters; the supervisor starts another."""
        for child in psutil.Process(self.server.process.pid).children(recursive=True):
            if child.name() == "pxe-control":
                os.kill(child.pid, signal.SIGKILL)
                return
        raise LabError("there is no control process")

    def kill_server(self) -> None:
        """SIGKILL for all of the server at once, as a power cut does it; then it is started again."""
        found = psutil.Process(self.server.process.pid)
        for process in [found, *found.children(recursive=True)]:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        self.server.process.stop(5)

    def cluster_file(self, *nodes: str, text: str = FILE) -> Path:
        """The cluster's file on disk, with these members."""
        path = self.files / "lab.toml"
        path.write_text(text.replace("NODES", ", ".join(f'"{n}"' for n in nodes or ("n1", "n2", "n3"))))
        return path

    # ------------------------------------------------------------------------------------------ the agents

    def join(self, *names: str) -> None:
        """Paste the join command of these nodes; their agents restart at once when they are killed."""
        for name in names:
            self[name].run("mkdir", "-p", str(Path(DROP_IN).parent))
            lines = f"[Service]\\nRestartSec=200ms\\nEnvironment=PYTHONPATH=/drive/{POINTS}\\n"
            self[name].run("sh", "-c", f"printf '{lines}' > {DROP_IN}")
            line = self.server.ask("node", "join-command", name)["line"]
            self[name].run("sh", "-c", line, timeout=120)

    def run_dir(self, name: str) -> Path:
        """A node's /run, seen from here."""
        return Path(f"/proc/{self[name].pid}/root/run")

    def arm(self, name: str, points: Iterable[str]) -> None:
        """Arm these points on a node."""
        folder = self.run_dir(name) / "points"
        folder.mkdir(exist_ok=True)
        for point in points:
            (folder / point).touch()

    def armed(self, name: str) -> set[str]:
        """The points that were not met yet."""
        folder = self.run_dir(name) / "points"
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    def met(self, name: str) -> list[str]:
        """The points that were met, in their order."""
        path = self.run_dir(name) / "points.met"
        return path.read_text().split() if path.exists() else []

    # ------------------------------------------------------------------------------------------ the cluster

    def order(self, *words: str, code: int = 0) -> str:
        """A pxeserver command that ends with this exit code; everything it said."""
        environ = {**os.environ, "PYTHONPATH": str(SOURCE), "COLUMNS": "200"}
        environ["PXESERVER_SOCKET"] = str(self.server.run_dir / "api.sock")
        line = [sys.executable, "-m", "pxeserver", *words]
        done = subprocess.run(line, env=environ, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def bring(self, *words: str, target: str | Path = "") -> str:
        """`cluster apply`; what it said."""
        return self.order("cluster", "apply", str(target or self.cluster_file()), "--yes", *words)

    def status(self) -> dict[str, Any]:
        """The cluster's status; {} where there is none, or nobody to ask."""
        with suppress(LabError):
            found: dict[str, Any] = self.server.get(f"/clusters/{NAME}/status")
            return found
        return {}

    def step_of(self, node: str, step: str) -> dict[str, Any]:
        """One step in the status."""
        for member in self.status().get("nodes", ()):
            for found in member["steps"]:
                if (member["name"], found["step"]) == (node, step):
                    return dict(found)
        return {}

    def stands(self, seconds: float, *states: str) -> dict[str, Any]:
        """Wait until the cluster is ready (or in one of these states); its status."""
        wanted = states or ("ready",)
        self.until(lambda: self.status().get("state") in wanted, seconds, f"it is not {' or '.join(wanted)}")
        return self.status()

    def until(self, holds: Callable[[], object], seconds: float, what: str) -> float:
        """Wait until it holds; how long that took. AssertionError with what the cluster tells."""
        begun = time.monotonic()
        while not holds():
            if time.monotonic() > begun + seconds:
                raise AssertionError(f"{what} after {seconds:.0f} s\n{self.told()}")
            time.sleep(0.1)
        return time.monotonic() - begun

    def gone(self, seconds: float) -> None:
        """Wait until the cluster is no more."""

        def forgotten() -> bool:
            with suppress(LabError):
                return all(c["name"] != NAME for c in self.server.get("/clusters"))
            return False

        self.until(forgotten, seconds, "it is not destroyed")

    def told(self) -> str:
        """Everything that helps to see what went wrong."""
        lines = [self.server.process.text()[-1500:]]
        with suppress(LabError):
            lines.append(self.server.command("cluster", "status", NAME))
        for name, node in self.nodes.items():
            with suppress(LabError):
                lines.append(f"-- {name}\n{node.journal(UNIT, 40)[-3000:]}")
        return "\n".join(lines)

    def listing(self, name: str) -> list[str]:
        """What is there on a node: links, mounts, programs that run, files."""
        lines, part = [], ""
        for line in self[name].run("sh", "-c", _LISTING).splitlines():
            part = line if line.startswith("== ") else part
            lines.append(f"{part}: {line}")
        loops = json.loads(self._losetup() or "{}").get("loopdevices", ())
        mine = str(self[name].work)
        return lines + [f"== loops: {x['back-file']}" for x in loops if x["back-file"].startswith(mine)]

    def _losetup(self) -> str:
        return self.lan.run("losetup", "--list", "--json")


POINTS = (HERE / "points").relative_to(HERE).as_posix()


def answers(nodes: Living, url: str, seconds: float = 2) -> str:
    """What a client outside the cluster gets from there; "" for an error."""
    with suppress(LabError):
        return nodes.boot.run("curl", "-sSf", "-m", str(seconds), url)
    return ""


def works(life: Living, *names: str, seconds: float = 30) -> None:
    """The stack answers on these nodes and on the service address, and the volume is shared by them."""
    for address in (*(life.address(name) for name in names), SERVICE):
        life.until(
            lambda a=address: answers(life, f"http://{a}:8088/") == "well", seconds, f"{address} is silent"
        )
    for writer in names:
        life[writer].run("sh", "-c", f"echo {writer} > /srv/shared/from-{writer}", timeout=20)
    for reader in names:
        read = life[reader].run("sh", "-c", "cat /srv/shared/from-n*", timeout=20).split()
        assert set(names) <= set(read), (reader, read)


def undisturbed(life: Living) -> None:
    """A look at every step finds nothing; what was found before that is seen to be over."""
    begun = time.time()
    life.order("cluster", "check", NAME)
    life.until(lambda: looked_at(life) > begun, 30, "nobody has looked")
    life.stands(30)
    time.sleep(3)
    assert life.status()["state"] == "ready", life.told()


def looked_at(life: Living) -> float:
    """When the node that was looked at first was looked at."""
    return min(_seconds(node["drift_at"]) for node in life.status()["nodes"])


def _seconds(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def destroy(life: Living, seconds: float) -> None:
    """Take it down."""
    life.order("cluster", "destroy", NAME, "--yes")
    life.gone(seconds)
