"""The whole inventory of a machine, as the JSON that the server takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pxeserver.agent import VERSION, hardware
from pxeserver.agent.bmc import bmc
from pxeserver.agent.disks import disks
from pxeserver.agent.nics import infiniband, nics

FORMAT = 1


def gather(boot_mac: str = "", root: Path = Path("/")) -> dict[str, Any]:
    """Look at everything. `root` is where sys, proc and dev are."""
    sys, proc = root / "sys", root / "proc"
    return {
        "format": FORMAT,
        "agent": VERSION,
        "machine": hardware.machine(sys),
        "firmware": hardware.firmware(sys),
        "cpu": hardware.cpu(proc, sys),
        "memory": hardware.memory(proc),
        "disks": disks(sys, root / "dev"),
        "nics": nics(sys, boot_mac),
        "accelerators": hardware.accelerators(sys),
        "infiniband": infiniband(sys),
        "tpm": hardware.tpm(sys),
        "bmc": bmc(hardware.has_bmc(sys)) if root == Path("/") else None,
    }
