"""Building the node system: kernel, initramfs and root file system, by the recipe in images/cluster-node.

Three steps, each kept: the packages as an archive (minutes, and only when their list changes or newer ones
are asked for), the root file system of them with the kernel's modules and our agent, and the initramfs.
"""

from __future__ import annotations

import compileall
import hashlib
import json
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pxeserver import initramfs, kernelmodules, resources, rootfs
from pxeserver.debian import Archive, Deb, PackagesUnavailable, unpack
from pxeserver.discovery import BuildFailed

Progress = Callable[[str], None]
MIB = 1 << 20
LARGEST = 300 * MIB
"""Bytes of all files together: a machine with 2 GiB keeps them in RAM and still has room to work."""
NAME = "cluster-node"
KERNEL, INITRD, ROOT, NOTE = "vmlinuz", "initrd.img", "root.squashfs", "build.json"
FILES = {KERNEL: "kernel", INITRD: "initrd", ROOT: "root"}
"""The image's files and their roles."""
AGENT_UNIT = "pxeserver-agent.service"
_PYTHON = "usr/lib/python3/dist-packages"
_UNITS = "usr/lib/systemd/system"


@dataclass(frozen=True, slots=True)
class NodeSystem:
    """What a site may choose: Debian's release, the kind of kernel (virtual, physical), the compression
    (fast, small), and the mirror; "" is the one that this host uses.
    """

    release: str = "trixie"
    kernel: str = "virtual"
    compression: str = "small"
    mirror: str = ""


def build_cluster_node(
    work_dir: Path, out_dir: Path, wanted: NodeSystem, progress: Progress = print, *, refresh: bool = False
) -> dict[str, Path]:
    """Build the image into `out_dir` unless it is there; returns its files by name. It blocks.

    With `refresh` all packages are fetched anew, in their newest versions. BuildFailed says why there is no
    image; what was built before then stays as it is.
    """
    work_dir, out_dir = work_dir.absolute(), out_dir.absolute()  # apt takes no relative paths
    folder = resources.folder("images") / NAME
    recipe = tomllib.loads((folder / "image.toml").read_text())
    files = {name: out_dir / name for name in FILES}
    key = recipe_key(folder, wanted)
    if not refresh and _built(out_dir).get("recipe") == key:
        return files
    begin = time.monotonic()
    out_dir.mkdir(parents=True, exist_ok=True)
    work_dir.mkdir(parents=True, exist_ok=True)

    def tell(text: str) -> None:
        progress(f"image={NAME} seconds={time.monotonic() - begin:.0f} {text}")

    try:
        with tempfile.TemporaryDirectory(dir=work_dir, prefix="build-") as scratch:
            job = _Job(folder, recipe, wanted, Path(scratch), tell)
            base, debs = job.packages(work_dir, refresh=refresh)
            note = job.assemble(base, debs)
            _publish(job.out, out_dir, {"recipe": key, **note})
    except (PackagesUnavailable, rootfs.RootFailed, OSError) as why:
        raise BuildFailed(f"node image: {why}") from why
    tell(f"step=done kernel={note['kernel']} bytes={note['size']}")
    return files


def recipe_key(folder: Path, wanted: NodeSystem) -> str:
    """A hash of the recipe, its scripts, the agent and the builder: whatever changes one of them builds
    anew.
    """
    here = Path(__file__).parent
    sources = [(path, str(path.relative_to(folder))) for path in sorted(folder.rglob("*"))]
    names = ("clusternode.py", "rootfs.py", "initramfs.py", "kernelmodules.py")
    sources += [(here / name, name) for name in names]
    sources += [(path, str(path.relative_to(here))) for path in sorted((here / "agent").rglob("*.py"))]
    sources.append((resources.folder("systemd") / AGENT_UNIT, AGENT_UNIT))
    choices = (wanted.release, wanted.kernel, wanted.compression)
    digest = hashlib.sha256(" ".join(choices).encode())
    for path, name in sources:
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _built(out_dir: Path) -> dict[str, Any]:
    """What stands in the folder now; empty where it is not whole."""
    note = out_dir / NOTE
    if not note.exists() or not all((out_dir / name).exists() for name in FILES):
        return {}
    found: dict[str, Any] = json.loads(note.read_text())
    return found


@dataclass(frozen=True, slots=True)
class _Job:
    """One build: the recipe's folder, what it says, what the site chose, and a folder to work in."""

    folder: Path
    recipe: Mapping[str, Any]
    wanted: NodeSystem
    scratch: Path
    tell: Progress

    @property
    def out(self) -> Path:
        """Where the finished files are."""
        return self.scratch / "out"

    def packages(self, work_dir: Path, *, refresh: bool) -> tuple[Path, list[Deb]]:
        """The archive of installed packages, and the unpacked ones: kernel and busybox."""
        wanted, recipe, tell = self.wanted, self.recipe, self.tell
        release, kernel = recipe["releases"].get(wanted.release), recipe["kernels"].get(wanted.kernel)
        if release is None or kernel is None:
            known = ", ".join((*recipe["releases"], *recipe["kernels"]))
            raise BuildFailed(f"node image: {wanted.release} or {wanted.kernel} is none of {known}")
        tell(f"step=update release={wanted.release}")
        archive = Archive(work_dir / "apt", wanted.release, recipe["architecture"], wanted.mirror)
        archive.update()
        names = [archive.depends(kernel["package"], r"linux-image-\d.*"), "busybox-static"]
        tell(f"step=download kernel={names[0]}")
        debs = archive.download(names, work_dir / "packages")
        packages = [*recipe["packages"], *release["packages"]]
        key = hashlib.sha256(" ".join((wanted.release, *packages)).encode()).hexdigest()[:12]
        base = work_dir / f"base-{wanted.release}-{key}.tar.zst"
        if refresh or not base.exists():
            tell(f"step=packages count={len(packages)}: this takes a minute or two")
            sources = archive.root / "sources.list"
            rootfs.debootstrap(
                sources, wanted.release, packages, base, lambda text: tell(f"step=packages {text}")
            )
        for old in set(work_dir.glob(f"base-{wanted.release}-*.tar.zst")) - {base}:
            old.unlink()
        return base, debs

    def assemble(self, base: Path, debs: list[Deb]) -> dict[str, Any]:
        """Make the three files; returns what build.json tells of them."""
        source, added, out = self.scratch / "packages", self.scratch / "added", self.out
        out.mkdir()
        for deb in debs:
            unpack(deb, source)
        kernel = next((source / "boot").glob("vmlinuz-*"))
        release = kernel.name.removeprefix("vmlinuz-")
        trees = (source / "usr/lib/modules" / release, source / "lib/modules" / release)
        tree = next(path for path in trees if path.is_dir())
        self.tell(f"step=modules kernel={release}")
        self._modules(tree, added, ["kernel/"])
        self._own_files(added)
        level = self.recipe["compression"][self.wanted.compression]
        self.tell(f"step=squash level={level}")
        kept = rootfs.Filter(self.recipe["tree"]["drop"], self.recipe["tree"]["disabled"])
        rootfs.squash(base, added, kept, out / ROOT, level)
        self.tell("step=initramfs")
        self._initramfs(source, tree)
        initramfs.pack(self.scratch / "initramfs", out / INITRD)
        shutil.copyfile(kernel, out / KERNEL)
        sizes = {name: (out / name).stat().st_size for name in FILES}
        sums = {name: _sha256(out / name) for name in FILES}
        if sum(sizes.values()) > LARGEST:
            text = ", ".join(f"{name} {size / MIB:.0f} MiB" for name, size in sizes.items())
            raise BuildFailed(f"node image: {text}; at most {LARGEST // MIB} are allowed together")
        return {
            "release": self.wanted.release,
            "kernel": release,
            "size": sum(sizes.values()),
            "sha256": sums,
            "built": int(time.time()),
        }

    def _modules(self, tree: Path, root: Path, wanted: list[str]) -> None:
        """The kernel's modules below `root`, and their index."""
        target = root / "usr/lib/modules" / tree.name
        dropped = self.recipe["modules"]["drop"]
        kernelmodules.install(tree, kernelmodules.select(tree, wanted, dropped), target)
        (root / "lib").symlink_to("usr/lib")  # depmod looks in lib/modules
        kernelmodules.depmod(root, tree.name)

    def _own_files(self, added: Path) -> None:
        """Our units, scripts and settings, and the agent."""
        (added / "lib").unlink()
        shutil.copytree(self.folder / "root", added, dirs_exist_ok=True)
        shutil.copy(resources.folder("systemd") / AGENT_UNIT, added / _UNITS / AGENT_UNIT)
        wants = added / "etc/systemd/system/multi-user.target.wants"
        wants.mkdir(parents=True)
        for unit in self.recipe["tree"]["enabled"]:
            (wants / unit).symlink_to(f"/{_UNITS}/{unit}")
        package = added / _PYTHON / "pxeserver"
        agent = Path(__file__).parent / "agent"
        shutil.copytree(agent, package / "agent", ignore=shutil.ignore_patterns("__pycache__"))
        (package / "__init__.py").write_text("")
        if self.recipe["releases"][self.wanted.release]["python"] == f"3.{sys.version_info[1]}":
            # Else the node compiles the agent at each start, which takes it a second or two.
            compileall.compile_dir(package, quiet=1, stripdir=str(added), prependdir="/")

    def _initramfs(self, source: Path, tree: Path) -> None:
        """The tree of the initramfs: busybox, our scripts, and the modules up to the root file system."""
        root = self.scratch / "initramfs"
        for name in ("bin", "etc"):
            (root / name).mkdir(parents=True)
        self._modules(tree, root, self.recipe["modules"]["initramfs"])
        for unread in (root / "usr/lib/modules" / tree.name).glob("*.bin"):
            unread.unlink()  # busybox reads the plain text files
        busybox = next(path for path in (source / "usr/bin/busybox", source / "bin/busybox") if path.exists())
        shutil.copy(busybox, root / "bin/busybox")
        (root / "bin/sh").symlink_to("busybox")
        for name, place in (("init", "init"), ("udhcpc.script", "etc/udhcpc.script")):
            shutil.copy(self.folder / name, root / place)
            (root / place).chmod(0o755)
        for name in ("init.state", "init.identity"):
            shutil.copy(self.folder / name, root / name)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _publish(made: Path, out_dir: Path, note: Mapping[str, Any]) -> None:
    """Put the new files in the place of the old ones; the note stands only while all belong together."""
    (out_dir / NOTE).unlink(missing_ok=True)
    for name in FILES:
        # One file system, as the scratch folder lies in the work folder: nothing half-copied is seen.
        shutil.copyfile(made / name, fresh := out_dir / f".{name}.new")
        fresh.replace(out_dir / name)
    (out_dir / NOTE).write_text(json.dumps(dict(note), indent=2))
