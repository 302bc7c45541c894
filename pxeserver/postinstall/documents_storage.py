"""The want documents of the shared volume: bricks, the pool, the mounts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pxeserver.postinstall.layout import Layout, Place
from pxeserver.postinstall.spec import ClusterSpec
from pxeserver.postinstall.work import Facts, StepKey

BRICK_MOUNT = "/srv/brick"
GLUSTER_OPTIONS = {"network.ping-timeout": "5"}

Doc = dict[str, Any]


@dataclass(slots=True)
class StorageDocuments:
    """The part of Documents that is about the volume."""

    spec: ClusterSpec
    layout: Layout
    facts: Facts
    leader: str

    def brick(self, place: Place) -> Doc | None:
        """This member's glusterd, and its brick if it has one; None for those that are not of the pool."""
        brick, storage = self.layout.brick_of(place.name), self.spec.storage
        if storage is None or place.name not in self.pool_members():
            return None
        everyone = self.layout.everyone
        others = [everyone[n] for n in self.pool_members() if n != place.name]
        return {
            "volume": storage.volume,
            "device": dict(brick.device) if brick else None,
            "mount": BRICK_MOUNT,
            "gluster_uuid": place.gluster_uuid,
            "address": place.host,
            "arbiter": brick is not None and brick.arbiter,
            "members": [p.host for p in by_name(others)],
        }

    def pool_members(self) -> list[str]:
        """Who runs glusterd: bricks and managers, for any manager may have to lead."""
        if not self.layout.bricks:
            return []
        # One that is leaving and still leads must not detach itself.
        names = {*self.layout.managers, *(b.node for b in self.layout.bricks), self.leader}
        return [n for n in self.layout.everyone if n in names]

    def pool(self) -> Doc | None:
        """The volume; None until every brick has told where it is."""
        storage = self.spec.storage
        told = {b.node: self.facts.steps.get(StepKey(b.node, "brick"), {}) for b in self.layout.bricks}
        if storage is None or not told or not all("path" in t for t in told.values()):
            return None
        places = self.layout.everyone
        return {
            "volume": storage.volume,
            "driver": storage.driver,
            "peers": [
                {"name": p.name, "address": p.host, "uuid": p.gluster_uuid}
                for p in by_name(places[n] for n in self.pool_members())
            ],
            "bricks": [
                {
                    "node": b.node,
                    "address": places[b.node].host,
                    "path": told[b.node]["path"],
                    "arbiter": b.arbiter,
                }
                for b in self.layout.bricks
            ],
            "replicas": storage.replicas,
            "arbiter": storage.arbiter,
            "options": dict(sorted({**self._options(), **storage.options}.items())),
        }

    def _options(self) -> dict[str, str]:
        """GlusterFS asks nobody who mounts a volume for more than an address: it has to be a member's."""
        members = [p.host for n, p in self.layout.everyone.items() if n not in self.layout.lost]
        return {**GLUSTER_OPTIONS, "auth.allow": ",".join(sorted(members))}

    def mount(self, place: Place) -> Doc | None:
        """The shared volume on this member."""
        storage = self.spec.storage
        if storage is None:
            return None
        bricks = [b.node for b in self.layout.bricks]
        # A member with a brick asks itself first: it can mount when it is alone.
        bricks.sort(key=lambda n: (n != place.name, self.layout.places[n].index))
        nfs = storage.driver == "nfs"
        return {
            "driver": storage.driver,
            "volume": storage.volume,
            "servers": [storage.server] if nfs else [self.layout.places[n].host for n in bricks],
            "path": storage.path,
            "export": storage.export,
        }


def by_name(places: Iterable[Place]) -> list[Place]:
    """Members in the order of their names."""
    return sorted(places, key=lambda p: p.name)
