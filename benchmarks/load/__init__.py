"""Load generators in C, and how they are built."""

from __future__ import annotations

import subprocess
from pathlib import Path

HERE = Path(__file__).parent
NAMES = ("http", "tftp", "dhcp")


def build(folder: Path) -> dict[str, str]:
    """Compile what is older than its source; the path of each. CalledProcessError where gcc refuses."""
    folder.mkdir(parents=True, exist_ok=True)
    header = (HERE / "common.h").stat().st_mtime
    built = {}
    for name in NAMES:
        source, target = HERE / f"{name}.c", folder / name
        if not target.exists() or target.stat().st_mtime < max(source.stat().st_mtime, header):
            command = ("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(target), str(source))
            subprocess.run(command, check=True)
        built[name] = str(target)
    return built
