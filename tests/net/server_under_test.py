"""A real pxeserver in a network namespace, and a machine beside it that boots by hand: DHCP, TFTP, HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

from pxeserver.lab.netns import Namespace, connect, run_prefix
from pxeserver.lab.process import Process

T = TypeVar("T")
ADDRESS = "10.66.0.2"
LOADERS = {"snponly.efi": b"uefi" * 100_000, "undionly.kpxe": b"bios" * 300}
MAGIC = b"\x63\x82\x53\x63"


def eventually(what: Callable[[], T], seconds: float, said: str) -> T:
    """The first true answer of `what`; fails with `said` when there is none in time."""
    end = time.monotonic() + seconds
    while True:
        with suppress(OSError, AssertionError):
            if found := what():
                return found
        assert time.monotonic() < end, f"{said} within {seconds} s"
        time.sleep(0.05)


@dataclass
class Machine:
    """A machine on the same link as the server; `options` are those of its DHCP packets."""

    space: Namespace
    mac: str
    uuid: uuid.UUID = field(default_factory=uuid.uuid4)
    arch: int = 7
    xid: int = 1

    def packet(self, *, ipxe: bool = False) -> bytes:
        """A DISCOVER as firmware or iPXE sends it."""
        self.xid += 1
        mac = bytes.fromhex(self.mac.replace(":", ""))
        head = (
            struct.pack("!BBBBIHH", 1, 1, 6, 0, self.xid, 0, 0x8000)
            + bytes(16)
            + mac.ljust(16, b"\0")
            + bytes(192)
        )
        options = [
            (53, b"\x01"),
            (55, bytes((1, 3, 43, 60, 66, 67, 97, 128))),
            (57, struct.pack("!H", 1500)),
            (60, f"PXEClient:Arch:{self.arch:05d}:UNDI:003016".encode()),
            (93, struct.pack("!H", self.arch)),
            (94, b"\x01\x03\x10"),
            (97, b"\0" + self.uuid.bytes_le),
        ]
        if ipxe:
            options += [(77, b"iPXE"), (175, b"\xb1\x01\x01")]
        return head + MAGIC + b"".join(bytes((c, len(v))) + v for c, v in options) + b"\xff"

    def discover(self, *, ipxe: bool = False, timeout: float = 1.0) -> str | None:
        """Broadcast a DISCOVER; the boot file of the first answer, None where there is none."""
        return next(iter(self.offers(ipxe=ipxe, timeout=timeout, most=1)), None)

    def offers(self, *, ipxe: bool = False, timeout: float = 1.0, most: int = 10) -> list[str]:
        """Broadcast a DISCOVER; the boot files of the answers that come in time."""
        return [boot_file(data) for data in self.replies(ipxe=ipxe, timeout=timeout, most=most)]

    def addresses(self, timeout: float = 1.0) -> dict[str, str]:
        """Broadcast a DISCOVER; the addresses that are offered in time ("0.0.0.0" for none), by server."""
        return {
            socket.inet_ntoa(option(data, 54)): socket.inet_ntoa(data[16:20])
            for data in self.replies(timeout=timeout)
        }

    def replies(self, *, ipxe: bool = False, timeout: float = 1.0, most: int = 10) -> list[bytes]:
        """Broadcast a DISCOVER; the answers that come in time."""

        def ask() -> list[bytes]:
            got: list[bytes] = []
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
                sock.bind(("0.0.0.0", 68))
                sock.settimeout(timeout)
                sent = self.packet(ipxe=ipxe)
                sock.sendto(sent, ("255.255.255.255", 67))
                while len(got) < most:
                    try:
                        data = sock.recv(2048)
                    except TimeoutError:
                        break
                    if data[4:8] == sent[4:8] and data[0] == 2:
                        got.append(data)
            return got

        return self.space.call(ask)

    def offered(self, seconds: float = 3.0, *, ipxe: bool = False) -> str:
        """The boot file that it is offered, asking again for as long as firmware would."""
        return eventually(
            lambda: self.discover(ipxe=ipxe, timeout=0.3), seconds, f"{self.mac} was offered nothing"
        )

    def http(self, path: str, body: dict[str, Any] | None = None) -> str:
        """GET, or POST with a JSON body; the answer's text."""
        url = path if "://" in path else f"http://{ADDRESS}{path}"
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})

        def ask() -> str:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return str(answer.read().decode())

        return self.space.call(ask)

    def script(self) -> str:
        """Boot up to the script: DHCP of firmware and iPXE, then the script with the machine's facts."""
        self.offered()
        url = self.offered(ipxe=True)
        facts = f"uuid={self.uuid}&mac={self.mac}&serial=&vendor=QEMU&product=x&platform=efi&arch=x86_64"
        return self.http(f"{url}?{facts}")

    def tftp(self, name: str, target: Path) -> bytes:
        """Fetch a file by TFTP with curl."""
        words = ("curl", "-sS", "--fail", "--max-time", "10", "-o", str(target), f"tftp://{ADDRESS}/{name}")
        self.space.run(*words)
        return target.read_bytes()


def boot_file(packet: bytes) -> str:
    """Option 67 of a DHCP packet, else its field "file"."""
    return (option(packet, 67).rstrip(b"\0") or packet[108:236].split(b"\0", 1)[0]).decode()


def option(packet: bytes, wanted: int) -> bytes:
    """An option of a DHCP packet; empty where it has none."""
    at = 240
    while at < len(packet) and packet[at] != 255:
        if packet[at] == 0:
            at += 1
            continue
        code, length = packet[at], packet[at + 1]
        if code == wanted:
            return packet[at + 2 : at + 2 + length]
        at += 2 + length
    return b""


class Server:
    """`pxeserver run` in a namespace of its own, with its machines on a cable."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state, self.run_dir = folder / "state", folder / "run"
        prefix = run_prefix()
        self.space, self.machines = Namespace(f"{prefix}-s"), Namespace(f"{prefix}-m")
        connect(self.space, "eth0", self.machines, "eth0")
        self.space.ip("address", "add", f"{ADDRESS}/24", "dev", "eth0")
        # One card for all machines; where the server compares the sender's, it is the first machine's.
        self.machines.ip("link", "set", "eth0", "address", "52:54:00:66:00:01")
        self.machines.ip("address", "add", "10.66.0.50/24", "dev", "eth0")
        self.machines.ip("route", "add", "default", "dev", "eth0")
        self.process: Process | None = None
        self.environ: dict[str, str] = {"PXESERVER_DHCP__PROBE": "false"}
        self._starts = 0
        own = self.state / "loaders" / "own"
        own.mkdir(parents=True)
        for name, content in LOADERS.items():
            (own / name).write_bytes(content)

    def start(self, *words: str, wait: bool = True) -> Process:
        """Start the server; with `wait`, return when it serves."""
        self._starts += 1
        places = ("--state-dir", str(self.state), "--run-dir", str(self.run_dir))
        source = str(Path(__file__).parents[2])
        command = [sys.executable, "-m", "pxeserver", "run", *places, *words]
        environ = {
            "PYTHONPATH": source,
            "PYTHONUNBUFFERED": "1",
            "PXESERVER_LOADERS__FETCH": "false",
            **self.environ,
        }
        self.process = self.space.start(command, self.folder / f"server{self._starts}.log", environ)
        if wait:
            self.process.wait_for_text("  next ", 30)
        return self.process

    @property
    def log(self) -> str:
        """What the server has written since its last start."""
        return self.process.text() if self.process else ""

    def pids(self, child: str) -> list[int]:
        """The process ids of the "worker" or "control" children: one, or none between two lives."""
        if self.process is None:
            return []
        found = []
        with suppress(psutil.NoSuchProcess):
            # nsenter replaces itself by the program, so this is the supervisor.
            for process in psutil.Process(self.process.pid).children():
                with suppress(psutil.NoSuchProcess):
                    if process.name() == f"pxe-{child}":
                        found.append((process.create_time(), process.pid))
        return [pid for _, pid in sorted(found)]

    def pid(self, child: str) -> int | None:
        """The process id of the serving child."""
        return next(iter(self.pids(child)), None)

    def kill(self, child: str) -> int:
        """Kill a child with SIGKILL; returns the pid it had."""
        pid = eventually(lambda: self.pid(child), 5, f"no {child}")
        os.kill(pid, signal.SIGKILL)
        return pid

    def cli(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a `pxeserver` command against this server."""
        environ = {
            **os.environ,
            "PXESERVER_SOCKET": str(self.run_dir / "api.sock"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        done = subprocess.run(
            [sys.executable, "-m", "pxeserver", *words],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}\n{self.log[-3000:]}"
        return done

    def machine(self, number: int = 1, arch: int = 7) -> Machine:
        """A machine that boots by hand."""
        return Machine(self.machines, f"52:54:00:66:00:{number:02x}", arch=arch)

    def close(self) -> None:
        """Stop everything and remove the namespaces."""
        if self.process is not None:
            self.process.stop()
        self.machines.close()
        self.space.close()
