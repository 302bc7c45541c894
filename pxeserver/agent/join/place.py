"""Where the machine stands: its card to the outside, and whether it keeps anything over a restart."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from pathlib import Path
from typing import Any

from pxeserver.agent import sysfs

_SIOCGIFADDR, _SIOCGIFNETMASK = 0x8915, 0x891B
_UP = 0x1
_STATE = "/var/lib/docker"
"""What a node that keeps its state keeps above all."""


def uplink(sys_folder: Path = Path("/sys"), proc: Path = Path("/proc")) -> dict[str, Any]:
    """The card of the default route, or the first with an address: address with prefix length, MAC address,
    MTU, gateway and name servers. Empty where there is none.
    """
    routes = _default_routes(proc)
    names = [*routes, *(name for _, name in socket.if_nameindex() if name not in routes)]
    for name in names:
        address = _address(name)
        if address and not address.startswith("127."):
            card = sys_folder / "class/net" / name
            return {
                "interface": name,
                "address": address,
                "mac": sysfs.text(card / "address").lower(),
                "mtu": sysfs.number(card / "mtu") or 1500,
                "gateway": routes.get(name, ""),
                "dns": name_servers(),
            }
    return {}


def _default_routes(proc: Path) -> dict[str, str]:
    """Interface -> gateway of every default route, the best first (route(8): the fields of net/route)."""
    found: list[tuple[int, str, str]] = []
    for line in _read(proc / "net/route").splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == "00000000" and int(fields[3], 16) & _UP:
            gateway = socket.inet_ntoa(struct.pack("<I", int(fields[2], 16)))
            found.append((int(fields[6]), fields[0], "" if gateway == "0.0.0.0" else gateway))
    best: dict[str, str] = {}
    for _, name, gateway in sorted(found):
        best.setdefault(name, gateway)
    return best


def _address(name: str) -> str:
    """The first IPv4 address of an interface with its prefix length (netdevice(7)); "" where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            parts = [
                socket.inet_ntoa(fcntl.ioctl(sock, request, struct.pack("256s", name.encode()[:15]))[20:24])
                for request in (_SIOCGIFADDR, _SIOCGIFNETMASK)
            ]
        except OSError:
            return ""
    return str(ipaddress.IPv4Interface("/".join(parts)))


def name_servers(path: Path = Path("/etc/resolv.conf")) -> list[str]:
    """The IPv4 name servers of resolv.conf(5), but for those on the machine itself."""
    found = []
    for line in _read(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver" and not words[1].startswith("127."):
            try:
                found.append(str(ipaddress.IPv4Address(words[1])))
            except ValueError:
                continue
    return found


def diskless(mounts: Path = Path("/proc/self/mounts"), folder: str = _STATE) -> bool:
    """Whether what is written on this machine is gone when it loses its power: its state lies in memory."""
    kind, options, longest = "", "", -1
    for line in _read(mounts).splitlines():
        fields = line.split()
        if len(fields) < 4:
            continue
        place = fields[1].rstrip("/")
        if (folder == place or folder.startswith(place + "/")) and len(place) >= longest:
            kind, options, longest = fields[2], fields[3], len(place)
    # The node system's root is an overlay whose upper layer is in memory; another overlay may be on a disk.
    return kind in ("tmpfs", "ramfs", "rootfs") or (kind == "overlay" and "upperdir=/rw/" in options)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
