"""Building the discovery system's kernel and initramfs from Debian packages, by the recipe in
images/discovery.

No root, no chroot: packages are unpacked, and the image is put together from their files. The result is
kept together with a hash of what went into it, so that a second call returns at once and needs no network.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pxeserver import initramfs, kernelmodules, resources
from pxeserver.debian import Archive, Deb, PackagesUnavailable, unpack

Progress = Callable[[str], None]
MIB = 1 << 20
LARGEST = 90 * MIB
"""Bytes of kernel and initramfs together: more is more than a BIOS machine with 512 MiB loads comfortably."""
KERNEL, INITRD, NOTE = "vmlinuz", "initrd.img", "build.json"
FILES = {KERNEL: "kernel", INITRD: "initrd"}
"""The image's files and their roles."""
LIBRARY = "usr/lib/x86_64-linux-gnu"


class BuildFailed(Exception):  # noqa: N818 - what happened, in the words shown to a person
    """The image could not be built; the text says at which step and why."""


def build_discovery(
    work_dir: Path,
    out_dir: Path,
    progress: Progress = print,
    *,
    refresh: bool = False,
    compressor: str = "zstd",
    firmware: Sequence[str] = (),
    mirror: str = "",
) -> tuple[Path, Path]:
    """Build the image into `out_dir` unless it is there; returns the paths of kernel and initramfs. It
    blocks.

    `work_dir` keeps downloaded packages. With `refresh` the archive is asked for newer packages first;
    without, an image by the same recipe is taken as it is. `firmware` are packages added to the recipe's.
    BuildFailed says why there is none; what was built before then stays as it is.
    """
    folder = resources.folder("images") / "discovery"
    recipe = tomllib.loads((folder / "image.toml").read_text())
    recipe["firmware"] = list(dict.fromkeys((*recipe["firmware"], *firmware)))
    key = recipe_key(folder, compressor, recipe["firmware"])
    kernel, initrd, note = out_dir / KERNEL, out_dir / INITRD, out_dir / NOTE
    built = json.loads(note.read_text()) if note.exists() and kernel.exists() and initrd.exists() else {}
    if built.get("recipe") == key and not refresh:
        return kernel, initrd
    try:
        archive, names = _packages(work_dir, recipe, mirror, progress)
        versions = {name: archive.candidate(name) for name in names}
        if (built.get("recipe"), built.get("versions")) == (key, versions):
            return kernel, initrd
        progress(f"image=discovery step=download packages={len(names)}")
        debs = archive.download(names, work_dir / "packages")
    except PackagesUnavailable as why:
        if built:
            # After an upgrade without a network the image of before still does its work.
            progress(f"image=discovery kept=yes built_for={built.get('kernel')} why={str(why)!r}")
            return kernel, initrd
        raise BuildFailed(f"discovery image: {why}") from why
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work_dir, prefix="build-") as scratch:
        release = _assemble(folder, recipe, debs, Path(scratch), progress)
        progress(f"image=discovery step=pack compressor={compressor}")
        packed = Path(scratch) / INITRD
        initramfs.pack(Path(scratch) / "root", packed, compressor)
        vmlinuz = Path(scratch) / "packages" / "boot" / f"vmlinuz-{release}"
        size = vmlinuz.stat().st_size + packed.stat().st_size
        _check_size(size, recipe["firmware"])
        note.unlink(missing_ok=True)  # a kernel and an initramfs of two builds are no image
        for built_file, place in ((packed, initrd), (vmlinuz, kernel)):
            shutil.copyfile(built_file, fresh := place.with_name(f".{place.name}.new"))
            fresh.replace(place)
    for old in set((work_dir / "packages").glob("*.deb")) - {deb.path for deb in debs}:
        old.unlink()
    note.write_text(
        json.dumps({"recipe": key, "versions": versions, "kernel": release, "size": size}, indent=2)
    )
    progress(f"image=discovery step=done kernel={release} bytes={size}")
    return kernel, initrd


def _check_size(size: int, firmware: Sequence[str]) -> None:
    """BuildFailed where kernel and initramfs, `size` bytes together, are more than may be."""
    if size <= LARGEST:
        return
    mend = f"take fewer of the firmware packages ({', '.join(firmware)})" if firmware else "drop modules"
    raise BuildFailed(f"discovery image: {size / MIB:.1f} MiB, at most {LARGEST >> 20} are allowed: {mend}")


def recipe_key(folder: Path, compressor: str, firmware: Sequence[str] = ()) -> str:
    """A hash of the recipe, its scripts, the agent and the builder: whatever changes one of them builds
    anew.
    """
    here = Path(__file__).parent
    sources = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    sources += [here / name for name in ("discovery.py", "initramfs.py", "kernelmodules.py")]
    sources += sorted((here / "agent").glob("*.py"))
    digest = hashlib.sha256(" ".join((compressor, *sorted(firmware))).encode())
    for path in sources:
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _packages(
    work_dir: Path, recipe: Mapping[str, Any], mirror: str, progress: Progress
) -> tuple[Archive, list[str]]:
    """The archive, and the names of all packages of the recipe: the kernel first, by its real name."""
    progress(f"image=discovery step=update suite={recipe['suite']}")
    archive = Archive(work_dir / "apt", recipe["suite"], recipe["architecture"], mirror)
    archive.update(components=("main", "non-free-firmware") if recipe["firmware"] else ("main",))
    kernel = archive.depends(recipe["kernel"], r"linux-image-\d.*")
    return archive, [kernel, *recipe["packages"], *recipe["firmware"]]


def _assemble(
    folder: Path, recipe: Mapping[str, Any], debs: Sequence[Deb], scratch: Path, progress: Progress
) -> str:
    """Put the tree together in `scratch`/root; returns the kernel's release."""
    source, root = scratch / "packages", scratch / "root"
    for deb in debs:
        unpack(deb, source)
    _merge_usr(source)
    release = next((source / "boot").glob("vmlinuz-*")).name.removeprefix("vmlinuz-")
    progress(f"image=discovery step=modules kernel={release}")
    _modules(source, root, release, recipe)
    progress("image=discovery step=python")
    _programs(folder, source, root)
    _python(source, root, recipe)
    return release


def _merge_usr(source: Path) -> None:
    """Older packages have files in /lib, newer ones in /usr/lib: bring them together below usr."""
    for name in ("lib", "lib64", "bin", "sbin"):
        top = source / name
        if top.is_dir() and not top.is_symlink():
            shutil.copytree(top, source / "usr" / name, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(top)
            top.symlink_to(f"usr/{name}")


def _modules(source: Path, root: Path, release: str, recipe: Mapping[str, Any]) -> None:
    # Newer packages have everything below usr, and depmod looks in lib/modules.
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    if not (source / "lib").exists():
        (source / "lib").symlink_to("usr/lib")
    tree, target = source / "lib/modules" / release, root / "usr/lib/modules" / release
    kernelmodules.install(tree, kernelmodules.select(tree, recipe["modules"], recipe["drop_modules"]), target)
    kernelmodules.depmod(root, release)
    for unread in target.glob("*.bin"):
        unread.unlink()  # busybox reads the plain text files
    if recipe["firmware"]:
        _firmware(source, root, kernelmodules.firmware_of(target.rglob("*.ko*")), recipe["firmware"])


def _firmware(source: Path, root: Path, wanted: Iterable[str], packages: Sequence[str]) -> None:
    """The firmware files that the modules ask for, and the licences of the packages they come from."""
    kept = Path("usr/lib/firmware")
    files = {file.relative_to(source) for name in wanted for file in (source / kept).glob(name)}
    texts = [Path("usr/share/doc") / package / "copyright" for package in packages]
    for file in sorted(files) + texts:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / file, root / file)


def _programs(folder: Path, source: Path, root: Path) -> None:
    """busybox, the C library and the scripts."""
    for name in ("bin", "etc", "usr/bin", LIBRARY):
        (root / name).mkdir(parents=True, exist_ok=True)
    busybox = next(path for path in (source / "usr/bin/busybox", source / "bin/busybox") if path.exists())
    shutil.copy(busybox, root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    for name in ("libc", "libm", "libexpat", "libffi", "libz", "libpthread", "libdl", "ld-linux-x86-64"):
        for file in (source / LIBRARY).glob(f"{name}.so.*"):
            shutil.copy(file, root / LIBRARY / file.name)
    (root / "lib64").symlink_to(LIBRARY)
    shutil.copy(folder / "init", root / "init")
    shutil.copy(folder / "udhcpc.script", root / "etc/udhcpc.script")
    for script in ("init", "etc/udhcpc.script"):
        (root / script).chmod(0o755)


def _python(source: Path, root: Path, recipe: Mapping[str, Any]) -> None:
    """Python, its library and the agent, compiled by that very Python; sources are left out."""
    version = f"python{recipe['python']}"
    library = root / "usr/lib" / version
    dropped = set(recipe["drop_python"])
    shutil.copytree(
        source / "usr/lib" / version,
        library,
        ignore=lambda folder, names: [
            n
            for n in names
            if n == "__pycache__" or (Path(folder).name == version and n.removesuffix(".py") in dropped)
        ],
    )
    shutil.copy(source / "usr/bin" / version, root / "usr/bin" / version)
    (root / "usr/bin/python3").symlink_to(version)
    (library / "pxeserver/agent").mkdir(parents=True)
    for module in (Path(__file__).parent / "agent").glob("*.py"):  # what is in folders below is not for here
        shutil.copy(module, library / "pxeserver/agent")
    (library / "pxeserver/__init__.py").write_text("")
    compiler = [str(root / LIBRARY / "ld-linux-x86-64.so.2"), "--library-path", str(root / LIBRARY)]
    compiler += [str(root / "usr/bin" / version), "-BIS", "-X", "utf8", "-m", "compileall", "-q", "-b"]
    compiler += ["--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", "/", str(library)]
    done = subprocess.run(
        compiler, env={"PYTHONHOME": str(root / "usr")}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BuildFailed(f"discovery image: compiling Python failed: {(done.stderr or done.stdout)[-400:]}")
    for path in library.rglob("*.py"):
        path.unlink()
