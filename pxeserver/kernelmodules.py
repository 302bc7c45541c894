"""Choosing kernel modules: by folder, with all they depend on, and the firmware files they ask for."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path


def select(tree: Path, wanted: Sequence[str], dropped: Sequence[str] = ()) -> list[str]:
    """Modules (paths below `tree`, a lib/modules/VERSION) that begin with `wanted`, and what they depend
    on.

    What one of them depends on stays even where `dropped` names it. ValueError where a needed module is
    missing.
    """
    paths = sorted(str(path.relative_to(tree)) for path in tree.rglob("*.ko*"))
    by_name = {_name(path): path for path in paths}
    queue = [
        p for p in paths if p.startswith(tuple(wanted)) and not (dropped and p.startswith(tuple(dropped)))
    ]
    chosen: set[str] = set()
    while queue:
        path = queue.pop()
        if path in chosen:
            continue
        chosen.add(path)
        for need in _modinfo(tree / path, "depends"):
            for name in filter(None, need.split(",")):
                if name.replace("-", "_") not in by_name:
                    raise ValueError(f"{path} needs the module {name}, which is not there")
                queue.append(by_name[name.replace("-", "_")])
    return sorted(chosen)


def _name(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0].replace("-", "_")


def _modinfo(module: Path, key: str) -> list[str]:
    """The values of one key in a module's modinfo section."""
    raw = module.read_bytes()
    words = (lzma.decompress(raw) if module.suffix == ".xz" else raw).split(b"\0")
    mark = key.encode() + b"="
    # Code may hold the same bytes by chance: what is no plain text is not modinfo.
    return [word.removeprefix(mark).decode() for word in words if word.startswith(mark) and word.isascii()]


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
    """The firmware files that modules name."""
    return {name for module in modules for name in _modinfo(module, "firmware")}
