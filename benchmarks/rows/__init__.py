"""The rows, in groups that share their contenders."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.bench import Bench
from benchmarks.rows import admin, decision, dhcp, http, memory, storm, tftp

GROUPS: dict[str, Callable[[Bench], None]] = {
    "memory": memory.rows,
    "http": http.rows,
    "script": http.script_rows,
    "tftp": tftp.rows,
    "loss": tftp.loss_rows,
    "dhcp": dhcp.rows,
    "storm": storm.rows,
    "decision": decision.rows,
    "admin": admin.rows,
}
