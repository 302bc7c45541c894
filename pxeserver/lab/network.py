"""The lab's networks: a LAN with a plain DHCP server and the boot server, and a second LAN behind a router.

    near LAN 10.77.0.0/24:  .1 plain DHCP server (and router advertisements), .2 boot server, .3 router,
      machines from .50
    far LAN  10.77.1.0/24:  .1 router and DHCP relay, machines from .50

Without router advertisements each boot with Debian's iPXE waits 16 seconds for IPv6, so the lab has them on
both LANs.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from pxeserver.lab.badline import Line
from pxeserver.lab.capture import Capture
from pxeserver.lab.firmware import Disk, Firmware, hide_ipxe
from pxeserver.lab.machine import Machine, MachineSpec, first_free_mac
from pxeserver.lab.netns import Namespace, allow_cubic, connect, need_root, run_prefix, sweep
from pxeserver.lab.plaindhcp import dhcp_words, relay_words
from pxeserver.lab.process import Process

DHCP_ADDRESS, BOOT_ADDRESS, ROUTER_ADDRESS, FAR_ROUTER = "10.77.0.1", "10.77.0.2", "10.77.0.3", "10.77.1.1"


class Lab:
    """One run of the lab; everything in it ends with it. `work` keeps logs, consoles and captures."""

    def __init__(self, work: Path, *, far: bool = False, line: Line | None = None) -> None:
        need_root()
        sweep()
        allow_cubic()
        self.work = work
        work.mkdir(parents=True, exist_ok=True)
        self.prefix = run_prefix()
        self.machines: list[Machine] = []
        self.line = line
        self._stack = ExitStack()
        try:
            self._build(far=far)
        except BaseException:
            self._stack.close()
            raise

    def _build(self, *, far: bool) -> None:
        self.lan, self.dhcp, self.boot = (self._space(name) for name in ("lan", "dhcp", "boot"))
        self._bridge("near")
        self._host(self.dhcp, "dhcp0", DHCP_ADDRESS, "near")
        self.dhcp.ip("address", "add", "fd77::1/64", "dev", "eth0", "nodad")
        self._host(self.boot, "boot0", BOOT_ADDRESS, "near", line=self.line)
        self.boot.ip("route", "add", "default", "via", ROUTER_ADDRESS)
        if far:
            self.router = self._space("router")
            self._bridge("far")
            self._host(self.router, "router0", ROUTER_ADDRESS, "near")
            self._host(self.router, "router1", FAR_ROUTER, "far", name="eth1")
            self.router.ip("address", "add", "fd77:1::1/64", "dev", "eth1", "nodad")
            self.router.sysctl("net.ipv4.ip_forward", "1")
            self.dhcp.ip("route", "add", "default", "via", ROUTER_ADDRESS)

    def _space(self, name: str) -> Namespace:
        return self._stack.enter_context(Namespace(f"{self.prefix}-{name}"))

    def _bridge(self, name: str) -> None:
        self.lan.ip("link", "add", "dev", name, "type", "bridge")
        self.lan.ip("link", "set", "dev", name, "up")

    def _host(
        self,
        space: Namespace,
        port: str,
        address: str,
        bridge: str,
        *,
        name: str = "eth0",
        line: Line | None = None,
    ) -> None:
        if line is None:
            connect(space, name, self.lan, port)
        else:
            middle = self._space("line")
            connect(space, name, middle, "near-end")
            connect(middle, "far-end", self.lan, port)
            words = line.words("near-end", "far-end")
            self._stack.enter_context(middle.start(words, self.work / "line.log")).wait_for_text("line=up")
        space.ip("address", "add", f"{address}/24", "dev", name)
        self.lan.ip("link", "set", "dev", port, "master", bridge)

    def plain_dhcp(self, *, leases: bool = True, extra: Sequence[str] = ()) -> Process:
        """Start the DHCP server of the near LAN, which knows nothing of PXE; with `leases` off it only
        advertises its router.
        """
        words = dhcp_words(self.work, DHCP_ADDRESS, ROUTER_ADDRESS, leases=leases, extra=extra)
        process = self._stack.enter_context(self.dhcp.start(words, self.work / "dhcp.log"))
        process.wait_for_text("started")
        return process

    def relay(self, *servers: str) -> Process:
        """Start the DHCP relay of the far LAN towards `servers`."""
        words = relay_words(self.work, FAR_ROUTER, servers)
        process = self._stack.enter_context(self.router.start(words, self.work / "relay.log"))
        process.wait_for_text("started")
        return process

    def start_server(
        self, command: Sequence[str], env: Mapping[str, str] | None = None, log: str = "server.log"
    ) -> Process:
        """Start a program in the boot server's place."""
        return self._stack.enter_context(self.boot.start(command, self.work / log, env))

    def machine(self, firmware: Firmware, name: str = "", **more: object) -> Machine:
        """A machine on the near LAN (on the far one with `far=True`), powered off. `more` are fields of
        MachineSpec.
        """
        number = len(self.machines) + 1
        mac = str(more.pop("mac", "")) or first_free_mac([m.spec.mac for m in self.machines])
        machine_id = str(more.pop("uuid", "")) or str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.prefix} {mac}"))
        more.setdefault("serial", f"LAB{number:04d}")
        spec = MachineSpec(name or f"{firmware.value}-{number}", firmware, mac, machine_id, **more)  # type: ignore[arg-type]
        tap = f"tap{number}"
        self.lan.ip("tuntap", "add", "dev", tap, "mode", "tap")
        self.lan.ip("link", "set", "dev", tap, "master", "far" if spec.far else "near", "up")
        if firmware is Firmware.BIOS_PLAIN:
            self.lan.run("nft", "-f", "-", stdin=hide_ipxe(tap))
        machine = self._stack.enter_context(Machine(spec, self.lan, tap, self.work))
        self.machines.append(machine)
        return machine

    def disk(self, name: str, size: int, **more: str) -> Disk:
        """An empty disk file of `size` bytes."""
        path = self.work / f"{name}.disk"
        with path.open("wb") as out:
            out.truncate(size)
        return Disk(path, **more)

    def capture(self, machine: Machine, *, udp_only: bool = True) -> Capture:
        """Capture what a machine sends and receives."""
        path = self.work / f"{machine.spec.name}.pcap"
        return self._stack.enter_context(Capture(self.lan, machine.tap, path, udp_only=udp_only))

    def drop(self, machine: Machine, match: str, *, towards: bool = False) -> None:
        """From now on drop what a machine sends (`towards`: what is sent to it) and nftables' `match` is
        true of.
        """
        side, table = (
            ("oifname" if towards else "iifname"),
            f"drop-{machine.tap}-{'to' if towards else 'from'}",
        )
        rule = f'type filter hook forward priority 0;\n{side} "{machine.tap}" {match} drop'
        self.lan.run("nft", "-f", "-", stdin=f"table bridge {table} {{\nchain c {{\n{rule}\n}}\n}}\n")

    def slow(self, machine: Machine, mbit: int) -> None:
        """Limit what a machine receives to `mbit` Mbit/s."""
        limit = ("tbf", "rate", f"{mbit}mbit", "burst", "64kb", "latency", "100ms")
        self.lan.run("tc", "qdisc", "replace", "dev", machine.tap, "root", *limit)

    @contextmanager
    def loss(self, percent: int, *, port: int | None = None) -> Iterator[None]:
        """Drop a share of what the boot server receives (of one destination port with `port`) while the
        context lasts.
        """
        match = f"udp dport {port} " if port else ""
        drop = f"{match}numgen random mod 100 < {percent} drop;"
        rules = f"table inet lab {{ chain in {{ type filter hook input priority 0; {drop} }} }}"
        self.boot.run("nft", "-f", "-", stdin=rules)
        try:
            yield
        finally:
            self.boot.run("nft", "delete", "table", "inet", "lab")

    def close(self) -> None:
        """End every program and remove every namespace."""
        self._stack.close()

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
