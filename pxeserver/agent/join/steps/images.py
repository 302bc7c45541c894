"""Step images: container images from the server, as `docker save` writes them, checked before loading.

An archive's sha256 is not the image's id, so the step keeps which archive each image came from.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pxeserver.agent.join import files
from pxeserver.agent.join.step import Drift, Facts, StepFailed, Tell, Want
from pxeserver.agent.join.steps.engine import Engine, EngineRefused
from pxeserver.agent.join.steps.image_archive import Contents, contents, fetch, whole, without

KEPT = Path("/var/lib/pxeserver-agent/images.json")
LOAD_SECONDS = 600.0
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
            inside = contents(archive, image["name"])
            tags = inside.tags
            tell(f"loading {', '.join(tags)}")
            known = self._known(inside)
            try:
                self._send(without(archive, known))
            except EngineRefused:
                # Not every engine takes an archive without the layers that it has; nothing says which do.
                if not known:
                    raise
                self._send(whole(archive))
        found = {tag: self._engine.find(f"/images/{tag}/json") for tag in tags}
        if missing := [tag for tag, one in found.items() if one is None]:
            raise StepFailed(f"image {image['name']}: the engine did not take {', '.join(missing)}")
        return {tag: one["Id"] for tag, one in found.items() if one}

    def _send(self, parts: Iterable[bytes]) -> None:
        self._engine.send("/images/load", parts, LOAD_SECONDS)

    def _known(self, inside: Contents) -> frozenset[str]:
        """The members of the archive that are layers which the engine has of other images already. A layer is
        the same only upon the same layers below it.
        """
        here = [
            (found.get("RootFS") or {}).get("Layers") or []
            for one in self._record().values()
            for tag in one["tags"]
            if (found := self._engine.find(f"/images/{tag}/json")) is not None
        ]
        return inside.within(here)

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
