"""What a machine reported of itself, for people. What is on its disks is shown with the node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pxeserver.cli import screen
from pxeserver.cli.screen import Column, column

Words = Mapping[str, Any]

_NICS = (
    column("card", "name"),
    column("mac"),
    column("driver"),
    Column("link", lambda n: speed(n) if n.get("link") else "down"),
    Column("booted from", lambda n: "yes" if n.get("boot") else ""),
    Column("neighbour", lambda n: neighbour(n.get("lldp"))),
)
_PLACES = (
    column("disk", "path"),
    column("place", "by_path"),
    column("by", "transport"),
    Column("kind", lambda d: "rotating" if d.get("rotational") else "solid state"),
    Column(
        "remarks", lambda d: ", ".join(k for k in ("removable", "read_only") if d.get(k)) or d.get("error")
    ),
)
_ACCELERATORS = (
    column("kind"),
    column("pci"),
    Column("vendor:device", lambda a: f"{a.get('vendor_id', '')}:{a.get('device_id', '')}"),
    column("driver"),
    Column("memory", lambda a: screen.size(a.get("memory"))),
)
_INFINIBAND = tuple(
    column(key) for key in ("name", "port", "guid", "state", "rate", "link_layer", "firmware")
)
_TABLES: tuple[tuple[str, str, Sequence[Column]], ...] = (
    ("nics", "Network cards", _NICS),
    ("disks", "Where its disks are", _PLACES),
    ("accelerators", "Accelerators", _ACCELERATORS),
    ("infiniband", "InfiniBand", _INFINIBAND),
)


def show_machine(inventory: Words) -> None:
    """Print an inventory: the machine as a whole, then its parts."""
    screen.heading("Machine")
    screen.fields(summary(inventory))
    for key, title, columns in _TABLES:
        if inventory.get(key):
            screen.heading(title)
            screen.rows(inventory[key], columns, "table", "none")


def summary(inventory: Words) -> list[tuple[str, object]]:
    """The machine as a whole, a line each."""
    machine, firmware, cpu = (_part(inventory, key) for key in ("machine", "firmware", "cpu"))
    told = firmware.get("secure_boot")
    secure = "cannot be told" if told is None else "on" if told else "off"
    return [
        ("system", _joined(machine.get("vendor"), machine.get("product"))),
        ("serial", machine.get("serial")),
        ("uuid", machine.get("uuid")),
        ("board", _joined(machine.get("board"), machine.get("board_serial"))),
        ("asset tag", machine.get("asset_tag")),
        ("firmware", _joined(*(firmware.get(key) for key in ("kind", "vendor", "version", "date")))),
        ("secure boot", secure if firmware.get("kind") == "uefi" else None),
        ("cpu", _joined(cpu.get("model"), cpu.get("architecture"))),
        (
            "",
            "sockets {}, cores {}, threads {}".format(*(cpu.get(k) for k in ("sockets", "cores", "threads"))),
        ),
        ("memory", screen.size(_part(inventory, "memory").get("bytes"))),
        ("tpm", tpm(inventory.get("tpm"))),
        ("bmc", bmc(inventory.get("bmc"))),
    ]


def speed(nic: Words) -> str:
    """The link of a card that has one, e.g. "10 Gbit/s"; virtual cards do not tell a speed."""
    mbit = nic.get("speed")
    if not mbit:
        return "up"
    return f"up, {mbit / 1000:g} Gbit/s" if mbit >= 1000 else f"up, {mbit} Mbit/s"


def neighbour(lldp: Words | None) -> str:
    """The switch and its port, e.g. "leaf1 (52:54:00:00:00:01) port swp3"."""
    if not lldp:
        return ""
    name, chassis = lldp.get("system") or "", lldp.get("chassis") or ""
    switch = f"{name} ({chassis})" if name and chassis else name or chassis
    port = lldp.get("port") or ""
    more = lldp.get("port_description") or ""
    return f"{switch} port {port}" + (f" ({more})" if more and more != port else "")


def tpm(found: Words | None) -> str | None:
    """The trusted platform module; None where there is none."""
    if not found:
        return None
    return f"version {found.get('version') or 'unknown'}, {found.get('driver') or 'no driver'}"


def bmc(found: Words | None) -> str | None:
    """The management controller; None where there is none."""
    if not found:
        return None
    if found.get("address"):
        return _joined(found["address"], found.get("mac"))
    return "there, it tells no address" if found.get("device") else "announced, but no driver reaches it"


def _part(inventory: Words, key: str) -> Words:
    found = inventory.get(key)
    return found if isinstance(found, Mapping) else {}


def _joined(*words: object) -> str:
    return " ".join(str(word) for word in words if word)
