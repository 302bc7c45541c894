"""The sockets of a server: bound once by whoever may, then handed down to the processes that use them.

The supervisor binds them and keeps them open, so that a worker can be killed and replaced without losing
a port; systemd does the same with socket units. Children find them through PXESERVER__FDS ("name:fd,...",
the supervisor's) or LISTEN_FDS and LISTEN_FDNAMES (sd_listen_fds(3)); the names are those of NAMES either
way.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from pxeserver.hostlimits import BACKLOG, RECEIVE_BUFFER

NAMES = ("dhcp", "proxydhcp", "tftp", "http", "worker", "api", "agents", "admin", "pages", "builder")
ENVIRONMENT = "PXESERVER__FDS"
_FIRST_FD = 3
_IP_PKTINFO = 8  # from which interface a datagram came (ip(7)); Python 3.11 has no name for it
_SO_RCVBUFFORCE = (
    33  # beyond net.core.rmem_max, for whoever may (socket(7)); the socket module has no name for it
)


class PortError(Exception):
    """A socket could not be bound; the text says who holds it and what to do."""


@dataclass(frozen=True, slots=True)
class Want:
    """One socket to bind: `kind` is udp, tcp or unix; `address` is an IPv4 address or, for unix, a path."""

    name: str
    kind: str
    address: str
    port: int = 0
    mode: int = 0o600
    group: str = ""
    share: bool = False
    """SO_REUSEADDR on UDP: lets us hear broadcasts next to a DHCP server on this host that binds its own
    address.
    """


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a port, as far as we may see it."""

    pid: int | None
    name: str
    command: str = ""

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})" if self.pid else "another process"


def bind(want: Want) -> socket.socket:
    """Bind (and for streams, listen); PortError names the holder of a taken port."""
    try:
        if want.kind == "unix":
            return _bind_unix(want)
        return _bind_inet(want)
    except PermissionError as error:
        what = f"port {want.port} ({want.name})" if want.kind != "unix" else want.address
        raise PortError(
            f"no permission to open {what}: start with sudo, or choose ports above 1023"
        ) from error
    except OSError as error:
        raise PortError(_explain(want, error)) from error


def _bind_inet(want: Want) -> socket.socket:
    datagram = want.kind == "udp"
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM)
    try:
        if datagram:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            _grow_buffer(sock)
            if want.share:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((want.address, want.port))
        if not datagram:
            sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _grow_buffer(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def _bind_unix(want: Want) -> socket.socket:
    path = Path(want.address)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear_stale(path)
        old = os.umask(0o777 & ~want.mode)
        try:
            sock.bind(str(path))
        finally:
            os.umask(old)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _clear_stale(path: Path) -> None:
    """Remove the socket file of a server that is gone; PortError where one still answers."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise PortError(
                f"{path} is in the way and is not a socket: remove it or choose another --run-dir"
            )
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        else:
            raise PortError(f"another pxeserver answers on {path}: stop it, or choose another --run-dir")


def holder(kind: str, port: int) -> Holder | None:
    """Who holds a UDP or TCP port; None where nobody is seen to."""
    try:
        connections = psutil.net_connections(kind)
    except (psutil.Error, OSError):
        return None
    for connection in connections:
        local = connection.laddr
        if local and local.port == port and (kind == "udp" or connection.status == psutil.CONN_LISTEN):
            return _process(connection.pid)
    return None


def _process(pid: int | None) -> Holder:
    if pid is None:
        return Holder(None, "another process")
    try:
        process = psutil.Process(pid)
        return Holder(pid, process.name(), " ".join(process.cmdline()))
    except psutil.Error:
        return Holder(pid, "a process")


def hint(found: Holder, want: Want) -> str:
    """What to do about a program that holds one of our ports."""
    if "libvirt" in found.command:
        return "libvirt's own DHCP: `virsh net-destroy NETWORK`, or serve an interface of another host"
    if found.name == "dnsmasq":
        return "write `bind-dynamic` and `interface=` into its configuration, or switch its DHCP off"
    if found.name.startswith("systemd-network"):
        return "set DHCPServer=no in its .network file of this link, then `networkctl reload`"
    if "pxeserver" in found.command:
        return "another pxeserver is running: `pxeserver status`, or `systemctl stop pxeserver.target`"
    options = {"http": "--http-port", "tftp": "--tftp-port", "agents": "[agents] port"} | {
        "admin": "[admin] port",
        "pages": "[admin] loopback_port",
    }
    option = options.get(want.name)
    return (
        f"stop it, or choose another port with {option}" if option else "stop it, or serve from another host"
    )


def _explain(want: Want, error: OSError) -> str:
    if want.kind == "unix":
        return f"cannot create the socket {want.address}: {error.strerror}"
    what = f"{want.kind.upper()} port {want.port} ({want.name})"
    if error.errno == errno.EADDRINUSE:
        found = holder(want.kind, want.port)
        if found is None:
            return f"{what} is taken by a process that is not visible from here; look with `ss -lnp`"
        return f"{what} is taken by {found}: {hint(found, want)}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{what}: this host has no address {want.address}"
    return f"{what} cannot be bound: {error.strerror}"


def bind_all(wants: Sequence[Want]) -> dict[str, socket.socket]:
    """Bind every socket, or none: PortError lists all that failed, not only the first."""
    bound: dict[str, socket.socket] = {}
    faults: list[str] = []
    for want in wants:
        try:
            bound[want.name] = bind(want)
        except PortError as error:
            faults.append(str(error))
    if faults:
        for want in wants:
            if want.name in bound:
                bound[want.name].close()
                if want.kind == "unix":
                    Path(want.address).unlink(missing_ok=True)
        raise PortError("\n".join(faults))
    return bound


def hand_down(bound: Mapping[str, socket.socket], names: Sequence[str]) -> tuple[str, tuple[int, ...]]:
    """The value of PXESERVER__FDS and the descriptors to pass for the sockets `names`."""
    fds = {name: bound[name].fileno() for name in names if name in bound}
    return ",".join(f"{name}:{fd}" for name, fd in fds.items()), tuple(fds.values())


def inherited(environ: Mapping[str, str]) -> dict[str, socket.socket]:
    """The sockets this process was started with, by name; empty where it was started with none."""
    fds: dict[str, int] = {}
    if given := environ.get(ENVIRONMENT):
        fds = {name: int(fd) for name, _, fd in (item.partition(":") for item in given.split(","))}
    elif environ.get("LISTEN_PID") == str(os.getpid()):
        names = environ.get("LISTEN_FDNAMES", "").split(":")
        count = int(environ.get("LISTEN_FDS", "0"))
        fds = {name: _FIRST_FD + i for i, name in enumerate(names[:count])}
    found: dict[str, socket.socket] = {}
    for name, fd in fds.items():
        os.set_inheritable(fd, False)
        found[name] = socket.socket(fileno=fd)
        found[name].setblocking(False)
    return found
