"""One node in full, for people."""

from __future__ import annotations

from typing import Any

from pxeserver.cli import machine_view, screen
from pxeserver.cli.screen import Column, column

_VALUES = (column("value", "key"), column("is", "value"), column("from", "origin"))
_DISKS = (
    column("path"),
    column("serial"),
    Column("size", lambda d: screen.size(d["size"])),
    column("model"),
    column("signatures"),
    Column("may be overwritten", lambda d: d["consent"] or not d["signatures"]),
)
_ATTEMPTS = (
    column("id"),
    Column("started", lambda a: screen.local_time(a.get("started"))),
    column("stage"),
    Column("diagnosis", lambda a: a.get("text") or a.get("diagnosis")),
)


def show_node(node: dict[str, Any], condition: str) -> None:
    """Print a node, its plan, its values, its machine, and its last boots."""
    state, plan, once = node["state"], node["plan"], node["boot_once"]
    screen.fields(
        [
            ("name", node["name"]),
            ("state", condition),
            ("because", node["hold"] or state["reason"]),
            ("since", screen.local_time(state["since"])),
            ("would get", plan["action"]),
            ("why", plan["why"]),
            ("boot once", once["profile"] if once else None),
            ("macs", node["macs"]),
            ("uuid", node["uuid"]),
            ("serial", node["serial"]),
            ("address", node["address"]),
            ("labels", node["labels"]),
            ("awaits its machine", True if node["awaits_machine"] else None),
            ("changed", f"{screen.local_time(node['updated_at'])} by {node['updated_by']}"),
            ("hardware", node["hardware"]),
        ]
    )
    for warning in plan["warnings"]:
        screen.warn(warning)
    screen.heading("Values")
    screen.rows(node["resolved"], _VALUES, "table", "none")
    if node["disks"]:
        screen.heading("Disks")
        screen.rows(node["disks"], _DISKS, "table", "none")
    if node["inventory"]:
        machine_view.show_machine(node["inventory"])
    screen.heading("Last boots" if node["attempts"] else "Last boots: it has not been seen yet")
    if node["attempts"]:
        screen.rows(node["attempts"], _ATTEMPTS, "table", "none")
