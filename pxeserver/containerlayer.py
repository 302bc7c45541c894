"""The format of container images: layers as tar archives, and the archive that `docker load` takes.

https://github.com/moby/docker-image-spec/blob/main/v1.2.md
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

HEALTH_EVERY, HEALTH_LIMIT, HEALTH_START = 30, 30, 120
"""Seconds between two health checks, for one of them, and from the start until one that fails counts: a slow
virtual machine takes seconds to start a program in a container.
"""
_NANO = 1_000_000_000
_EPOCH = "1970-01-01T00:00:00Z"
Index = dict[str, tuple[Any, ...]]
"""What a layer holds: per path what tells one member from another."""


class Layer:
    """A layer that is written to a file: the members it takes, and what a later layer need not repeat."""

    def __init__(self, out: IO[bytes], kept: Callable[[str], bool], below: Index) -> None:
        self._tar = tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._kept, self._below = kept, below
        self.index: Index = {}

    def packages(self, source: Path) -> None:
        """Take over the unpacked packages."""
        with tarfile.open(source, mode="r|") as tar:
            for member in tar:
                member.name = member.name.removeprefix("./").rstrip("/")
                if member.name and self._kept(member.name):
                    self.add(member, tar.extractfile(member) if member.isreg() else None)

    def add(self, member: tarfile.TarInfo, data: IO[bytes] | None = None) -> None:
        """One member, unless the layer below has the same."""
        member.uname = member.gname = ""
        member.pax_headers = {}
        what = (member.type, member.size, member.mode, member.linkname, 0 if member.isdir() else member.mtime)
        if self._below.get(member.name) != what and self.index.get(member.name) != what:
            self.index[member.name] = what
            self._tar.addfile(member, data)

    def folder(self, name: str, mode: int) -> None:
        """A folder of our own."""
        member = _member(name, mode)
        member.type = tarfile.DIRTYPE
        self.add(member)

    def link(self, name: str, target: str) -> None:
        """A symbolic link of our own, in the place of whatever packages have there."""
        member = _member(name, 0o777)
        member.type, member.linkname = tarfile.SYMTYPE, target
        self.add(member)

    def text(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """A file of our own."""
        member = _member(name, mode)
        member.size = len(data)
        self.add(member, io.BytesIO(data))

    def close(self) -> None:
        """Nothing comes after."""
        self._tar.close()


def append(layer: Path, files: Mapping[str, bytes]) -> None:
    """Add files to a layer that is written already."""
    with tarfile.open(layer, "a", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            member = _member(name, 0o644)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def settings(base: Mapping[str, Any], image: Mapping[str, Any]) -> dict[str, Any]:
    """How a container of this image is started, in the words of the image specification."""
    user = image["user"]
    found: dict[str, Any] = {
        "Env": [f"{key}={value}" for key, value in (base["env"] | image.get("env", {})).items()],
        "Entrypoint": list(image["entrypoint"]),
        "WorkingDir": "/",
        "User": "" if user.get("run_as_root") else f"{user['id']}:{user['id']}",
        "ExposedPorts": {f"{port}/tcp": {} for port in image["ports"]},
        "Healthcheck": {
            "Test": ["CMD", *image["health"]],
            "Interval": HEALTH_EVERY * _NANO,
            "Timeout": HEALTH_LIMIT * _NANO,
            "StartPeriod": HEALTH_START * _NANO,
            "Retries": 3,
        },
    }
    if "stop_signal" in image:
        found["StopSignal"] = image["stop_signal"]
    return found


def write_archive(target: Path, tag: str, config: Mapping[str, Any], layers: Sequence[Path]) -> None:
    """Write an image of these layers, the lowest first, as a compressed archive: equal input, equal bytes."""
    digests = []
    for layer in layers:
        with layer.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    whole = {
        "architecture": "amd64",
        "os": "linux",
        "created": _EPOCH,
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [{"created": _EPOCH, "created_by": "pxeserver"} for _ in digests],
    }
    text = json.dumps(whole, sort_keys=True).encode()
    name = f"{hashlib.sha256(text).hexdigest()}.json"
    places = [f"{digest}/layer.tar" for digest in digests]
    manifest = json.dumps([{"Config": name, "RepoTags": [tag], "Layers": places}]).encode()
    part = target.with_name(f".{target.name}.part")
    with (
        part.open("wb") as out,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=out, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        # The manifest comes first: who looks for the tags need not unpack the layers.
        for member_name, data in (("manifest.json", manifest), (name, text)):
            member = _member(member_name, 0o644)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for place, layer in zip(places, layers, strict=True):
            member = _member(place, 0o644)
            member.size = layer.stat().st_size
            with layer.open("rb") as file:
                tar.addfile(member, file)
    part.replace(target)


def _member(name: str, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode = mode
    return member
