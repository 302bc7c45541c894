"""Choosing kernel modules: by folder, with all they depend on, and the firmware files they ask for."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path


def select(tree: Path, wanted: Sequence[str], dropped: Sequence[str] = ()) -> list[str]:
    """Modules (paths below `tree`, a lib/modules/VERSION with modules.dep) that begin with `wanted`, and
    what they need.

    What one of them depends on stays even where `dropped` names it.
    """
    needs: dict[str, list[str]] = {}
    for line in (tree / "modules.dep").read_text().splitlines():
        name, _, rest = line.partition(":")
        needs[name] = rest.split()
    chosen = [m for m in needs if m.startswith(tuple(wanted)) and not m.startswith(tuple(dropped) or ("\0",))]
    return sorted({*chosen, *(need for module in chosen for need in needs[module])})


def install(tree: Path, modules: Iterable[str], target: Path) -> None:
    """Copy modules into `target` (a lib/modules/VERSION) as they are.

    Debian packs each with xz, and so they stay: unpacking all of them at each start of a machine would take
    longer than the few that it needs, and would cost five times the memory.
    """
    for module in modules:
        place = target / module
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree / module, place)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        if (tree / name).exists():
            shutil.copyfile(tree / name, target / name)


def depmod(root: Path, version: str) -> None:
    """Write modules.dep and modules.alias below `root`; OSError where depmod fails."""
    done = subprocess.run(["depmod", "-b", str(root), version], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"depmod: {done.stderr.strip()}")


def firmware_of(modules: Iterable[Path]) -> set[str]:
    """The firmware files that modules name in their modinfo section."""
    names = set()
    for module in modules:
        raw = module.read_bytes()
        for word in (lzma.decompress(raw) if module.suffix == ".xz" else raw).split(b"\0"):
            if word.startswith(b"firmware=") and word.isascii():
                names.add(word.removeprefix(b"firmware=").decode())
    return names
