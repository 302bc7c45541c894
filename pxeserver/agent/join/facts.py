"""What the agent tells of its machine when it claims and when it starts."""

from __future__ import annotations

import fcntl
import os
import platform
import socket
import struct
import sys
from pathlib import Path
from typing import Any

from pxeserver.agent import disks, sysfs
from pxeserver.agent.join import place

_SIOCGIFADDR = 0x8915
_MOST = 64


def gather(sys_folder: Path = Path("/sys")) -> dict[str, Any]:
    """Host name, identities, addresses and versions."""
    board = sys_folder / "class/dmi/id"
    release = os_release()
    return {
        "hostname": socket.gethostname(),
        "machine_id": sysfs.text(Path("/etc/machine-id")),
        "uuid": sysfs.text(board / "product_uuid").lower(),
        "serial": sysfs.text(board / "product_serial"),
        "macs": _macs(sys_folder),
        "addresses": addresses(),
        "release": release.get("VERSION_CODENAME", ""),
        "system": release.get("ID", ""),
        "kernel": os.uname().release,
        "python": platform.python_version(),
        "arch": os.uname().machine,
        "cpus": os.cpu_count() or 1,
        "agent_python": sys.executable,
        "uplink": place.uplink(sys_folder),
        "diskless": place.diskless(),
        "disks": disks.disks(sys_folder),
    }


def os_release(path: Path = Path("/etc/os-release")) -> dict[str, str]:
    """The fields of os-release(5)."""
    lines = (path.read_text("utf-8", "replace") if path.exists() else "").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}


def _macs(sys_folder: Path) -> list[str]:
    found = {
        sysfs.text(link / "address").lower()
        for link in sysfs.entries(sys_folder / "class/net")
        if sysfs.number(link / "type") == 1
    }
    return sorted(mac for mac in found if mac and mac != "00:00:00:00:00:00")[:_MOST]


def addresses() -> list[str]:
    """The first IPv4 address of every interface but loopback (netdevice(7))."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(sock, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue
            address = socket.inet_ntoa(answer[20:24])
            if not address.startswith("127."):
                found.append(address)
    return sorted(set(found))[:_MOST]
