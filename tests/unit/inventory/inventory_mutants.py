"""Inventories as hostile machines might send them: one good one, and what random changes make of it."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

INJECTIONS = (
    "\x1b]0;owned\x07\x1b[2J\x1b[31mred",
    "\x9b31m\x90q\x9d8;;http://evil\x9c",
    "name\r\nfake: line\n#!ipxe\nshell",
    "\u202egnp.exe\u2066\u200f\u2028next",
    "${uuid} $(reboot) `id` {{ 7*7 }} {% raw %} [bold red]x[/] %n%s",
    "'; DROP TABLE nodes; --",
    "</script><script>alert(1)</script>",
    "\ud800\udfff\x00\ufeff",
    "\U000e0041\ue000\u0378",
    "--help",
    "../../../etc/shadow",
    "=cmd|' /C calc'!A0",
)
"""Texts that some reader would obey: terminals, iPXE, shells, templates, markup, databases."""
_HOSTILE = (
    *INJECTIONS,
    None,
    True,
    -1,
    2**63,
    2**200,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x" * 300,
    "\x1b" * 5000,
    [],
    {},
    [[[[]]]] * 50,
    {"__class__": "os.system"},
)


def inventory() -> dict[str, Any]:
    """A full inventory, as the agent sends it."""
    machine = ("uuid", "serial", "vendor", "product", "board", "board_serial", "asset_tag")
    disk = {
        **dict.fromkeys(("name", "path", "by_path", "serial", "wwn", "model", "transport", "error"), "text"),
        **dict.fromkeys(("removable", "rotational", "read_only"), False),
        "size": 1 << 40,
        "signatures": ["gpt", "1:ext4"],
    }
    lldp = dict.fromkeys(("chassis", "port", "port_description", "system"), "swp1")
    nic = {
        **dict.fromkeys(("name", "driver", "pci", "vendor_id", "device_id"), "text"),
        "mac": "52:54:00:00:00:01",
        "link": True,
        "speed": 1000,
        "mtu": 1500,
        "boot": True,
        "lldp": lldp,
    }
    gpu = {**dict.fromkeys(("kind", "pci", "vendor_id", "device_id", "driver"), "text"), "memory": 1 << 37}
    port = dict.fromkeys(("name", "port", "guid", "firmware", "state", "rate", "link_layer"), "text")
    return {
        "format": 1,
        "agent": "1",
        "machine": dict.fromkeys(machine, "text"),
        "firmware": {"kind": "uefi", "secure_boot": True, "vendor": "v", "version": "1", "date": "d"},
        "cpu": {"architecture": "x86_64", "model": "m", "sockets": 2, "cores": 64, "threads": 128},
        "memory": {"bytes": 1 << 40},
        "disks": [disk, dict(disk)],
        "nics": [nic, {**nic, "lldp": None}],
        "accelerators": [gpu],
        "infiniband": [port],
        "tpm": {"version": 2, "driver": "tpm_tis"},
        "bmc": {"device": True, "address": "10.0.0.9", "mac": "52:54:00:00:00:02"},
    }


def mutant(rng: random.Random) -> bytes:
    """One changed inventory as JSON: leaves replaced, parts removed or repeated, or the text damaged."""
    told = copy.deepcopy(inventory())
    for _ in range(rng.randint(1, 4)):
        _change(rng, told)
    data = json.dumps(told, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:
        at = rng.randrange(len(data))
        data = data[:at] + rng.randbytes(rng.randint(0, 4)) + data[at + rng.randint(0, 9) :]
    return data


def injected(text: str) -> dict[str, Any]:
    """A valid inventory that says `text` wherever it may say what it likes."""

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            keep = ("kind", "mac")
            return {key: part if key in keep else fill(part) for key, part in value.items()}
        if isinstance(value, list):
            return [fill(part) for part in value]
        return text if isinstance(value, str) else value

    return {**fill(inventory()), "accelerators": [fill(inventory()["accelerators"][0])]}


def _change(rng: random.Random, told: dict[str, Any]) -> None:
    """Change one place, found by walking down at random."""
    place: Any = told
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        if not keys:
            return
        key = rng.choice(list(keys))
        below = place[key]
        if isinstance(below, dict | list) and below and rng.random() < 0.85:
            place = below
            continue
        what = rng.random()
        if what < 0.7:
            # A copy: a later change inside it must not grow every inventory that is made after this one.
            place[key] = copy.deepcopy(rng.choice(_HOSTILE))
        elif what < 0.8:
            del place[key]
        elif what < 0.9 and isinstance(place, list):
            place *= rng.choice((2, 300))
        elif isinstance(place, dict):
            place[str(rng.choice(INJECTIONS))] = below
        return
