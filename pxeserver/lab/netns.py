"""Network namespaces with names that tell whose they are, and links between them."""

from __future__ import annotations

import ctypes
import fcntl
import os
import secrets
import signal
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from pxeserver.lab.process import LabError, Process, run

PREFIX = "pxelab"
CLONE_NEWNET = 0x40000000
SIOCETHTOOL = 0x8946
# ethtool.h: set commands for transmit checksums, scatter/gather segmentation and receive merging.
ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO = 0x17, 0x1F, 0x24, 0x2C

_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


def run_prefix() -> str:
    """A name for one run of the lab: our process id (so that a stale one can be recognised) and something
    random.
    """
    return f"{PREFIX}-{os.getpid()}-{secrets.token_hex(2)}"


def sweep() -> list[str]:
    """Remove the namespaces of runs whose process is gone, with the programs still inside. Returns their
    names.
    """
    removed = []
    for line in run("ip", "netns", "list").splitlines():
        name = line.split()[0]
        parts = name.split("-")
        if (
            parts[0] != PREFIX
            or len(parts) < 3
            or not parts[1].isdigit()
            or Path(f"/proc/{parts[1]}").exists()
        ):
            continue
        _clear(name)
        removed.append(name)
    return removed


def _clear(name: str) -> None:
    for pid in run("ip", "netns", "pids", name).split():
        with_pid = int(pid)
        if with_pid != os.getpid():
            os.kill(with_pid, signal.SIGKILL)
    run("ip", "netns", "del", name)


class Namespace:
    """One network namespace. Programs run in it with /sys and cgroups of the host (`ip netns exec` would
    hide them).
    """

    def __init__(self, name: str) -> None:
        self.name = name
        run("ip", "netns", "add", name)
        try:
            self.ip("link", "set", "lo", "up")
            # The host's default may be bbr, which hides loss; measurements and tests want the common case.
            self.sysctl("net.ipv4.tcp_congestion_control", "cubic")
        except BaseException:
            self.close()
            raise

    def argv(self, *command: str) -> list[str]:
        """The command line that runs `command` in this namespace."""
        return ["nsenter", f"--net=/run/netns/{self.name}", "--", *command]

    def ip(self, *words: str) -> str:
        """Run ip(8) on this namespace."""
        return run("ip", "-n", self.name, *words)

    def run(self, *command: str, stdin: str | None = None) -> str:
        """Run a program to its end in this namespace."""
        return run(*self.argv(*command), stdin=stdin)

    def start(self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> Process:
        """Start a program in this namespace."""
        return Process(self.argv(*command), log, env)

    def sysctl(self, key: str, value: str) -> None:
        """Write a net.* sysctl of this namespace."""
        self.run("sysctl", "-q", "-w", f"{key}={value}")

    def call(self, work: Callable[[], T]) -> T:
        """Call `work` in a thread that has entered this namespace; a socket it makes stays in the
        namespace.
        """
        box: list[T] = []
        failure: list[BaseException] = []

        def inside() -> None:
            try:
                with Path(f"/run/netns/{self.name}").open("rb") as handle:
                    if _libc.setns(handle.fileno(), CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), f"setns {self.name}")
                box.append(work())
            except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
                failure.append(error)

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return box[0]

    def no_offload(self, *links: str) -> None:
        """Turn checksum and segmentation offload off, so that packets look on captures as they would on a
        wire.
        """

        def switch() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                for link in links:
                    for command in (ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO):
                        value = ctypes.create_string_buffer(struct.pack("II", command, 0))
                        request = struct.pack("16sP8x", link.encode(), ctypes.addressof(value))
                        fcntl.ioctl(control, SIOCETHTOOL, request)

        self.call(switch)

    def close(self) -> None:
        """Remove the namespace and end what still runs in it."""
        if Path(f"/run/netns/{self.name}").exists():
            _clear(self.name)

    def __enter__(self) -> Namespace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(left: Namespace, left_name: str, right: Namespace, right_name: str) -> None:
    """A cable (veth pair) between two namespaces, both ends up, without offload."""
    run(
        *("ip", "link", "add", "dev", left_name, "netns", left.name, "type", "veth"),
        *("peer", "name", right_name, "netns", right.name),
    )
    for space, name in ((left, left_name), (right, right_name)):
        space.ip("link", "set", "dev", name, "up")
        space.no_offload(name)


def need_root() -> None:
    """LabError where we cannot make namespaces."""
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces and needs root")


def allow_cubic() -> None:
    """A namespace may only choose among the host's allowed congestion controls; this adds cubic to them,
    and nothing else.
    """
    allowed = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
    names = allowed.read_text().split()
    if "cubic" not in names:
        allowed.write_text(" ".join([*names, "cubic"]))
