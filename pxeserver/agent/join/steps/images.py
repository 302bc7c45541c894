"""Step images: container images from the server, as `docker save` writes them, checked before loading.

An archive's sha256 is not the image's id, so the step keeps which archive each image came from.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from pxeserver.agent.join import files
from pxeserver.agent.join.step import Drift, Facts, StepFailed, Tell, Want
from pxeserver.agent.join.steps.engine import Engine, EngineRefused

KEPT = Path("/var/lib/pxeserver-agent/images.json")
TRIES = 4
SILENCE = 30.0
"""Seconds without a byte after which a transfer is begun again where it stopped."""
LOAD_SECONDS = 600.0
_PART = 1 << 20
_TOLD = 64 << 20
ROOM = 3
"""An archive's size times this has to be free: the archive itself, and its layers unpacked."""
Record = dict[str, dict[str, Any]]


class Images:
    """The step."""

    name = "images"

    def __init__(self, engine: Engine | None = None, kept: Path = KEPT) -> None:
        self._engine, self._kept = engine or Engine(), kept

    def check(self, want: Want) -> list[Drift]:
        """Whether each image is there, from the wanted archive."""
        record = self._record()
        drift = []
        for image in want["images"]:
            have = record.get(image["name"])
            if have is None:
                drift.append(Drift(f"image {image['name']}", image["sha256"][:12], "missing"))
            elif have["sha256"] != image["sha256"]:
                drift.append(Drift(f"image {image['name']}", image["sha256"][:12], have["sha256"][:12]))
            elif missing := self._missing(have["tags"]):
                drift.append(Drift(f"image {image['name']}", "loaded", f"without {', '.join(missing)}"))
        names = {image["name"] for image in want["images"]}
        return drift + [Drift(f"image {name}", "none", "loaded") for name in record if name not in names]

    def apply(self, want: Want, tell: Tell) -> Facts:
        """Fetch, check and load what is missing; remove what is no longer wanted."""
        wanted = {image["name"]: image for image in want["images"]}
        drifted = {drift.what.removeprefix("image ") for drift in self.check(want)}
        for name in sorted(drifted & wanted.keys()):
            record = self._record()
            former = (record.get(name) or {}).get("tags", {})
            tags = self._load(wanted[name], tell)
            self._keep(record | {name: {"sha256": wanted[name]["sha256"], "tags": tags}})
            self._remove({tag: i for tag, i in former.items() if tags.get(tag) != i}, tell)
        for name in sorted(drifted - wanted.keys()):
            self._drop(name, tell)
        return self.facts(want)

    def facts(self, want: Want) -> Facts:
        """The images by tag and id."""
        record = self._record()
        return {"images": {tag: i for one in record.values() for tag, i in sorted(one["tags"].items())}}

    def undo(self, want: Want, tell: Tell) -> None:
        """Remove the images that this step loaded."""
        if self._engine.answers():
            for name in self._record():
                self._drop(name, tell)
        files.remove(self._kept)

    def _drop(self, name: str, tell: Tell) -> None:
        record = self._record()
        left = record.pop(name)
        self._remove(left["tags"], tell)
        self._keep(record)

    def _remove(self, tags: Mapping[str, str], tell: Tell) -> None:
        """Remove each of these, by tag while the tag still means it, else by its id."""
        others = {i for one in self._record().values() for tag, i in one["tags"].items() if tag not in tags}
        for tag, image in tags.items():
            found = self._engine.find(f"/images/{tag}/json")
            if found is None or found["Id"] != image:
                found = self._engine.find(f"/images/{image}/json")
                if found is None or found.get("RepoTags") or image in others:
                    continue
                tag = image  # noqa: PLW2901 - what is removed: the image without a name
            tell(f"removing image {tag}")
            try:
                self._engine.delete(f"/images/{tag}")
            except EngineRefused as why:
                if "is being used" not in why.reason and "is using" not in why.reason:
                    raise
                raise StepFailed(f"image {tag} is in use: {why.reason}") from why

    def _load(self, image: Mapping[str, Any], tell: Tell) -> dict[str, str]:
        """Load one image; its tags and ids."""
        folder = Path(self._engine.info()["DockerRootDir"]) / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < ROOM * image["size"]:
            raise StepFailed(
                f"image {image['name']} needs {ROOM * image['size'] >> 20} MiB in {folder.parent}, and "
                f"{free >> 20} MiB are free"
            )
        with tempfile.TemporaryFile(dir=folder) as archive:
            fetch(image, archive, tell)
            tags = contents(archive, image["name"])
            archive.seek(0)
            tell(f"loading {', '.join(tags)}")
            self._engine.send("/images/load", archive, LOAD_SECONDS)
        found = {tag: self._engine.find(f"/images/{tag}/json") for tag in tags}
        if missing := [tag for tag, one in found.items() if one is None]:
            raise StepFailed(f"image {image['name']}: the engine did not take {', '.join(missing)}")
        return {tag: one["Id"] for tag, one in found.items() if one}

    def _missing(self, tags: Mapping[str, str]) -> list[str]:
        found = {tag: self._engine.find(f"/images/{tag}/json") for tag in tags}
        return [tag for tag, one in found.items() if one is None or one["Id"] != tags[tag]]

    def _record(self) -> Record:
        try:
            found = json.loads(files.read(self._kept) or "{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _keep(self, record: Record) -> None:
        files.put(self._kept, json.dumps(record, indent=1, sort_keys=True) + "\n", 0o600)


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


def contents(archive: IO[bytes], name: str) -> list[str]:
    """The tags in an archive of `docker save`. StepFailed where it is none, or has an image without a tag."""
    archive.seek(0)
    try:
        with tarfile.open(fileobj=archive, mode="r:*") as tar:
            # The first that is found will do: our archives begin with it, and the layers stay packed.
            member = next((one for one in tar if one.name == "manifest.json"), None)
            manifest = tar.extractfile(member) if member else None
            listed = json.loads(manifest.read()) if manifest else []
        tags = sorted({str(tag) for one in listed for tag in one.get("RepoTags") or ()})
    except (tarfile.TarError, KeyError, ValueError, AttributeError, TypeError, EOFError) as error:
        raise StepFailed(f"image {name} is no archive of `docker save`: {error}", retry=False) from error
    if not tags:
        raise StepFailed(f"image {name}: the archive has no tagged image in it", retry=False)
    return tags
