"""The whole inventory of a machine, as the JSON that the server takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pxeserver.agent import VERSION, hardware
from pxeserver.agent.bmc import bmc
from pxeserver.agent.disks import disks
from pxeserver.agent.nics import hear_neighbours, infiniband, nics

FORMAT = 1


def gather(boot_mac: str = "", lldp_seconds: float = 0.0, root: Path = Path("/")) -> dict[str, Any]:
    """Look at everything. `lldp_seconds` is how long to listen for switches; `root` is where sys, proc and
    dev are.
    """
    sys, proc = root / "sys", root / "proc"
    cards = nics(sys, boot_mac)
    if lldp_seconds > 0:
        heard = hear_neighbours([card["name"] for card in cards if card["link"]], lldp_seconds)
        for card in cards:
            card["lldp"] = heard.get(card["name"])
    return {
        "format": FORMAT,
        "agent": VERSION,
        "machine": hardware.machine(sys),
        "firmware": hardware.firmware(sys),
        "cpu": hardware.cpu(proc, sys),
        "memory": hardware.memory(proc),
        "disks": disks(sys, root / "dev"),
        "nics": cards,
        "accelerators": hardware.accelerators(sys),
        "infiniband": infiniband(sys),
        "tpm": hardware.tpm(sys),
        "bmc": bmc(hardware.has_bmc(sys)) if root == Path("/") else None,
    }
