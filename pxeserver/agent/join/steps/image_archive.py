"""Archives of container images, as `docker save` writes them: fetched, looked into, and sent on in part.

https://github.com/moby/docker-image-spec/blob/main/v1.2.md#combined-image-json--filesystem-changeset-format
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from pxeserver.agent.join.step import StepFailed, Tell

TRIES = 4
SILENCE = 30.0
"""Seconds without a byte after which a transfer is begun again where it stopped."""
_PART = 1 << 20
_TOLD = 64 << 20
_CONFIG_LIMIT = 4 << 20
"""Bytes of a manifest or an image's configuration; layers are larger, and are not read into memory."""
Layers = tuple[tuple[str, str], ...]
"""Of an image, from below: the name of each layer's member, and the digest of its content ("sha256:...")."""


@dataclass(frozen=True)
class Contents:
    """What is in an archive: the tags of its images, and the layers of each."""

    tags: tuple[str, ...]
    images: tuple[Layers, ...]

    def within(self, others: Sequence[Sequence[str]]) -> frozenset[str]:
        """The members that an engine can do without that has images of these layers, each a list of digests
        from below.
        """
        known: set[str] = set()
        needed: set[str] = set()
        for layers in self.images:
            digests = [digest for _, digest in layers]
            same = max((_common(digests, other) for other in others), default=0)
            known.update(name for name, _ in layers[:same])
            needed.update(name for name, _ in layers[same:])
        return frozenset(known - needed)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many digests both begin with."""
    same = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        same += 1
    return same


def fetch(image: Mapping[str, Any], out: IO[bytes], tell: Tell) -> None:
    """Write what is at the image's url to `out`; StepFailed where it is not what its sha256 says."""
    tell(f"fetching image {image['name']} ({image['size'] >> 20} MiB)")
    error: Exception | None = None
    for _ in range(TRIES):
        try:
            _continue(image, out, tell)
        except (OSError, urllib.error.URLError) as failed:
            error = failed
            continue
        if out.tell() >= image["size"]:
            break
    else:
        raise StepFailed(
            f"image {image['name']} cannot be fetched from {image['url']}: {error or 'cut short'}"
        )
    out.seek(0)
    have = hashlib.file_digest(out, "sha256").hexdigest()  # type: ignore[arg-type]
    if have != image["sha256"]:
        raise StepFailed(
            f"image {image['name']}: what {image['url']} sent has sha256 {have[:16]}…, not "
            f"{image['sha256'][:16]}…; it was not loaded"
        )


def _continue(image: Mapping[str, Any], out: IO[bytes], tell: Tell) -> None:
    """Fetch what is still missing; OSError."""
    begin = out.seek(0, 2)
    if begin >= image["size"]:
        return
    request = urllib.request.Request(image["url"], headers={"Range": f"bytes={begin}-"} if begin else {})  # noqa: S310 - the server's own
    with urllib.request.urlopen(request, timeout=SILENCE) as answer:  # noqa: S310
        if begin and answer.status != 206:
            out.seek(0)
            out.truncate()
        while part := answer.read(_PART):
            if out.tell() + len(part) > image["size"]:
                raise StepFailed(
                    f"image {image['name']} is larger than {image['size']} bytes; it was not loaded"
                )
            before = out.tell() // _TOLD
            out.write(part)
            if out.tell() // _TOLD > before:
                tell(f"{out.tell() >> 20} of {image['size'] >> 20} MiB")


def contents(archive: IO[bytes], name: str) -> Contents:
    """What is in an archive of `docker save`. StepFailed where it is none, or has an image without a tag."""
    archive.seek(0)
    try:
        texts, listed = {}, None
        with tarfile.open(fileobj=archive, mode="r:*") as tar:
            for member in tar:
                # The first that are found will do: our archives begin with them, and the layers stay packed.
                if listed is not None and all(one["Config"] in texts for one in listed):
                    break
                if not member.isreg() or member.size > _CONFIG_LIMIT:
                    continue
                if member.name == "manifest.json":
                    listed = json.loads(_text(tar, member))
                elif member.name.endswith(".json") or member.name.startswith("blobs/"):
                    texts[member.name] = _text(tar, member)
        images = [_image(one, json.loads(texts[one["Config"]])) for one in listed or ()]
        tags = sorted({str(tag) for one in listed or () for tag in one.get("RepoTags") or ()})
    except (tarfile.TarError, KeyError, ValueError, AttributeError, TypeError, EOFError) as error:
        raise StepFailed(f"image {name} is no archive of `docker save`: {error}", retry=False) from error
    if not tags:
        raise StepFailed(f"image {name}: the archive has no tagged image in it", retry=False)
    return Contents(tuple(tags), tuple(images))


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""


def _image(told: Mapping[str, Any], config: Mapping[str, Any]) -> Layers:
    names, digests = told["Layers"], config["rootfs"]["diff_ids"]
    return tuple((str(name), str(digest)) for name, digest in zip(names, digests, strict=True))


def whole(archive: IO[bytes]) -> Iterator[bytes]:
    """An archive as it is."""
    archive.seek(0)
    while part := archive.read(_PART):
        yield part


def without(archive: IO[bytes], names: Collection[str]) -> Iterator[bytes]:
    """An archive without these members, unpacked: zlib does that in a fraction of the engine's time."""
    archive.seek(0)
    with tarfile.open(fileobj=archive, mode="r|*") as tar:
        for member in tar:
            if member.name in names:
                continue
            yield member.tobuf(tarfile.PAX_FORMAT)
            file = tar.extractfile(member) if member.isreg() else None
            while file is not None and (part := file.read(_PART)):
                yield part
            if file is not None:
                yield bytes(-member.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)
