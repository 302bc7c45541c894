"""Where a comparison takes place: for each server two namespaces and a cable, and a core for each side.

All machines share the cable. The address range MACHINES belongs to the client's namespace as a whole, so any
number of machines may have one, and where a test wants it each machine has a MAC address of its own as well.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pxeserver.lab.netns import Namespace, allow_cubic, connect, run_prefix
from pxeserver.lab.process import LabError, Process, run

SERVER = "10.70.0.2"
CLIENT = "10.70.0.1"
MACHINES = "10.70.64.0/18"
FIRST_MACHINE = IPv4Address("10.70.64.1")
SERVER_CORE, CLIENT_CORE = 0, 1


def machine_address(number: int) -> str:
    """The IPv4 address of a machine, counted from 0; the load generators count alike."""
    return str(FIRST_MACHINE + number)


def machine_mac(number: int) -> str:
    """Its MAC address, as load/dhcp.c makes them."""
    return f"52:54:02:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"


class Stage:
    """A server's namespace and its machines'. `wire` turns segmentation and checksum offload off, so that
    every packet is a frame of its own, as on a wire: what rows with loss need. Receive processing is steered
    (RPS) to the core of the side that receives: otherwise the kernel would do the receiver's work on the
    sender's core and charge the sender for it.
    """

    def __init__(self, name: str, folder: Path, *, wire: bool = False) -> None:
        self.name, self.folder, self.wire = name, folder, wire
        folder.mkdir(parents=True, exist_ok=True)
        allow_cubic()
        prefix = run_prefix()
        self.group = _make_group(prefix)
        self.server = Namespace(f"{prefix}-s")
        try:
            self.client = Namespace(f"{prefix}-c")
            try:
                self._lay_cable()
            except BaseException:
                self.client.close()
                raise
        except BaseException:
            self.server.close()
            raise

    def _lay_cable(self) -> None:
        if self.wire:
            connect(self.server, "eth0", self.client, "eth0")
        else:
            run(
                *("ip", "link", "add", "dev", "eth0", "netns", self.server.name, "type", "veth"),
                *("peer", "name", "eth0", "netns", self.client.name),
            )
        for space, address, core in (
            (self.server, SERVER, SERVER_CORE),
            (self.client, CLIENT, CLIENT_CORE),
        ):
            space.ip("address", "add", f"{address}/16", "brd", "+", "dev", "eth0")
            space.ip("link", "set", "dev", "eth0", "txqueuelen", "10000", "up")
            # ip netns exec shows the namespace's own /sys; nsenter would show the host's.
            steer = f"echo {1 << core:x} > /sys/class/net/eth0/queues/rx-0/rps_cpus"
            run("ip", "netns", "exec", space.name, "sh", "-c", steer)
        self.client.ip("route", "add", "local", MACHINES, "dev", "lo")
        self.client.ip("route", "add", "default", "dev", "eth0")
        self.client.sysctl("net.ipv4.ip_local_port_range", "1024 65535")
        for space in (self.server, self.client):
            space.sysctl("net.core.somaxconn", "4096")

    # ------------------------------------------------------------------------------------------ machines

    def own_macs(self, count: int) -> None:
        """Give the machines 0 to count-1 MAC addresses of their own: the server's neighbour table names them,
        and the client's side takes frames to any of them.
        """
        lines = [
            f"neighbour replace {machine_address(i)} lladdr {machine_mac(i)} dev eth0 nud permanent"
            for i in range(count)
        ]
        run("ip", "-n", self.server.name, "-batch", "-", stdin="\n".join(lines) + "\n")
        self._at_ingress(self.client, "macs", -10, "meta pkttype other meta pkttype set host")

    def loss(self, percent: float) -> None:
        """Lose this share of the frames, in each direction, by nftables' random numbers; 0 ends it."""
        rule = (
            f"ether type ip numgen random mod 10001 < {round(percent * 100)} counter drop" if percent else ""
        )
        for space in (self.server, self.client):
            self._at_ingress(space, "loss", 0, rule)

    def shape(self, rate: str) -> None:
        """Let the server send no faster than this ("1gbit"), as a network card's wire would (tc-tbf(8)); ""
        ends it. What does not fit waits as in a switch's port, up to 10 ms of it; more is lost.
        """
        if rate:
            bucket = ("rate", rate, "burst", "128kb", "latency", "10ms")
            self.server.run("tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", *bucket)
        else:
            self.server.run("tc", "qdisc", "del", "dev", "eth0", "root")

    def shaped(self) -> dict[str, int]:
        """Bytes that the shaped wire has carried, headers and all, and packets that did not fit."""
        found = json.loads(self.server.run("tc", "-s", "-j", "qdisc", "show", "dev", "eth0", "root"))[0]
        return {"bytes": found["bytes"], "drops": found["drops"]}

    @staticmethod
    def _at_ingress(space: Namespace, table: str, priority: int, rule: str) -> None:
        """Put one rule where frames come in, in place of the table's former one; an empty rule ends it."""
        hook = f"type filter hook ingress device eth0 priority {priority};"
        lines = [f"table netdev {table} {{ }}", f"delete table netdev {table}"]
        if rule:
            lines += [f"table netdev {table} {{", f"chain in {{ {hook}", rule, "}", "}"]
        space.run("nft", "-f", "-", stdin="\n".join(lines) + "\n")

    def frames(self) -> dict[str, int]:
        """Frames and bytes that the server's link has sent and received."""
        shown = json.loads(self.server.ip("-s", "-j", "link", "show", "dev", "eth0"))[0]["stats64"]
        return {
            "sent": shown["tx"]["bytes"],
            "received": shown["rx"]["bytes"],
            "frames": shown["tx"]["packets"] + shown["rx"]["packets"],
        }

    # ------------------------------------------------------------------------------------------ programs

    def serve(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> Process:
        """Start a server on the server's core; its log is server.log in the stage's folder."""
        pinned = ["taskset", "-c", str(SERVER_CORE), *command]
        if self.group is not None:
            enter = 'echo $$ > "$1" && shift && exec "$@"'
            pinned = ["sh", "-c", enter, "sh", str(self.group / "cgroup.procs"), *pinned]
        return self.server.start(pinned, self.folder / "server.log", env)

    def load(self, command: Sequence[str], timeout: float = 120) -> dict[str, Any]:
        """Run a load generator on the clients' core; the JSON it prints."""
        argv = self.client.argv("taskset", "-c", str(CLIENT_CORE), *command)
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout)
        if done.returncode:
            raise LabError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        told: dict[str, Any] = json.loads(done.stdout)
        if done.stderr.strip():
            told["said"] = done.stderr.strip()
        return told

    def program(self, command: Sequence[str], timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run another client on the clients' core, for the checks of our own."""
        argv = self.client.argv("taskset", "-c", str(CLIENT_CORE), *command)
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout)

    def close(self) -> None:
        """Remove the namespaces and what runs in them."""
        self.client.close()
        self.server.close()
        if self.group is not None:
            for _ in range(50):  # what was killed may need a moment to be gone
                with contextlib.suppress(OSError):
                    self.group.rmdir()
                    break
                time.sleep(0.02)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _make_group(name: str) -> Path | None:
    """A control group of the second kind, whose cpu.stat also counts children that nobody waited for; None
    where there is no such hierarchy that we may write to.
    """
    for mount in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (mount / "cgroup.procs").exists() and (mount / "cgroup.controllers").exists():
            with contextlib.suppress(OSError):
                (mount / name).mkdir()
                return mount / name
    return None


def pin_harness() -> None:
    """The harness itself stays off the server's core."""
    os.sched_setaffinity(0, {CLIENT_CORE})
