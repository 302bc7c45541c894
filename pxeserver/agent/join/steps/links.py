"""Links, addresses and routes of this node, read and changed through ip(8)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pxeserver.agent.join.command import need, run
from pxeserver.agent.join.step import StepFailed


@dataclass(frozen=True, slots=True)
class Link:
    """One link. `addresses` are its IPv4 addresses with prefix, without link-local ones."""

    name: str
    mac: str
    up: bool
    mtu: int
    addresses: tuple[str, ...] = ()


def links() -> dict[str, Link]:
    """Every link of this node by name."""
    found = {}
    for row in _json("address", "show"):
        addresses = tuple(
            f"{a['local']}/{a['prefixlen']}"
            for a in row.get("addr_info", ())
            if a.get("family") == "inet" and "local" in a
        )
        name = str(row["ifname"])
        up = "UP" in row.get("flags", ())
        found[name] = Link(name, str(row.get("address", "")).lower(), up, int(row.get("mtu", 0)), addresses)
    return found


def physical(mac: str) -> str:
    """The name of the card with this MAC address; a bridge that took it over does not count. StepFailed."""
    names = [
        link.name
        for link in links().values()
        if link.mac == mac.lower() and not _software(link.name) and link.name != "lo"
    ]
    if not names:
        raise StepFailed(f"no card of this node has the MAC address {mac}", retry=False)
    return sorted(names)[0]


def _software(name: str) -> bool:
    """Whether the link is a tap or a switch's internal port: those take over the MAC address of a card."""
    if Path(f"/sys/class/net/{name}/tun_flags").exists():
        return True
    row = next(iter(_json("-details", "link", "show", "dev", name)), {})
    return row.get("linkinfo", {}).get("info_kind") in ("openvswitch", "bridge", "macvlan", "tun")


def default_routes(name: str) -> list[str]:
    """The routers of default routes through this link."""
    rows = _json("route", "show", "default", "dev", name)
    return [str(row["gateway"]) for row in rows if "gateway" in row]


def batch(lines: Iterable[Sequence[str]]) -> None:
    """Carry out several ip commands in one process, as fast as may be; it stops at the first that fails.
    StepFailed.
    """
    need("ip", "-batch", "-", input="".join(" ".join(line) + "\n" for line in lines), timeout=20)


def sysctl(key: str, value: str) -> None:
    """Write a net.* sysctl where the kernel has it."""
    path = Path("/proc/sys") / Path(*key.split("."))
    try:
        if path.read_text().strip() != value:
            path.write_text(value)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StepFailed(f"sysctl {key}={value}: {error.strerror}") from error


def read_sysctl(key: str) -> str:
    """The value of a sysctl; "" where the kernel has none of this name."""
    try:
        return (Path("/proc/sys") / Path(*key.split("."))).read_text().strip()
    except OSError:
        return ""


def _json(*words: str) -> list[dict[str, Any]]:
    done = run("ip", "-json", *words, timeout=15)
    if not done.ok:
        return []
    try:
        rows = json.loads(done.out or "[]")
    except ValueError as wrong:
        raise StepFailed(f"ip {' '.join(words)}: {done.out[:200]}") from wrong
    return [row for row in rows if row]
