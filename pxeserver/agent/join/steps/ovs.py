"""Open vSwitch's configuration, read from its database and changed through ovs-vsctl(8).

Every call has a time-out of its own: without one ovs-vsctl waits for ever for a switch daemon that does not
run. What is ours carries external_ids:pxeserver, so that a person's own bridges and ports stay untouched.
"""

from __future__ import annotations

import codecs
import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pxeserver.agent.join.command import need, run
from pxeserver.agent.join.step import StepFailed

SECONDS = 15
"""What ovs-vsctl may wait for the database and the switch daemon."""
DATABASE = "/run/openvswitch/db.sock"
OURS = "pxeserver"
_QUESTION = "pxeserver"
_LONGEST = 32 << 20
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
    (rows,) = _select({"Open_vSwitch": ("external_ids",)})
    return str(rows[0]["external_ids"].get("system-id", "")) if rows else ""


def bridges() -> dict[str, Bridge]:
    """Every bridge there is. StepFailed where the database does not answer."""
    wanted = {
        "Interface": ("_uuid", "name", "type", "options", "error"),
        "Port": ("_uuid", "name", "tag", "trunks", "protected", "external_ids", "interfaces"),
        "Bridge": ("name", "datapath_type", "external_ids", "ports"),
    }
    interface_rows, port_rows, bridge_rows = _select(wanted)
    interfaces = {row["_uuid"]: row for row in interface_rows}
    ports = {row["_uuid"]: row for row in port_rows}
    found = {}
    for row in bridge_rows:
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


def _select(wanted: Mapping[str, tuple[str, ...]]) -> list[list[dict[str, Any]]]:
    """The rows of these tables with these columns, all as of one moment. StepFailed.

    Asked over the database's own socket (RFC 7047): a look is taken every few seconds, and on a slow machine
    each start of ovs-vsctl takes one.
    """
    asks = [
        {"op": "select", "table": table, "where": [], "columns": list(columns)}
        for table, columns in wanted.items()
    ]
    question = {"method": "transact", "params": ["Open_vSwitch", *asks], "id": _QUESTION}
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(SECONDS)
            line.connect(DATABASE)
            line.sendall(json.dumps(question).encode())
            answers = _answer(line)
        return [
            [{key: _value(cell) for key, cell in row.items()} for row in answer["rows"]] for answer in answers
        ]
    except OSError as error:
        raise StepFailed(f"Open vSwitch's database does not answer at {DATABASE}: {error}") from error
    except (ValueError, KeyError, TypeError) as wrong:
        raise StepFailed(f"Open vSwitch's database said what nobody understands: {wrong}") from wrong


def _answer(line: socket.socket) -> Any:
    """The result of our question; the database may ask for an echo meanwhile, and need not get it."""
    decoder, text = json.JSONDecoder(), ""
    letters = codecs.getincrementaldecoder("utf-8")("replace")
    while len(text) < _LONGEST:
        part = line.recv(1 << 16)
        if not part:
            raise ValueError("it closed the connection")
        text += letters.decode(part)
        while text:
            try:
                message, end = decoder.raw_decode(text)
            except ValueError:
                break  # the rest is still to come
            text = text[end:].lstrip()
            if message.get("id") == _QUESTION and "result" in message:
                return message["result"]
    raise ValueError("its answer is too long")


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
