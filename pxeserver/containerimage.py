"""Container images out of Debian packages, as archives that `docker load` takes.

Packages and what they depend on are unpacked, and none of their scripts is run; a filter leaves out what a
service does not need. Every image has two layers: a base, the same bytes in all of them, and its own files.
What takes a service long on its first start can be made beforehand, by a command of the recipe.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pxeserver import containerlayer, resources
from pxeserver.containerlayer import Index, Layer, append, settings, write_archive
from pxeserver.debian import Archive, PackagesUnavailable

Progress = Callable[[str], None]
EXAMPLE = "example-stack"
RECIPE, NOTE = "images.toml", "built.json"
UNPACK_SECONDS, MAKE_SECONDS = 1800.0, 300.0
MADE = "made"
"""The folder in an image whose files, once its own command has made them, become the image's."""


class ImageFailed(Exception):  # noqa: N818 - what happened, in the words shown to a person
    """An image could not be built; the text says why."""


@dataclass(frozen=True, slots=True)
class Built:
    """One image's archive. `size` is in bytes, `sha256` is the archive's."""

    name: str
    tag: str
    path: Path
    sha256: str
    size: int


def build_images(
    folder: Path,
    work: Path,
    out: Path,
    progress: Progress = print,
    *,
    only: Sequence[str] = (),
    mirror: str = "",
    refresh: bool = False,
) -> list[Built]:
    """Build the images of the recipe in `folder` into `out`, those that are not there yet; all, or `only`
    these. With `refresh` all are built anew, of the newest packages. It blocks. ImageFailed.
    """
    work, out = work.absolute(), out.absolute()  # apt takes no relative paths
    recipe = tomllib.loads((folder / RECIPE).read_text())
    names = [name for name in recipe["images"] if not only or name in only]
    if unknown := set(only) - recipe["images"].keys():
        raise ImageFailed(f"the recipe has no image {', '.join(sorted(unknown))}")
    for path in (work, out):
        path.mkdir(parents=True, exist_ok=True)
    noted = {} if refresh else _noted(out)
    keys = {name: _key(folder, recipe, name) for name in names}
    missing = [name for name in names if noted.get(name, {}).get("recipe") != keys[name]]
    missing += [n for n in names if n not in missing and not (out / noted[n]["file"]).exists()]
    try:
        if missing:
            wanted = {name: keys[name] for name in missing}
            _build(_Place(folder, work, out, mirror), recipe, wanted, progress)
    except (PackagesUnavailable, OSError, tarfile.TarError) as why:
        raise ImageFailed(f"example images: {why}") from why
    noted = _noted(out)
    return [
        Built(name, noted[name]["tag"], out / noted[name]["file"], noted[name]["sha256"], noted[name]["size"])
        for name in names
    ]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where things are built, and of what."""

    folder: Path
    work: Path
    out: Path
    mirror: str


def _build(place: _Place, recipe: Mapping[str, Any], keys: Mapping[str, str], progress: Progress) -> None:
    work, out = place.work, place.out
    archive = Archive(work / "apt", recipe["release"], "amd64", place.mirror)
    archive.update()
    base = recipe["base"]
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=work, prefix="images-")))
        scratch.chmod(0o755)  # apt's own user works in there
        below = scratch / "base.tar"
        index = _base_layer(base, unpack(archive, base["packages"], scratch / "base.debs"), below)
        for name, key in keys.items():
            begin = time.monotonic()
            image = recipe["images"][name]
            debs = unpack(archive, [*base["packages"], *image["packages"]], scratch / f"{name}.debs")
            layer = scratch / f"{name}.tar"
            _own_layer(place.folder / name, (base, image), debs, layer, index)
            if command := image.get("make"):
                with tempfile.TemporaryDirectory(dir=scratch) as tree:
                    append(layer, _made(command, image["user"]["id"], Path(tree), [below, layer]))
            tag = f"example/{name}:1"
            path = out / f"{name}.tar.gz"
            write_archive(path, tag, settings(base, image), [below, layer])
            debs.unlink()
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            note = {"file": path.name, "tag": tag, "sha256": digest, "size": path.stat().st_size}
            (out / NOTE).write_text(json.dumps(_noted(out) | {name: {**note, "recipe": key}}, indent=1))
            progress(f"image={name} seconds={time.monotonic() - begin:.0f} bytes={note['size']}")


def unpack(archive: Archive, packages: Sequence[str], target: Path) -> Path:
    """A tar archive of these packages and of what they depend on. PackagesUnavailable."""
    words = ["mmdebstrap", "--quiet", "--variant=extract", "--mode=auto", "--format=tar", "--skip=output/dev"]
    words += ['--aptopt=Apt::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"']
    words += [
        f"--include={','.join(packages)}",
        archive.suite,
        str(target),
        str(archive.root / "sources.list"),
    ]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=UNPACK_SECONDS)
    except FileNotFoundError as missing:
        raise PackagesUnavailable("mmdebstrap is not installed") from missing
    except subprocess.TimeoutExpired as late:
        raise PackagesUnavailable(f"mmdebstrap took longer than {UNPACK_SECONDS:.0f} s") from late
    if done.returncode:
        raise PackagesUnavailable("; ".join(done.stderr.strip().splitlines()[-3:]) or "mmdebstrap failed")
    return target


def _base_layer(base: Mapping[str, Any], debs: Path, target: Path) -> Index:
    with target.open("wb") as out:
        layer = Layer(out, _filter(base, {}), {})
        for name, mode in base["folders"].items():
            layer.folder(name, int(mode, 8))
        layer.packages(debs)
        for command in base["commands"]:
            layer.link(f"bin/{command}", "/bin/busybox")
        layer.text("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n")
        layer.close()
    return layer.index


def _own_layer(
    files: Path, recipe: tuple[Mapping[str, Any], Mapping[str, Any]], debs: Path, target: Path, below: Index
) -> None:
    base, image = recipe
    ours = {f"bin/{command}" for command in base["commands"]} | {"etc/nsswitch.conf"}
    added = [path for path in sorted(files.rglob("*")) if path.is_file()]
    ours |= {str(path.relative_to(files)) for path in added}
    kept = _filter(base, image)
    with target.open("wb") as out:
        layer = Layer(out, lambda name: name not in ours and kept(name), below)
        layer.packages(debs)
        for name, mode in image.get("folders", {}).items():
            layer.folder(name, int(mode, 8))
        user = image["user"]
        own = f"{user['name']}:x:{user['id']}:{user['id']}::/:"
        layer.text("etc/passwd", f"root:x:0:0::/root:/bin/sh\n{own}\n".encode())
        layer.text("etc/group", f"root:x:0:\n{user['name']}:x:{user['id']}:\n".encode())
        for path in added:
            mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            layer.text(str(path.relative_to(files)), path.read_bytes(), mode)
        layer.close()


def _made(command: Sequence[str], user: int, tree: Path, layers: Sequence[Path]) -> dict[str, bytes]:
    """The files that a command makes below MADE, by their paths in the image. It runs in the image, as the
    user of this id in a namespace of its own, without a network. ImageFailed.
    """
    for layer in layers:
        with tarfile.open(layer) as tar:
            tar.extractall(tree, filter="tar")
    for folder in ("dev", "tmp", MADE):
        (tree / folder).mkdir(exist_ok=True)
    (tree / "dev/null").touch()  # only root may make the device; a file takes what is written as well
    words = ["unshare", "--user", f"--map-user={user}", f"--map-group={user}", "--net", "--kill-child"]
    words += [f"--root={tree}", "--wd=/", *command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=MAKE_SECONDS)
    except subprocess.TimeoutExpired as late:
        raise ImageFailed(f"{' '.join(command)} took longer than {MAKE_SECONDS:.0f} s") from late
    if done.returncode:
        last = "; ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise ImageFailed(f"{' '.join(command)}, run in the image, failed: {last or done.returncode}")
    made = tree / MADE
    return {str(f.relative_to(made)): f.read_bytes() for f in sorted(made.rglob("*")) if f.is_file()}


def _filter(base: Mapping[str, Any], image: Mapping[str, Any]) -> Callable[[str], bool]:
    dropped = _patterns([*base["drop"], *image.get("drop", ())])
    kept = _patterns(base.get("keep", ()))
    return lambda name: bool(kept.match(name)) or not dropped.match(name)


def _patterns(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns) or r"\Z\A")


def _key(folder: Path, recipe: Mapping[str, Any], name: str) -> str:
    """Changes with everything that goes into an image but the packages' versions."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + Path(containerlayer.__file__).read_bytes())
    digest.update(
        json.dumps([recipe["release"], recipe["base"], recipe["images"][name]], sort_keys=True).encode()
    )
    for path in sorted((folder / name).rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _noted(out: Path) -> dict[str, Any]:
    try:
        found = json.loads((out / NOTE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def main(words: Sequence[str]) -> int:
    """`python -m pxeserver.containerimage OUT [IMAGE...]`: builds the example's images."""
    if not words:
        print("usage: python -m pxeserver.containerimage OUT [IMAGE...]", file=sys.stderr)
        return 2
    out = Path(words[0])
    try:
        built = build_images(resources.folder("images") / EXAMPLE, out / "work", out, only=words[1:])
    except ImageFailed as why:
        print(f"pxeserver: {why}", file=sys.stderr)
        return 1
    for image in built:
        print(f"{image.tag}\t{image.size >> 20} MiB\t{image.sha256}\t{image.path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
