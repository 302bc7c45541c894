"""Open vSwitch's configuration, read and changed through ovs-vsctl(8).

Every call has a time-out of its own: without one ovs-vsctl waits for ever for a switch daemon that does not
run. What is ours carries external_ids:pxeserver, so that a person's own bridges and ports stay untouched.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pxeserver.agent.join.command import need, run
from pxeserver.agent.join.step import StepFailed

SECONDS = 15
"""What ovs-vsctl may wait for the database and the switch daemon."""
OURS = "pxeserver"
SERVICES = ("ovsdb-server", "ovs-vswitchd")


@dataclass(frozen=True, slots=True)
class Port:
    """One port of a bridge; `kind` is the type of its interface ("" for a plain device)."""

    name: str
    kind: str = ""
    tag: int | None = None
    trunks: tuple[int, ...] = ()
    protected: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    ours: str = ""
    """What we noted of it: the role it has; "" where it is not ours."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Bridge:
    """One bridge with its ports, its own local port among them."""

    name: str
    datapath: str = ""
    ours: bool = False
    ports: Mapping[str, Port] = field(default_factory=dict)


def start() -> None:
    """Start database and switch daemon; once in some boots systemd leaves the daemon out. StepFailed."""
    for service in SERVICES:
        need("systemctl", "start", service, timeout=60)


def stop() -> None:
    """Stop both: nobody has a switch any more. StepFailed."""
    need("systemctl", "stop", *reversed(SERVICES), timeout=60)


def running() -> bool:
    """Whether both services run."""
    return run("systemctl", "is-active", "--quiet", *SERVICES, timeout=10).ok


def kernel_datapath() -> bool:
    """Whether this kernel can switch packets itself."""
    return Path("/sys/module/openvswitch").exists() or run("modprobe", "-q", "openvswitch", timeout=20).ok


def transact(commands: Iterable[Iterable[str]]) -> None:
    """Carry out the commands as one transaction: all of them, or none. StepFailed."""
    words: list[str] = []
    for command in commands:
        words += ["--", *command]
    if words:
        need("ovs-vsctl", f"--timeout={SECONDS}", *words[1:], timeout=SECONDS + 5)


def system_id() -> str:
    """The name that this switch goes by; "" where it has none."""
    done = run("ovs-vsctl", f"--timeout={SECONDS}", "--if-exists", "get", "Open_vSwitch", ".", "external_ids")
    return dict(_pairs(done.out)).get("system-id", "")


def _pairs(text: str) -> list[tuple[str, str]]:
    inside = text.strip().removeprefix("{").removesuffix("}")
    found = (part.partition("=") for part in inside.split(", ") if part)
    return [(key, value.strip('"')) for key, _, value in found]


def bridges() -> dict[str, Bridge]:
    """Every bridge there is. StepFailed where the database does not answer."""
    interfaces = {row["_uuid"]: row for row in _table("Interface", "_uuid,name,type,options,error")}
    columns = "_uuid,name,tag,trunks,protected,external_ids,interfaces"
    ports = {row["_uuid"]: row for row in _table("Port", columns)}
    found = {}
    for row in _table("Bridge", "name,datapath_type,external_ids,ports"):
        inside = (ports[uuid] for uuid in _many(row["ports"]))
        made = [_port(port, interfaces) for port in inside]
        ours = OURS in row["external_ids"]
        found[row["name"]] = Bridge(row["name"], row["datapath_type"], ours, {p.name: p for p in made})
    return found


def _port(row: Mapping[str, Any], interfaces: Mapping[str, Mapping[str, Any]]) -> Port:
    interface = interfaces[_many(row["interfaces"])[0]]
    tag = _many(row["tag"])
    error = _many(interface["error"])
    return Port(
        row["name"],
        interface["type"],
        int(tag[0]) if tag else None,
        tuple(sorted(int(vlan) for vlan in _many(row["trunks"]))),
        bool(row["protected"]),
        dict(interface["options"]),
        str(row["external_ids"].get(OURS, "")),
        str(error[0]) if error else "",
    )


def _table(name: str, columns: str) -> list[dict[str, Any]]:
    words = ("ovs-vsctl", f"--timeout={SECONDS}", "--format=json", f"--columns={columns}", "list", name)
    text = need(*words, timeout=SECONDS + 5)
    try:
        told = json.loads(text)
        return [dict(zip(told["headings"], map(_value, row), strict=True)) for row in told["data"]]
    except (ValueError, KeyError, TypeError) as wrong:
        raise StepFailed(f"ovs-vsctl list {name} said what nobody understands: {text[:200]}") from wrong


def _value(cell: Any) -> Any:
    """A cell of OVSDB's JSON (RFC 7047 section 5.1) in Python's terms: set, map, uuid or a plain value."""
    match cell:
        case ["set", list(members)]:
            return [_value(member) for member in members]
        case ["map", list(pairs)]:
            return {_value(key): _value(value) for key, value in pairs}
        case ["uuid", str(uuid)]:
            return uuid
    return cell


def _many(value: Any) -> list[Any]:
    """The members of a column that may hold several: one of them stands there without its set."""
    return value if isinstance(value, list) else [value]
