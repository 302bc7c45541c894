"""The clusters' part of the control process: the service, the orders of people, and what keeps them going."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pxeserver.boot.model import FileRef, Image
from pxeserver.live import Hall
from pxeserver.postinstall.clusters import Clusters
from pxeserver.postinstall.newcomers import Newcomers
from pxeserver.postinstall.orders import ClusterOrders
from pxeserver.postinstall.work import Json
from pxeserver.storage.secretbox import SecretBox

KEY_FILE = "clusters.key"
"""In the state directory: what the database's secrets are encrypted with. No backup holds it."""
_ENDINGS = (".tar", ".tar.gz", ".tgz")
"""Of files that `docker load` takes."""


@dataclass(frozen=True, slots=True)
class ClustersStage:
    """Everything of the stage after boot but the agents' listener."""

    clusters: Clusters
    orders: ClusterOrders

    @classmethod
    def build(cls, hall: Hall, state_dir: Path, base_url: Callable[[], str]) -> ClustersStage:
        """Make the parts; `base_url` is where nodes reach the boot plane now. OSError, ValueError as
        SecretBox.open.
        """

        def images() -> dict[str, Json]:
            return container_images(hall.catalog().images.values(), base_url())

        clusters = Clusters(hall, SecretBox.open(state_dir / KEY_FILE), images=images)
        return cls(clusters, ClusterOrders(clusters))

    def endless(self) -> list[Awaitable[None]]:
        """What runs until the end."""
        return [self.clusters.run(), Newcomers(self.orders).admit()]


def container_images(images: Iterable[Image], base_url: str) -> dict[str, Json]:
    """Where nodes fetch the container images among these: name -> url, sha256, size."""
    found: dict[str, Json] = {}
    for image in images:
        file = next((f for f in image.files if _is_container(f)), None)
        if file is not None:
            url = f"{base_url}/b/{file.sha256}"
            found[image.name] = {"url": url, "sha256": file.sha256, "size": file.size}
    return found


def _is_container(file: FileRef) -> bool:
    return file.role == "file" and file.name.endswith(_ENDINGS)
